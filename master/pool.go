// SPDX-License-Identifier: Apache-2.0

package master

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// poolFor is the addresses of a family that an endpoint of the group gets, and the key of the group that keeps them to itself: ""
// where they are what no group of the network keeps. The zero group is none.
func poolFor(n model.Network, g model.Group, v6 bool) (pool model.Pool, group string) {
	switch {
	case v6:
		return n.IPv6, ""
	case g.Pool.IsZero():
		return n.IPv4, ""
	}
	return groupPool(n, g), g.Key()
}

// groupPool is the network's pool cut down to the group's.
func groupPool(n model.Network, g model.Group) model.Pool {
	p := n.IPv4
	p.First, p.Last = g.Pool.First, g.Pool.Last
	return p
}

// poolsOn are what groups of the network keep to themselves.
func poolsOn(w model.World, n model.Network) (out []model.Range) {
	for _, g := range w.Groups.All() {
		if g.Network == n.Name && g.Tenant == n.Tenant && !g.Pool.IsZero() {
			out = append(out, g.Pool)
		}
	}
	return out
}

func (p *plan) inOwnPool(n model.Network, a netip.Addr) bool {
	for _, g := range p.pools {
		if g.NetworkKey() == n.Key() && g.Pool.Contains(a) {
			return true
		}
	}
	return false
}

// inPool refuses an address that an endpoint of the group may not ask for because of a pool: outside its group's, or
// inside another's. Who makes a pool touches its network, so it is enough that the write is guarded on that.
func (p *plan) inPool(n model.Network, g model.Group, a netip.Addr) error {
	if !a.Is4() {
		return nil
	}
	if !g.Pool.IsZero() {
		if !g.Pool.Contains(a) {
			return model.Invalid("ipAddress", "address %s is outside the ipPool %s of group %s; choose one in it, or leave it out", a, g.Pool, g.Key())
		}
		return nil
	}
	group, pool := p.ledger.poolAt(n.Key(), a)
	if group == "" {
		for _, own := range p.pools {
			if own.NetworkKey() == n.Key() && own.Pool.Contains(a) {
				group, pool = own.Key(), own.Pool
			}
		}
	}
	if group != "" {
		return model.Exists("ipAddress", "address %s belongs to the ipPool %s of group %s; choose another", a, pool, group)
	}
	return nil
}

// newPool checks a group's pool against the network, which has every address of it to give: none has been given, none
// is another group's.
func (p *plan) newPool(n model.Network, g model.Group) error {
	const field = "ipPool"
	first, last, ok := n.IPv4.Bounds()
	switch {
	case !g.Pool.First.Is4():
		return model.Invalid(field, "ipPool %s: ipv6 address pool is not supported for Endpoint Groups; give IPv4 addresses, as 10.1.1.10-10.1.1.20", g.Pool)
	case !ok:
		return model.Invalid(field, "invalid ip-pool %s: network %s has no IPv4 addresses to give; leave it out", g.Pool, n.Key())
	case !n.IPv4.Subnet().Contains(g.Pool.First) || !n.IPv4.Subnet().Contains(g.Pool.Last):
		return model.Invalid(field, "bad ip-pool %s, EPG ip-pool must be a subset of network %s", g.Pool, n.IPv4)
	case g.Pool.First.Less(first) || last.Less(g.Pool.Last):
		return model.Invalid(field, "bad ip-pool %s, EPG ip-pool must be a subset of network %s, which gives %s-%s", g.Pool, n.IPv4, first, last)
	case g.Pool.Contains(n.IPv4.Gateway):
		return model.Exists(field, "ip address %s is not available: it is the gateway of network %s, and in ipPool %s; choose others", n.IPv4.Gateway, n.Key(), g.Pool)
	}
	for other := range p.world().Groups.Sorted() {
		if other.NetworkKey() == n.Key() && other.Pool.Overlaps(g.Pool) {
			at := g.Pool.First
			if at.Less(other.Pool.First) {
				at = other.Pool.First
			}
			return model.Exists(field, "ip address %s is not available: it is in ipPool %s of group %s; choose others than %s", at, other.Pool, other.Key(), g.Pool)
		}
	}
	for _, a := range p.world().Addresses.All() {
		if a.Network == n.Key() && g.Pool.Contains(a.Addr) {
			return model.Exists(field, "ip address %s is not available (%s): choose others than ipPool %s", a.Addr, takenAddress(p.world(), a), g.Pool)
		}
	}
	p.noneNewer(model.KindAddress, n.Key()+"/")
	// Whoever decides on the network without this pool is refused from now on.
	p.put(n)
	p.pools = append(p.pools, g)
	return nil
}
