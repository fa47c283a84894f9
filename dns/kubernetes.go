// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

// ClusterDomain is where Kubernetes' names are where nobody has said otherwise.
const ClusterDomain = "cluster.local"

// version is that of Kubernetes' specification of names that we answer by.
const version = "1.1.0"

// chain is how many services may be other names of one another.
const chain = 8

// kubernetes answers names in the cluster's domain, as Kubernetes has them (https://github.com/kubernetes/dns/blob/master/docs/specification.md).
// There it knows all names, so one that is not found does not exist: pods look for most names there first. It is not asked where no Kubernetes is known.
func (v view) kubernetes(q question) (r records, found bool) {
	inside, ok := v.inside(q.name)
	if !ok {
		return r, false
	}
	labels := strings.Split(inside, ".")
	last := len(labels) - 1
	exists := false
	switch {
	case inside == "":
		exists = true
		if q.Qtype == dns.TypeSOA || q.Qtype == dns.TypeANY {
			r.answer = []dns.RR{v.soa()}
		}
	case labels[last] == "svc":
		r, exists = v.clusterService(labels[:last], q)
	case labels[last] == "pod":
		r, exists = v.pod(labels[:last], q)
	case inside == "dns-version":
		exists = true
		if q.Qtype == dns.TypeTXT || q.Qtype == dns.TypeANY {
			r.answer = []dns.RR{&dns.TXT{Hdr: header(q.Name, dns.TypeTXT), Txt: []string{version}}}
		}
	}
	if !exists {
		r.rcode = dns.RcodeNameError
	}
	if len(r.answer) == 0 && r.rcode != dns.RcodeServerFailure {
		r.authority = []dns.RR{v.soa()}
	}
	return r, true
}

// inside is the part of a name before the cluster's domain; ok is false for one that is not in it.
func (v view) inside(name string) (inside string, ok bool) {
	if v.cluster == nil || v.domain == "" {
		return "", false
	}
	if name == v.domain {
		return "", true
	}
	inside, ok = strings.CutSuffix(name, v.domain)
	return strings.TrimSuffix(inside, "."), ok && strings.HasSuffix(inside, ".")
}

// soa says for how long it may be kept that there is no such name, or no such record of it (RFC 2308).
func (v view) soa() dns.RR {
	zone := dns.Fqdn(v.domain)
	return &dns.SOA{Hdr: header(zone, dns.TypeSOA), Ns: "ns.dns." + zone, Mbox: "hostmaster." + zone, Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: TTL}
}

// full is the name of what has the labels.
func (v view) full(labels ...string) string {
	return strings.Join(labels, ".") + "." + dns.Fqdn(v.domain)
}

// clusterService answers [[_port._protocol.]|[host.]]service.namespace.
func (v view) clusterService(labels []string, q question) (r records, exists bool) {
	n := len(labels)
	switch n {
	case 0:
		return r, true
	case 1:
		_, exists = v.cluster.namespaces.Get(labels[0])
		return r, exists
	}
	s, ok := v.cluster.services.Get(labels[n-1] + "/" + labels[n-2])
	switch {
	case !ok || n > 4:
		return r, false
	case s.ExternalName != "":
		if n > 2 {
			return r, false
		}
		return v.otherName(s, q)
	case n == 2 && q.Qtype == dns.TypeSRV:
		return v.clusterPorts(s, "", "", q), true
	case n == 2 && len(s.ClusterIPs) > 0:
		for _, a := range s.ClusterIPs {
			r.answer = append(r.answer, recordOf(a, q.Name, q.Qtype)...)
		}
		return r, true
	case n == 2:
		return records{answer: v.chosen(v.providers(s.Key()), q)}, true
	case n == 3:
		its := slices.DeleteFunc(v.providers(s.Key()), func(p provider) bool { return p.host() != labels[0] })
		if len(s.ClusterIPs) > 0 {
			its = nil
		}
		return records{answer: v.chosen(its, q)}, len(its) > 0
	}
	port, ok1 := strings.CutPrefix(labels[0], "_")
	protocol, ok2 := strings.CutPrefix(labels[1], "_")
	if !ok1 || !ok2 || port == "" || protocol == "" {
		return r, false
	}
	r = v.clusterPorts(s, port, protocol, q)
	exists = len(r.answer) > 0
	if q.Qtype != dns.TypeSRV && q.Qtype != dns.TypeANY {
		r = records{}
	}
	return r, exists
}

// chosen are the addresses of providers, each once, as many as are of use, beginning with another one each turn.
func (v view) chosen(its []provider, q question) (rrs []dns.RR) {
	seen := make(map[netip.Addr]bool, len(its))
	for i := 0; i < len(its) && len(rrs) < q.most; i++ {
		a := its[(uint64(q.turn)+uint64(i))%uint64(len(its))].Addr
		if !seen[a] {
			seen[a] = true
			rrs = append(rrs, recordOf(a, q.Name, q.Qtype)...)
		}
	}
	return rrs
}

// clusterPorts are the SRV records of a service's port, or of all that have names. They point to the service or, where it is headless, to
// each of its providers, whose addresses come with them.
func (v view) clusterPorts(s model.ClusterService, port, protocol string, q question) (r records) {
	wanted := func(name, over string) bool {
		return name != "" && (port == "" || strings.EqualFold(name, port) && strings.EqualFold(over, protocol))
	}
	give := func(number uint16, target string, addrs ...netip.Addr) {
		srv := &dns.SRV{Hdr: header(q.Name, dns.TypeSRV), Port: number, Weight: 1, Target: target}
		if len(r.answer) > q.most || slices.ContainsFunc(r.answer, func(o dns.RR) bool { return *o.(*dns.SRV) == *srv }) {
			return
		}
		r.answer = append(r.answer, srv)
		for _, a := range addrs {
			r.extra = append(r.extra, recordOf(a, target, dns.TypeANY)...)
		}
	}
	if len(s.ClusterIPs) > 0 {
		for _, p := range s.Ports {
			if wanted(p.Name, p.Protocol) {
				give(p.Port, v.full(s.Name, s.Namespace, "svc"), s.ClusterIPs...)
			}
		}
		return r
	}
	for _, its := range v.providers(s.Key()) {
		for _, p := range its.ports {
			if wanted(p.Name, p.Protocol) {
				give(p.Port, v.full(its.host(), s.Name, s.Namespace, "svc"), its.Addr)
			}
		}
	}
	return r
}

// otherName answers a service that is another name, with what that name has.
func (v view) otherName(s model.ClusterService, q question) (r records, exists bool) {
	target := canonical(s.ExternalName)
	if !speakable(target) {
		return r, true
	}
	r.answer = []dns.RR{&dns.CNAME{Hdr: header(q.Name, dns.TypeCNAME), Target: dns.Fqdn(target)}}
	if q.Qtype == dns.TypeCNAME {
		return r, true
	}
	if q.links++; q.links > chain {
		return records{rcode: dns.RcodeServerFailure}, true
	}
	q.Name, q.name = dns.Fqdn(target), target
	more, ours := v.kubernetes(q)
	if !ours {
		more = outerRecords(q)
	}
	if more.rcode == dns.RcodeServerFailure {
		return more, true
	}
	more.answer = append(r.answer, more.answer...)
	return more, more.rcode != dns.RcodeNameError
}

// outerRecords are the records of a name that is not in the cluster, by what has been found; without that, what is to be found. That nothing was
// found does not say that there is no such name: it may have other records, as of mail servers.
func outerRecords(q question) (r records) {
	switch f := q.outer; {
	case q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA && q.Qtype != dns.TypeANY:
	case f.name != q.name:
		r.wanted = q.name
	case f.failed:
		r.rcode = dns.RcodeServerFailure
	}
	if r.wanted == "" {
		for _, a := range q.outer.addrs {
			r.answer = append(r.answer, recordOf(a.Unmap(), q.Name, q.Qtype)...)
		}
	}
	return r
}

// pod answers 10-1-2-3.namespace with the address that it says, as Kubernetes' own server does unless it is told otherwise.
func (v view) pod(labels []string, q question) (r records, exists bool) {
	n := len(labels)
	if n == 0 {
		return r, true
	}
	if _, exists = v.cluster.namespaces.Get(labels[n-1]); !exists || n == 1 {
		return r, exists
	}
	for _, dot := range []string{".", ":"} {
		if a, err := netip.ParseAddr(strings.ReplaceAll(labels[0], "-", dot)); err == nil && n == 2 {
			r.answer = recordOf(a.Unmap(), q.Name, q.Qtype)
			return r, true
		}
	}
	return r, false
}

// clusterOwners are Kubernetes' names of an address: of a service, or of a provider with a hostname in a headless one.
func (v view) clusterOwners(addr netip.Addr) (names []string) {
	if v.cluster == nil {
		return nil
	}
	for _, key := range v.cluster.owners[addr] {
		s, ok := v.cluster.services.Get(key)
		switch {
		case !ok:
		case slices.Contains(s.ClusterIPs, addr):
			names = append(names, v.full(s.Name, s.Namespace, "svc"))
		case len(s.ClusterIPs) == 0 && s.ExternalName == "":
			for _, p := range v.providers(key) {
				if p.Addr == addr && p.Hostname != "" {
					names = append(names, v.full(p.host(), s.Name, s.Namespace, "svc"))
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
