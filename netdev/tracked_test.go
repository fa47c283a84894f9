// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// track has connection tracking know a question of names.
func track(source string, port uint16) error {
	a, b := net.ParseIP(source).To4(), net.IPv4(192, 0, 2, 1).To4()
	return netlink.ConntrackCreate(netlink.ConntrackTable, netlink.FAMILY_V4, &netlink.ConntrackFlow{
		FamilyType: netlink.FAMILY_V4, TimeOut: 100,
		Forward: netlink.IPTuple{Protocol: 17, SrcIP: a, DstIP: b, SrcPort: port, DstPort: 53},
		Reverse: netlink.IPTuple{Protocol: 17, SrcIP: b, DstIP: a, SrcPort: 53, DstPort: port},
	})
}

func TestConnectionsOfAPrivateAddressAreForgottenAndOthersAreKept(t *testing.T) {
	t.Parallel()
	err := Do(namespace(t), func() error {
		for port, source := range []string{"172.19.0.5", "172.19.0.5", "172.19.0.6"} {
			if err := track(source, uint16(port+1)); err != nil {
				return err
			}
		}
		for range 2 { // none to forget is fine
			if err := ForgetTracked(func(a netip.Addr) bool { return a == netip.MustParseAddr("172.19.0.5") }); err != nil {
				return err
			}
		}
		left, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		if err == nil && (len(left) != 1 || left[0].Forward.SrcPort != 3) {
			t.Errorf("left are %v", left)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnectionsOfPrivateAddressesGoWithTheWayToTheOutside(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		_, err := MakeOutside(testOutside)
		for port, source := range []string{"172.19.0.5", "172.19.3.4", "172.20.0.1"} {
			err = errors.Join(err, track(source, uint16(port+1)))
		}
		for range 2 {
			err = errors.Join(err, RemoveOutside())
		}
		left, e := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		if len(left) != 1 || left[0].Forward.SrcPort != 3 {
			t.Errorf("left are %v", left)
		}
		return errors.Join(err, e)
	})
}

func TestDatagramsToTargetsThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	a, b, c := netip.MustParseAddrPort("172.19.0.3:53"), netip.MustParseAddrPort("172.19.0.4:53"), netip.MustParseAddrPort("172.19.0.5:53")
	to := func(at string, targets ...netip.AddrPort) Entrance {
		return entrance(at, 17, targets...)
	}
	was := []Entrance{to("10.96.0.10:53", a, b), to("0.0.0.0:30053", a, b), to("10.96.0.11:53", a)}
	is := []Entrance{to("10.96.0.10:53", b, c), to("0.0.0.0:30053", b), to("10.96.0.11:53", a), to("10.96.0.12:53", c)}
	err := Do(namespace(t), func() error {
		port := uint16(1000)
		var stale []uint16
		for _, f := range []struct {
			to      string
			answers netip.AddrPort
			stale   bool
		}{
			{"10.96.0.10:53", a, true}, {"10.96.0.10:53", b, false}, {"192.0.2.1:30053", a, true}, {"192.0.2.1:30053", b, false},
			{"10.96.0.11:53", a, false},                                       // nothing has changed there
			{"10.96.0.12:53", netip.MustParseAddrPort("10.96.0.12:53"), true}, // sent out when nobody knew of the service
			{"198.51.100.1:53", a, false},                                     // a published port
		} {
			port++
			if f.stale {
				stale = append(stale, port)
			}
			sent, client := netip.MustParseAddrPort(f.to), net.IPv4(192, 0, 2, 9).To4()
			if err := netlink.ConntrackCreate(netlink.ConntrackTable, netlink.FAMILY_V4, &netlink.ConntrackFlow{
				FamilyType: netlink.FAMILY_V4, TimeOut: 100,
				Forward: netlink.IPTuple{Protocol: 17, SrcIP: client, DstIP: sent.Addr().AsSlice(), SrcPort: port, DstPort: sent.Port()},
				Reverse: netlink.IPTuple{Protocol: 17, SrcIP: f.answers.Addr().AsSlice(), DstIP: client, SrcPort: f.answers.Port(), DstPort: port},
			}); err != nil {
				return err
			}
		}
		if err := ForgetDatagrams(was, is); err != nil {
			return err
		}
		left, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		for _, f := range left {
			if slices.Contains(stale, f.Forward.SrcPort) {
				t.Errorf("%s is left", f)
			}
		}
		if len(left) != 7-len(stale) {
			t.Errorf("%d are left", len(left))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
