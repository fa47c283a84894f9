// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store/memory"
)

// Three masters are asked at random, all at once, for objects that refer to each other, of very few names, tags and
// addresses. Whatever is granted: nothing refers to nothing, and nothing is given twice.
func TestNothingDanglesAndNothingIsGivenTwiceHoweverWritesMeet(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	worlds := history(t, mem)
	var masters []server
	for i := range 3 {
		masters = append(masters, serve(t, &lateStore{Store: mem, delay: time.Duration(i) * 4 * time.Millisecond}, master.Options{}))
	}
	seed := rand.Uint64()
	var all sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{} // method, collection and class of status → how often
	for worker := range 12 {
		all.Go(func() {
			some := tangle{rand.New(rand.NewPCG(seed, uint64(worker)))}
			for range 150 {
				s := masters[some.IntN(len(masters))]
				method, path, body := some.request()
				status, text, _ := s.raw(method, path, body)
				if status == http.StatusServiceUnavailable && !strings.Contains(text, "too many others") || status/100 == 5 && status != 503 {
					t.Errorf("%s %s %s: %d %s", method, path, body, status, text)
				}
				mu.Lock()
				answers[fmt.Sprint(method, " ", strings.Split(path, "/")[3], " ", status/100)]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for _, w := range worlds() {
		if wrong := tangled(w); len(wrong) > 0 {
			t.Fatalf("seed %d, revision %d: %s", seed, w.Revision, strings.Join(wrong, "\n"))
		}
	}
	for _, plural := range []string{api.Tenants, api.Networks, api.EndpointGroups, api.Policies, api.Rules, api.ServiceLBs, api.Endpoints, api.Netprofiles, "apply"} {
		if answers["PUT "+plural+" 2"]+answers["POST "+plural+" 2"] == 0 {
			t.Errorf("seed %d: nothing was granted of %s: %v", seed, plural, answers)
		}
	}
}

// history is every World that the store has from now on to when it is asked for.
func history(t *testing.T, mem *memory.Store) (all func() []model.World) {
	t.Helper()
	var worlds []model.World
	var mu sync.Mutex
	moved := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		var w model.World
		ended <- mem.Follow(ctx, func(c model.Change) error {
			w = w.With(c)
			mu.Lock()
			worlds = append(worlds, w)
			mu.Unlock()
			select {
			case moved <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func() []model.World {
		t.Helper()
		last, err := mem.Revision(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for {
			mu.Lock()
			list := worlds
			mu.Unlock()
			if n := len(list); n > 0 && list[n-1].Revision >= last {
				return list
			}
			select {
			case <-moved:
			case <-time.After(patience):
				t.Fatalf("revision %d is not seen", last)
			}
		}
	}
}

// tangle makes requests.
type tangle struct{ *rand.Rand }

func (r tangle) of(list ...string) string { return list[r.IntN(len(list))] }

func (r tangle) request() (method, path, body string) {
	if r.IntN(8) == 0 {
		var objects []string
		for range 1 + r.IntN(5) {
			plural, _, o := r.object()
			if plural != api.Endpoints && plural != api.Nodes {
				objects = append(objects, fmt.Sprintf(`{"collection":%q,"object":%s}`, plural, o))
			}
		}
		return http.MethodPost, api.ApplyPath, `{"objects":[` + strings.Join(objects, ",") + `]}`
	}
	plural, key, body := r.object()
	if r.IntN(3) == 0 {
		return http.MethodDelete, api.ObjectPath(plural, key), ""
	}
	return http.MethodPut, api.ObjectPath(plural, key), body
}

// object is one that often names what there is.
func (r tangle) object() (plural, key, body string) {
	tenant, net, group, policy := r.of("default", "blue"), r.of("n1", "n2", "n3"), r.of("g1", "g2", "n1"), r.of("p1", "p2")
	var o any
	switch r.IntN(14) {
	case 0:
		plural, key, o = api.Tenants, "blue", api.Tenant{TenantName: "blue"}
	case 1, 2:
		n := api.Network{TenantName: tenant, NetworkName: net, PktTag: uint32(r.IntN(4)), Encap: r.of("vxlan", "vlan")}
		n.Subnet = r.of("10.1.1.0/28", "10.1.1.1-10.1.1.6/28", "10.1.1.7-10.1.1.14/28", "10.1.2.0/29", "10.1.2.4/30")
		plural, key, o = api.Networks, tenant+":"+net, n
	case 3, 4:
		g := api.EndpointGroup{TenantName: tenant, GroupName: group, NetworkName: net, IPPool: r.of("", "", "10.1.1.2-10.1.1.4", "10.1.1.4-10.1.1.5", "10.1.2.5")}
		if r.IntN(2) == 0 {
			g.Policies = []string{policy}
		}
		g.NetProfile = r.of("", "q")
		if r.IntN(3) == 0 {
			g.ExtContractsGrps = []string{"c"}
		}
		plural, key, o = api.EndpointGroups, tenant+":"+group, g
	case 5:
		plural, key, o = api.Policies, tenant+":"+policy, api.Policy{TenantName: tenant, PolicyName: policy}
	case 6:
		rule := api.Rule{TenantName: tenant, PolicyName: policy, RuleID: r.of("1", "2"), Direction: "in", Action: "deny", FromEndpointGroup: group}
		if r.IntN(2) == 0 {
			rule.Direction, rule.FromEndpointGroup, rule.ToNetwork = "out", "", net
		}
		plural, key, o = api.Rules, tenant+":"+policy+":"+rule.RuleID, rule
	case 7:
		plural, key, o = api.Netprofiles, tenant+":q", api.Netprofile{TenantName: tenant, ProfileName: "q", DSCP: 1 + r.IntN(9)}
	case 8:
		s := web
		s.TenantName, s.ServiceName, s.NetworkName = tenant, r.of("s1", "s2"), net
		s.IPAddress = r.of("", "10.1.1.3", "10.1.1.9", "10.1.2.5")
		plural, key, o = api.ServiceLBs, tenant+":"+s.ServiceName, s
	case 9:
		a := api.AppProfile{TenantName: tenant, AppProfileName: "a", EndpointGroups: []string{group}}
		plural, key, o = api.AppProfiles, tenant+":a", a
	case 10:
		c := api.ExtContractsGroup{TenantName: tenant, ContractsGroupName: "c", ContractsType: "provided", Contracts: []string{"x"}}
		plural, key, o = api.ExtContractsGroups, tenant+":c", c
	case 11:
		n := r.of("h1", "h2")
		plural, key, o = api.Nodes, n, api.Node{NodeName: n, VtepIP: netip.MustParseAddr("192.168.2.1" + n[1:]), VXLANPort: 4789}
	default:
		e := api.Endpoint{EndpointID: r.of("e1", "e2", "e3", "e4", "e5", "e6"), TenantName: tenant, NetworkName: net, HomingHost: r.of("h1", "h2")}
		e.GroupName = r.of("", group)
		if a := r.of("", "", "10.1.1.3", "10.1.1.9", "10.1.2.5"); a != "" {
			e.IPv4Address = netip.MustParseAddr(a)
		}
		if r.IntN(4) == 0 {
			e.MACAddress = model.MAC{0x0a, 1, 1, 1, 1, 1}
		}
		plural, key, o = api.Endpoints, e.EndpointID, e
	}
	return plural, key, string(object(plural, o).Object)
}

// tangled is all that refers to nothing, and all that is given twice.
func tangled(w model.World) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	has := func(o model.Object, what string, ok bool) {
		if !ok {
			say("%s %s names %s, which is not there", o.Kind(), o.Key(), what)
		}
	}
	seen := map[string]string{}
	once := func(o model.Object, format string, args ...any) {
		name := fmt.Sprintf(format, args...)
		if other, twice := seen[name]; twice {
			say("%s is of %s and of %s %s", name, other, o.Kind(), o.Key())
		}
		seen[name] = fmt.Sprint(o.Kind(), " ", o.Key())
	}
	tenantOf := func(o model.Object, name string) {
		_, ok := w.Tenants.Get(name)
		has(o, "tenant "+name, ok)
	}
	networkOf := func(o model.Object, key string) {
		_, ok := w.Networks.Get(key)
		has(o, "network "+key, ok)
	}
	groupOf := func(o model.Object, tenant, name string) model.Group {
		g, ok := w.Groups.Get(model.GroupKey(tenant, name))
		has(o, "group "+name, ok || name == "")
		return g
	}
	// given is an address of whom it was given to.
	given := func(o model.Object, network string, a netip.Addr, owner, group string) {
		if row, ok := w.Addresses.Get(model.AddressKey(network, a)); !ok || row.Owner != owner || row.Held {
			say("address %s of %s %s is %+v", a, o.Kind(), o.Key(), row)
		}
		for _, g := range w.Groups.All() {
			if g.NetworkKey() == network && !g.Pool.IsZero() && g.Pool.Contains(a) != (g.Name == group) {
				say("address %s of %s %s of group %q and pool %s of group %s", a, o.Kind(), o.Key(), group, g.Pool, g.Key())
			}
		}
	}
	for _, t := range w.Tenants.All() {
		once(t, "tenant number %d", t.Number)
	}
	for _, n := range w.Networks.All() {
		tenantOf(n, n.Tenant)
		once(n, "%s tag %d", n.Encap, n.Tag)
		once(n, "name %s", n.Key())
		for _, other := range w.Networks.All() {
			if other.Tenant == n.Tenant && other.Name != n.Name && other.IPv4.Overlaps(n.IPv4) {
				say("network %s overlaps %s", n.Key(), other.Key())
			}
		}
	}
	for _, g := range w.Groups.All() {
		tenantOf(g, g.Tenant)
		networkOf(g, g.NetworkKey())
		once(g, "group number %d", g.Number)
		once(g, "name %s", g.Key())
		for _, p := range g.Policies {
			_, ok := w.Policies.Get(model.PolicyKey(g.Tenant, p))
			has(g, "policy "+p, ok)
		}
		if g.Netprofile != "" {
			_, ok := w.Netprofiles.Get(model.NetprofileKey(g.Tenant, g.Netprofile))
			has(g, "netprofile "+g.Netprofile, ok)
		}
		for _, c := range g.Contracts {
			_, ok := w.Contracts.Get(model.Contracts{Tenant: g.Tenant, Name: c}.Key())
			has(g, "contracts "+c, ok)
		}
		for _, other := range w.Groups.All() {
			if other.NetworkKey() == g.NetworkKey() && other.Name != g.Name && other.Pool.Overlaps(g.Pool) {
				say("pools of groups %s and %s overlap", g.Key(), other.Key())
			}
		}
	}
	for _, p := range w.Policies.All() {
		tenantOf(p, p.Tenant)
	}
	for _, p := range w.Netprofiles.All() {
		tenantOf(p, p.Tenant)
	}
	for _, c := range w.Contracts.All() {
		tenantOf(c, c.Tenant)
	}
	for _, r := range w.Rules.All() {
		_, ok := w.Policies.Get(r.PolicyKey())
		has(r, "policy "+r.Policy, ok)
		groupOf(r, r.Tenant, r.FromGroup)
		if r.ToNetwork != "" {
			networkOf(r, model.NetworkKey(r.Tenant, r.ToNetwork))
		}
	}
	for _, a := range w.AppProfiles.All() {
		tenantOf(a, a.Tenant)
		for _, g := range a.Groups {
			groupOf(a, a.Tenant, g)
		}
	}
	owners := map[string]string{} // of addresses → network
	for _, s := range w.Services.All() {
		tenantOf(s, s.Tenant)
		networkOf(s, s.NetworkKey())
		given(s, s.NetworkKey(), s.IPv4, "service:"+s.Key(), "")
		owners["service:"+s.Key()] = s.NetworkKey()
		once(s, "address %s of tenant %s", s.IPv4, s.Tenant)
	}
	for _, e := range w.Endpoints.All() {
		networkOf(e, e.NetworkKey())
		if g := groupOf(e, e.Tenant, e.Group); e.Group != "" && g.Network != e.Network {
			say("endpoint %s on %s is in group %s on %s", e.ID, e.Network, g.Key(), g.Network)
		}
		given(e, e.NetworkKey(), e.IPv4, e.ID, e.Group)
		owners[e.ID] = e.NetworkKey()
		once(e, "address %s of tenant %s", e.IPv4, e.Tenant)
		once(e, "MAC %s of network %s", e.MAC, e.NetworkKey())
	}
	for _, a := range w.Addresses.All() {
		networkOf(a, a.Network)
		if on, ok := owners[a.Owner]; !ok || on != a.Network {
			say("address %s leaks: it is given to %s", a.Key(), a.Owner)
		}
	}
	slices.Sort(wrong)
	return wrong
}
