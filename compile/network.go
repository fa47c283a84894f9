// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"

	"github.com/contivnet/contiv/model"
)

func (c *compiler) networks() {
	var routed *Network // stands for all that are
	for _, n := range c.world.Networks.All() {
		t, ok := c.world.Tenants.Get(n.Tenant)
		if !ok {
			c.note(n, "network %s is in tenant %s, which does not exist: it carries nothing", n.Key(), n.Tenant)
			continue
		}
		row := Network{Number: c.numberOf(n), Tenant: t.Number, Bridged: c.keepsToItself(n)}
		if c.isRouted(n) {
			routed = &Network{Number: Routed, Tenant: t.Number}
		} else if n.Encap == model.EncapVLAN {
			row.Flooded = c.flooded
			if !n.IPv4.IsZero() {
				row.Broadcast = n.IPv4.Broadcast()
			}
		}
		c.out.Networks = append(c.out.Networks, row)
	}
	if routed != nil {
		c.out.Networks = append(c.out.Networks, *routed)
	}
	slices.SortFunc(c.out.Networks, func(a, b Network) int { return cmp.Compare(a.Number, b.Number) })
}

// numberOf is what the data path calls a network.
func (c *compiler) numberOf(n model.Network) uint32 {
	switch {
	case c.isRouted(n):
		return n.Tag | Routed
	case n.Encap == model.EncapVLAN:
		return n.Tag | VLAN
	}
	return n.Tag
}

// isRouting tells whether routes lead to VLANs of the default tenant, because nodes tell routers of them. Other tenants' addresses
// may be the same ones.
func isRouting(w model.World) bool {
	return w.Global().ForwardMode == model.ForwardRouting && w.BGPs.Len() > 0
}

// isRouted tells whether a network's packets are between nodes without a tag, by routes.
func (c *compiler) isRouted(n model.Network) bool {
	return c.routing && n.Encap == model.EncapVLAN && n.Tenant == model.DefaultTenant && !n.Internal
}

// keepsToItself tells whether a network's endpoints reach no other network of their tenant by us. What leads out of a VLAN is
// a router in it.
func (c *compiler) keepsToItself(n model.Network) bool {
	return c.bridged || n.Internal || n.Encap == model.EncapVLAN && !c.isRouted(n)
}
