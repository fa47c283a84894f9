// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"

	"github.com/contivnet/contiv/model"
)

func (c *compiler) endpoints() {
	c.out.Endpoints = make([]Endpoint, 0, c.world.Endpoints.Len())
	for _, e := range c.world.Endpoints.All() {
		n, ok := c.world.Networks.Get(e.NetworkKey())
		if !ok {
			c.note(e, "endpoint %s is in network %s, which does not exist: it reaches nobody", e.ID, e.NetworkKey())
			continue
		}
		t, ok := c.world.Tenants.Get(e.Tenant)
		if !ok || n.Encap != model.EncapVXLAN {
			continue // noted with the network
		}
		if e.Group != "" {
			if _, ok := c.world.Groups.Get(model.GroupKey(e.Tenant, e.Group)); !ok {
				c.note(e, "endpoint %s is in group %s, which does not exist: no policy holds for it", e.ID, model.GroupKey(e.Tenant, e.Group))
			}
		}
		row := Endpoint{Tenant: t.Number, Network: n.Tag, MAC: e.MAC}
		if e.Node == c.node {
			row.Port = e.Port
			c.local = append(c.local, e)
		} else {
			at, ok := c.world.Nodes.Get(e.Node)
			if !ok {
				c.note(e, "endpoint %s is on node %s, which is not known: it cannot be reached", e.ID, e.Node)
				continue
			}
			row.VTEP = at.VTEP
		}
		for _, a := range e.Addrs() {
			row.Addr, row.Class = a, uint32(c.classOf(c.domains[e.Tenant], e, a))
			c.out.Endpoints = append(c.out.Endpoints, row)
		}
	}
	slices.SortFunc(c.out.Endpoints, compareEndpoint)
}

func compareEndpoint(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), compareAddr(a.Addr, b.Addr))
}
