// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"sync"

	"github.com/contivnet/contiv/model"
)

// index has the names of the newest World, of the tenants that have asked. It follows by the difference to the World
// before, some microseconds for a container that comes or goes however many there are; the first question of a tenant
// costs some 100 ms among 100,000 endpoints. Safe for concurrent use.
type index struct {
	world  func() model.World
	domain string // of Kubernetes' names

	mu      sync.RWMutex
	at      tables // what zones were made of
	zones   map[string]*zone
	cluster *cluster // nil where no Kubernetes is known, and until it is asked for
}

// tables are what of a World has names.
type tables struct {
	endpoints model.Table[model.Endpoint]
	groups    model.Table[model.Group]
	services  model.Table[model.Service]

	namespaces      model.Table[model.Namespace]
	clusterServices model.Table[model.ClusterService]
	slices          model.Table[model.EndpointSlice]
}

func tablesOf(w model.World) tables {
	return tables{w.Endpoints, w.Groups, w.Services, w.Namespaces, w.ClusterServices, w.EndpointSlices}
}

// kubernetes tells whether a Kubernetes is known: namespaces, and the service that each has of its API server. Before that is there, a name that
// is not known may be one that has not been told yet.
func (t tables) kubernetes() bool {
	_, told := t.clusterServices.Get("default/kubernetes")
	return told && t.namespaces.Len() > 0
}

func newIndex(world func() model.World, domain string) *index {
	return &index{world: world, domain: canonical(domain), at: tablesOf(world()), zones: map[string]*zone{}}
}

// ask has use answer a question of the container with these endpoints. The view is of the newest World, and must not
// be kept.
func (x *index) ask(endpoints []string, backwards bool, use func(view)) {
	x.mu.RLock()
	// The newest World is read under the lock, so the index never goes back to an older one.
	if v, ok := x.view(x.world(), endpoints, backwards); ok {
		defer x.mu.RUnlock()
		use(v)
		return
	}
	x.mu.RUnlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	w := x.world()
	x.follow(tablesOf(w))
	for _, id := range endpoints {
		if e, ok := w.Endpoints.Get(id); ok {
			x.prepare(e.Tenant, backwards)
		}
	}
	if x.cluster == nil && x.at.kubernetes() {
		x.cluster = clusterOf(x.at)
	}
	v, _ := x.view(w, endpoints, backwards)
	use(v)
}

// view is what a container with these endpoints sees of w. ok is false where the index is behind it, or lacks a tenant.
func (x *index) view(w model.World, endpoints []string, backwards bool) (v view, ok bool) {
	ok = tablesOf(w) == x.at && (x.cluster != nil || !x.at.kubernetes())
	v.cluster, v.domain, v.networks = x.cluster, x.domain, w.Networks
	v.routing = w.Global().ForwardMode == model.ForwardRouting
	for _, id := range endpoints {
		e, exists := w.Endpoints.Get(id)
		if !exists {
			continue
		}
		v.asker = append(v.asker, home{e.Tenant, e.Network})
		z := x.zones[e.Tenant]
		switch {
		case z == nil || backwards && z.owners == nil:
			ok = false
		case !v.has(z):
			v.zones = append(v.zones, z)
		}
	}
	return v, ok
}

// refresh follows the newest World without a question, so that none finds a long way to go and no old World is kept.
func (x *index) refresh() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.follow(tablesOf(x.world()))
}

func (x *index) follow(now tables) {
	if now == x.at {
		return
	}
	was := x.at
	x.at = now
	for d := range now.groups.Since(was.groups) {
		change(x.zones, d, func(g model.Group) string { return g.Tenant }, (*zone).group)
	}
	for d := range now.services.Since(was.services) {
		change(x.zones, d, func(s model.Service) string { return s.Tenant }, (*zone).service)
	}
	if !now.kubernetes() {
		x.cluster = nil
	}
	if x.cluster != nil {
		x.cluster.follow(was, now)
	}
	// After a list (the agent was cut off for long) all is new: making it again is quicker, when somebody asks.
	left := now.endpoints.Len()/16 + 64
	for d := range now.endpoints.Since(was.endpoints) {
		if left--; left < 0 {
			x.zones, x.cluster = map[string]*zone{}, nil
			return
		}
		if x.cluster != nil {
			x.cluster.endpoint(d)
		}
		change(x.zones, d, func(e model.Endpoint) string { return e.Tenant }, (*zone).endpoint)
	}
}

// change takes what was out of its tenant's zone and puts what is into its own.
func change[T any](zones map[string]*zone, d model.Difference[T], tenant func(T) string, put func(*zone, T, step)) {
	if d.Was != nil {
		if z := zones[tenant(*d.Was)]; z != nil {
			put(z, *d.Was, remove)
		}
	}
	if d.Is != nil {
		if z := zones[tenant(*d.Is)]; z != nil {
			put(z, *d.Is, add)
		}
	}
}

// prepare makes the tenant's zone, and the way back from addresses to names if that is asked for, which seldom is.
func (x *index) prepare(tenant string, backwards bool) {
	z := x.zones[tenant]
	if z == nil {
		z = newZone(tenant)
		x.zones[tenant] = z
		x.fill(z)
	}
	if backwards && z.owners == nil {
		// The names once more into a zone that is thrown away, which keeps this in one place.
		again := newZone(tenant)
		again.owners = map[netip.Addr][]owner{}
		x.fill(again)
		z.owners = again.owners
	}
}

func (x *index) fill(z *zone) {
	for _, g := range x.at.groups.All() {
		if g.Tenant == z.tenant {
			z.group(g, add)
		}
	}
	for _, s := range x.at.services.All() {
		if s.Tenant == z.tenant {
			z.service(s, add)
		}
	}
	for _, e := range x.at.endpoints.All() {
		if e.Tenant == z.tenant {
			z.endpoint(e, add)
		}
	}
}
