// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unpack(t testing.TB, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("reply of %d bytes: %v", len(b), err)
	}
	return m
}

// crowd has n endpoints with one alias.
func crowd(n int) responder {
	var all []model.Object
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		all = append(all, model.Endpoint{ID: fmt.Sprint(i), Tenant: "default", Network: "net", Name: fmt.Sprint("c", i), Aliases: []string{"web"}, IPv4: a})
	}
	return responder{names: steady(worldOf("routing", all...)), asker: []string{"0"}}
}

// says is what it replies without having looked for anything.
func (r responder) says(query []byte, over transport) []byte {
	b, _ := r.reply(query, over)
	return b
}

func TestReplyFitsTheTransportAndSaysWhenItDoesNot(t *testing.T) {
	t.Parallel()
	r := crowd(600)
	for _, c := range []struct {
		over  transport
		edns  uint16 // 0: without
		limit int
		full  bool
	}{
		{udp, 0, 512, false},
		{udp, 100, 512, false}, // less than 512 counts as 512 (RFC 6891 6.2.3)
		{udp, 1232, 1232, false},
		{udp, 65535, udpSize, false},
		{tcp, 0, dns.MaxMsgSize, true},
		{tcp, 1232, dns.MaxMsgSize, true},
	} {
		q := new(dns.Msg).SetQuestion("web.", dns.TypeA)
		if c.edns > 0 {
			q.SetEdns0(c.edns, true)
		}
		b := r.says(pack(t, q), c.over)
		m := unpack(t, b)
		if len(b) > c.limit || m.Truncated == c.full || len(m.Answer) == 0 || (c.full && len(m.Answer) != 600) {
			t.Errorf("%+v: %d bytes, %d records, TC %v", c, len(b), len(m.Answer), m.Truncated)
		}
		if !c.full && len(b) < c.limit-smallestRR-11 {
			t.Errorf("%+v: only %d bytes are used", c, len(b))
		}
		opt := m.IsEdns0()
		if (opt != nil) != (c.edns > 0) || (opt != nil && !opt.Do()) {
			t.Errorf("%+v: OPT in the reply is %v", c, opt)
		}
		if m.Id != q.Id || !m.Response || !m.RecursionAvailable || !m.RecursionDesired || m.Question[0] != q.Question[0] {
			t.Errorf("%+v: header %+v", c, m.MsgHdr)
		}
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	t.Parallel()
	r := crowd(3)
	first := map[string]int{}
	for range 6 {
		r.turn++
		m := unpack(t, r.says(pack(t, new(dns.Msg).SetQuestion("web.", dns.TypeA)), udp))
		if len(m.Answer) != 3 {
			t.Fatalf("%d addresses", len(m.Answer))
		}
		first[m.Answer[0].(*dns.A).A.String()]++
	}
	for a, n := range first {
		if n != 2 || len(first) != 3 {
			t.Errorf("%s came first %d times of 6: %v", a, n, first)
		}
	}
}

func TestKnownNameWithoutTheTypeIsNoData(t *testing.T) {
	t.Parallel()
	m := unpack(t, crowd(1).says(pack(t, new(dns.Msg).SetQuestion("C0.", dns.TypeAAAA)), udp))
	if m.Rcode != dns.RcodeSuccess || len(m.Answer)+len(m.Ns) != 0 {
		t.Errorf("got %v", m)
	}
}

func TestNewerEDNSVersionIsRefused(t *testing.T) {
	t.Parallel()
	q := new(dns.Msg).SetQuestion("c0.", dns.TypeA).SetEdns0(1232, false)
	q.IsEdns0().SetVersion(1)
	m := unpack(t, crowd(1).says(pack(t, q), udp))
	if m.Rcode != dns.RcodeBadVers || m.IsEdns0() == nil || m.IsEdns0().Version() != 0 || len(m.Answer) > 0 {
		t.Errorf("got %v", m)
	}
}

func TestWhatIsNotOursIsLeftToDocker(t *testing.T) {
	t.Parallel()
	r := crowd(1)
	unknown := new(dns.Msg).SetQuestion("example.com.", dns.TypeA)
	notify := new(dns.Msg).SetNotify("c0.")
	chaos := new(dns.Msg).SetQuestion("c0.", dns.TypeA)
	chaos.Question[0].Qclass = dns.ClassCHAOS
	two := new(dns.Msg).SetQuestion("c0.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	response := new(dns.Msg).SetQuestion("c0.", dns.TypeA)
	response.Response = true
	for _, m := range []*dns.Msg{unknown, notify, chaos, two, response} {
		if b := r.says(pack(t, m), udp); b != nil {
			t.Errorf("answered: %v", m)
		}
	}
	if b := r.says([]byte{1, 2, 3}, udp); b != nil {
		t.Errorf("answered what is no message: %x", b)
	}
}

func TestFailureRepeatsTheQuestion(t *testing.T) {
	t.Parallel()
	q := new(dns.Msg).SetQuestion("example.com.", dns.TypeA).SetEdns0(1232, true)
	m := unpack(t, failure(pack(t, q)))
	if m.Rcode != dns.RcodeServerFailure || !m.Response || m.Id != q.Id || len(m.Question) != 1 || m.Question[0] != q.Question[0] {
		t.Errorf("got %v", m)
	}
}

// sameQuestion tells whether an answer repeats the question of the query.
func sameQuestion(query, answer []byte) bool {
	end, ok := questionEnd(query)
	if !ok || binary.BigEndian.Uint16(answer[4:]) == 0 {
		return true
	}
	return len(answer) >= end && bytes.EqualFold(query[headerLen:end], answer[headerLen:end])
}

func FuzzEveryPacketGetsAtMostOneGoodReply(f *testing.F) {
	for _, name := range []string{"web.", "c1.net.", "example.com.", "1.0.1.10.in-addr.arpa."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeANY} {
			m := new(dns.Msg).SetQuestion(name, qtype)
			f.Add(pack(f, m), false)
			f.Add(pack(f, m.SetEdns0(1232, true)), true)
		}
	}
	f.Add([]byte{}, false)
	r := crowd(300)
	f.Fuzz(func(t *testing.T, query []byte, stream bool) {
		over, limit := udp, udpSize
		if stream {
			over, limit = tcp, dns.MaxMsgSize
		}
		for _, b := range [][]byte{r.says(query, over), failure(query)} {
			if b == nil {
				continue
			}
			if !isQuery(query) {
				t.Fatalf("a reply to what is no query: %x", query)
			}
			m := unpack(t, b)
			if len(b) > limit || b[0] != query[0] || b[1] != query[1] || !m.Response || isQuery(b) {
				t.Fatalf("reply to %x is %x", query, b)
			}
			if !sameQuestion(query, b) {
				t.Fatalf("reply to %x asks something else: %x", query, b)
			}
		}
	})
}
