// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// located is an endpoint's row without its class.
type located struct {
	Endpoint
	of int32 // index in compiler.affiliations
}

// affiliation is what rules can tell of an endpoint besides its addresses.
type affiliation struct {
	tenant, group, network string

	pod  int32 // index in compiler.pods; none for what is no pod
	home bool  // the node itself
}

func (c *compiler) endpoints() {
	c.located = make([]located, 0, c.world.Endpoints.Len())
	index := map[affiliation]int32{}
	for _, e := range c.world.Endpoints.All() {
		n, ok := c.world.Networks.Get(e.NetworkKey())
		if !ok {
			c.note(e, "endpoint %s is in network %s, which does not exist: it reaches nobody", e.ID, e.NetworkKey())
			continue
		}
		t, ok := c.world.Tenants.Get(e.Tenant)
		if !ok {
			continue // noted with the network
		}
		row := located{Endpoint: Endpoint{Tenant: t.Number, Network: c.numberOf(n), MAC: e.MAC}}
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
		a := affiliation{tenant: e.Tenant, network: e.Network, pod: c.pods.of(e), home: e.Node == c.node && isHome(e, n)}
		if e.Group != "" {
			if _, ok := c.world.Groups.Get(model.GroupKey(e.Tenant, e.Group)); ok {
				a.group = e.Group
			} else {
				c.note(e, "endpoint %s is in group %s, which does not exist: no policy holds for it", e.ID, model.GroupKey(e.Tenant, e.Group))
			}
		}
		if row.of, ok = index[a]; !ok {
			row.of = int32(len(c.affiliations))
			index[a] = row.of
			c.affiliations = append(c.affiliations, a)
		}
		for _, a := range [...]netip.Addr{e.IPv4, e.IPv6} {
			if a.IsValid() {
				row.Addr = a
				c.located = append(c.located, row)
			}
		}
		c.offer(e)
	}
	slices.SortFunc(c.located, func(a, b located) int { return compareEndpoint(a.Endpoint, b.Endpoint) })
}

func compareEndpoint(a, b Endpoint) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), compareAddr(a.Addr, b.Addr))
}
