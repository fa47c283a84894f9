// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Announcement says that an address of a VLAN is at a MAC, so that switches learn where the MAC is and neighbours that know the address
// learn its MAC.
type Announcement struct {
	VLAN uint16 // id, 1 to 4094
	Addr netip.Addr
	MAC  model.MAC
}

// Announce sends announcements out by a device of the calling thread's namespace: gratuitous ARP requests (RFC 5227 3) for IPv4,
// unsolicited neighbour advertisements (RFC 4861 7.2.6) for IPv6.
func Announce(device string, all []Announcement) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // protocol 0: it only sends
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	defer unix.Close(fd)
	i, err := net.InterfaceByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	for _, a := range all {
		if err := unix.Sendto(fd, a.frame(), 0, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
			return fmt.Errorf("announce %s in VLAN %d by %s: %w", a.Addr, a.VLAN, device, err)
		}
	}
	return nil
}

// frame is the announcement as it goes on the wire, from the Ethernet header on, with its 802.1Q tag.
func (a Announcement) frame() []byte {
	if a.Addr.Is4() {
		f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, a.MAC[:]...)
		f = a.tag(f, unix.ETH_P_ARP)
		f = append(f, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
		f = append(append(f, a.MAC[:]...), a.Addr.AsSlice()...)
		return append(append(f, 0, 0, 0, 0, 0, 0), a.Addr.AsSlice()...)
	}
	all := netip.MustParseAddr("ff02::1")
	f := append([]byte{0x33, 0x33, 0, 0, 0, 1}, a.MAC[:]...)
	f = a.tag(f, unix.ETH_P_IPV6)
	const length = 32
	f = append(f, 0x60, 0, 0, 0, 0, length, unix.IPPROTO_ICMPV6, 255)
	addresses := len(f)
	f = append(append(f, a.Addr.AsSlice()...), all.AsSlice()...)
	message := len(f)
	f = append(f, 136, 0, 0, 0, 0x20, 0, 0, 0) // overrides what was known
	f = append(append(f, a.Addr.AsSlice()...), 2, 1)
	f = append(f, a.MAC[:]...)
	sum := uint32(length + unix.IPPROTO_ICMPV6)
	for i := addresses; i < len(f); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(f[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(f[message+2:], ^uint16(sum))
	return f
}

func (a Announcement) tag(f []byte, kind uint16) []byte {
	f = binary.BigEndian.AppendUint16(f, unix.ETH_P_8021Q)
	f = binary.BigEndian.AppendUint16(f, a.VLAN)
	return binary.BigEndian.AppendUint16(f, kind)
}
