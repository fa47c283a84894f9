// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// maxForgets bounds how often a table that changes all the while is gone through.
const maxForgets = 10

// ForgetTracked has the node's connection tracking forget the connections that private addresses have begun or answer. It is to be called before other
// containers get the addresses: what still comes for the last ones' would be brought to them. The whole table is gone through, once for each family.
func ForgetTracked(private func(netip.Addr) bool) error {
	for _, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var err error
		for range maxForgets {
			// Interrupted, some may have been passed over.
			if _, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, trackedOf(private)); !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		if err != nil {
			return fmt.Errorf("forget the connections of private addresses: %w", err)
		}
	}
	return nil
}

// trackedOf selects the connections of addresses.
type trackedOf func(netip.Addr) bool

// MatchConntrackFlow tells whether a connection is one of those.
func (t trackedOf) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	return t.has(f.Forward.SrcIP) || t.has(f.Reverse.SrcIP)
}

func (t trackedOf) has(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && t(a.Unmap())
}
