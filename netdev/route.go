// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Routes that a node has learnt are in a routing table of their own, and tell by their protocol that they are ours: ip route show
// table 179 proto 179. Both numbers are BGP's port.
const (
	BGPTable    = 179
	BGPProtocol = 179
)

// Route is a way to a prefix in the table.
type Route struct {
	Prefix netip.Prefix
	// Via are the routers, equally good, sorted; none: the prefix is on the device itself.
	Via    []netip.Addr
	Device string // its name
}

// Equal tells whether the two are the same way.
func (r Route) Equal(o Route) bool {
	return r.Prefix == o.Prefix && r.Device == o.Device && slices.Equal(r.Via, o.Via)
}

// BGPRoutes are those that the table holds, sorted by prefix.
func BGPRoutes() ([]Route, error) {
	names := map[int]string{}
	var out []Route
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := netlink.RouteListFiltered(family, &netlink.Route{Table: BGPTable, Protocol: BGPProtocol}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("list routes of table %d: %w", BGPTable, err)
		}
		for _, r := range list {
			out = append(out, routeOf(r, family, names))
		}
	}
	slices.SortFunc(out, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
	return out, nil
}

// routeOf reads a route. names are of devices, by index, and filled as they are asked for.
func routeOf(r netlink.Route, family int, names map[int]string) Route {
	out := Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if family == netlink.FAMILY_V6 {
		out.Prefix = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	if r.Dst != nil {
		out.Prefix = prefixOf(r.Dst)
	}
	index := r.LinkIndex
	add := func(ip net.IP) {
		if a, ok := netip.AddrFromSlice(ip); ok {
			out.Via = append(out.Via, a.Unmap())
		}
	}
	add(r.Gw)
	for _, hop := range r.MultiPath {
		add(hop.Gw)
		index = hop.LinkIndex
	}
	slices.SortFunc(out.Via, netip.Addr.Compare)
	if _, known := names[index]; !known {
		if link, err := netlink.LinkByIndex(index); err == nil {
			names[index] = link.Attrs().Name
		}
	}
	out.Device = names[index]
	return out
}

// SetBGPRoutes makes the table hold the routes, sorted by prefix. Where keep is true what else is there stays. One that the kernel refuses does
// not keep the others out.
func SetBGPRoutes(want []Route, keep bool) error {
	have, err := BGPRoutes()
	if err != nil {
		return err
	}
	find := func(in []Route, p netip.Prefix) (Route, bool) {
		i, found := slices.BinarySearchFunc(in, p, func(r Route, p netip.Prefix) int { return r.Prefix.Compare(p) })
		if !found {
			return Route{}, false
		}
		return in[i], true
	}
	var failed []error
	index := map[string]int{}
	for _, r := range want {
		if old, there := find(have, r.Prefix); there && old.Equal(r) {
			continue
		}
		if err := putRoute(r, index); err != nil {
			failed = append(failed, err)
		}
	}
	for _, r := range have {
		if _, wanted := find(want, r.Prefix); wanted || keep {
			continue
		}
		// Of any scope: one without a router has another.
		old := netlink.Route{Scope: netlink.SCOPE_NOWHERE, Table: BGPTable, Protocol: BGPProtocol, Dst: netOf(r.Prefix), Family: familyOf(r.Prefix.Addr())}
		if err := netlink.RouteDel(&old); err != nil && !errors.Is(err, unix.ESRCH) {
			failed = append(failed, fmt.Errorf("remove the route to %s: %w", r.Prefix, err))
		}
	}
	return errors.Join(failed...)
}

// putRoute adds a route or replaces the one to its prefix. index has devices' numbers by name, and is filled as they are asked for.
func putRoute(r Route, index map[string]int) error {
	at, known := index[r.Device]
	if !known {
		link, err := netlink.LinkByName(r.Device)
		if err != nil {
			return fmt.Errorf("set the route to %s: find device %s: %w", r.Prefix, r.Device, err)
		}
		at = link.Attrs().Index
		index[r.Device] = at
	}
	route := netlink.Route{Table: BGPTable, Protocol: BGPProtocol, Dst: netOf(r.Prefix), Family: familyOf(r.Prefix.Addr()), LinkIndex: at}
	switch len(r.Via) {
	case 0:
		route.Scope = netlink.SCOPE_LINK
	case 1:
		// A table of its own has no route to the router's subnet at first: the kernel need not look for one.
		route.Gw, route.Flags = net.IP(r.Via[0].AsSlice()), int(netlink.FLAG_ONLINK)
	default:
		route.LinkIndex = 0
		for _, via := range r.Via {
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{LinkIndex: at, Gw: net.IP(via.AsSlice()), Flags: int(netlink.FLAG_ONLINK)})
		}
	}
	if err := netlink.RouteReplace(&route); err != nil {
		return fmt.Errorf("set the route to %s via %v on %s: %w", r.Prefix, r.Via, r.Device, err)
	}
	return nil
}

func netOf(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}
