// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/datapath"
)

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
	udpHeaderLen  = 8
	// maxUDP is the longest payload of a datagram that we send, in bytes: 65535 less the longer header's.
	maxUDP = 65535 - ipv6HeaderLen - udpHeaderLen
)

// datagram is a UDP packet with its IP header, as a raw socket takes it. Both addresses are of one family, and the payload has at
// most maxUDP bytes. The kernel fills in IPv4's checksum.
func datagram(from, to netip.AddrPort, payload []byte) []byte {
	length := uint16(udpHeaderLen + len(payload))
	b := make([]byte, 0, ipv6HeaderLen+int(length))
	if from.Addr().Is4() {
		b = append(b, 0x45, 0)
		b = binary.BigEndian.AppendUint16(b, ipv4HeaderLen+length)
		b = append(b, 0, 0, 0, 0, byte(datapath.NamesHops), unix.IPPROTO_UDP, 0, 0)
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, length)
		b = append(b, unix.IPPROTO_UDP, byte(datapath.NamesHops))
	}
	addresses := len(b)
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	udp := len(b)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, length)
	b = append(append(b, 0, 0), payload...)
	// The checksum is over the addresses, the protocol, the length and the datagram (RFC 768, RFC 8200 8.1).
	sum := ^checksum(uint32(unix.IPPROTO_UDP)+uint32(length), b[addresses:])
	if sum == 0 {
		sum = 0xffff // 0 says that there is none
	}
	binary.BigEndian.PutUint16(b[udp+6:], sum)
	return b
}

// checksum is the Internet checksum (RFC 1071) of b on top of sum, not yet inverted.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// destinationOf reads from a packet's control messages to which address it was sent.
func destinationOf(oob []byte) (netip.Addr, bool) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return netip.Addr{}, false
		}
		oob = rest
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[8:12])), true // after the device's number and the address of ours
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data[:16])), true
		}
	}
	return netip.Addr{}, false
}
