// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// rows is a compile.Tables in the kernel's words, by key.
type rows struct {
	networks  map[uint32]contivNetwork
	peers     map[contivVtep]contivPeer
	ports     map[uint32]contivPort // by ifindex
	endpoints map[contivEndpointKey]contivEndpoint
}

// encode leaves out what cannot be written (yet): a port without a device, with its endpoints, and a node whose
// VTEP is not IPv4, with its.
func encode(t compile.Tables, ifindex map[string]uint32, hops map[netip.Addr]contivPeer) rows {
	r := rows{
		networks:  make(map[uint32]contivNetwork, len(t.Networks)),
		peers:     make(map[contivVtep]contivPeer, len(t.Peers)),
		ports:     make(map[uint32]contivPort, len(t.Ports)),
		endpoints: make(map[contivEndpointKey]contivEndpoint, len(t.Endpoints)),
	}
	for _, n := range t.Networks {
		r.networks[n.Tag] = contivNetwork{Tenant: n.Tenant, Bridged: flag(n.Bridged)}
	}
	for _, p := range t.Peers {
		if p.VTEP.Is4() {
			r.peers[contivVtep{Address: p.VTEP.As4()}] = hops[p.VTEP]
		}
	}
	for _, p := range t.Ports {
		if i, ok := ifindex[p.Name]; ok {
			r.ports[i] = contivPort{
				Tenant: p.Tenant, Network: p.Network, Ipv4: as4(p.IPv4), Gateway4: as4(p.Gateway4),
				Ipv6: as6(p.IPv6), Gateway6: as6(p.Gateway6), Mac: p.MAC, Bridged: flag(p.Bridged),
			}
		}
	}
	for _, e := range t.Endpoints {
		row := contivEndpoint{Network: e.Network, Mac: e.MAC}
		if e.Port != "" {
			i, ok := ifindex[e.Port]
			if !ok {
				continue
			}
			row.Ifindex = i
		} else {
			if !e.VTEP.Is4() {
				continue
			}
			row.Vtep = e.VTEP.As4()
		}
		r.endpoints[contivEndpointKey{Tenant: e.Tenant, Address: e.Addr.As16()}] = row
	}
	return r
}

// decode is encode the other way. What the kernel does not hold stays zero: revision, names of nodes and
// endpoints, routes. A port whose device is gone is named by its ifindex, as #17.
func decode(r rows, name func(ifindex uint32) (string, bool)) compile.Tables {
	port := func(i uint32) string {
		if n, ok := name(i); ok {
			return n
		}
		return fmt.Sprintf("#%d", i)
	}
	var t compile.Tables
	for tag, n := range r.networks {
		t.Networks = append(t.Networks, compile.Network{Tag: tag, Tenant: n.Tenant, Bridged: n.Bridged != 0})
	}
	for v := range r.peers {
		t.Peers = append(t.Peers, compile.Peer{VTEP: netip.AddrFrom4(v.Address)})
	}
	for i, p := range r.ports {
		t.Ports = append(t.Ports, compile.Port{
			Name: port(i), Tenant: p.Tenant, Network: p.Network, IPv4: from4(p.Ipv4), Gateway4: from4(p.Gateway4),
			IPv6: from6(p.Ipv6), Gateway6: from6(p.Gateway6), MAC: p.Mac, Bridged: p.Bridged != 0,
		})
	}
	for k, e := range r.endpoints {
		row := compile.Endpoint{Tenant: k.Tenant, Addr: netip.AddrFrom16(k.Address).Unmap(), Network: e.Network, MAC: model.MAC(e.Mac)}
		if e.Ifindex != 0 {
			row.Port = port(e.Ifindex)
		} else {
			row.VTEP = netip.AddrFrom4(e.Vtep)
		}
		t.Endpoints = append(t.Endpoints, row)
	}
	slices.SortFunc(t.Networks, func(a, b compile.Network) int { return cmp.Compare(a.Tag, b.Tag) })
	slices.SortFunc(t.Peers, func(a, b compile.Peer) int { return a.VTEP.Compare(b.VTEP) })
	slices.SortFunc(t.Ports, func(a, b compile.Port) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Endpoints, func(a, b compile.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Addr.Compare(b.Addr))
	})
	return t
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func as4(a netip.Addr) (out [4]byte) {
	if a.Is4() {
		out = a.As4()
	}
	return out
}

func as6(a netip.Addr) (out [16]byte) {
	if a.Is6() {
		out = a.As16()
	}
	return out
}

func from4(b [4]byte) netip.Addr {
	if b == ([4]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom4(b)
}

func from6(b [16]byte) netip.Addr {
	if b == ([16]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(b)
}
