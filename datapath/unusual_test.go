// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

func TestHeadersWithOptionsAndExtensionsAreCarried(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	a, near, far := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b"), n2.start("red:web", "10.1.1.3", "fd01::c")
	c.apply()
	wire := a.raw(t, "eth0")
	mac := a.endpoint.MAC
	for _, to := range []*container{near, far} {
		there := to.raw(t, "eth0")
		to4, to6 := to.endpoint.IPv4, to.endpoint.IPv6
		for name, packet := range map[string][]byte{
			"IPv4 options":            withOptions(ipv4(a.endpoint.IPv4, to4, unix.IPPROTO_UDP, append(udpHeader(1000, 2000, 5), "hello"...))),
			"a protocol without more": ipv4(a.endpoint.IPv4, to4, 97, nil),
			"hop-by-hop options":      ipv6(a.endpoint.IPv6, to6, 0, []byte{17, 0, 1, 4, 0, 0, 0, 0}, append(udpHeader(1000, 2000, 5), "hello"...)),
			"two extension headers":   ipv6(a.endpoint.IPv6, to6, 0, []byte{60, 0, 1, 4, 0, 0, 0, 0}, []byte{59, 0, 1, 4, 0, 0, 0, 0}),
		} {
			ethertype := uint16(unix.ETH_P_IP)
			if packet[0]>>4 == 6 {
				ethertype = unix.ETH_P_IPV6
			}
			wire.send(ethernet(mac, model.RouterMAC, ethertype, packet))
			if there.receive(patience, func(f []byte) bool { return bytes.Equal(f[14:], packet) }) == nil {
				all, _ := n1.dp.Drops()
				t.Errorf("%s to %s: did not arrive; drops %v", name, to4, nonZero(all))
			}
		}
	}
	endless := bytes.Repeat([]byte{60, 0, 1, 4, 0, 0, 0, 0}, 12)
	n1.wantDrop("malformed", func() {
		wire.send(ethernet(mac, model.RouterMAC, unix.ETH_P_IPV6, ipv6(a.endpoint.IPv6, near.endpoint.IPv6, 60, endless)))
	})
	// Extension headers hide no neighbour discovery.
	advertisement := make([]byte, 24)
	advertisement[0] = 136
	n1.wantDrop("nd_unsolicited", func() {
		wire.send(ethernet(mac, model.RouterMAC, unix.ETH_P_IPV6, ipv6(a.endpoint.IPv6, near.endpoint.IPv6, 0, []byte{58, 0, 1, 4, 0, 0, 0, 0}, advertisement)))
	})
}

// withOptions adds four one-byte options to an IPv4 packet.
func withOptions(p []byte) []byte {
	out := append(append(append([]byte{}, p[:20]...), 1, 1, 1, 1), p[20:]...)
	out[0], out[10], out[11] = 0x46, 0, 0
	binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
	binary.BigEndian.PutUint16(out[10:], internetChecksum(out[:24]))
	return out
}

func ipv6(from, to netip.Addr, next byte, parts ...[]byte) []byte {
	payload := bytes.Join(parts, nil)
	h := []byte{0x60, 0, 0, 0, byte(len(payload) >> 8), byte(len(payload)), next, 64}
	return append(append(append(h, from.AsSlice()...), to.AsSlice()...), payload...)
}

// The kernel checks on a neighbour that it knows from its link-local address, by unicast.
func TestNeighboursAreStillThereWhenTheKernelLooks(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "", "fd01::/64", "fd01::1"),
		net46(t, "red", "db", 2, "10.1.2.0/24", "", "fd02::/64", "fd02::1"))
	a, b, d := n.start("red:web", "10.1.1.1", "fd01::a"), n.start("red:web", "10.1.1.2", "fd01::b"), n.start("red:db", "10.1.2.1", "fd02::a")
	c.apply()
	wire := a.raw(t, "eth0")
	addr := netip.MustParseAddr
	for _, x := range []struct {
		target netip.Addr
		want   model.MAC
		router bool
	}{
		{b.endpoint.IPv6, b.endpoint.MAC, false}, {addr("fd01::1"), model.RouterMAC, true}, {d.endpoint.IPv6, model.RouterMAC, false},
	} {
		for _, from := range []string{"fe80::1", "fd01::a"} {
			wire.send(nd(a.endpoint.MAC, 255, 135, from, x.target.String(), x.target.AsSlice()))
			reply := wire.receive(patience, func(f []byte) bool {
				return len(f) == 86 && f[54] == 136 && netip.AddrFrom16([16]byte(f[62:78])) == x.target && netip.AddrFrom16([16]byte(f[38:54])) == addr(from)
			})
			if reply == nil {
				t.Fatalf("no advertisement of %s to %s", x.target, from)
			}
			if got := model.MAC(reply[80:86]); got != x.want {
				t.Errorf("%s is at %s, want %s", x.target, got, x.want)
			}
			if router := reply[58]&0x80 != 0; router != x.router || reply[58]&0x60 != 0x60 {
				t.Errorf("flags of %s are %#x", x.target, reply[58])
			}
			pseudo := append(append([]byte{}, reply[22:54]...), 0, 0, 0, 32, 0, 0, 0, unix.IPPROTO_ICMPV6)
			if internetChecksum(append(pseudo, reply[54:]...)) != 0 {
				t.Errorf("the checksum of the advertisement of %s is wrong", x.target)
			}
		}
	}
}

// What a container puts into a tunnel of its own is carried like anything else.
func TestContainersOwnTunnelsAreCarried(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	tunnelsOfTheirOwn(t, c, n1.start("red:web", "10.1.1.1"), n2.start("red:web", "10.1.1.2"))
}

func tunnelsOfTheirOwn(t *testing.T, c *cluster, a, b *container) {
	t.Helper()
	c.apply()
	inside := func(x, other *container, addr string) *container {
		must(t, x.nl.LinkAdd(&netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: "own0", MTU: 1380}, VxlanId: 5, Port: 4789, Learning: true,
			SrcAddr: net.IP(x.endpoint.IPv4.AsSlice()), Group: net.IP(other.endpoint.IPv4.AsSlice()),
		}))
		setUp(t, x.space, "own0", addr+"/24")
		return &container{space: x.space, t: t, node: x.node, endpoint: model.Endpoint{IPv4: netip.MustParseAddr(addr)}}
	}
	ina, inb := inside(a, b, "172.30.0.1"), inside(b, a, "172.30.0.2")
	ina.reaches(inb.endpoint.IPv4)
	// Segments are cut before the second tunnel, as the kernel cuts inside of one tunnel only.
	for _, x := range []*container{a, b} {
		x.setOffload(t, "own0", setTSO, false)
		x.setOffload(t, "own0", setGSO, false)
	}
	sendsMuch(t, ina, inb, false)
}

// asOlderKernels has all nodes do without what came with kernel 6.3.
func (c *cluster) asOlderKernels() {
	c.t.Helper()
	for _, n := range c.nodes {
		must(c.t, n.dp.Close())
		n.opts.decapFrom = 1 << 30
		n.open()
	}
}

// Kernels before 6.3 cannot say that IPv6 comes out of an IPv4 tunnel.
func TestIPv6LeavesTunnelsOnOlderKernels(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	c.asOlderKernels()
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	a.reaches(b.endpoint.IPv6)
	sendsMuch(t, a, b, true)
}
