// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// subnets are those of networks, in order, by tenant: networks that share addresses are found without a look at all others.
type subnets map[string][]subnet

type subnet struct {
	netip.Prefix
	network string // its name
}

func compareSubnets(a, b subnet) int {
	return cmp.Or(a.Compare(b.Prefix), cmp.Compare(a.network, b.network))
}

func subnetsIn(w model.World) subnets {
	s := subnets{}
	for _, n := range w.Networks.All() {
		s[n.Tenant] = append(s[n.Tenant], subnetsOf(n)...)
	}
	for _, list := range s {
		slices.SortFunc(list, compareSubnets)
	}
	return s
}

// subnetsOf are a network's one or two.
func subnetsOf(n model.Network) (out []subnet) {
	for _, p := range [...]model.Pool{n.IPv4, n.IPv6} {
		if !p.IsZero() {
			out = append(out, subnet{p.Subnet(), n.Name})
		}
	}
	return out
}

func (s subnets) take(n model.Network) {
	for _, own := range subnetsOf(n) {
		list := s[n.Tenant]
		if at, there := slices.BinarySearchFunc(list, own, compareSubnets); !there {
			s[n.Tenant] = slices.Insert(list, at, own)
		}
	}
}

// near are the names of the networks with which n shares a subnet, ranges apart or not, in order.
func (s subnets) near(n model.Network) (names []string) {
	list := s[n.Tenant]
	add := func(p netip.Prefix, wanted func(netip.Prefix) bool) {
		at, _ := slices.BinarySearchFunc(list, subnet{Prefix: p}, compareSubnets)
		for ; at < len(list) && wanted(list[at].Prefix); at++ {
			names = append(names, list[at].network)
		}
	}
	for _, own := range subnetsOf(n) {
		for bits := range own.Bits() { // those around it
			wider := netip.PrefixFrom(own.Addr(), bits).Masked()
			add(wider, func(p netip.Prefix) bool { return p == wider })
		}
		add(own.Prefix, func(p netip.Prefix) bool { return own.Contains(p.Addr()) }) // the same, and those in it
	}
	slices.Sort(names)
	return slices.Compact(names)
}
