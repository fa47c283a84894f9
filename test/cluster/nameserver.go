// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"net"

	"github.com/miekg/dns"
)

// ServeNoNames answers every question with "no such name", as a resolver on the Internet would for names that only
// containers have. A lab has no Internet, and without an answer every wrong name takes ten seconds.
func ServeNoNames(conn net.PacketConn) error {
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
		answer, err := new(dns.Msg).SetRcode(&q, dns.RcodeNameError).Pack()
		if err != nil {
			return fmt.Errorf("encode an answer: %w", err)
		}
		_, _ = conn.WriteTo(answer, from) // whoever asked asks again
	}
}
