// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// smallestMTU is what IPv6 needs of a link (RFC 8200 section 5).
const smallestMTU = 1280

// containerMTU is how long packets of containers may be, in bytes, so that they fit into tunnels.
func containerMTU(u netdev.Underlay) int { return u.MTU - datapath.Overhead(u.Addr) }

// findUnderlay decides which of this machine's addresses carries tunnels.
func findUnderlay(ctx context.Context, vtep string, masters []string) (netdev.Underlay, error) {
	var addr netip.Addr
	var err error
	if vtep != "" {
		addr, err = netip.ParseAddr(vtep)
	} else {
		addr, err = addressTowardsMaster(ctx, masters)
	}
	if err != nil {
		return netdev.Underlay{}, err
	}
	u, err := netdev.UnderlayOf(addr.Unmap())
	if err != nil {
		return u, err
	}
	if containerMTU(u) < smallestMTU {
		return u, fmt.Errorf("the underlay device %s has MTU %d: containers would have %d and need %d; raise it to %d or more, or choose another underlay with --vtep-ip",
			u.Interface, u.MTU, containerMTU(u), smallestMTU, smallestMTU+datapath.Overhead(u.Addr))
	}
	return u, nil
}

// addressTowardsMaster is this machine's address on the way to the first master that can be looked up or, where that
// is this machine itself, on the way out.
func addressTowardsMaster(ctx context.Context, masters []string) (netip.Addr, error) {
	way := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // TEST-NET-1 (RFC 5737): any address behind the default route
	for _, m := range masters {
		u, err := url.Parse(m)
		if err != nil {
			continue
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
		if err == nil && len(found) > 0 && !found[0].Unmap().IsLoopback() {
			way = found[0].Unmap()
			break
		}
	}
	addr, err := netdev.AddressTowards(way)
	if err != nil || addr.IsLoopback() {
		return addr, fmt.Errorf("no address for VXLAN can be guessed: give one of this machine's with --vtep-ip (%v)", err)
	}
	return addr, nil
}

// towardsRouters is the device that gets the node's address for BGP: the first uplink for VLANs, whose packets without a tag are the
// routed ones; on a node without any the underlay's.
func towardsRouters(uplinks []string, underlay netdev.Underlay) string {
	if len(uplinks) > 0 {
		return uplinks[0]
	}
	return underlay.Interface
}
