// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"

	"github.com/contivnet/contiv/model"
)

func (c *compiler) networks() {
	for _, n := range c.world.Networks.All() {
		t, ok := c.world.Tenants.Get(n.Tenant)
		if !ok {
			c.note(n, "network %s is in tenant %s, which does not exist: it carries nothing", n.Key(), n.Tenant)
			continue
		}
		row := Network{Number: numberOf(n), Tenant: t.Number, Bridged: c.keepsToItself(n)}
		if n.Encap == model.EncapVLAN {
			row.Flooded = c.flooded
			if !n.IPv4.IsZero() {
				row.Broadcast = n.IPv4.Broadcast()
			}
		}
		c.out.Networks = append(c.out.Networks, row)
	}
	slices.SortFunc(c.out.Networks, func(a, b Network) int { return cmp.Compare(a.Number, b.Number) })
}

// numberOf is what the data path calls a network.
func numberOf(n model.Network) uint32 {
	if n.Encap == model.EncapVLAN {
		return n.Tag | VLAN
	}
	return n.Tag
}

// keepsToItself tells whether a network's endpoints reach no other network of their tenant by us. What leads out of a VLAN is
// a router in it.
func (c *compiler) keepsToItself(n model.Network) bool {
	return c.bridged || n.Internal || n.Encap == model.EncapVLAN
}
