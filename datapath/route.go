// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"
	"slices"
)

// Route is a way to a prefix, for packets of routed networks.
type Route struct {
	Prefix netip.Prefix
	Via    []netip.Addr // the next routers, equally good, of the prefix's family; none: the prefix is on the device itself
	Device string       // by which they leave
}

// maxHops is ROUTE_HOPS of abi.h: of more routers for a prefix the first are taken.
const maxHops = 8

// SetRoutes makes the kernel hold the routes, and no others. Those by a device that is not there are left out. Flows that a change is
// about go by the new routes at their next packet.
func (d *Datapath) SetRoutes(all []Route) error {
	d.applyMu.Lock()
	defer d.applyMu.Unlock()
	want := make(map[contivRouteKey]contivRoute, len(all))
	for _, r := range all {
		index, ok, err := d.dev.index(r.Device)
		if err != nil {
			return err
		}
		if ok {
			row := contivRoute{Ifindex: index, Hops: uint32(min(len(r.Via), maxHops))}
			for i := range row.Hops {
				row.NextHop[i] = r.Via[i].As16()
			}
			want[routeKey(r.Prefix)] = row
		}
	}
	if _, is := want[routeKey(mapped)]; !is && slices.ContainsFunc(all, func(r Route) bool { return coversIPv4(r.Prefix) }) {
		want[routeKey(mapped)] = contivRoute{} // routers of IPv6 are no way for IPv4
	}
	held, err := readTable[contivRouteKey, contivRoute](d.objects.Routes, contivMapRoutes)
	if err != nil {
		return err
	}
	// A new route may be more precise than one by which flows go. So here rows that are added void decisions, too.
	diff := differenceOf(held, want)
	if len(diff.keys) == 0 && len(diff.gone) == 0 {
		return nil
	}
	if err := diff.put(d.objects.Routes, contivMapRoutes); err != nil {
		return err
	}
	if err := diff.remove(d.objects.Routes, contivMapRoutes); err != nil {
		return err
	}
	if err := d.forgetFlows(); err != nil {
		return fmt.Errorf("after a change of routes: %w", err)
	}
	return nil
}

// routeKey is the prefix as the kernel has it: IPv4 as ::ffff:a.b.c.d.
func routeKey(p netip.Prefix) contivRouteKey {
	p = p.Masked()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return contivRouteKey{PrefixLen: uint32(bits), Address: p.Addr().As16()}
}
