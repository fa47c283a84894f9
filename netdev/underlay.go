// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// Underlay is the network that carries tunnels between nodes, as this node sees it.
type Underlay struct {
	Interface string     // the device that has Addr
	Addr      netip.Addr // this node's address in it
	MTU       int        // bytes
}

// UnderlayOf finds the device that has the address.
func UnderlayOf(addr netip.Addr) (Underlay, error) {
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	addrs, err := netlink.AddrList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return Underlay{}, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, _ := netip.AddrFromSlice(a.IP); ip.Unmap() != addr {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			return Underlay{}, fmt.Errorf("find the device with address %s: %w", addr, err)
		}
		return Underlay{Interface: link.Attrs().Name, Addr: addr, MTU: link.Attrs().MTU}, nil
	}
	return Underlay{}, fmt.Errorf("no network device of this machine has the address %s: give one of its own addresses with --vtep-ip", addr)
}

// AddressTowards is the address from which this machine speaks to the remote one.
func AddressTowards(remote netip.Addr) (netip.Addr, error) {
	routes, err := netlink.RouteGet(net.IP(remote.AsSlice()))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the way to %s: %w", remote, err)
	}
	for _, r := range routes {
		if a, ok := netip.AddrFromSlice(r.Src); ok {
			return a.Unmap(), nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address of this machine leads to %s", remote)
}

// SubnetsOf are the subnets that a device of this machine has addresses in; none where there is no such device.
func SubnetsOf(device string) ([]netip.Prefix, error) {
	link, err := netlink.LinkByName(device)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", device, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list addresses of %s: %w", device, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			bits, _ := a.Mask.Size()
			out = append(out, netip.PrefixFrom(ip.Unmap(), bits).Masked())
		}
	}
	return out, nil
}
