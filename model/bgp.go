// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// BGP is how one node speaks BGP with its router (RFC 4271). The v1 API calls it Bgp.
type BGP struct {
	Node       string       `json:"node"`                 // its host label; the v1 API's hostname
	RouterIP   netip.Prefix `json:"routerIP"`             // this node's address and subnet towards the router, host bits kept
	AS         uint32       `json:"as"`                   // of the node; four bytes (RFC 6793), never 0
	Neighbor   netip.Addr   `json:"neighbor,omitzero"`    // the router
	NeighborAS uint32       `json:"neighborAS,omitempty"` // of the router
}

func (BGP) Kind() Kind    { return KindBGP }
func (b BGP) Key() string { return b.Node }

// Check refuses a configuration that could never be right, whatever else exists.
func (b BGP) Check() error {
	if err := CheckName("hostname", b.Node, 253); err != nil {
		return err
	}
	if !b.RouterIP.IsValid() || !speaks(b.RouterIP.Addr()) || b.RouterIP.IsSingleIP() || b.RouterIP.Bits() == 0 {
		return Invalid("routerip", "routerip %s is not this node's address with the length of its subnet; write it as 50.1.1.1/24", b.RouterIP)
	}
	if !isHost(b.RouterIP, b.RouterIP.Addr()) {
		return Invalid("routerip", "routerip %s is the subnet's own or its broadcast address; give this node's, as 50.1.1.1/24", b.RouterIP)
	}
	if b.AS == 0 {
		return Invalid("as", "as 0 is not an autonomous system; use 1 to 4294967295")
	}
	if b.Neighbor.IsValid() != (b.NeighborAS != 0) {
		return Invalid("neighbor", "neighbor and neighbor-as belong together; give both or neither")
	}
	switch {
	case !b.Neighbor.IsValid():
	case !speaks(b.Neighbor):
		return Invalid("neighbor", "neighbor %s is not the address of a router; write it as 50.1.1.2", b.Neighbor)
	case b.Neighbor == b.RouterIP.Addr():
		return Invalid("neighbor", "neighbor %s is routerip itself; give the router's address", b.Neighbor)
	case b.Neighbor.Is4() != b.RouterIP.Addr().Is4():
		return Invalid("neighbor", "neighbor %s and routerip %s are of different families; give both as IPv4 or both as IPv6", b.Neighbor, b.RouterIP)
	case !b.RouterIP.Contains(b.Neighbor):
		return Invalid("neighbor", "neighbor %s is outside the subnet of routerip %s, and sessions over more than one hop (multihop) are not supported; give a router in %s",
			b.Neighbor, b.RouterIP, b.RouterIP.Masked())
	case !isHost(b.RouterIP, b.Neighbor):
		return Invalid("neighbor", "neighbor %s is the own or the broadcast address of %s; give the router's", b.Neighbor, b.RouterIP.Masked())
	}
	return nil
}

// speaks tells whether a can be one end of a TCP connection between machines.
func speaks(a netip.Addr) bool {
	for _, not := range notForContainers {
		if not.what != "link-local" && not.space.Contains(a) {
			return false
		}
	}
	return true
}

// isHost tells whether a may be one machine's in the subnet: not the subnet's own and, in IPv4, not its broadcast address. Of two addresses
// both are (RFC 3021, RFC 6164).
func isHost(subnet netip.Prefix, a netip.Addr) bool {
	if subnet.Bits() >= a.BitLen()-1 {
		return true
	}
	return a != subnet.Masked().Addr() && !(a.Is4() && a == lastOf(subnet.Masked()))
}
