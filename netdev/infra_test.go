// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
)

var testInfra = Infra{
	Device: "contivh1", Port: model.InfraPort("contivh1"), MAC: testMAC, MTU: 1450,
	Addrs: []netip.Prefix{netip.MustParsePrefix("132.1.1.2/24"), netip.MustParsePrefix("fd09::2/64")},
}

// addDevice gives the node a device with an address, which is nobody of ours.
func addDevice(name, addr string) error {
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err == nil {
		err = netlink.AddrAdd(link, a)
	}
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	return err
}

func TestPlaceInAnInfraNetworkIsMadeOnceAndFollowsItsNetwork(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		for _, first := range []bool{true, false} {
			if made, err := MakeInfra(testInfra); made != first || err != nil {
				t.Errorf("made %t, %v; want %t", made, err, first)
			}
		}
		want := []NodeRoute{{netip.MustParsePrefix("10.1.2.0/24"), netip.MustParseAddr("132.1.1.1")}, {netip.MustParsePrefix("10.1.3.0/24"), netip.Addr{}}, {netip.MustParsePrefix("fd01::/64"), netip.MustParseAddr("fd09::1")}}
		for _, routes := range [][]NodeRoute{want, want, want[1:], {{want[1].Prefix, want[0].Via}}, nil} {
			if err := SetNodeRoutes("contivh1", routes); err != nil {
				t.Error(err)
			}
			if missing, err := MissingRoutes("contivh1", routes); len(missing) > 0 || err != nil {
				t.Errorf("missing are %v, %v", missing, err)
			}
			if missing, err := MissingRoutes("contivh1", want); len(missing) < len(want)-len(routes) || err != nil {
				t.Errorf("of %v only %v are missing, %v", want, missing, err)
			}
		}
		// Its network was made anew.
		other := testInfra
		other.Addrs, other.MAC = []netip.Prefix{netip.MustParsePrefix("132.1.9.7/25")}, model.MAC{2, 2, 132, 1, 9, 7}
		if made, err := MakeInfra(other); made || err != nil {
			t.Errorf("made %t, %v", made, err)
		}
		link, err := netlink.LinkByName("contivh1")
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil || len(addrs) != 1 || prefixOf(addrs[0].IPNet) != other.Addrs[0] || link.Attrs().HardwareAddr.String() != other.MAC.String() || link.Attrs().MTU != 1450 {
			t.Errorf("it has %v, %s, MTU %d, %v", addrs, link.Attrs().HardwareAddr, link.Attrs().MTU, err)
		}
		if u, err := FindUplinks("none"); err != nil || len(u.Devices) > 0 {
			t.Errorf("uplinks are %v, %v", u, err)
		}
		return nil
	})
}

func TestPlacesOfKilledMakersAndGoneNetworksAreRemovedAndOthersLeft(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if _, err := MakeInfra(testInfra); err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "killed"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "vvkilled", PeerHardwareAddr: net.HardwareAddr(model.RouterMAC[:])}); err != nil {
			return err
		}
		if _, err := MakeOutside(testOutside); err != nil {
			return err
		}
		attrs.Name = "theirs"
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "vvtheirs"}); err != nil {
			return err
		}
		if have, err := InfraDevices(); !slices.Equal(have, []string{"contivh1", "killed"}) || err != nil {
			t.Errorf("there are %v, %v", have, err)
		}
		for range 2 {
			if err := RemoveInfra(); err != nil {
				t.Error(err)
			}
		}
		for name, left := range map[string]bool{"contivh1": false, "killed": false, "theirs": true, model.OutsideDevice: true} {
			if _, err := netlink.LinkByName(name); (err == nil) != left {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	})
}

func TestPlaceThatWouldTakeFromTheNodeWhatItHasIsRefused(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := addDevice("contivh1", "192.0.2.1/24"); err != nil {
			return err
		}
		if made, err := MakeInfra(testInfra); made || !errors.Is(err, model.ErrExists) {
			t.Errorf("a device of others: %t, %v", made, err)
		}
		if err := addDevice("lan", "132.1.0.1/16"); err != nil {
			return err
		}
		other := testInfra
		other.Device, other.Port = "storage", "vvstorage"
		if made, err := MakeInfra(other); made || !errors.Is(err, model.ErrExists) {
			t.Errorf("a subnet of the node's: %t, %v", made, err)
		}
		other.Addrs = []netip.Prefix{netip.MustParsePrefix("140.1.1.1/24")}
		if _, err := MakeInfra(other); err != nil {
			return err
		}
		lan, err := netlink.LinkByName("lan")
		if err != nil {
			return err
		}
		_, wide, _ := net.ParseCIDR("10.0.0.0/8")
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: lan.Attrs().Index, Dst: wide, Gw: net.ParseIP("132.1.0.9")}); err != nil {
			return err
		}
		err = SetNodeRoutes("storage", []NodeRoute{{Prefix: netip.MustParsePrefix("132.1.2.0/24")}, {Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("10.1.2.0/24")}})
		if !errors.Is(err, model.ErrExists) {
			t.Errorf("routes over the node's own: %v", err)
		}
		missing, err := MissingRoutes("storage", []NodeRoute{{Prefix: netip.MustParsePrefix("132.1.2.0/24")}, {Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("10.1.2.0/24")}})
		if len(missing) != 2 || err != nil {
			t.Errorf("missing are %v, %v; want those over the node's own", missing, err)
		}
		return nil
	})
}
