// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// sendUDP sends one empty datagram.
func (c *container) sendUDP(to netip.Addr, port uint16) error {
	return c.do(func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(to, port).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return err
	})
}

// ethernet puts a header in front of a payload.
func ethernet(from, to model.MAC, ethertype uint16, payload []byte) []byte {
	f := append(append([]byte{}, to[:]...), from[:]...)
	return append(binary.BigEndian.AppendUint16(f, ethertype), payload...)
}

// ipv4 is a packet with a right header checksum.
func ipv4(from, to netip.Addr, proto byte, payload []byte) []byte {
	h := make([]byte, 20, 20+len(payload))
	h[0], h[8], h[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	binary.BigEndian.PutUint16(h[10:], internetChecksum(h))
	return append(h, payload...)
}

// udpHeader is one without a checksum.
func udpHeader(from, to uint16, payload int) []byte {
	h := binary.BigEndian.AppendUint16(nil, from)
	h = binary.BigEndian.AppendUint16(h, to)
	h = binary.BigEndian.AppendUint16(h, uint16(8+payload))
	return append(h, 0, 0)
}

func udp4(fromMAC, toMAC model.MAC, from, to netip.Addr, payload int) []byte {
	return ethernet(fromMAC, toMAC, unix.ETH_P_IP, ipv4(from, to, unix.IPPROTO_UDP, append(udpHeader(1000, 2000, payload), make([]byte, payload)...)))
}

func arp(operation uint16, ethSource, senderMAC model.MAC, sender netip.Addr, target netip.Addr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, operation)
	b = append(append(b, senderMAC[:]...), sender.AsSlice()...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
	return ethernet(ethSource, broadcast, unix.ETH_P_ARP, b)
}

var (
	broadcast = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	stranger  = model.MAC{2, 2, 9, 9, 9, 9}
)

func TestWhatIsNotTheContainersOwnIsDropped(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto,
		net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"), net4(t, "red", "db", 2, "10.1.2.0/24", ""))
	a, b := n.start("red:web", "10.1.1.1", "fd01::a"), n.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	a.reaches(b.endpoint.IPv4) // the flow is known: spoofing must not hit it
	wire, there := a.raw(t, "eth0"), b.raw(t, "eth0")
	mac, ip, peer := a.endpoint.MAC, a.endpoint.IPv4, b.endpoint.IPv4
	other, none := netip.MustParseAddr("10.1.1.77"), netip.MustParseAddr("0.0.0.0")
	known := udp4(mac, model.RouterMAC, ip, peer, 10)
	for range 2 {
		wire.send(known)
	}
	for name, x := range map[string]struct {
		reason string
		frame  []byte
	}{
		"another's address":             {"spoofed_address", udp4(mac, model.RouterMAC, other, peer, 1)},
		"the receiver's own address":    {"spoofed_address", udp4(mac, model.RouterMAC, peer, peer, 1)},
		"another MAC":                   {"spoofed_mac", udp4(stranger, model.RouterMAC, ip, peer, 1)},
		"another MAC on a known flow":   {"spoofed_mac", udp4(stranger, model.RouterMAC, ip, peer, 10)},
		"ARP for another":               {"spoofed_arp", arp(1, mac, mac, other, peer)},
		"ARP with another MAC":          {"spoofed_arp", arp(1, mac, stranger, ip, peer)},
		"ARP from another MAC":          {"spoofed_mac", arp(1, stranger, stranger, ip, peer)},
		"ARP reply":                     {"arp_unsolicited", arp(2, mac, mac, ip, peer)},
		"gratuitous ARP":                {"arp_unsolicited", arp(1, mac, mac, ip, ip)},
		"ARP probe":                     {"arp_probe", arp(1, mac, mac, none, other)},
		"ARP for nobody":                {"arp_target", arp(1, mac, mac, ip, other)},
		"broadcast":                     {"multicast", udp4(mac, broadcast, ip, netip.MustParseAddr("255.255.255.255"), 1)},
		"multicast":                     {"multicast", udp4(mac, broadcast, ip, netip.MustParseAddr("224.0.0.251"), 1)},
		"nobody":                        {"unknown_destination", udp4(mac, model.RouterMAC, ip, other, 1)},
		"neither IP nor ARP":            {"ethertype", ethernet(mac, broadcast, 0x88cc, make([]byte, 50))},
		"short":                         {"malformed", ethernet(mac, model.RouterMAC, unix.ETH_P_IP, []byte{0x45})},
		"UDP without its header":        {"malformed", ethernet(mac, model.RouterMAC, unix.ETH_P_IP, ipv4(ip, peer, unix.IPPROTO_UDP, []byte{1, 2}))},
		"a VLAN tag":                    {"vlan_tag", ethernet(mac, model.RouterMAC, unix.ETH_P_8021Q, append([]byte{0, 5, 8, 0}, known[14:]...))},
		"IPv6 from another":             {"spoofed_address", nd(mac, 64, 128, "fd01::77", "fd01::b", nil)},
		"router solicitation":           {"multicast", nd(mac, 255, 133, "fe80::1", "ff02::2", nil)},
		"router advertisement":          {"nd_unsolicited", nd(mac, 255, 134, "fd01::a", "fd01::b", nil)},
		"neighbour advertisement":       {"nd_unsolicited", nd(mac, 255, 136, "fd01::a", "fd01::b", make([]byte, 16))},
		"solicitation from another":     {"spoofed_nd", nd(mac, 255, 135, "fd01::b", "ff02::1:ff00:b", netip.MustParseAddr("fd01::b").AsSlice()[:15], 1)},
		"solicitation for nobody":       {"nd_target", nd(mac, 255, 135, "fd01::a", "ff02::1:ff00:99", netip.MustParseAddr("fd01::99").AsSlice())},
		"solicitation from nobody":      {"nd_probe", nd(mac, 255, 135, "::", "ff02::1:ff00:a", netip.MustParseAddr("fd01::a").AsSlice())},
		"solicitation through a router": {"malformed", nd(mac, 64, 135, "fd01::a", "fd01::b", netip.MustParseAddr("fd01::b").AsSlice())},
		"multicast DNS":                 {"multicast", nd(mac, 255, 1, "fe80::1", "ff02::fb", nil)},
		"link-local":                    {"link_local", nd(mac, 64, 128, "fe80::1", "fe80::2", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			n.wantDrop(x.reason, func() { wire.send(x.frame) })
		})
	}
	if got := there.receive(silence, func(f []byte) bool { return len(f) == len(known)-9 }); got != nil {
		t.Errorf("a spoofed packet arrived: % x", got)
	}
}

// nd is an ICMPv6 message with its checksum left zero.
func nd(fromMAC model.MAC, hops, kind byte, from, to string, body []byte, more ...byte) []byte {
	m := append(append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, body...), more...)
	h := make([]byte, 8)
	h[0], h[6], h[7] = 0x60, unix.IPPROTO_ICMPV6, hops
	binary.BigEndian.PutUint16(h[4:], uint16(len(m)))
	h = append(append(h, netip.MustParseAddr(from).AsSlice()...), netip.MustParseAddr(to).AsSlice()...)
	return ethernet(fromMAC, model.RouterMAC, unix.ETH_P_IPV6, append(h, m...))
}

func TestNeighboursAreSeenUnderTheirOwnMACAndOtherNetworksUnderTheNodes(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"), net4(t, "red", "db", 2, "10.1.2.0/24", ""))
	a, b, d := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2"), n.start("red:db", "10.1.2.1")
	c.apply()
	wire := a.raw(t, "eth0")
	for _, x := range []struct {
		target netip.Addr
		want   model.MAC
	}{
		{b.endpoint.IPv4, b.endpoint.MAC}, {netip.MustParseAddr("10.1.1.254"), model.RouterMAC}, {d.endpoint.IPv4, model.RouterMAC},
	} {
		wire.send(arp(1, a.endpoint.MAC, a.endpoint.MAC, a.endpoint.IPv4, x.target))
		reply := wire.receive(patience, func(f []byte) bool {
			return len(f) >= 42 && binary.BigEndian.Uint16(f[12:]) == unix.ETH_P_ARP && f[21] == 2 && netip.AddrFrom4([4]byte(f[28:32])) == x.target
		})
		if reply == nil {
			t.Fatalf("no ARP reply for %s", x.target)
		}
		if got := model.MAC(reply[22:28]); got != x.want || model.MAC(reply[6:12]) != x.want {
			t.Errorf("%s is at %s, want %s", x.target, got, x.want)
		}
	}
}
