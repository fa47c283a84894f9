// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net/netip"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// The node's end of a new veth pair drops what it is to send until the kernel gets round to giving it a queue, which a busy machine does late.
func TestAnswersDoNotPassTheQueueOfTheVethPair(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	a, b := n.start("red:web", "10.1.1.1", "fd01::a"), n.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	must(t, n.do(func() error {
		return exec.Command("tc", "qdisc", "add", "dev", a.endpoint.Port, "root", "blackhole").Run()
	}))
	wire := a.raw(t, "eth0")
	wire.send(arp(1, a.endpoint.MAC, a.endpoint.MAC, a.endpoint.IPv4, b.endpoint.IPv4))
	reply := wire.receive(patience, func(f []byte) bool {
		return len(f) >= 42 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && f[21] == 2
	})
	if reply == nil || model.MAC(reply[22:28]) != b.endpoint.MAC {
		t.Errorf("ARP is answered by % x", reply)
	}
	for _, to := range []netip.Addr{netip.MustParseAddr("10.1.1.254"), netip.MustParseAddr("fd01::1"), b.endpoint.IPv4, b.endpoint.IPv6} {
		a.reaches(to)
	}
}
