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
		if n.Encap != model.EncapVXLAN {
			c.note(n, "network %s has encap %s, which this version keeps but does not carry", n.Key(), n.Encap)
			continue
		}
		c.out.Networks = append(c.out.Networks, Network{Tag: n.Tag, Tenant: t.Number, Bridged: c.bridged || n.Internal})
	}
	slices.SortFunc(c.out.Networks, func(a, b Network) int { return cmp.Compare(a.Tag, b.Tag) })
}
