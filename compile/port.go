// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

func (c *compiler) ports() {
	// Endpoints of a network share their routes: there may be many networks.
	type place struct {
		tenant, network string
		v4, v6          bool
	}
	slices.SortFunc(c.local, func(a, b model.Endpoint) int { return cmp.Compare(a.Port, b.Port) })
	routes := map[place][]netip.Prefix{}
	c.out.Ports = make([]Port, 0, len(c.local))
	for _, e := range c.local {
		n, _ := c.world.Networks.Get(e.NetworkKey())
		t, _ := c.world.Tenants.Get(e.Tenant)
		at := place{e.Tenant, e.Network, e.IPv4.IsValid(), e.IPv6.IsValid()}
		if _, ok := routes[at]; !ok && !isHome(e, n) {
			routes[at] = c.routes(n, at.v4, at.v6)
		}
		row := Port{
			Name: e.Port, Endpoint: e.ID, Tenant: t.Number, Network: c.numberOf(n), IPv4: e.IPv4, IPv6: e.IPv6, MAC: e.MAC,
			Gateway4: n.IPv4.Gateway, Gateway6: n.IPv6.Gateway, Bridged: c.forwarding.KeepsToItself(n),
			Home: isHome(e, n), Routes: routes[at],
		}
		row.Private4, row.Private6 = c.private(n, e.Port)
		c.publish(e, row.Private4, row.Private6)
		if n.Encap == model.EncapVLAN && !c.forwarding.Routed(n) { // its gateway is a machine on the wire
			row.Gateway4, row.Gateway6 = netip.Addr{}, netip.Addr{}
		}
		c.out.Ports = append(c.out.Ports, row)
	}
}

// routes are the subnets of the tenant's other networks, where no default route leads to this interface, and of the one by which nodes
// are reached.
func (c *compiler) routes(own model.Network, v4, v6 bool) []netip.Prefix {
	var out []netip.Prefix
	add := func(mine, other model.Pool, has bool) {
		if has && !mine.Gateway.IsValid() && !other.IsZero() && other.Subnet() != mine.Subnet() {
			out = append(out, other.Subnet())
		}
	}
	for _, n := range c.world.Networks.All() {
		if n.Name == own.Name || n.Type != model.NetworkData && n.Name != model.HostAccess || !c.forwarding.Reaches(own, n) {
			continue
		}
		add(own.IPv4, n.IPv4, v4)
		add(own.IPv6, n.IPv6, v6)
	}
	slices.SortFunc(out, comparePrefix)
	return slices.Compact(out) // two ranges of one subnet are one route
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
