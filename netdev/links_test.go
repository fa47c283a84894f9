// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

func TestListThatWasInterruptedIsNotTakenForTheDevices(t *testing.T) {
	t.Parallel()
	tries := 0
	whole := []netlink.Link{&netlink.Dummy{}, &netlink.Dummy{}}
	got, err := complete(func() ([]netlink.Link, error) {
		if tries++; tries < 3 {
			return whole[:1], netlink.ErrDumpInterrupted
		}
		return whole, nil
	})
	if err != nil || len(got) != 2 || tries != 3 {
		t.Errorf("%d devices in %d tries, %v", len(got), tries, err)
	}
	got, err = complete(func() ([]netlink.Link, error) { return whole[:1], netlink.ErrDumpInterrupted })
	if !errors.Is(err, netlink.ErrDumpInterrupted) || got != nil {
		t.Errorf("half a list is given: %v, %v", got, err)
	}
}

// What a process leaves that is killed while it makes a port.
func TestPortsThatWereHalfMadeAreKnown(t *testing.T) {
	t.Parallel()
	node := namespace(t)
	in(t, node, func() error {
		pair := func(name string, mac model.MAC) *netlink.Veth {
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.HardwareAddr = name, mac[:]
			return &netlink.Veth{LinkAttrs: attrs, PeerName: PeerName(name)}
		}
		for _, p := range []*netlink.Veth{pair("vvport1", model.RouterMAC), pair("vvport2", testMAC), pair("vvport3", model.RouterMAC)} {
			if err := netlink.LinkAdd(p); err != nil {
				return err
			}
			if p.Name == "vvport3" {
				if err := netlink.LinkSetAlias(p, aliasPrefix+"e3"); err != nil {
					return err
				}
			}
		}
		ports, err := Ports()
		if err != nil {
			return err
		}
		for _, p := range ports {
			if p.Unnamed != (p.Name == "vvport1") {
				return fmt.Errorf("port %+v", p)
			}
		}
		if err := CreatePort("vvport3", "e3", testMAC, 1450); err != nil {
			return fmt.Errorf("a port that was half made cannot be finished: %w", err)
		}
		if err := CreatePort("vvport3", "other", testMAC, 1450); !errors.Is(err, model.ErrExists) {
			return fmt.Errorf("another's port is taken: %v", err)
		}
		l, err := netlink.LinkByName("vvport3")
		if err != nil || l.Attrs().RawFlags&unix.IFF_UP == 0 {
			return fmt.Errorf("it is not up: %v", err)
		}
		return nil
	})
}
