// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// Outside is a name that a lab's resolver knows: it stands for all of the Internet.
const Outside = "contiv.com"

// ServeNames answers every question about Outside with the address, if it is valid, and any other with "no such name", as a resolver on the
// Internet would for names that only containers have. A lab has no Internet, and without an answer every wrong name takes ten seconds.
func ServeNames(conn net.PacketConn, outside netip.Addr) error {
	b := make([]byte, dns.MaxMsgSize)
	for {
		n, from, err := conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		var q dns.Msg
		if q.Unpack(b[:n]) != nil {
			continue
		}
		m := new(dns.Msg).SetReply(&q)
		switch {
		case !outside.IsValid() || len(q.Question) != 1 || q.Question[0].Name != dns.Fqdn(Outside):
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}
			m.Answer = []dns.RR{&dns.A{Hdr: header, A: outside.AsSlice()}}
		}
		answer, err := m.Pack()
		if err != nil {
			return fmt.Errorf("encode an answer: %w", err)
		}
		_, _ = conn.WriteTo(answer, from) // whoever asked asks again
	}
}
