// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Device is a container's interface as the container should see it.
type Device struct {
	Name     string         // as eth0
	MAC      model.MAC      // zero: as it was made
	Addrs    []netip.Prefix // with the length of the subnet
	Gateways []netip.Addr   // of each family that has one; the default routes
}

// Equip moves the container's side of the port into the namespace at path and makes it d, up, for runtimes that
// leave that to us. Done twice, it changes nothing.
func Equip(port Port, path string, d Device) error {
	elsewhere, err := equip(port, path, d)
	if elsewhere && IsNamespace(path) {
		if err = MovePort(port.Name, path); err == nil {
			_, err = equip(port, path, d)
		}
	}
	return err
}

// equip is Equip of a device that is there already; elsewhere tells that it is not.
func equip(port Port, path string, d Device) (elsewhere bool, err error) {
	err = Do(path, func() error {
		link, err := peerOf(port.Index)
		if err != nil {
			elsewhere = Gone(err)
			return err
		}
		return become(link, d)
	})
	return elsewhere, err
}

// become makes the device of the calling thread's namespace d.
func become(link netlink.Link, d Device) error {
	if link.Attrs().Name != d.Name {
		if err := netlink.LinkSetName(link, d.Name); err != nil {
			if errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("the container has a device %s already: ask for another name", d.Name)
			}
			return fmt.Errorf("name the container's device %s: %w", d.Name, err)
		}
	}
	if !d.MAC.IsZero() && !bytes.Equal(link.Attrs().HardwareAddr, d.MAC[:]) {
		if err := netlink.LinkSetHardwareAddr(link, d.MAC[:]); err != nil {
			return fmt.Errorf("give the container's device %s the MAC %s: %w", d.Name, d.MAC, err)
		}
	}
	for _, a := range d.Addrs {
		if err := addAddress(link, d.Name, a); err != nil {
			return err
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set the container's device %s up: %w", d.Name, err)
	}
	for _, g := range d.Gateways {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.IP(g.AsSlice())}); err != nil {
			return fmt.Errorf("set the container's default route to %s: %w", g, err)
		}
	}
	return nil
}

// addAddress gives the device an address. Nobody else can have it, so IPv6 does not look for duplicates, which would
// keep it unusable for a second.
func addAddress(link netlink.Link, name string, a netip.Prefix) error {
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())}}
	if a.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
		off := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
		if err := os.WriteFile(off, []byte("0"), 0); err != nil {
			return fmt.Errorf("turn IPv6 on for %s: %w", name, err)
		}
	}
	if err := netlink.AddrReplace(link, addr); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, a, err)
	}
	return nil
}

// Drift tells how the container's side of the port differs from d; "" where it does not.
func Drift(port Port, path string, d Device) (drift string, err error) {
	err = Do(path, func() error {
		link, err := peerOf(port.Index)
		if Gone(err) {
			drift = fmt.Sprintf("the container has no device of port %s", port.Name)
			return nil
		}
		if err != nil {
			return err
		}
		drift, err = drifted(link, d)
		return err
	})
	return drift, err
}

func drifted(link netlink.Link, d Device) (string, error) {
	if name := link.Attrs().Name; name != d.Name {
		return fmt.Sprintf("the container's device is named %s, not %s", name, d.Name), nil
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Sprintf("the container's device %s is down", d.Name), nil
	}
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("list addresses of %s: %w", d.Name, err)
	}
	for _, want := range d.Addrs {
		if !slices.ContainsFunc(have, func(a netlink.Addr) bool { return prefixOf(a.IPNet) == want }) {
			return fmt.Sprintf("the container's device %s lacks the address %s", d.Name, want), nil
		}
	}
	for _, g := range d.Gateways {
		routes, err := netlink.RouteListFiltered(familyOf(g), &netlink.Route{LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_OIF)
		if err != nil {
			return "", fmt.Errorf("list routes of %s: %w", d.Name, err)
		}
		if !slices.ContainsFunc(routes, func(r netlink.Route) bool { return leadsTo(r, g) }) {
			return fmt.Sprintf("the container has no default route to %s", g), nil
		}
	}
	return "", nil
}

// leadsTo tells whether r is the default route to the gateway.
func leadsTo(r netlink.Route, gateway netip.Addr) bool {
	a, _ := netip.AddrFromSlice(r.Gw)
	return a.Unmap() == gateway && (r.Dst == nil || prefixOf(r.Dst).Bits() == 0)
}

// prefixOf is what net writes as an IPNet, of either length.
func prefixOf(n *net.IPNet) netip.Prefix {
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}
