// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDeviceIsSetUpOnceAndItsDriftIsTold(t *testing.T) {
	t.Parallel()
	node, container := namespace(t), namespace(t)
	want := Device{
		Name:     "net0",
		Addrs:    []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("2001:db8::3/64")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.1.2.254"), netip.MustParseAddr("2001:db8::1")},
	}
	var port Port
	in(t, node, func() (err error) {
		if err := CreatePort("vvport1", "e1", testMAC, 1450); err != nil {
			return err
		}
		port, _, err = PortNamed("vvport1")
		return err
	})
	drift := func(word string) {
		t.Helper()
		got, err := Drift(port, container, want)
		if err != nil || word == "" && got != "" || !strings.Contains(got, word) {
			t.Errorf("the drift is %q, %v; want %q", got, err, word)
		}
	}
	drift("no device")
	// Twice: a runtime repeats what it heard no answer to.
	for range 2 {
		// A thread of its own may be in one namespace only, so the mover is started from the node's.
		in(t, node, func() error { return equipFrom(port, container, want) })
		drift("")
	}
	broken := func(line func(netlink.Link) error) {
		t.Helper()
		in(t, container, func() error {
			l, err := netlink.LinkByName("net0")
			if err != nil {
				return err
			}
			return line(l)
		})
	}
	broken(func(l netlink.Link) error {
		return netlink.RouteDel(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: []byte{10, 1, 2, 254}})
	})
	drift("default route to 10.1.2.254")
	broken(func(l netlink.Link) error {
		a, err := netlink.ParseAddr("10.1.2.3/24")
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
	drift("lacks the address 10.1.2.3/24")
	broken(netlink.LinkSetDown)
	drift("down")
	broken(func(l netlink.Link) error { return netlink.LinkSetName(l, "else0") })
	drift("named else0")
}

// equipFrom is Equip for a port of a namespace that is not the process's own.
func equipFrom(port Port, path string, d Device) error {
	if err := MovePort(port.Name, path); err != nil && !strings.Contains(err.Error(), "Link not found") {
		return err
	}
	return Equip(port, path, d)
}
