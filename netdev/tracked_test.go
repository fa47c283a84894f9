// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestConnectionsOfAPrivateAddressAreForgottenAndOthersAreKept(t *testing.T) {
	t.Parallel()
	err := Do(namespace(t), func() error {
		flow := func(source string, port uint16) *netlink.ConntrackFlow {
			a, b := net.ParseIP(source).To4(), net.IPv4(192, 0, 2, 1).To4()
			return &netlink.ConntrackFlow{
				FamilyType: netlink.FAMILY_V4, TimeOut: 100,
				Forward: netlink.IPTuple{Protocol: 17, SrcIP: a, DstIP: b, SrcPort: port, DstPort: 53},
				Reverse: netlink.IPTuple{Protocol: 17, SrcIP: b, DstIP: a, SrcPort: 53, DstPort: port},
			}
		}
		for _, f := range []*netlink.ConntrackFlow{flow("172.19.0.5", 1), flow("172.19.0.5", 2), flow("172.19.0.6", 3)} {
			if err := netlink.ConntrackCreate(netlink.ConntrackTable, netlink.FAMILY_V4, f); err != nil {
				return err
			}
		}
		for range 2 { // none to forget is fine
			if err := ForgetTracked(netip.MustParseAddr("172.19.0.5")); err != nil {
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
