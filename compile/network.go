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
		row := Network{Number: c.numberOf(n), Tenant: t.Number, Bridged: c.forwarding.KeepsToItself(n)}
		if c.forwarding.Routed(n) {
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
	case c.forwarding.Routed(n):
		return n.Tag | Routed
	case n.Encap == model.EncapVLAN:
		return n.Tag | VLAN
	}
	return n.Tag
}
