// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
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

// What rules deny is told of the container whose rules they are, though others have the same.
func TestRefusedPacketsAreToldOfThePortWhoseRulesTheyAre(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, dual(t))
	c.withPolicy("in", "web", "in", in(model.Deny, "udp", 0))
	c.withPolicy("out", "web", "out", out(model.Deny, "udp", 0))
	guarded, alike := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b")
	near, far := n1.start("red:web", "10.1.1.3", "fd01::c"), n2.start("red:web", "10.1.1.4", "fd01::d")
	sealed := n1.start("red:web", "10.1.1.5", "fd01::e")
	guarded.join("in")
	alike.join("in")
	sealed.join("out")
	c.apply()
	for _, x := range []*container{near, far} {
		must(t, x.sendUDP(guarded.endpoint.IPv4, 9))
	}
	must(t, sealed.sendUDP(near.endpoint.IPv4, 9))
	for end := deadline(); ; time.Sleep(time.Millisecond) {
		counts, err := n1.dp.PortDrops()
		must(t, err)
		if counts[PortDrop{guarded.endpoint.Port, "policy_in"}] == 2 && counts[PortDrop{sealed.endpoint.Port, "policy_out"}] == 1 {
			for _, x := range []*container{alike, near} {
				if n := counts[PortDrop{x.endpoint.Port, "policy_in"}] + counts[PortDrop{x.endpoint.Port, "policy_out"}]; n != 0 {
					t.Errorf("%d are told of %s", n, x.endpoint.IPv4)
				}
			}
			return
		}
		if time.Now().After(end) {
			t.Fatalf("counted are %v", counts)
		}
	}
}
