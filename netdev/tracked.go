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

// ForgetTracked has the node's connection tracking forget the connections of a private address. It is to be called before another
// container gets the address: what still comes for the last one's would be brought to it.
func ForgetTracked(private netip.Addr) error {
	family := netlink.InetFamily(netlink.FAMILY_V4)
	if private.Is6() {
		family = netlink.FAMILY_V6
	}
	var filters []netlink.CustomConntrackFilter
	for _, kind := range []netlink.ConntrackFilterType{netlink.ConntrackOrigSrcIP, netlink.ConntrackReplySrcIP} {
		f := &netlink.ConntrackFilter{}
		if err := f.AddIP(kind, net.IP(private.AsSlice())); err != nil {
			return fmt.Errorf("name the connections of %s: %w", private, err)
		}
		filters = append(filters, f)
	}
	var err error
	for range maxForgets {
		// Interrupted, some may have been passed over.
		if _, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filters...); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("forget the connections of private address %s: %w", private, err)
	}
	return nil
}
