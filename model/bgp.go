// SPDX-License-Identifier: Apache-2.0

package model

import (
	"net/netip"
	"slices"
)

// BGP is how one node speaks BGP with its routers (RFC 4271). The v1 API calls it Bgp.
type BGP struct {
	Node      string       `json:"node"`                // its host label; the v1 API's hostname
	RouterIP  netip.Prefix `json:"routerIP"`            // this node's address and subnet towards its routers, host bits kept
	RouterIP6 netip.Prefix `json:"routerIP6,omitzero"`  // the same in IPv6, beside a RouterIP in IPv4; zero: none
	AS        uint32       `json:"as"`                  // of the node; four bytes (RFC 6793), never 0
	Neighbors []Neighbor   `json:"neighbors,omitempty"` // its routers, in the user's order
	// Password signs the sessions' TCP segments (RFC 2385); "": they are not.
	Password  string `json:"password,omitempty"`
	HoldTime  uint16 `json:"holdTime,omitempty"`  // how long a silent neighbor is believed to live, in seconds; 0: DefaultHoldTime
	Keepalive uint16 `json:"keepalive,omitempty"` // how often this node says that it lives, in seconds; 0: a third of the hold time
	// Announce says what the neighbors hear: AnnounceEndpoints ("" too) or AnnounceSubnets.
	Announce string `json:"announce,omitempty"`
}

// Neighbor is a router that a node speaks with.
type Neighbor struct {
	Addr netip.Addr `json:"addr"` // in the subnet of one of the node's router addresses
	AS   uint32     `json:"as"`   // never 0; the node's own: internal BGP
}

// What a node announces of the networks that are routed.
const (
	AnnounceEndpoints = "endpoints" // each of its endpoints' addresses
	AnnounceSubnets   = "subnets"   // the subnets of networks in which it has endpoints
)

// DefaultHoldTime is that of RFC 4271, 10, in seconds.
const DefaultHoldTime = 90

// Bounds of a BGP.
const (
	MaxNeighbors   = 16
	MaxBGPPassword = 80 // bytes: TCP_MD5SIG_MAXKEYLEN of linux/tcp.h
	minHoldTime    = 3  // seconds; RFC 4271, 4.2
)

func (BGP) Kind() Kind    { return KindBGP }
func (b BGP) Key() string { return b.Node }

// Equal tells whether the two ask for the same.
func (b BGP) Equal(o BGP) bool {
	return b.Node == o.Node && b.RouterIP == o.RouterIP && b.RouterIP6 == o.RouterIP6 && b.AS == o.AS && slices.Equal(b.Neighbors, o.Neighbors) &&
		b.Password == o.Password && b.HoldTime == o.HoldTime && b.Keepalive == o.Keepalive && b.Announce == o.Announce
}

// RouterIPs are the node's one or two addresses towards its routers, IPv4 first.
func (b BGP) RouterIPs() []netip.Prefix {
	if b.RouterIP6.IsValid() {
		return []netip.Prefix{b.RouterIP, b.RouterIP6}
	}
	return []netip.Prefix{b.RouterIP}
}

// Check refuses a configuration that could never be right, whatever else exists.
func (b BGP) Check() error {
	if err := CheckName("hostname", b.Node, 253); err != nil {
		return err
	}
	if err := checkRouterIP("routerip", b.RouterIP, "50.1.1.1/24"); err != nil {
		return err
	}
	if b.RouterIP6 != (netip.Prefix{}) {
		if err := checkRouterIP("routerip6", b.RouterIP6, "2001:db8::1/64"); err != nil {
			return err
		}
		if b.RouterIP6.Addr().Is4() || !b.RouterIP.Addr().Is4() {
			return Invalid("routerip6", "routerip6 %s goes beside a routerip in IPv4, which is %s; give one of each family, or one in routerip alone", b.RouterIP6, b.RouterIP)
		}
	}
	if b.AS == 0 {
		return Invalid("as", "as 0 is not an autonomous system; use 1 to 4294967295")
	}
	if len(b.Neighbors) > MaxNeighbors {
		return Invalid("more-neighbors", "%d neighbors are more than a node speaks with; give at most %d", len(b.Neighbors), MaxNeighbors)
	}
	field := "neighbor" // in the v1 API, which has the first by itself
	for i, n := range b.Neighbors {
		if i > 0 {
			field = "more-neighbors"
		}
		if err := b.checkNeighbor(field, n); err != nil {
			return err
		}
		if slices.ContainsFunc(b.Neighbors[:i], func(o Neighbor) bool { return o.Addr == n.Addr }) {
			return Invalid(field, "neighbor %s is given twice; give each once", n.Addr)
		}
	}
	return b.checkSessions()
}

func checkRouterIP(field string, p netip.Prefix, example string) error {
	if !p.IsValid() || !speaks(p.Addr()) || p.IsSingleIP() || p.Bits() == 0 {
		return Invalid(field, "%s %s is not this node's address with the length of its subnet; write it as %s", field, p, example)
	}
	if !isHost(p, p.Addr()) {
		return Invalid(field, "%s %s is the subnet's own or its broadcast address; give this node's, as %s", field, p, example)
	}
	return nil
}

// checkNeighbor names the field that the neighbor is of.
func (b BGP) checkNeighbor(field string, n Neighbor) error {
	if !n.Addr.IsValid() || n.AS == 0 {
		return Invalid(field, "neighbor and neighbor-as belong together; give both or neither")
	}
	if !speaks(n.Addr) {
		return Invalid(field, "neighbor %s is not the address of a router; write it as 50.1.1.2", n.Addr)
	}
	own := b.RouterIP
	if b.RouterIP6.IsValid() && n.Addr.Is6() {
		own = b.RouterIP6
	}
	switch {
	case n.Addr == own.Addr():
		return Invalid(field, "neighbor %s is routerip itself; give the router's address", n.Addr)
	case n.Addr.Is4() != own.Addr().Is4():
		return Invalid(field, "neighbor %s and routerip %s are of different families; give both as IPv4 or both as IPv6, or routerip6 too", n.Addr, own)
	case !own.Contains(n.Addr):
		return Invalid(field, "neighbor %s is outside the subnet of routerip %s, and sessions over more than one hop (multihop) are not supported; give a router in %s",
			n.Addr, own, own.Masked())
	case !isHost(own, n.Addr):
		return Invalid(field, "neighbor %s is the own or the broadcast address of %s; give the router's", n.Addr, own.Masked())
	}
	return nil
}

// checkSessions checks what is the same for all sessions.
func (b BGP) checkSessions() error {
	if len(b.Password) > MaxBGPPassword {
		return Invalid("password", "password has %d bytes; the kernel takes at most %d", len(b.Password), MaxBGPPassword)
	}
	for _, c := range []byte(b.Password) {
		if c <= ' ' || c > '~' {
			return Invalid("password", "password has a character that is not printable ASCII, or a space; routers take none: use letters, digits and punctuation")
		}
	}
	if b.HoldTime != 0 && b.HoldTime < minHoldTime {
		return Invalid("hold-time", "hold-time %d s is too short; use 0 for %d s, or %d to 65535", b.HoldTime, DefaultHoldTime, minHoldTime)
	}
	if hold := b.Hold(); b.Keepalive >= hold {
		return Invalid("keepalive", "keepalive %d s is not shorter than hold-time %d s, so sessions would end; use a third of it, %d, or leave it out", b.Keepalive, hold, hold/3)
	}
	switch b.Announce {
	case "", AnnounceEndpoints, AnnounceSubnets:
		return nil
	}
	return Invalid("announce", "announce %q is unknown; use %s or %s", b.Announce, AnnounceEndpoints, AnnounceSubnets)
}

// Hold is the hold time in force, in seconds.
func (b BGP) Hold() uint16 {
	if b.HoldTime == 0 {
		return DefaultHoldTime
	}
	return b.HoldTime
}

// speaks tells whether a can be one end of a TCP connection between machines, without saying on which device.
func speaks(a netip.Addr) bool {
	for _, not := range notForContainers {
		if (not.what != "link-local" || a.Is6()) && not.space.Contains(a) {
			return false
		}
	}
	return a.Zone() == "" && !a.Is4In6()
}

// isHost tells whether a may be one machine's in the subnet: not the subnet's own and, in IPv4, not its broadcast address. Of two addresses
// both are (RFC 3021, RFC 6164).
func isHost(subnet netip.Prefix, a netip.Addr) bool {
	if subnet.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != subnet.Masked().Addr() && !(a.Is4() && a == lastOf(subnet.Masked()))
}
