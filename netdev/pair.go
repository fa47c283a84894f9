// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// The node has devices of its own by which it reaches containers, Outside and Infra: veth pairs, both sides in its namespace, of which
// the data path has the other. An alias on the node's side marks the pair as ours.

// findPair finds the node's side of a pair; nil: there is none. ours is false where something else has its name.
func findPair(device, port, alias string) (link netlink.Link, ours bool, err error) {
	link, err = netlink.LinkByName(device)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("find %s: %w", device, err)
	}
	return link, isMarked(link, alias) || isUnmarkedPair(link, port), nil
}

func isMarked(link netlink.Link, alias string) bool {
	return link.Type() == "veth" && link.Attrs().Alias == alias
}

// isUnmarkedPair tells whether the other side of a veth device without an alias has the name of our port: its maker was killed before it
// marked the pair.
func isUnmarkedPair(link netlink.Link, port string) bool {
	other, err := netlink.LinkByName(port)
	return err == nil && isPair(link, other)
}

// isPair tells whether two devices are one veth pair, of which the first has no alias.
func isPair(a, b netlink.Link) bool {
	return a.Type() == "veth" && b.Type() == "veth" && a.Attrs().Alias == "" &&
		b.Attrs().ParentIndex == a.Attrs().Index && a.Attrs().ParentIndex == b.Attrs().Index
}

// addPair makes a pair, which readyPair marks. A zero portMAC leaves that side's to the kernel.
func addPair(device, port string, mtu int, mac, portMAC model.MAC) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = device, mtu, net.HardwareAddr(mac[:])
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: port, PeerMTU: portMTU}
	if !portMAC.IsZero() {
		pair.PeerHardwareAddr = net.HardwareAddr(portMAC[:])
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("create veth pair %s: %w", device, err)
	}
	link, err := netlink.LinkByName(device)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find %s: %w", device, err), RemovePort(device))
	}
	return link, nil
}

// readyPair gives the node's side the mark, the MTU in bytes and the MAC, where it lacks them.
func readyPair(link netlink.Link, alias string, mtu int, mac model.MAC) error {
	a := link.Attrs()
	if a.Alias != alias {
		if err := netlink.LinkSetAlias(link, alias); err != nil {
			return fmt.Errorf("mark %s as ours: %w", a.Name, err)
		}
	}
	if a.MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the MTU of %s: %w", a.Name, err)
		}
	}
	if !bytes.Equal(a.HardwareAddr, mac[:]) {
		if err := netlink.LinkSetHardwareAddr(link, net.HardwareAddr(mac[:])); err != nil {
			return fmt.Errorf("set the MAC of %s: %w", a.Name, err)
		}
	}
	return nil
}

// setAddresses gives the device these addresses and no others, but for the kernel's own.
func setAddresses(link netlink.Link, want []netip.Prefix) error {
	name := link.Attrs().Name
	have, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	var has []netip.Prefix
	for _, a := range have {
		p := prefixOf(a.IPNet)
		if slices.Contains(want, p) {
			has = append(has, p)
			continue
		}
		if p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("take address %s from %s: %w", p, name, err)
		}
	}
	for _, p := range want {
		if slices.Contains(has, p) {
			continue
		}
		if err := addAddress(link, name, p); err != nil {
			return err
		}
	}
	return nil
}
