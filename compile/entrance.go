// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// Entrance is where a service of Kubernetes is met by what the node's own stack has: packets of the node's processes, from outside, and of
// containers that ask for a node's address. There are no tenants: who can be reached from the node provides it.
type Entrance struct {
	Service  string     // namespace/name
	Addr     netip.Addr // unspecified: each of the node's own, of that family
	Protocol uint8      // TCP, UDP or SCTP, by number
	Port     uint16
	// Affinity is for how many seconds after its last connection began a client meets the same target again; 0: each connection is on its own.
	Affinity uint32
	// Sources are who may come, but for containers here; none: everybody, and all of these. Where there are some, Insiders are the private addresses of containers here who may.
	Sources, Insiders []netip.Prefix
	// Outer are who may get connections from outside, and Inner those of the node's processes and of containers. None: they are
	// refused or, from outside where Elsewhere says that other nodes have somebody, dropped.
	Outer, Inner []netip.AddrPort
	Elsewhere    bool
}

// Machine is a provider of services that is no endpoint's: a node, or a machine elsewhere. So is this node where it answers health checks.
type Machine struct {
	Addr     netip.Addr
	Protocol uint8
	Port     uint16
}

// HealthCheck is a TCP port at which load balancers ask whether the node has providers.
type HealthCheck struct {
	Namespace, Name string // of the service
	Port            uint16
	Here            int // how many providers on this node are ready
}

// entrances adds what the node's own stack does for services of Kubernetes, when all ports have their private addresses.
func (c *compiler) entrances() {
	cluster, beside := []entering{}, []entering{} // by cluster IPs, and by addresses that whoever makes a service may name
	here := map[string]map[providing]bool{}       // by service
	machines := map[Machine]bool{}
	for _, p := range c.clustered {
		protocol := protocolNumbers[p.Protocol]
		for _, b := range p.backends {
			if b.pod == nil {
				machines[Machine{b.Addr(), protocol, b.Port()}] = true
			}
		}
		for _, family := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			own, others := c.enter(p, protocol, family, machines)
			cluster, beside = append(cluster, own...), append(beside, others...)
		}
		if p.of.HealthCheck != 0 {
			if here[p.of.Key()] == nil {
				here[p.of.Key()] = map[providing]bool{}
				c.out.HealthChecks = append(c.out.HealthChecks, HealthCheck{Namespace: p.of.Namespace, Name: p.of.Name, Port: p.of.HealthCheck})
			}
			for _, b := range p.backends {
				if b.here && b.ready {
					who := b.providing()
					who.at = netip.AddrPortFrom(who.at.Addr(), 0) // once for all its ports
					here[p.of.Key()][who] = true
				}
			}
		}
	}
	taken := map[Machine]bool{} // where there is an entrance
	for _, e := range slices.Concat(cluster, beside) {
		at := Machine{e.Addr, e.Protocol, e.Port}
		if taken[at] {
			c.note(e.of, "service %s of Kubernetes is at %s, where another is: it is not met there", e.Service, netip.AddrPortFrom(e.Addr, e.Port))
			continue
		}
		taken[at] = true
		c.out.Entrances = append(c.out.Entrances, e.Entrance)
	}
	own, _ := c.world.Nodes.Get(c.node)
	for i := range c.out.HealthChecks {
		h := &c.out.HealthChecks[i]
		h.Here = len(here[h.Namespace+"/"+h.Name])
		if own.VTEP.IsValid() {
			machines[Machine{own.VTEP, protocolNumbers["TCP"], h.Port}] = true // a load balancer may be a pod
		}
	}
	for m := range machines {
		c.out.Machines = append(c.out.Machines, m)
	}
	slices.SortFunc(c.out.Machines, func(a, b Machine) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	slices.SortFunc(c.out.Entrances, func(a, b Entrance) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
}

// entering is an entrance of a service.
type entering struct {
	Entrance
	of model.ClusterService
}

// enter gives the entrances of a port in one family, of which the unspecified address is given: by its cluster IPs, and by other addresses. It adds the nodes
// that hand on to pods to the machines.
func (c *compiler) enter(p clusterPort, protocol uint8, family netip.Addr, machines map[Machine]bool) (cluster, beside []entering) {
	var reached []backend // at the addresses by which the node's stack knows them
	somebody := false
	for _, b := range p.backends {
		if b.Addr().Is4() != family.Is4() {
			continue
		}
		somebody = somebody || b.rank() > 0
		if at := c.fromNode(b); at.IsValid() && (protocol != sctp || b.Port() == p.Port) {
			b.AddrPort = netip.AddrPortFrom(at, b.Port())
			reached = append(reached, b)
		}
	}
	all, local := whoTakes(reached, false), whoTakes(reached, true)
	outer, inside := all, all // who gets what comes by addresses of the outside
	if p.of.ExternalLocal {
		outer, inside = local, whoTakes(c.handedOn(p, protocol, family, machines), false)
	}
	add := func(a netip.Addr, port uint16, external bool, outer, inner []netip.AddrPort, sources []netip.Prefix) {
		if a.Is4() != family.Is4() || port == 0 {
			return
		}
		to := &cluster
		if external {
			to = &beside
		}
		*to = append(*to, entering{of: p.of, Entrance: Entrance{
			Service: p.of.Key(), Addr: a, Protocol: protocol, Port: port, Affinity: uint32(p.of.Affinity), Sources: sources, Insiders: c.insiders(p, sources),
			Outer: outer, Inner: inner, Elsewhere: external && p.of.ExternalLocal && somebody && len(outer) == 0,
		}})
	}
	inner := all
	if p.of.InternalLocal {
		inner = local
	}
	ofFamily := false
	for _, a := range p.of.ClusterIPs {
		ofFamily = ofFamily || a.Is4() == family.Is4()
		add(a, p.Port, false, inner, inner, nil)
	}
	for _, a := range p.of.ExternalIPs {
		add(a, p.Port, true, outer, inside, nil)
	}
	for _, a := range p.of.LoadBalancers {
		if !slices.Contains(p.of.ExternalIPs, a) {
			add(a, p.Port, true, outer, inside, sources(p.of, a))
		}
	}
	if ofFamily {
		add(family, p.Node, true, outer, inside, nil)
	}
	return cluster, beside
}

// handedOn are the backends of a port as the node's own connections get them that come by an address of the outside, where each node keeps what comes to it
// for its own pods and so shows them who asks: a pod elsewhere is met by the node port of its node, which brings the client's address to it. That node is a machine then, so
// that it is asked from an address to which it finds back.
func (c *compiler) handedOn(p clusterPort, protocol uint8, family netip.Addr, machines map[Machine]bool) (out []backend) {
	for _, b := range p.backends {
		if b.Addr().Is4() != family.Is4() || protocol == sctp && b.Port() != p.Port {
			continue
		}
		at := netip.AddrPortFrom(c.fromNode(b), b.Port())
		if n, ok := c.nodeOf(b); ok && p.Node != 0 && protocol != sctp && n.VTEP.Is4() == family.Is4() && (at.IsValid() || c.privateOf(b).IsValid()) {
			at = netip.AddrPortFrom(n.VTEP, p.Node)
			machines[Machine{n.VTEP, protocol, p.Node}] = true
		}
		if b.AddrPort = at; at.IsValid() {
			out = append(out, b)
		}
	}
	return out
}

// nodeOf is another node, on which a backend is a pod.
func (c *compiler) nodeOf(b backend) (n model.Node, ok bool) {
	if b.pod == nil || b.here {
		return n, false
	}
	return c.world.Nodes.Get(b.pod.Node)
}

// sources are those of a service's that may come by its load balancer's address, of the family of that; none: everybody. A family of which no range is said is
// open, and so is one of which all of it is said.
func sources(s model.ClusterService, at netip.Addr) (out []netip.Prefix) {
	for _, r := range s.SourceRanges {
		switch {
		case r.Addr().Is4() != at.Is4():
		case r.Bits() == 0:
			return nil
		default:
			out = append(out, r)
		}
	}
	return out
}

// insiders are the private addresses of this node's containers that are in the sources by their own, in tenants whose pods provide a port: the addresses
// of others may be somebody else's there.
func (c *compiler) insiders(p clusterPort, sources []netip.Prefix) (out []netip.Prefix) {
	if len(sources) == 0 {
		return nil
	}
	provides := map[string]bool{}
	for _, b := range p.backends {
		if b.pod != nil {
			provides[b.pod.Tenant] = true
		}
	}
	for _, e := range c.local {
		if !provides[e.Tenant] {
			continue
		}
		n, _ := c.world.Networks.Get(e.NetworkKey())
		v4, v6 := c.private(n, e.Port)
		for _, is := range []struct{ own, private netip.Addr }{{e.IPv4, v4}, {e.IPv6, v6}} {
			if is.private.IsValid() && slices.ContainsFunc(sources, func(s netip.Prefix) bool { return s.Contains(is.own) }) {
				out = append(out, netip.PrefixFrom(is.private, is.private.BitLen()))
			}
		}
	}
	slices.SortFunc(out, comparePrefix)
	return out
}

// fromNode is the address at which the node's own stack reaches a backend: of a pod of this node its private one, of one elsewhere its own where
// host access leads there; invalid for none.
func (c *compiler) fromNode(b backend) (none netip.Addr) {
	if b.pod == nil {
		return b.Addr()
	}
	if b.here {
		if a := c.privateOf(b); a.IsValid() {
			return a
		}
	}
	if c.reachedByHost(*b.pod, b.Addr()) {
		return b.Addr()
	}
	return none
}

// privateOf is the address at which a pod's own node reaches it; invalid where its network has no way to the outside in its family.
func (c *compiler) privateOf(b backend) netip.Addr {
	n, _ := c.world.Networks.Get(b.pod.NetworkKey())
	v4, v6 := c.private(n, b.pod.Port)
	if b.Addr().Is4() {
		return v4
	}
	return v6
}

// whoTakes are those of the backends that get new connections, sorted.
func whoTakes(all []backend, local bool) (out []netip.AddrPort) {
	for _, b := range taking(all, local) {
		out = append(out, b.AddrPort)
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}
