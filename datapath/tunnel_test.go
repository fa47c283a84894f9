// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// vxlan puts a frame into a tunnel.
func vxlan(fromMAC, toMAC model.MAC, from, to netip.Addr, vni uint32, inner []byte) []byte {
	h := []byte{8, 0, 0, 0}
	h = binary.BigEndian.AppendUint32(h, vni<<8)
	payload := append(h, inner...)
	return ethernet(fromMAC, toMAC, unix.ETH_P_IP, ipv4(from, to, unix.IPPROTO_UDP, append(udpHeader(50000, 4789, len(payload)), payload...)))
}

func macOf(t *testing.T, s *space, device string) model.MAC {
	t.Helper()
	l, err := s.nl.LinkByName(device)
	must(t, err)
	return model.MAC(l.Attrs().HardwareAddr)
}

func TestTunnelsTakeOnlyWhatANodeMaySend(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto,
		net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"),
		net4(t, "red", "db", 2, "10.1.2.0/24", ""), net4(t, "blue", "web", 3, "10.1.1.0/24", ""))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	n2.start("red:db", "10.1.2.1")
	internal := net4(t, "red", "own", 4, "10.1.3.0/24", "")
	internal.Internal = true
	c.put(internal)
	n2.start("red:own", "10.1.3.1")
	third := model.Node{Name: "n3", VTEP: netip.MustParseAddr("192.168.2.12"), VXLANPort: 4789}
	c.put(third)
	away := model.Endpoint{ID: "away", Tenant: "red", Network: "web", Node: "n3", Port: "vvport1", IPv4: netip.MustParseAddr("10.1.1.3"), MAC: stranger}
	c.put(away)
	c.apply()
	a.reaches(b.endpoint.IPv4)
	b.reaches(a.endpoint.IPv6)

	wire, there := n1.raw(t, "ul0"), b.raw(t, "eth0")
	from, to := macOf(t, n1.space, "ul0"), macOf(t, n2.space, "ul0")
	inner := func(source, destination netip.Addr) []byte {
		return udp4(a.endpoint.MAC, b.endpoint.MAC, source, destination, 3)
	}
	addr := netip.MustParseAddr
	good := vxlan(from, to, n1.vtep, n2.vtep, 1, inner(a.endpoint.IPv4, b.endpoint.IPv4))
	edited := func(edit func(f []byte)) []byte {
		f := append([]byte(nil), good...)
		edit(f)
		return f
	}
	isInner := func(f []byte) bool { return len(f) == 14+28+3 }
	wire.send(good)
	if there.receive(patience, isInner) == nil {
		all, _ := n2.dp.Drops()
		t.Fatalf("a right packet did not arrive: %v", nonZero(all))
	}
	for name, x := range map[string]struct {
		reason string
		frame  []byte
	}{
		"unknown node":                      {"unknown_peer", vxlan(from, to, addr("192.168.2.99"), n2.vtep, 1, inner(a.endpoint.IPv4, b.endpoint.IPv4))},
		"unknown node, not IP":              {"unknown_peer", vxlan(from, to, addr("192.168.2.99"), n2.vtep, 1, arp(1, stranger, stranger, a.endpoint.IPv4, b.endpoint.IPv4))},
		"another node, on a known flow":     {"spoofed_tunnel", vxlan(from, to, third.VTEP, n2.vtep, 1, inner(a.endpoint.IPv4, b.endpoint.IPv4))},
		"unknown network":                   {"unknown_vni", vxlan(from, to, n1.vtep, n2.vtep, 99, inner(a.endpoint.IPv4, b.endpoint.IPv4))},
		"another node's endpoint":           {"spoofed_tunnel", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(away.IPv4, b.endpoint.IPv4))},
		"the receiver's own endpoint":       {"spoofed_tunnel", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(b.endpoint.IPv4, b.endpoint.IPv4))},
		"nobody's address":                  {"spoofed_tunnel", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(addr("10.1.1.77"), b.endpoint.IPv4))},
		"another tenant's network":          {"spoofed_tunnel", vxlan(from, to, n1.vtep, n2.vtep, 3, inner(a.endpoint.IPv4, b.endpoint.IPv4))},
		"to nobody":                         {"unknown_destination", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(a.endpoint.IPv4, addr("10.1.1.77")))},
		"to another node's endpoint":        {"not_here", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(a.endpoint.IPv4, away.IPv4))},
		"another network's number":          {"other_network", vxlan(from, to, n1.vtep, n2.vtep, 1, inner(a.endpoint.IPv4, addr("10.1.2.1")))},
		"to a network that keeps to itself": {"other_network", vxlan(from, to, n1.vtep, n2.vtep, 4, inner(a.endpoint.IPv4, addr("10.1.3.1")))},
		"ARP":                               {"ethertype", vxlan(from, to, n1.vtep, n2.vtep, 1, arp(1, a.endpoint.MAC, a.endpoint.MAC, a.endpoint.IPv4, b.endpoint.IPv4))},
		"neighbour advertisement":           {"nd_unsolicited", vxlan(from, to, n1.vtep, n2.vtep, 1, nd(a.endpoint.MAC, 255, 136, "fd01::a", "fd01::b", make([]byte, 16)))},
		"no network identifier":             {"outer_header", edited(func(f []byte) { f[42] = 0 })},
		"a fragment of the outer":           {"outer_fragment", edited(func(f []byte) { f[20] = 0x20 })},
		"cut short":                         {"malformed", good[:70]},
	} {
		t.Run(name, func(t *testing.T) {
			n2.wantDrop(x.reason, func() { wire.send(x.frame) })
		})
	}
	if got := there.receive(silence, isInner); got != nil {
		t.Errorf("a packet that should not have arrived: % x", got)
	}
}

func TestHostsOwnTrafficPassesTheUplink(t *testing.T) {
	t.Parallel()
	_, n1, n2 := twoNodes(t, AttachAuto)
	for _, port := range []int{0, 4788} { // UDP to other ports, in one piece and in fragments
		var conn net.PacketConn
		must(t, n2.do(func() (err error) {
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IP(n2.vtep.AsSlice()), Port: port})
			return err
		}))
		defer conn.Close()
		for _, size := range []int{1, 3000} {
			must(t, n1.do(func() error {
				out, err := net.Dial("udp4", conn.LocalAddr().String())
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

// The other node is the kernel's own VXLAN device, so what we write and read is VXLAN.
func TestWireIsThatOfTheKernelsVXLANDevice(t *testing.T) {
	t.Parallel()
	c := newCluster(t, net46(t, "red", "web", 7, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	s, other := newSpace(t), newSpace(t)
	veth(t, s, "ul0", other, "ul0")
	setUp(t, s, "ul0", "192.168.2.10/24")
	setUp(t, other, "ul0", "192.168.2.11/24")
	for _, x := range []*space{s, other} {
		x.setOffload(t, "ul0", setTSO, false)
		x.setOffload(t, "ul0", setGSO, false)
	}
	n := c.newNode("ul0", "192.168.2.10", s, AttachAuto)
	a := n.start("red:web", "10.1.1.1", "fd01::a")

	there := netip.MustParseAddr("10.1.1.2")
	mac := model.MACOf(there)
	c.put(model.Node{Name: "kernel", VTEP: netip.MustParseAddr("192.168.2.11"), VXLANPort: 4789})
	c.put(model.Endpoint{ID: "k", Tenant: "red", Network: "web", Node: "kernel", Port: "x", IPv4: there, IPv6: netip.MustParseAddr("fd01::b"), MAC: mac})
	c.apply()
	must(t, other.nl.LinkAdd(&netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: "vx0", HardwareAddr: mac[:], MTU: 1450}, VxlanId: 7, Port: 4789,
		SrcAddr: net.IPv4(192, 168, 2, 11), Group: net.IPv4(192, 168, 2, 10), Learning: false,
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

func TestNodeBehindARouterIsReached(t *testing.T) {
	t.Parallel()
	c := newCluster(t, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	s1, router, s2 := newSpace(t), newSpace(t), newSpace(t)
	veth(t, s1, "ul0", router, "left")
	veth(t, s2, "ul0", router, "right")
	setUp(t, s1, "ul0", "192.168.2.10/24")
	setUp(t, s2, "ul0", "192.168.3.10/24")
	setUp(t, router, "left", "192.168.2.1/24")
	setUp(t, router, "right", "192.168.3.1/24")
	forward(t, router)
	n1, n2 := c.newNode("ul0", "192.168.2.10", s1, AttachAuto), c.newNode("ul0", "192.168.3.10", s2, AttachAuto)
	a, b := n1.start("red:web", "10.1.1.1"), n2.start("red:web", "10.1.1.2")
	c.apply()
	n1.wantDrop("no_route", func() { a.doesNotReach(b.endpoint.IPv4) })
	for _, x := range []struct {
		s   *space
		net string
		gw  net.IP
	}{{s1, "192.168.3.0/24", net.IPv4(192, 168, 2, 1)}, {s2, "192.168.2.0/24", net.IPv4(192, 168, 3, 1)}} {
		_, dst, err := net.ParseCIDR(x.net)
		must(t, err)
		must(t, x.s.nl.RouteAdd(&netlink.Route{Dst: dst, Gw: x.gw}))
	}
	c.apply()
	a.reaches(b.endpoint.IPv4)
}

// Routers between nodes balance load, and network cards choose receive queues, by the outer source port.
func TestConnectionsDifferInTheOuterSourcePort(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	a, b := n1.start("red:web", "10.1.1.1"), n2.start("red:web", "10.1.1.2")
	c.apply()
	a.reaches(b.endpoint.IPv4)
	here, there := a.raw(t, "eth0"), n2.raw(t, "ul0")
	outer := map[uint16]uint16{} // by the inner source port
	for i := range 64 {
		inner := uint16(20000 + i)
		for range 2 {
			var f []byte
			for end := deadline(); f == nil; { // one may be lost to the kernel's queue between devices, which other tests fill too
				if time.Now().After(end) {
					t.Fatal("the packet did not arrive")
				}
				here.send(ethernet(a.endpoint.MAC, b.endpoint.MAC, unix.ETH_P_IP, ipv4(a.endpoint.IPv4, b.endpoint.IPv4, unix.IPPROTO_UDP, udpHeader(inner, 9, 0))))
				f = there.receive(silence, func(f []byte) bool {
					return len(f) == 92 && binary.BigEndian.Uint16(f[36:]) == 4789 && binary.BigEndian.Uint16(f[84:]) == inner
				})
			}
			port := binary.BigEndian.Uint16(f[34:])
			if port < 49152 {
				t.Errorf("outer source port %d is not a dynamic one", port)
			}
			if before, again := outer[inner]; again && before != port {
				t.Errorf("packets of one connection have outer source ports %d and %d", before, port)
			}
			outer[inner] = port
		}
	}
	different := map[uint16]bool{}
	for _, p := range outer {
		different[p] = true
	}
	if len(different) < 60 {
		t.Errorf("64 connections have %d outer source ports", len(different))
	}
}
