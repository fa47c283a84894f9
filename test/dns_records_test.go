// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

// told asks, in a container, the server that Docker names there, and gives what it answers: each record without its name and class, the
// additional ones behind a plus; or the code of a refusal.
func told(t *testing.T, n *cluster.Node, container string, qtype uint16, name string) string {
	t.Helper()
	var conn net.Conn
	err := netdev.Do(sandbox(t, n, container), func() (err error) {
		conn, err = net.DialTimeout("udp", "127.0.0.11:53", 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.SetEdns0(1232, false)
	m, _, err := (&dns.Client{Timeout: 5 * time.Second}).ExchangeWithConn(q, &dns.Conn{Conn: conn})
	if err != nil {
		return err.Error()
	}
	if m.Rcode != dns.RcodeSuccess {
		return dns.RcodeToString[m.Rcode]
	}
	var out []string
	add := func(mark string, all []dns.RR) {
		for _, rr := range all {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				out = append(out, fmt.Sprintf("%s%d %s", mark, h.Ttl, strings.TrimPrefix(rr.String(), h.String())))
			}
		}
	}
	add("", m.Answer)
	add("+", m.Extra)
	return strings.Join(out, ", ")
}

// servicesHaveRecords asks for those of a service in network plain with one port, 80 of TCP, and an address of IPv4.
func servicesHaveRecords(t *testing.T, n *cluster.Node, container, stranger, service string, vip netip.Addr) {
	backwards, err := dns.ReverseAddr(vip.String())
	if err != nil {
		t.Fatal(err)
	}
	full := service + ".plain."
	srv := fmt.Sprintf("1 0 0 80 %s, +1 %s", full, vip)
	for _, row := range []struct {
		asker string
		qtype uint16
		name  string
		want  string
	}{
		{container, dns.TypeSRV, "_80._tcp." + service + ".", srv},
		{container, dns.TypeSRV, "_80._tcp." + full, srv},
		{container, dns.TypeSRV, full, srv},
		{container, dns.TypeSRV, "_80._udp." + full, ""},
		{container, dns.TypePTR, backwards, "1 " + full},
		{container, dns.TypeA, strings.ToUpper(full), "1 " + vip.String()},
		{container, dns.TypeAAAA, full, ""},
		{stranger, dns.TypePTR, backwards, "NXDOMAIN"},
		{stranger, dns.TypeSRV, full, "NXDOMAIN"},
	} {
		eventually(t, func() error {
			if got := told(t, n, row.asker, row.qtype, row.name); got != row.want {
				return fmt.Errorf("%s asks for %s of %s: got %q, want %q", row.asker, dns.TypeToString[row.qtype], row.name, got, row.want)
			}
			return nil
		})
	}
}
