// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// Speaker is what a node should say, and to whom.
type Speaker struct {
	AS uint32
	ID netip.Addr // the BGP identifier, written as IPv4; unique in the AS
	// Own are the node's addresses towards its routers with the lengths of their subnets, one of a family at most.
	Own             []netip.Prefix
	Neighbors       []model.Neighbor
	Password        string // "": none
	Hold, Keepalive uint16 // seconds
	// Announced are the prefixes that neighbors of their family hear of, sorted and each once.
	Announced []netip.Prefix
	// Idle says why nothing is announced, for the operator; "" where something could be.
	Idle string
}

// For is what the node should say in the World; ok is false for a node that should not speak.
func For(w model.World, node string) (s Speaker, ok bool) {
	b, ok := w.BGPs.Get(node)
	if !ok {
		return Speaker{}, false
	}
	s = Speaker{
		AS: b.AS, ID: identifier(w, b), Own: b.RouterIPs(), Neighbors: b.Neighbors, Password: b.Password, Hold: b.Hold(), Keepalive: b.Keepalive,
	}
	if s.Keepalive == 0 {
		s.Keepalive = max(1, s.Hold/3)
	}
	if mode := w.Global().ForwardMode; mode != model.ForwardRouting {
		s.Idle = "forwarding mode is " + mode + ": only in mode routing are networks routed"
		return s, true
	}
	for _, e := range w.Endpoints.All() {
		if e.Node != node {
			continue
		}
		n, there := w.Networks.Get(e.NetworkKey())
		if !there || !n.Routable() {
			continue
		}
		for _, a := range e.Addrs() {
			if !slices.ContainsFunc(s.Own, func(own netip.Prefix) bool { return own.Addr().Is4() == a.Is4() }) {
				continue // no neighbor could hear of it
			}
			p := netip.PrefixFrom(a, a.BitLen())
			if b.Announce == model.AnnounceSubnets {
				p = n.Pool(a).Subnet()
			}
			s.Announced = append(s.Announced, p)
		}
	}
	slices.SortFunc(s.Announced, netip.Prefix.Compare)
	s.Announced = slices.Compact(s.Announced)
	return s, true
}

// identifier is the router's address where that is IPv4, else the node's for tunnels, else made from the router's.
func identifier(w model.World, b model.BGP) netip.Addr {
	if a := b.RouterIP.Addr(); a.Is4() {
		return a
	}
	if n, ok := w.Nodes.Get(b.Node); ok && n.VTEP.Is4() {
		return n.VTEP
	}
	h := fnv.New32a()
	h.Write(b.RouterIP.Addr().AsSlice())
	sum := h.Sum(nil)
	sum[3] |= 1 // never 0.0.0.0
	id, _ := netip.AddrFromSlice(sum)
	return id
}

// sameSessions tells whether the two differ in nothing that ends every session.
func (s Speaker) sameSessions(o Speaker) bool {
	return s.AS == o.AS && s.ID == o.ID && slices.Equal(s.Own, o.Own)
}

// sameTimers tells whether the two speak alike with a neighbor of both.
func (s Speaker) sameTimers(o Speaker) bool {
	return s.Password == o.Password && s.Hold == o.Hold && s.Keepalive == o.Keepalive
}

// own is the node's address towards a neighbor, or the one under which it announces prefixes of that family.
func (s Speaker) own(family netip.Addr) (netip.Addr, bool) {
	for _, p := range s.Own {
		if p.Addr().Is4() == family.Is4() {
			return p.Addr(), true
		}
	}
	return netip.Addr{}, false
}
