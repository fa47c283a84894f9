// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
)

var testOutside = Outside{Addrs: []netip.Prefix{netip.MustParsePrefix("172.19.255.254/16")}, MAC: testMAC, MTU: 1450}

// addUnmarked adds what a maker leaves that is killed half-way, or, with another port, what is somebody else's.
func addUnmarked(port string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = model.OutsideDevice
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: port})
}

func TestWayToTheOutsideOfAKilledMakerIsTakenOver(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := addUnmarked(model.OutsidePort); err != nil {
			return err
		}
		for range 2 {
			if made, err := MakeOutside(testOutside); made || err != nil {
				t.Errorf("made %t, %v; want the one that is there", made, err)
			}
		}
		link, err := netlink.LinkByName(model.OutsideDevice)
		if err != nil {
			return err
		}
		if link.Attrs().Alias != outsideAlias {
			t.Errorf("it is marked %q", link.Attrs().Alias)
		}
		return nil
	})
}

func TestWayToTheOutsideOfAKilledMakerIsRemoved(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := addUnmarked(model.OutsidePort); err != nil {
			return err
		}
		for range 2 {
			if err := RemoveOutside(); err != nil {
				return err
			}
		}
		if link, err := outsideLink(); link != nil || err != nil {
			t.Errorf("left is %v, %v", link, err)
		}
		return nil
	})
}

func TestDeviceOfOthersIsNotTakenForTheWayToTheOutside(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := addUnmarked("other"); err != nil {
			return err
		}
		if _, err := MakeOutside(testOutside); !errors.Is(err, model.ErrExists) {
			t.Errorf("a pair of others: %v", err)
		}
		if err := RemoveOutside(); err != nil {
			return err
		}
		_, err := netlink.LinkByName(model.OutsideDevice)
		return err // it is left
	})
}

func TestRoutesIntoAPrefixAreThoseOfOthersThanTheWayToTheOutside(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if _, err := MakeOutside(testOutside); err != nil {
			return err
		}
		own := testOutside.Addrs[0].Masked()
		if to, device, ok, err := RouteInto(own); ok || err != nil {
			t.Errorf("into the private subnet leads %s by %s, %v", to, device, err)
		}
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "d0"}, PeerName: "d1"}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		if err := errors.Join(addAddress(link, "d0", netip.MustParsePrefix("10.99.4.1/24")), netlink.LinkSetUp(link)); err != nil {
			return err
		}
		_, everywhere, err := net.ParseCIDR("0.0.0.0/0")
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere, Gw: net.IPv4(10, 99, 4, 2)}); err != nil {
			return err
		}
		for _, into := range []string{"10.99.0.0/16", "10.99.4.128/25"} {
			to, device, ok, err := RouteInto(netip.MustParsePrefix(into))
			if !ok || err != nil || to.String() != "10.99.4.0/24" || device != "device d0" {
				t.Errorf("into %s leads %s by %s, %t, %v", into, to, device, ok, err)
			}
		}
		if to, device, ok, err := RouteInto(netip.MustParsePrefix("10.98.0.0/16")); ok || err != nil {
			t.Errorf("into a prefix of nobody leads %s by %s, %v", to, device, err)
		}
		return nil
	})
}
