// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// clusterPort is a port of a service of Kubernetes, with all that its EndpointSlices say of who provides it.
type clusterPort struct {
	model.ClusterPort
	of       model.ClusterService
	key      string
	number   uint32
	backends []backend // by address and port
}

// backend is who provides a port of a service of Kubernetes.
type backend struct {
	netip.AddrPort                 // as Kubernetes knows it
	pod            *model.Endpoint // whose address it is; nil: no pod's of ours
	here           bool            // on this node
	ready          bool
	ending         bool // it works, and was told to end: where nobody is ready, it is better than nobody
	node, zone     hint // whether it is meant for clients of this node, and of its zone
}

// hint says for whom a provider is meant.
type hint uint8

const (
	forAll hint = iota // nothing is said
	forOthers
	forUs
)

// hintOf reads for whom a provider is meant. A node that knows no zone is in none of those that are named.
func hintOf(named []string, own string) hint {
	switch {
	case len(named) == 0:
		return forAll
	case own != "" && slices.Contains(named, own):
		return forUs
	}
	return forOthers
}

// clusterPorts are the ports of the services of Kubernetes that have addresses, in the order of their keys.
func (c *compiler) clusterPorts() []clusterPort {
	if c.world.ClusterServices.Len() == 0 {
		return nil
	}
	parts := map[string][]model.EndpointSlice{}
	for _, s := range c.world.EndpointSlices.All() {
		parts[s.ServiceKey()] = append(parts[s.ServiceKey()], s)
	}
	inside := c.allSubnets()
	var out []clusterPort
	for _, s := range c.world.ClusterServices.All() {
		if s.Unproxied || len(s.ClusterIPs)+len(s.ExternalIPs)+len(s.LoadBalancers) == 0 {
			continue
		}
		for _, p := range s.Ports {
			one := clusterPort{ClusterPort: p, of: s, key: s.Key() + ":" + p.Name + "/" + p.Protocol}
			one.backends = c.backends(p, parts[s.Key()], inside)
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b clusterPort) int { return cmp.Compare(a.key, b.key) })
	return slices.CompactFunc(out, func(a, b clusterPort) bool { return a.key == b.key }) // the API server lets none through
}

// backends are those of a port. A provider is in two slices while it moves from one to the other.
func (c *compiler) backends(p model.ClusterPort, parts []model.EndpointSlice, inside subnets) []backend {
	var out []backend
	node, _ := c.world.ClusterNodes.Get(c.node)
	for _, slice := range parts {
		for _, at := range slice.Ports {
			if at.Name != p.Name || at.Protocol != p.Protocol || at.Port == 0 {
				continue
			}
			for _, e := range slice.Endpoints {
				b := backend{AddrPort: netip.AddrPortFrom(e.Addr, at.Port), ready: e.Ready, ending: e.Serving && e.Terminating, here: e.Node == c.node,
					node: hintOf(e.ForNodes, c.node), zone: hintOf(e.ForZones, node.Zone)}
				if e.Pod != "" {
					if b.pod = c.podAt(slice.Namespace+"/"+e.Pod, e.Addr); b.pod != nil {
						b.here = b.pod.Node == c.node
					} else if inside.has(anyTenant, e.Addr) {
						continue // its endpoint is gone, or not there yet
					}
				}
				out = append(out, b)
			}
		}
	}
	slices.SortFunc(out, func(a, b backend) int {
		return cmp.Or(compareProviding(a.providing(), b.providing()), cmp.Compare(b.rank(), a.rank()))
	})
	return slices.CompactFunc(out, func(a, b backend) bool { return a.providing() == b.providing() })
}

func (b backend) isPod() bool { return b.pod != nil }

// rank is higher for who rather gets connections.
func (b backend) rank() int {
	switch {
	case b.ready:
		return 2
	case b.ending:
		return 1
	}
	return 0
}

// providing is a backend as clients meet it: an address and port, of a tenant's pod or, with no tenant, of whoever has it.
type providing struct {
	tenant string
	at     netip.AddrPort
}

func (b backend) providing() providing {
	if b.pod == nil {
		return providing{at: b.AddrPort}
	}
	return providing{b.pod.Tenant, b.AddrPort}
}

func compareProviding(a, b providing) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.tenant, b.tenant))
}

// podAt is the endpoint of a pod that has the address; nil: there is none.
func (c *compiler) podAt(pod string, a netip.Addr) *model.Endpoint {
	for _, e := range c.named[pod] {
		if addressLike(e, a) == a {
			return e
		}
	}
	return nil
}

// clients are a tenant's that have ports here.
type clients struct {
	model.Tenant
	circles []circle
}

// circle is of networks that reach each other.
type circle struct {
	name     string   // as model.Forwarding has it
	networks []uint32 // those of them that have ports here, by number
}

// reach tells whether clients in a circle reach a backend, over the address family of another address: they do pods and other endpoints in it, and who is
// outside.
func (b *balancer) reach(t clients, in circle, x backend, family netip.Addr) bool {
	switch {
	case x.Addr().Is4() != family.Is4():
		return false
	case x.pod != nil:
		return x.pod.Tenant == t.Name && b.circleOf(x.pod.NetworkKey()) == in.name
	case b.inside.has(t.Number, x.Addr()):
		i, ok := find(b.endpoints, place{t.Number, x.Addr()})
		return ok && b.circleOf(model.NetworkKey(t.Name, b.affiliations[b.endpoints[i].of].network)) == in.name
	}
	return true
}

// circleOf is the name of a network's circle.
func (b *balancer) circleOf(key string) string {
	name, known := b.circles[key]
	if !known {
		n, _ := b.world.Networks.Get(key)
		name = b.forwarding.Circle(n)
		b.circles[key] = name
	}
	return name
}

// taking are those of the backends that get new connections: who is ready or, where nobody is, who is about to end (KEP-1669). Where others than those of
// this node may be met, who is near is.
func taking(all []backend, local bool) []backend {
	var out []backend
	for rank := 2; rank > 0 && len(out) == 0; rank-- {
		for _, b := range all {
			if b.rank() == rank && (b.here || !local) {
				out = append(out, b)
			}
		}
		if rank == 2 && !local {
			out = near(out)
		}
	}
	return out
}

// near are those who are meant for clients of this node or, where nobody is, of its zone; all, where nobody is there either or where of somebody nothing
// is said, as while hints are being given (KEP-2433, KEP-3015).
func near(ready []backend) []backend {
	for _, of := range []func(backend) hint{func(b backend) hint { return b.node }, func(b backend) hint { return b.zone }} {
		if slices.ContainsFunc(ready, func(b backend) bool { return of(b) == forAll }) {
			continue
		}
		if us := slices.DeleteFunc(slices.Clone(ready), func(b backend) bool { return of(b) != forUs }); len(us) > 0 {
			return us
		}
	}
	return ready
}

// virtual is an address of a service of Kubernetes. outside: it is meant for those who come from there.
type virtual struct {
	netip.Addr
	outside bool
}

// addresses are those at which pods meet a service. Where only some sources may come by its load balancer, the node's own stack asks who they are.
func addresses(s model.ClusterService) []virtual {
	var out []virtual
	for _, a := range s.ClusterIPs {
		out = append(out, virtual{a, false})
	}
	outside := slices.Clone(s.ExternalIPs)
	for _, a := range s.LoadBalancers {
		if len(sources(s, a)) == 0 {
			outside = append(outside, a)
		}
	}
	for i, a := range outside {
		if !slices.Contains(outside[:i], a) {
			out = append(out, virtual{a, true})
		}
	}
	return out
}

// balancer adds the rows of the services of Kubernetes.
type balancer struct {
	*compiler
	endpoints         []located // sorted
	inside            subnets
	circles           map[string]string // by networks' keys, as they are asked for
	nodes             []netip.Addr      // sorted
	numberOf          map[providing]uint32
	slotsOf           func(providers []uint32) slots
	virtual, provides map[place]bool // also of other services
	own               map[place]bool // those of virtual that are ours: true where the tenant can have it
	foreign           map[netip.Addr]bool
	listening         map[listening]bool
}

// listening is where a service has a row.
type listening struct {
	place
	protocol uint8
	port     uint16
}

// clusterServices adds the rows of the services of Kubernetes, for each tenant that has ports here.
func (b *balancer) clusterServices(all []clusterPort) {
	for _, t := range b.clients() {
		for _, outside := range []bool{false, true} { // who makes services shall not get what is sent to others' cluster IPs
			for _, p := range all {
				for _, at := range addresses(p.of) {
					if at.outside == outside {
						b.balance(t, p, at)
					}
				}
			}
		}
	}
	slices.SortFunc(b.out.Foreign, func(a, b Foreign) int { return a.Addr.Compare(b.Addr) })
}

// balance adds a port's rows for the clients of a tenant at an address: one or, where not all of their networks reach the same providers, one for each.
func (b *balancer) balance(t clients, p clusterPort, at virtual) {
	reached := make([][]backend, len(t.circles))
	pods := false
	for i, in := range t.circles {
		reached[i] = slices.DeleteFunc(slices.Clone(p.backends), func(x backend) bool { return !b.reach(t, in, x, at.Addr) })
		pods = pods || slices.ContainsFunc(reached[i], backend.isPod)
	}
	if at.outside {
		// Who may make services in one tenant shall not turn round what others send to the outside.
		if _, nodes := slices.BinarySearchFunc(b.nodes, at.Addr, compareAddr); nodes || !pods {
			return // it leads to the node's own stack, which knows it
		}
	}
	if !b.claim(t.Tenant, p.of, at) {
		return
	}
	row := Service{Key: p.key, Number: p.number, Tenant: t.Number, Addr: at.Addr, Protocol: protocolNumbers[p.Protocol], Port: p.Port, Affinity: uint32(p.of.Affinity)}
	key := listening{place{t.Number, at.Addr}, row.Protocol, p.Port}
	if at.outside && b.listening[key] {
		b.note(p.of, "service %s of Kubernetes is at %s, where another is: it is not carried there", p.of.Key(), netip.AddrPortFrom(at.Addr, p.Port))
		return
	}
	b.listening[key] = true
	for i, seen := range reached {
		if row.Protocol == sctp {
			reached[i] = b.withPort(seen, p)
		}
		for _, x := range reached[i] {
			if row.Protocol == udp && x.rank() == 0 {
				continue // datagrams have no end to wait for: a client that goes on is to meet another
			}
			b.provide(t.Tenant, p, x)
		}
	}
	add := func(seen []backend) {
		var numbers []uint32
		for _, x := range taking(seen, p.of.InternalLocal && !at.outside) {
			numbers = append(numbers, b.numberOf[x.providing()])
		}
		slices.Sort(numbers)
		chances := b.slotsOf(numbers)
		row.Slots, row.SlotsNumber = chances.providers, chances.number
		b.out.Services = append(b.out.Services, row)
	}
	if !slices.ContainsFunc(reached, func(seen []backend) bool { return !slices.Equal(seen, reached[0]) }) {
		add(reached[0])
		return
	}
	ask := row
	ask.Number, ask.Affinity = 0, 0
	b.out.Services = append(b.out.Services, ask)
	for i, in := range t.circles {
		if at.outside && !slices.ContainsFunc(reached[i], backend.isPod) {
			continue // as in a tenant without any
		}
		for _, row.Network = range in.networks {
			add(reached[i])
		}
	}
}

// withPort are the backends that listen where clients send to.
func (b *balancer) withPort(all []backend, p clusterPort) []backend {
	same := slices.DeleteFunc(slices.Clone(all), func(x backend) bool { return x.Port() != p.Port })
	if len(same) < len(all) {
		b.note(p.of, "port %d of service %s of Kubernetes leads to another port, which what SCTP sends cannot be given: make both the same", p.Port, p.of.Key())
	}
	return same
}

// claim makes a virtual address a tenant's, once. It tells whether the tenant can have it.
func (b *balancer) claim(t model.Tenant, s model.ClusterService, v virtual) bool {
	a, at := v.Addr, place{t.Number, v.Addr}
	if can, asked := b.own[at]; asked {
		return can
	}
	_, node := slices.BinarySearchFunc(b.nodes, a, compareAddr)
	can := !node && !b.virtual[at] && !b.inside.has(t.Number, a) && !b.isPrivate(a)
	b.own[at] = can
	if !can {
		b.note(s, "service %s of Kubernetes has address %s, which is in a network of tenant %s or the nodes' own: that tenant's containers do not reach the service there; "+
			"use another subnet for the network, or another range for services", s.Key(), a, t.Name)
		return false
	}
	b.virtual[at] = true
	b.located = append(b.located, located{of: b.nobodys, Endpoint: Endpoint{Tenant: t.Number, Addr: a, MAC: model.MACOf(a), Virtual: true, Beside: v.outside}})
	return true
}

// provide adds a provider as clients of a tenant have it.
func (b *balancer) provide(t model.Tenant, p clusterPort, x backend) {
	row := Provider{Service: p.number, Number: b.numberOf[x.providing()], Addr: x.Addr(), Port: x.Port()}
	if x.pod != nil {
		row.Tenant, row.Endpoint = t.Number, x.pod.ID
	}
	if at := (place{t.Number, x.Addr()}); x.pod != nil || b.inside.has(t.Number, x.Addr()) {
		b.provides[at] = true
	} else if !b.foreign[x.Addr()] {
		b.foreign[x.Addr()] = true
		b.out.Foreign = append(b.out.Foreign, Foreign{x.Addr()})
	}
	b.out.Providers = append(b.out.Providers, row)
}

// clients are those of the tenants that have ports here, by number. The node itself is a client of entrances.
func (b *balancer) clients() (out []clients) {
	have := map[string]map[string]circle{} // by tenant and name
	seen := map[string]bool{}              // networks
	for _, e := range b.local {
		n, _ := b.world.Networks.Get(e.NetworkKey())
		if seen[n.Key()] || isHome(e, n) {
			continue
		}
		seen[n.Key()] = true
		if have[e.Tenant] == nil {
			have[e.Tenant] = map[string]circle{}
		}
		in := have[e.Tenant][b.circleOf(n.Key())]
		in.name, in.networks = b.circleOf(n.Key()), append(in.networks, b.compiler.numberOf(n))
		have[e.Tenant][in.name] = in
	}
	for tenant, circles := range have {
		t, _ := b.world.Tenants.Get(tenant)
		c := clients{Tenant: t}
		for _, in := range circles {
			slices.Sort(in.networks)
			c.circles = append(c.circles, in)
		}
		slices.SortFunc(c.circles, func(a, b circle) int { return cmp.Compare(a.name, b.name) })
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b clients) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// numberBackends numbers all that provide ports.
func numberBackends(all []clusterPort) map[providing]uint32 {
	out := map[providing]uint32{}
	var who []providing
	var texts []string
	for _, p := range all {
		for _, x := range p.backends {
			if _, ok := out[x.providing()]; !ok {
				out[x.providing()] = 0
				who, texts = append(who, x.providing()), append(texts, x.providing().tenant+" "+x.AddrPort.String())
			}
		}
	}
	for i, n := range numbers(texts) {
		out[who[i]] = n
	}
	return out
}

// subnets tells in which networks addresses are.
type subnets struct {
	lengths []int // in bits, that there are
	all     map[Subnet]bool
}

const anyTenant = 1<<32 - 1

// allSubnets are those of the networks of all tenants.
func (c *compiler) allSubnets() subnets {
	out := subnets{all: map[Subnet]bool{}}
	for _, n := range c.world.Networks.All() {
		t, ok := c.world.Tenants.Get(n.Tenant)
		if !ok {
			continue // noted with the network
		}
		for _, p := range []model.Pool{n.IPv4, n.IPv6} {
			if p.IsZero() {
				continue
			}
			s := p.Subnet()
			out.all[Subnet{t.Number, s}], out.all[Subnet{anyTenant, s}] = true, true
			if !slices.Contains(out.lengths, s.Bits()) {
				out.lengths = append(out.lengths, s.Bits())
			}
		}
	}
	return out
}

func (s subnets) has(tenant uint32, a netip.Addr) bool {
	return slices.ContainsFunc(s.lengths, func(bits int) bool {
		p, err := a.Prefix(bits)
		return err == nil && s.all[Subnet{tenant, p}]
	})
}

// isPrivate tells whether an address is in the private subnets.
func (c *compiler) isPrivate(a netip.Addr) bool {
	return c.world.Global().PrivateSubnet.Contains(a) || privateSubnet6.Contains(a)
}
