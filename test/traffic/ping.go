// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// ICMP echo request and reply (RFC 792, RFC 4443 section 4).
const (
	echoRequest4, echoReply4 = 8, 0
	echoRequest6, echoReply6 = 128, 129
	echoHeader               = 8
)

// pinger sends payloads as ICMP echo requests and reads those that come back.
type pinger struct {
	c              *net.IPConn
	id             uint16
	request, reply byte
}

// newPinger opens a raw socket in the calling thread's namespace.
func newPinger(to netip.Addr) (*pinger, error) {
	p := &pinger{id: uint16(rand.Uint32()), request: echoRequest4, reply: echoReply4}
	network := "ip4:icmp"
	if to.Is6() {
		network, p.request, p.reply = "ip6:ipv6-icmp", echoRequest6, echoReply6
	}
	var err error
	if p.c, err = net.DialIP(network, nil, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return nil, fmt.Errorf("open an ICMP socket: %w", err)
	}
	return p, nil
}

func (p *pinger) Write(payload []byte) (int, error) {
	b := make([]byte, echoHeader+len(payload))
	b[0] = p.request
	binary.BigEndian.PutUint16(b[4:], p.id)
	copy(b[echoHeader:], payload)
	if p.request == echoRequest4 { // for ICMPv6 the kernel fills the checksum in
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return p.c.Write(b)
}

// Read gives the payload of the next reply to one of ours.
func (p *pinger) Read(b []byte) (int, error) {
	packet := make([]byte, 2048)
	for {
		n, _, err := p.c.ReadFrom(packet) // without the IPv4 header
		if err != nil {
			return 0, err
		}
		if n > echoHeader && packet[0] == p.reply && binary.BigEndian.Uint16(packet[4:]) == p.id {
			return copy(b, packet[echoHeader:n]), nil
		}
	}
}

func (p *pinger) SetReadDeadline(t time.Time) error { return p.c.SetReadDeadline(t) }

func (p *pinger) Close() error { return p.c.Close() }

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
