// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DeviceWith is the device of this machine that has the address with that length; "" for none.
func DeviceWith(own netip.Prefix) (string, error) {
	addrs, err := netlink.AddrList(nil, familyOf(own.Addr()))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if prefixOf(a.IPNet).Addr() != own.Addr() {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			return "", fmt.Errorf("find the device with address %s: %w", own, err)
		}
		return link.Attrs().Name, nil
	}
	return "", nil
}

// GiveAddress gives a device of this machine one more address. Given again, nothing changes.
func GiveAddress(device string, own netip.Prefix) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", device, own, err)
	}
	return addAddress(link, device, own)
}

// TakeAddress takes an address from a device of this machine. Neither need be there.
func TakeAddress(device string, own netip.Prefix) error {
	link, err := netlink.LinkByName(device)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil {
		err = netlink.AddrDel(link, &netlink.Addr{IPNet: netOf(own)})
	}
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("take the address %s from %s: %w", own, device, err)
	}
	return nil
}

// Running tells whether a device of this machine is up and has a carrier.
func Running(device string) (bool, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return false, fmt.Errorf("find %s: %w", device, err)
	}
	return link.Attrs().RawFlags&unix.IFF_UP != 0 && link.Attrs().RawFlags&unix.IFF_RUNNING != 0, nil
}

// Watch calls changed whenever a device, an address or a route of this machine may have changed, until ctx ends.
func Watch(ctx context.Context, changed func()) error {
	links, addrs, routes := make(chan netlink.LinkUpdate, 64), make(chan netlink.AddrUpdate, 64), make(chan netlink.RouteUpdate, 64)
	if err := errors.Join(netlink.LinkSubscribe(links, ctx.Done()), netlink.AddrSubscribe(addrs, ctx.Done()), netlink.RouteSubscribe(routes, ctx.Done())); err != nil {
		return fmt.Errorf("watch devices: %w", err)
	}
	for {
		var open bool
		select {
		case _, open = <-links:
		case _, open = <-addrs:
		case _, open = <-routes:
		}
		if ctx.Err() != nil {
			return nil
		}
		if !open {
			return errors.New("watch devices: the kernel has lost what changed")
		}
		changed()
	}
}
