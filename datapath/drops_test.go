// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"
	"time"
)

func TestDropsAreToldByPortAndReason(t *testing.T) {
	t.Parallel()
	c, n1, _ := twoNodes(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	a := n1.start("red:web", "10.1.1.1")
	b := n1.start("red:web", "10.1.1.3")
	c.apply()
	raw := a.raw(t, "eth0")
	other := netip.MustParseAddr("10.1.1.77")
	for range 3 {
		raw.send(ethernet(a.endpoint.MAC, b.endpoint.MAC, 0x0800, ipv4(other, b.endpoint.IPv4, 17, udpHeader(5, 9, 0))))
	}
	for end := deadline(); ; time.Sleep(time.Millisecond) {
		counts, err := n1.dp.PortDrops()
		must(t, err)
		if counts[PortDrop{a.endpoint.Port, "spoofed_address"}] == 3 {
			if n := counts[PortDrop{b.endpoint.Port, "spoofed_address"}]; n != 0 {
				t.Errorf("%d of them are another port's", n)
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("counted are %v", counts)
		}
	}
}
