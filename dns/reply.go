// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerLen = 12
	maxName   = 255 // bytes of a name on the wire (RFC 1035 2.3.4)
	// udpSize is the largest answer that we send over UDP, in bytes, and what we say that we take. The packets
	// never leave the container, so fragments are no concern.
	udpSize = 4096
	// udpByPortSize is the same of packets that leave it and come back: no fragments do. Every device takes a packet of that size.
	udpByPortSize = 1280 - ipv6HeaderLen - udpHeaderLen
	// smallestRR is an A record whose name is a pointer: no answer of n bytes has more than n/smallestRR records.
	smallestRR = 16
)

// transport is how a query came. Its answer goes back in the same way.
type transport int

const (
	udp       transport = iota
	udpByPort           // the same, reflected by the port
	tcp
)

// limit is the largest answer to a query, in bytes.
func (over transport) limit(query *dns.Msg) int {
	most := udpSize
	switch over {
	case tcp:
		return dns.MaxMsgSize
	case udpByPort:
		most = udpByPortSize
	}
	if opt := query.IsEdns0(); opt != nil {
		return min(max(int(opt.UDPSize()), dns.MinMsgSize), most)
	}
	return dns.MinMsgSize
}

// responder answers what is ours. It does no I/O and is asked for one packet at a time.
type responder struct {
	names *index
	asker []string // ids of its endpoints
	// turn says which of several addresses comes first.
	turn uint32
	// outer is what has been found of a name that reply wanted to know.
	outer outer
}

// reply answers a query of the wire; over says by which transport it came. It is nil where the query is for somebody
// else to answer: an unknown name, or anything that is not a plain question. Or where a name that is not ours is wanted first: then it is
// to be asked again, with what has been found.
func (r responder) reply(query []byte, over transport) (answer []byte, wanted string) {
	var m dns.Msg
	if m.Unpack(query) != nil || m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
		return nil, ""
	}
	limit, opt := over.limit(&m), m.IsEdns0()
	// One record more than fits, so that Truncate sees that there were more.
	q := question{Question: m.Question[0], name: canonical(m.Question[0].Name), turn: r.turn, most: limit/smallestRR + 1, outer: r.outer}
	_, backwards := reverse(q.name)
	var (
		rrs   records
		found bool
	)
	r.names.ask(r.asker, backwards, func(v view) { rrs, found = v.answer(q) })
	if !found || rrs.wanted != "" {
		return nil, rrs.wanted
	}
	out := new(dns.Msg).SetReply(&m)
	out.RecursionAvailable = true // what we do not know is asked on
	if opt != nil {
		out.SetEdns0(udpSize, opt.Do())
		if opt.Version() != 0 {
			out.Rcode, rrs = dns.RcodeBadVers, records{}
		}
	}
	if rrs.rcode != dns.RcodeSuccess {
		out.Rcode = rrs.rcode
	}
	out.Answer, out.Ns = rrs.answer, rrs.authority
	out.Extra = append(out.Extra, rrs.extra...)
	out.Compress = true
	out.Truncate(limit)
	b, err := out.Pack()
	if err != nil {
		return failure(query), ""
	}
	return b, ""
}

// failure is the SERVFAIL for a query, nil where it is no query.
func failure(query []byte) []byte {
	if !isQuery(query) {
		return nil
	}
	end, ok := questionEnd(query)
	questions := byte(1)
	if !ok {
		end, questions = headerLen, 0
	}
	b := append([]byte(nil), query[:end]...)
	b[2] = b[2]&0x79 | 0x80 // QR; opcode and RD as they came
	b[3] = 0x80 | dns.RcodeServerFailure
	clear(b[4:headerLen])
	b[5] = questions
	return b
}

// isQuery tells whether a packet has a header that says that it is a query.
func isQuery(packet []byte) bool { return len(packet) >= headerLen && packet[2]&0x80 == 0 }

// questionEnd is where the only question of a packet ends. ok is false if there is not exactly one or if it
// cannot be read. A first name has nothing before it that a compression pointer could point to.
func questionEnd(packet []byte) (end int, ok bool) {
	if len(packet) < headerLen || binary.BigEndian.Uint16(packet[4:]) != 1 {
		return 0, false
	}
	for i := headerLen; i < len(packet); {
		n := int(packet[i])
		if n == 0 {
			end = i + 1 + 4 // type and class
			return end, end <= len(packet) && i+1-headerLen <= maxName
		}
		if n > 63 {
			return 0, false
		}
		i += 1 + n
	}
	return 0, false
}
