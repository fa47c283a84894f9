// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

// TTL is how long an answer may be kept, in seconds. A container may be gone in the next.
const TTL = 1

// home is where an endpoint of the asker is.
type home struct{ tenant, network string }

// view is the names that one container can ask for: a name in its own networks; those of services and groups, which are
// unique in a tenant, and name.network, wherever in its tenants forwarding reaches.
type view struct {
	asker   []home
	zones   []*zone // of the asker's tenants, each once
	routing bool    // to all networks of a tenant; else to one's own only
	// cluster is Kubernetes', and domain where its names are; nil where none is known.
	cluster  *cluster
	domain   string
	networks model.Table[model.Network] // of all tenants
}

func (v view) has(z *zone) bool { return slices.Contains(v.zones, z) }

// own tells whether a tenant's network is one of the asker's.
func (v view) own(tenant, network string) bool {
	return slices.Contains(v.asker, home{tenant, network})
}

// question is one that a container asks.
type question struct {
	dns.Question
	name string // canonical
	turn uint32 // which of several addresses comes first
	most int    // records of the answer that are of use
	// links is how many other names have led to it, and outer what has been found of the last, which is not ours.
	links int
	outer outer
}

// outer is what is known of a name that is not ours.
type outer struct {
	name   string // canonical; "" where nothing has been looked for
	addrs  []netip.Addr
	failed bool // nobody could say
}

// records are an answer: what was asked for, and what will be asked for next; or why there is none.
type records struct {
	answer, authority, extra []dns.RR
	rcode                    int
	wanted                   string // the name that has to be found before this is whole; "" for none
}

// answer gives the records for a question. found is false for a name that none of the asker's tenants has, which somebody
// else may know. A name that exists without a record of the asked type is found, with no records.
func (v view) answer(q question) (r records, found bool) {
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY {
		return r, false
	}
	if addr, ok := reverse(q.name); ok {
		return v.pointers(addr, q)
	}
	if r, found := v.kubernetes(q); found {
		return r, true
	}
	if port, rest, ok := portOf(q.name); ok {
		return v.ports(rest, port, q)
	}
	if q.Qtype == dns.TypeSRV {
		return v.ports(q.name, servicePort{}, q)
	}
	sets := v.sets(q.name)
	return records{answer: addresses(sets, q)}, len(sets) > 0
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: TTL}
}

// sets are all who have the name: in the asker's networks; else as a service or group of the tenant; else, by name.network,
// where its last labels point to.
func (v view) sets(name string) []found {
	if sets := v.best(name, v.own, ofContainer); sets != nil {
		return sets
	}
	reached := func(tenant, network string) bool { return v.routing || v.own(tenant, network) }
	if sets := v.best(name, reached, ofGroup); sets != nil {
		return sets
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		named := func(tenant, network string) bool {
			return strings.EqualFold(network, name[i+1:]) && reached(tenant, network)
		}
		if sets := v.best(name[:i], named, ofContainer); sets != nil {
			return sets
		}
	}
	return nil
}

// found is a set, and where it was found.
type found struct {
	*zone
	set
	name string
}

// best are the sets of a name in the networks wanted, of the first rank that has any, up to last.
func (v view) best(name string, wanted func(tenant, network string) bool, last rank) (sets []found) {
	for _, z := range v.zones {
		for _, s := range z.names[name] {
			if s.rank > last || !wanted(z.tenant, s.network) {
				continue
			}
			if s.rank < last {
				last, sets = s.rank, nil
			}
			sets = append(sets, found{z, s, name})
		}
	}
	return sets
}

// addresses are the records of the asked type, as many as are of use, beginning with another one each turn. Who fails a health
// check, or is being stopped, is given only where all are.
func addresses(sets []found, q question) (rrs []dns.RR) {
	well, ill := 0, 0
	for _, s := range sets {
		well, ill = well+len(s.addrs), ill+len(s.ailing)
	}
	n, of := well, giver{}
	if well == 0 {
		n, of = ill, giver{ailing: true}
	}
	for i := 0; i < n && len(rrs) < q.most; i++ {
		at := int((uint64(q.turn) + uint64(i)) % uint64(n))
		for _, s := range sets {
			addrs := *s.of(of)
			if at < len(addrs) {
				rrs = append(rrs, recordOf(addrs[at], q.Name, q.Qtype)...)
				break
			}
			at -= len(addrs)
		}
	}
	return rrs
}

// recordOf is the record of a for those who ask for qtype; none for those who do not want it.
func recordOf(a netip.Addr, name string, qtype uint16) []dns.RR {
	switch {
	case a.Is4() && (qtype == dns.TypeA || qtype == dns.TypeANY):
		return []dns.RR{&dns.A{Hdr: header(name, dns.TypeA), A: a.AsSlice()}}
	case a.Is6() && (qtype == dns.TypeAAAA || qtype == dns.TypeANY):
		return []dns.RR{&dns.AAAA{Hdr: header(name, dns.TypeAAAA), AAAA: a.AsSlice()}}
	}
	return nil
}

// servicePort is where a service listens; zero for all of its ports.
type servicePort struct {
	number   uint16
	protocol string // as in model.ServicePort
}

// portOf reads _80._tcp.name (RFC 2782, with the number for the symbolic name: ports have none here).
func portOf(name string) (p servicePort, rest string, ok bool) {
	number, rest, ok1 := strings.Cut(name, ".")
	protocol, rest, ok2 := strings.Cut(rest, ".")
	number, ok3 := strings.CutPrefix(number, "_")
	protocol, ok4 := strings.CutPrefix(protocol, "_")
	n, err := strconv.ParseUint(number, 10, 16)
	p = servicePort{uint16(n), strings.ToUpper(protocol)}
	return p, rest, ok1 && ok2 && ok3 && ok4 && err == nil && n > 0
}

// ports are the SRV records of the service of that name, at one port or at all. They point to the service's full name,
// whose addresses come with them.
func (v view) ports(name string, port servicePort, q question) (r records, ok bool) {
	for _, f := range v.sets(name) {
		ok = true
		for _, s := range f.services[f.name] {
			if f.rank != ofService || s.Network != f.network || q.Qtype != dns.TypeSRV && q.Qtype != dns.TypeANY {
				continue
			}
			target := dns.Fqdn(s.Name) + dns.Fqdn(s.Network)
			if _, speakable := dns.IsDomainName(target); !speakable {
				continue
			}
			for _, p := range s.Ports {
				if port.number == 0 || port == (servicePort{p.Port, p.Protocol}) {
					r.answer = append(r.answer, &dns.SRV{Hdr: header(q.Name, dns.TypeSRV), Port: p.Port, Target: target})
				}
			}
			for _, a := range s.Addrs() {
				r.extra = append(r.extra, recordOf(a, target, dns.TypeANY)...)
			}
		}
	}
	if len(r.answer) == 0 {
		r.extra = nil
	}
	return r, ok
}

// pointers are the names of addr: those in the asker's networks, or else those that forwarding reaches.
func (v view) pointers(addr netip.Addr, q question) (r records, ok bool) {
	names := v.clusterOwners(addr)
	var near, far []string
	for _, z := range v.zones {
		for _, o := range z.owners[addr] {
			switch {
			case v.own(z.tenant, o.network):
				near = append(near, o.name)
			case v.routing:
				far = append(far, o.name)
			}
		}
	}
	if near == nil {
		near = far
	}
	if q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY {
		slices.Sort(near) // the first is what most take
		for _, name := range append(names, near...) {
			r.answer = append(r.answer, &dns.PTR{Hdr: header(q.Name, dns.TypePTR), Ptr: name})
		}
	}
	return r, names != nil || near != nil
}

// reverse reads 4.3.2.1.in-addr.arpa and its IPv6 counterpart under ip6.arpa.
func reverse(name string) (netip.Addr, bool) {
	if s, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(s, ".")
		slices.Reverse(labels)
		a, err := netip.ParseAddr(strings.Join(labels, "."))
		return a, err == nil && a.Is4()
	}
	s, ok := strings.CutSuffix(name, ".ip6.arpa")
	if !ok || len(s) != 63 {
		return netip.Addr{}, false
	}
	var b [16]byte
	for i := range 32 {
		c := s[62-2*i]
		d := strings.IndexByte("0123456789abcdef", c)
		if d < 0 || (i < 31 && s[61-2*i] != '.') {
			return netip.Addr{}, false
		}
		b[i/2] = b[i/2]<<4 | byte(d)
	}
	return netip.AddrFrom16(b), true
}
