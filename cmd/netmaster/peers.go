// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/store"
)

// peerPort is where the members of the masters' store reach each other; etcd's own.
const peerPort = "2380"

// peersOf reads --peers and finds which of them is this master. local are the machine's addresses; lookup resolves names.
func peersOf(o options, local []netip.Addr, lookup func(host string) ([]netip.Addr, error)) (*store.Peers, error) {
	p := &store.Peers{CA: o.caFile, Cert: o.certFile, Key: o.keyFile, Lost: o.peersLost}
	// What the operator says of this master's address goes before what the machine has.
	for _, said := range []string{o.advertise, o.listen} {
		host, _, _ := net.SplitHostPort(said)
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			local = []netip.Addr{a}
			break
		}
	}
	for _, entry := range o.peers {
		host, port, err := net.SplitHostPort(entry)
		if err != nil {
			host, port = strings.Trim(entry, "[]"), peerPort
		}
		addrs, err := []netip.Addr(nil), error(nil)
		if a, e := netip.ParseAddr(host); e == nil {
			addrs = []netip.Addr{a}
		} else if addrs, err = lookup(host); err != nil {
			return nil, fmt.Errorf("find the address of %s in --peers: %w", entry, err)
		}
		name := net.JoinHostPort(host, port)
		if slices.Contains(p.All, name) {
			return nil, fmt.Errorf("--peers has %s twice; name each master once", name)
		}
		p.All = append(p.All, name)
		for _, a := range addrs {
			if !slices.Contains(local, a) {
				continue
			}
			if p.Self != "" && p.Self != name {
				return nil, fmt.Errorf("--peers %s and %s are both this machine, at %s; masters on one machine need addresses of their own (127.0.0.1 and 127.0.0.2, not two ports), and each --internal-address with its", p.Self, name, a)
			}
			p.Self, p.Listen = name, net.JoinHostPort(a.String(), port)
		}
	}
	if p.Self == "" {
		return nil, fmt.Errorf("none of --peers %s is an address of this machine; the list has this master too, by the address at which the others reach it",
			strings.Join(o.peers, ","))
	}
	return p, nil
}

// localAddresses are all that the machine's devices have.
func localAddresses() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var out []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, addr.Unmap())
			}
		}
	}
	return out, nil
}
