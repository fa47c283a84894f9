// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ways are those to other nodes, kept until the kernel says something that they may rest on: each one is asked for by netlink, and
// there may be a thousand.
type ways struct {
	socket int // of netlink, which has the kernel's words
	known  map[netip.Addr]contivPeer
}

// heardGroups are what a way rests on: routes, rules that choose among them, and devices with their addresses.
var heardGroups = []uint32{
	unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP,
	unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
}

// newWays listens in the calling thread's namespace.
func newWays() (*ways, error) {
	socket, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a socket to hear of routes: %w", err)
	}
	at := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	if err := unix.Bind(socket, at); err != nil {
		unix.Close(socket)
		return nil, fmt.Errorf("listen for changes of routes: %w", err)
	}
	for _, g := range heardGroups {
		if err := unix.SetsockoptInt(socket, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g)); err != nil {
			unix.Close(socket)
			return nil, fmt.Errorf("listen for changes of routes: %w", err)
		}
	}
	return &ways{socket: socket, known: map[netip.Addr]contivPeer{}}, nil
}

func (w *ways) close() { unix.Close(w.socket) }

// to is the way to a node, which ask looks up. One that there is not is looked up each time.
func (w *ways) to(node netip.Addr, ask func() (contivPeer, error)) (contivPeer, error) {
	if way, ok := w.known[node]; ok {
		return way, nil
	}
	way, err := ask()
	if err == nil {
		w.known[node] = way
	}
	return way, err
}

// hear forgets the ways that may have changed since it was called last.
func (w *ways) hear() {
	buf := make([]byte, 1<<16) // more than the kernel sends at once
	for {
		n, _, err := unix.Recvfrom(w.socket, buf, 0)
		switch {
		case err == nil:
			w.forget(changesIn(buf[:n]))
		case errors.Is(err, unix.EAGAIN):
			return
		case errors.Is(err, unix.EINTR):
		default: // it had more to say than there was room for
			clear(w.known)
			if !errors.Is(err, unix.ENOBUFS) {
				return
			}
		}
	}
}

// changes are what the kernel says has changed.
type changes struct {
	all      bool // anything
	devices  []uint32
	prefixes []netip.Prefix
}

func (w *ways) forget(c changes) {
	for node, way := range w.known {
		if c.all || slices.Contains(c.devices, way.Ifindex) || slices.ContainsFunc(c.prefixes, func(p netip.Prefix) bool { return p.Contains(node) }) {
			delete(w.known, node)
		}
	}
}

// changesIn reads messages of rtnetlink(7). What it does not understand may have changed anything.
func changesIn(b []byte) (c changes) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return changes{all: true}
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK, unix.RTM_NEWADDR, unix.RTM_DELADDR:
			if len(m.Data) < 8 {
				return changes{all: true}
			}
			// In struct ifinfomsg and struct ifaddrmsg alike.
			c.devices = append(c.devices, binary.NativeEndian.Uint32(m.Data[4:]))
		case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
			p, ok := prefixOf(m)
			if !ok {
				return changes{all: true}
			}
			c.prefixes = append(c.prefixes, p)
		default:
			return changes{all: true}
		}
	}
	return c
}

// prefixOf is where a route leads to.
func prefixOf(m syscall.NetlinkMessage) (netip.Prefix, bool) {
	if len(m.Data) < unix.SizeofRtMsg {
		return netip.Prefix{}, false
	}
	family, bits := m.Data[0], int(m.Data[1])
	to := netip.IPv4Unspecified()
	if family == unix.AF_INET6 {
		to = netip.IPv6Unspecified()
	} else if family != unix.AF_INET {
		return netip.Prefix{}, false
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		return netip.Prefix{}, false
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.RTA_DST {
			to, _ = netip.AddrFromSlice(a.Value)
		}
	}
	p := netip.PrefixFrom(to, bits)
	return p, p.IsValid()
}
