// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// routeProtocol marks our routes in a container, so that nobody else's is touched. The number is one of
	// those that rtnetlink(7) leaves to users.
	routeProtocol = 0xc7
	// routeMetric is higher than the metric 0 of a connected subnet: where a container is in both networks, it
	// goes there directly.
	routeMetric = 1000
)

// WaitForDevice returns when the namespace at path exists and has the other side of the port with that index, up.
// Docker 20.10 makes the namespace 110-180 ms after it asked for the device, so this polls, and less often when it takes long.
func WaitForDevice(ctx context.Context, path string, port int) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	waitUntil := func(ok func() bool) error {
		for !ok() {
			if time.Since(began) > time.Second {
				tick.Reset(50 * time.Millisecond)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the other side of port %d in %s: %w", port, path, ctx.Err())
			case <-tick.C:
			}
		}
		return nil
	}
	if err := waitUntil(func() bool { return IsNamespace(path) }); err != nil {
		return err
	}
	return Do(path, func() error {
		return waitUntil(func() bool {
			link, err := peerOf(port)
			return err == nil && link.Attrs().Flags&net.FlagUp != 0
		})
	})
}

// OtherSide finds, in the namespace of the calling thread, the other side of the node's port with that index. up tells whether it is
// there, and up.
func OtherSide(port int) (device int, up bool, err error) {
	link, err := peerOf(port)
	if errors.Is(err, unix.ENODEV) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return link.Attrs().Index, link.Attrs().Flags&net.FlagUp != 0, nil
}

// SetRoutes makes our routes through the other side of the port with that index, in the namespace at path,
// exactly those given.
// Destinations are on the link: the node answers ARP and ND for what exists there.
func SetRoutes(path string, port int, want []netip.Prefix) error {
	return Do(path, func() error {
		link, err := peerOf(port)
		if err != nil {
			return err
		}
		have, err := ourRoutes(link)
		if err != nil {
			return err
		}
		for _, p := range want {
			if _, ok := have[p]; ok {
				delete(have, p)
				continue
			}
			if err := netlink.RouteReplace(route(link, p)); err != nil {
				return fmt.Errorf("add route %s: %w", p, err)
			}
		}
		for p := range have {
			if err := netlink.RouteDel(route(link, p)); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove route %s: %w", p, err)
			}
		}
		return nil
	})
}

func route(link netlink.Link, p netip.Prefix) *netlink.Route {
	r := &netlink.Route{
		LinkIndex: link.Attrs().Index, Protocol: routeProtocol, Priority: routeMetric,
		Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
	}
	if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

func ourRoutes(link netlink.Link) (map[netip.Prefix]struct{}, error) {
	out := map[netip.Prefix]struct{}{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: routeProtocol}
		routes, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			a, _ := netip.AddrFromSlice(r.Dst.IP)
			bits, _ := r.Dst.Mask.Size()
			if family == netlink.FAMILY_V4 {
				a = a.Unmap()
			}
			out[netip.PrefixFrom(a, bits)] = struct{}{}
		}
	}
	return out, nil
}

// peerOf finds, in the namespace of the calling thread, the other side of a port of the node.
func peerOf(port int) (netlink.Link, error) {
	all, err := links()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l netlink.Link) bool { return l.Type() != "veth" || l.Attrs().ParentIndex != port })
	if len(all) > 1 {
		// A container that has containers itself: the other side of one may have that number in a namespace of theirs.
		node, err := nodeHere()
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(l netlink.Link) bool { return l.Attrs().NetNsID != node })
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no other side of port %d: %w", port, unix.ENODEV)
	}
	return all[0], nil
}
