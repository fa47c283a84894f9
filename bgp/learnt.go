// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/netdev"
)

// path is one way that a neighbor has told.
type path struct {
	prefix  netip.Prefix
	nextHop netip.Addr
	from    netip.Addr // the neighbor
}

func (p path) compare(o path) int {
	return cmp.Or(p.prefix.Compare(o.prefix), p.nextHop.Compare(o.nextHop), p.from.Compare(o.from))
}

// routes are what the kernel should hold: the learnt paths, of which all of a prefix are equally good, and the subnets of the node's
// own addresses, which need no router. They are sorted by prefix.
func routes(own []netip.Prefix, device string, learnt []path) []netdev.Route {
	hops := map[netip.Prefix][]netip.Addr{}
	for _, p := range learnt {
		via := p.nextHop
		if !onLink(own, via) { // a router further on: who told of it knows the way
			via = p.from
		}
		if onLink(own, via) && via.Is4() == p.prefix.Addr().Is4() && !isOwn(own, via) {
			hops[p.prefix] = append(hops[p.prefix], via)
		}
	}
	for _, p := range own {
		hops[p.Masked()] = nil // straight, whatever a router says
	}
	out := make([]netdev.Route, 0, len(hops))
	for p, via := range hops {
		slices.SortFunc(via, netip.Addr.Compare)
		out = append(out, netdev.Route{Prefix: p, Via: slices.Compact(via), Device: device})
	}
	slices.SortFunc(out, func(a, b netdev.Route) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

func onLink(own []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(a) })
}

func isOwn(own []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == a })
}
