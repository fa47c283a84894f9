// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// census is who is on which network, counted in one walk: the tables are too large to be walked again for each network.
type census struct {
	addresses map[string][]model.Address  // by network key
	endpoints map[string][]model.Endpoint // by network key, in the order of their addresses
}

// censusOf counts a tenant's networks; only the one that is named, if one is.
func censusOf(w model.World, tenant, name string) census {
	c := census{map[string][]model.Address{}, map[string][]model.Endpoint{}}
	for _, n := range w.Networks.All() {
		if n.Tenant == tenant && (name == "" || n.Name == name) {
			c.addresses[n.Key()], c.endpoints[n.Key()] = nil, nil
		}
	}
	for _, a := range w.Addresses.All() {
		if list, counted := c.addresses[a.Network]; counted {
			c.addresses[a.Network] = append(list, a)
		}
	}
	for _, e := range w.Endpoints.All() {
		if e.Tenant != tenant {
			continue
		}
		if list, counted := c.endpoints[e.NetworkKey()]; counted {
			c.endpoints[e.NetworkKey()] = append(list, e)
		}
	}
	for _, list := range c.endpoints {
		slices.SortFunc(list, func(a, b model.Endpoint) int {
			return cmp.Or(a.IPv4.Compare(b.IPv4), a.IPv6.Compare(b.IPv6), cmp.Compare(a.ID, b.ID))
		})
	}
	return c
}

// taken are the addresses of the pool's family that the network has given.
func (c census) taken(n model.Network, pool model.Pool) (out []netip.Addr) {
	for _, a := range c.addresses[n.Key()] {
		if a.Addr.BitLen() == pool.Prefix.Addr().BitLen() {
			out = append(out, a.Addr)
		}
	}
	return out
}

// endpointsOn are a network's endpoints in the order of their addresses.
func endpointsOn(w model.World, tenant, network string) []model.Endpoint {
	return censusOf(w, tenant, network).endpoints[model.NetworkKey(tenant, network)]
}
