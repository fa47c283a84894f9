// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// webs is a network of both families.
func webs(t *testing.T) model.Network {
	t.Helper()
	return net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1")
}

func (n *node) cutSegments(t *testing.T) {
	t.Helper()
	n.setOffload(t, "ul0", setTSO, false)
	n.setOffload(t, "ul0", setGSO, false)
}

func TestNodesReachEachOtherOverIPv6(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n1, n2 := twoNodes6(t, mode, webs(t), net46(t, "red", "db", 2, "10.1.2.0/24", "10.1.2.254", "fd02::/64", "fd02::1"))
		a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
		d := n2.start("red:db", "10.1.2.1", "fd02::a")
		c.apply()
		for _, to := range []*container{b, d} {
			for _, ip := range to.endpoint.Addrs() {
				a.reaches(ip)
				if err := a.ping(ip, 4000, patience); err != nil {
					t.Errorf("4000 bytes to %s: %v", ip, err)
				}
			}
			answers(t, a, to, 5000)
		}
		sendsMuch(t, a, b, false)
		sendsMuch(t, d, a, true)
	})
}

func TestStreamsPassAnIPv6UnderlayThatCutsSegments(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	n1.cutSegments(t)
	n2.cutSegments(t)
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	sendsMuch(t, a, b, false)
	sendsMuch(t, a, b, true)
}

// Kernels before 6.3 cannot say that IPv4 comes out of an IPv6 tunnel.
func TestIPv4LeavesIPv6TunnelsOnOlderKernels(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	c.asOlderKernels()
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	for _, size := range []int{8, 64, 1000} { // the first is shorter than an IPv6 header
		if err := a.ping(b.endpoint.IPv4, size, patience); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	sendsMuch(t, a, b, false)
	sendsMuch(t, a, b, true)
}

func TestPacketsTooBigForAnIPv6TunnelAreAnswered(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	learnsPath(t, a, b, 1500, 1430)
}

// The node on the wider part learns from the other's MTU, as a switch drops what that does not take and says nothing.
func TestNodesOfTwoMTUsMeetInTheSmaller(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		nodes func(testing.TB, AttachMode, ...model.Object) (*cluster, *node, *node)
		want  int
	}{"IPv4": {twoNodes, 1450}, "IPv6": {twoNodes6, 1430}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, n1, n2 := x.nodes(t, AttachAuto, webs(t))
			n2.opts.MTU = 1500
			for _, n := range c.nodes {
				n.setMTU(t, "ul0", 9000)
				must(t, n.dp.Close())
				n.open()
			}
			a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
			c.put(model.Node{Name: n2.name, VTEP: n2.vtep, VXLANPort: 4789, MTU: 1500})
			c.apply()
			learnsPath(t, a, b, 9000-Overhead(n1.vtep), x.want)
			// An answer that routers may fragment, as the kernel's IPv4 ones, is told too.
			for _, ip := range b.endpoint.Addrs() {
				if a.ping(ip, 4000, silence) != nil {
					if err := a.ping(ip, 4000, patience); err != nil {
						t.Errorf("4000 bytes to %s: %v", ip, err)
					}
				}
			}
		})
	}
}

func TestContainersOwnTunnelsAreCarriedOverIPv6(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	tunnelsOfTheirOwn(t, c, n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b"))
}

// udp6 is a UDP packet without a checksum, with whatever comes between the headers.
func udp6(from, to netip.Addr, next byte, between []byte, port uint16, payload []byte) []byte {
	return ipv6(from, to, next, between, udpHeader(50000, port, len(payload)), payload)
}

// vxlan6 puts a frame into a tunnel over IPv6.
func vxlan6(fromMAC, toMAC model.MAC, from, to netip.Addr, vni uint32, inner []byte) []byte {
	h := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
	return ethernet(fromMAC, toMAC, unix.ETH_P_IPV6, udp6(from, to, unix.IPPROTO_UDP, nil, 4789, append(h, inner...)))
}

func TestTunnelsOverIPv6TakeOnlyWhatANodeMaySend(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	addr := netip.MustParseAddr
	// It differs from the first in the first half of its address only.
	third := model.Node{Name: "n3", VTEP: addr("fd00:3::10"), VXLANPort: 4789}
	c.put(third)
	c.apply()
	a.reaches(b.endpoint.IPv4)
	b.reaches(a.endpoint.IPv6)

	wire, there := n1.raw(t, "ul0"), b.raw(t, "eth0")
	from, to := macOf(t, n1.space, "ul0"), macOf(t, n2.space, "ul0")
	inner := udp4(a.endpoint.MAC, b.endpoint.MAC, a.endpoint.IPv4, b.endpoint.IPv4, 3)
	good := vxlan6(from, to, n1.vtep, n2.vtep, 1, inner)
	isInner := func(f []byte) bool { return len(f) == 14+28+3 }
	wire.send(good)
	if there.receive(patience, isInner) == nil {
		all, _ := n2.dp.Drops()
		t.Fatalf("a right packet did not arrive: %v", nonZero(all))
	}
	vx := good[14+48:] // from the VXLAN header on
	outer := func(next byte, between []byte) []byte {
		return ethernet(from, to, unix.ETH_P_IPV6, udp6(n1.vtep, n2.vtep, next, between, 4789, vx))
	}
	withoutVNI := append([]byte(nil), good...)
	withoutVNI[14+48] = 0
	for name, x := range map[string]struct {
		reason string
		frame  []byte
	}{
		"unknown node":                      {"unknown_peer", vxlan6(from, to, addr("fd00:2::99"), n2.vtep, 1, inner)},
		"unknown node, not IP":              {"unknown_peer", vxlan6(from, to, addr("fd00:2::99"), n2.vtep, 1, arp(1, stranger, stranger, a.endpoint.IPv4, b.endpoint.IPv4))},
		"another node, on a known flow":     {"spoofed_tunnel", vxlan6(from, to, third.VTEP, n2.vtep, 1, inner)},
		"half of a node's address":          {"spoofed_tunnel", vxlan6(from, to, addr("fd00:9::10"), n2.vtep, 1, inner)},
		"another node, with no flow yet":    {"spoofed_tunnel", vxlan6(from, to, third.VTEP, n2.vtep, 1, udp4(a.endpoint.MAC, b.endpoint.MAC, addr("10.1.1.77"), b.endpoint.IPv4, 3))},
		"unknown network":                   {"unknown_vni", vxlan6(from, to, n1.vtep, n2.vtep, 99, inner)},
		"ARP":                               {"ethertype", vxlan6(from, to, n1.vtep, n2.vtep, 1, arp(1, a.endpoint.MAC, a.endpoint.MAC, a.endpoint.IPv4, b.endpoint.IPv4))},
		"no network identifier":             {"outer_header", withoutVNI},
		"destination options":               {"outer_header", outer(60, []byte{17, 0, 1, 4, 0, 0, 0, 0})},
		"a routing header":                  {"outer_header", outer(43, []byte{17, 0, 0, 0, 0, 0, 0, 0})},
		"the first fragment":                {"outer_fragment", outer(44, []byte{17, 0, 0, 1, 0, 0, 0, 7})},
		"a fragment that is all":            {"outer_fragment", outer(44, []byte{17, 0, 0, 0, 0, 0, 0, 7})},
		"a fragment behind hop-by-hop ones": {"outer_fragment", outer(0, []byte{44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 7})},
		"cut short":                         {"malformed", good[:90]},
	} {
		t.Run(name, func(t *testing.T) {
			n2.wantDrop(x.reason, func() { wire.send(x.frame) })
		})
	}
	// On an IPv6 underlay tunnels over IPv4 are nobody's, whatever they say.
	wire.send(vxlan(from, to, addr("192.168.2.10"), addr("0.0.0.0"), 1, inner))
	if got := there.receive(silence, isInner); got != nil {
		t.Errorf("a packet that should not have arrived: % x", got)
	}
}

func TestHostsOwnIPv6TrafficPassesTheUplink(t *testing.T) {
	t.Parallel()
	_, n1, n2 := twoNodes6(t, AttachAuto)
	for _, port := range []int{0, 4788} {
		var conn net.PacketConn
		must(t, n2.do(func() (err error) {
			conn, err = net.ListenUDP("udp6", &net.UDPAddr{IP: net.IP(n2.vtep.AsSlice()), Port: port})
			return err
		}))
		defer conn.Close()
		for _, size := range []int{1, 3000} {
			must(t, n1.do(func() error {
				out, err := net.Dial("udp6", conn.LocalAddr().String())
				if err != nil {
					return err
				}
				defer out.Close()
				_, err = out.Write(make([]byte, size))
				return err
			}))
			must(t, conn.SetReadDeadline(deadline()))
			if got, _, err := conn.ReadFrom(make([]byte, 65536)); err != nil || got != size {
				t.Errorf("%d bytes of the host's own %d arrived: %v", got, size, err)
			}
		}
	}
}

// As TestWireIsThatOfTheKernelsVXLANDevice. The device has to be told that checksums may be zero.
func TestIPv6WireIsThatOfTheKernelsVXLANDevice(t *testing.T) {
	t.Parallel()
	network := webs(t)
	network.Tag = 7
	c := newCluster(t, network)
	s, other := newSpace(t), newSpace(t)
	veth(t, s, "ul0", other, "ul0")
	setUp(t, s, "ul0", "fd00:2::10/64")
	setUp(t, other, "ul0", "fd00:2::11/64")
	n := c.newNode("ul0", "fd00:2::10", s, AttachAuto)
	n.cutSegments(t)
	other.setOffload(t, "ul0", setTSO, false)
	other.setOffload(t, "ul0", setGSO, false)
	a := n.start("red:web", "10.1.1.1", "fd01::a")

	there := netip.MustParseAddr("10.1.1.2")
	mac := model.MACOf(there)
	c.put(model.Node{Name: "kernel", VTEP: netip.MustParseAddr("fd00:2::11"), VXLANPort: 4789})
	c.put(model.Endpoint{ID: "k", Tenant: "red", Network: "web", Node: "kernel", Port: "x", IPv4: there, IPv6: netip.MustParseAddr("fd01::b"), MAC: mac})
	c.apply()
	must(t, other.nl.LinkAdd(&netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vx0", HardwareAddr: mac[:], MTU: 1430}, VxlanId: 7, Port: 4789,
		SrcAddr: net.ParseIP("fd00:2::11"), Group: net.ParseIP("fd00:2::10"), Learning: false, UDP6ZeroCSumRx: true,
	}))
	vx := setUp(t, other, "vx0", "10.1.1.2/24", "fd01::b/64")
	for _, ip := range a.endpoint.Addrs() {
		must(t, other.nl.NeighSet(&netlink.Neigh{
			LinkIndex: vx.Attrs().Index, IP: net.IP(ip.AsSlice()), HardwareAddr: a.endpoint.MAC[:], State: netlink.NUD_PERMANENT,
		}))
	}
	k := &container{space: other, t: t, node: n, endpoint: model.Endpoint{IPv4: there, IPv6: netip.MustParseAddr("fd01::b")}}
	a.reaches(there)
	a.reaches(k.endpoint.IPv6)
	k.reaches(a.endpoint.IPv4)
	k.reaches(a.endpoint.IPv6)
	sendsMuch(t, a, k, false)
	sendsMuch(t, k, a, true)
}

func TestNodeBehindAnIPv6RouterIsReached(t *testing.T) {
	t.Parallel()
	c := newCluster(t, webs(t))
	s1, router, s2 := newSpace(t), newSpace(t), newSpace(t)
	veth(t, s1, "ul0", router, "left")
	veth(t, s2, "ul0", router, "right")
	setUp(t, s1, "ul0", "fd00:2::10/64")
	setUp(t, s2, "ul0", "fd00:3::10/64") // the last half is that of the other
	setUp(t, router, "left", "fd00:2::1/64")
	setUp(t, router, "right", "fd00:3::1/64")
	forward(t, router)
	n1, n2 := c.newNode("ul0", "fd00:2::10", s1, AttachAuto), c.newNode("ul0", "fd00:3::10", s2, AttachAuto)
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	n1.wantDrop("no_route", func() { a.doesNotReach(b.endpoint.IPv4) })
	for _, x := range []struct {
		s       *space
		net, gw string
	}{{s1, "fd00:3::/64", "fd00:2::1"}, {s2, "fd00:2::/64", "fd00:3::1"}} {
		_, dst, err := net.ParseCIDR(x.net)
		must(t, err)
		must(t, x.s.nl.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(x.gw)}))
	}
	c.apply()
	a.reaches(b.endpoint.IPv4)
	b.reaches(a.endpoint.IPv6)
}

func TestConnectionsDifferInTheOuterSourcePortAndFlowLabelOverIPv6(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	a.reaches(b.endpoint.IPv4)
	here, there := a.raw(t, "eth0"), n2.raw(t, "ul0")
	different := map[uint16]bool{}
	for i := range 64 {
		inner := uint16(20000 + i)
		here.send(ethernet(a.endpoint.MAC, b.endpoint.MAC, unix.ETH_P_IP, ipv4(a.endpoint.IPv4, b.endpoint.IPv4, unix.IPPROTO_UDP, udpHeader(inner, 9, 0))))
		f := there.receive(patience, func(f []byte) bool {
			return len(f) == 112 && binary.BigEndian.Uint16(f[56:]) == 4789 && binary.BigEndian.Uint16(f[104:]) == inner
		})
		if f == nil {
			t.Fatal("the packet did not arrive")
		}
		port, first := binary.BigEndian.Uint16(f[54:]), binary.BigEndian.Uint32(f[14:])
		if port < 49152 || first != 0x60000000|uint32(port) || f[60] != 0 || f[61] != 0 {
			t.Errorf("outer source port %d, first word %x, checksum % x", port, first, f[60:62])
		}
		different[port] = true
	}
	if len(different) < 60 {
		t.Errorf("64 connections have %d outer source ports", len(different))
	}
}

func TestNetprofileMarksWhatItsMembersSendOverIPv6Tunnels(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes6(t, AttachAuto, webs(t))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	a.profile(model.Netprofile{DSCP: 46})
	c.apply()
	there := n2.raw(t, "ul0")
	for _, ip := range b.endpoint.Addrs() {
		a.reaches(ip)
		outer := there.receive(patience, func(f []byte) bool {
			return len(f) > 14+70 && binary.BigEndian.Uint16(f[56:]) == 4789 && netip.AddrFrom16([16]byte(f[22:38])) == n1.vtep
		})
		if outer == nil || serviceClass(outer) != 46<<2 || serviceClass(outer[70:]) != 46<<2 {
			t.Errorf("to %s goes % x", ip, outer)
		}
	}
}

func TestNodesOfTwoFamiliesSayThatTheyCannotMeet(t *testing.T) {
	t.Parallel()
	c, n1, _ := twoNodes6(t, AttachAuto, webs(t))
	a := n1.start("red:web", "10.1.1.1", "fd01::a")
	c.put(model.Node{Name: "old", VTEP: netip.MustParseAddr("192.168.2.12"), VXLANPort: 4789})
	there := model.Endpoint{ID: "away", Tenant: "red", Network: "web", Node: "old", Port: "vvport1", IPv4: netip.MustParseAddr("10.1.1.3"), MAC: stranger}
	c.put(there)
	c.apply()
	n1.wantDrop("no_route", func() { a.doesNotReach(there.IPv4) })
}

// As docs/install.md has it: all netplugins are stopped, and start with addresses of the other family.
func TestClusterMovesToIPv6UnderItsContainers(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, webs(t))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	a.reaches(b.endpoint.IPv4)
	conn := a.dial(b.serve(b.endpoint.IPv4, "hello"))
	greeted(t, conn)
	for n, vtep := range map[*node]string{n1: "fd00:2::10", n2: "fd00:2::11"} {
		setUp(t, n.space, "ul0", vtep+"/64")
		must(t, n.dp.Close())
		n.vtep = netip.MustParseAddr(vtep)
		n.opts.VTEP = n.vtep
		n.open()
		c.put(model.Node{Name: n.name, VTEP: n.vtep, VXLANPort: 4789})
	}
	c.apply()
	for _, ip := range b.endpoint.Addrs() {
		a.reaches(ip)
	}
	streams(t, conn) // though its device takes more than the path does now
}
