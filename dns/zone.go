// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

// TTL is how long an answer may be kept, in seconds. A container may be gone in the next.
const TTL = 1

// Zones knows the names of one World. It does not change; the index of a tenant is made when somebody of that
// tenant asks first, and then a question costs a few map look-ups. Safe for concurrent use.
type Zones struct {
	endpoints model.Table[model.Endpoint]
	routing   bool

	mu      sync.Mutex
	tenants map[string]*zone
	spent   time.Duration // in making the indexes
}

// ZonesOf is what w knows. It costs nothing until it is asked.
func ZonesOf(w model.World) *Zones {
	return &Zones{endpoints: w.Endpoints, routing: routing(w), tenants: map[string]*zone{}}
}

// current tells whether w would give the same answers. Most revisions change no endpoint.
func (z *Zones) current(w model.World) bool {
	return z.endpoints == w.Endpoints && z.routing == routing(w)
}

func routing(w model.World) bool { return w.Global().ForwardMode == model.ForwardRouting }

// Answers gives the records for a question that comes from the container with the given endpoints. found is
// false for a name that none of its tenants has, which somebody else may know. A name that exists without
// a record of the asked type is found, with no records.
//
// A name is that of a container or an alias, in the networks of the asker; name.network reaches the other
// networks of its tenant too, where forwarding routes to them.
func (z *Zones) Answers(asker []model.Endpoint, q dns.Question) (rrs []dns.RR, found bool) {
	if q.Qclass != dns.ClassINET && q.Qclass != dns.ClassANY {
		return nil, false
	}
	name := canonical(q.Name)
	if addr, ok := reverse(name); ok {
		return z.pointers(asker, addr, q)
	}
	addrs, found := z.addresses(asker, name)
	for _, a := range addrs {
		switch {
		case a.Is4() && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY):
			rrs = append(rrs, &dns.A{Hdr: header(q, dns.TypeA), A: a.AsSlice()})
		case a.Is6() && (q.Qtype == dns.TypeAAAA || q.Qtype == dns.TypeANY):
			rrs = append(rrs, &dns.AAAA{Hdr: header(q, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
	return rrs, found
}

func header(q dns.Question, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: TTL}
}

// addresses are those of all endpoints with the name: those of the asker's networks, and if there are none,
// those that the name's last labels point to.
func (z *Zones) addresses(asker []model.Endpoint, name string) (addrs []netip.Addr, found bool) {
	for _, e := range asker {
		if more, ok := z.zone(e.Tenant).names[place{e.Network, name}]; ok {
			addrs, found = append(addrs, more...), true
		}
	}
	if found {
		return addrs, true
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		if addrs, found = z.qualified(asker, name[:i], name[i+1:]); found {
			return addrs, true
		}
	}
	return nil, false
}

// qualified are the addresses of name.network.
func (z *Zones) qualified(asker []model.Endpoint, name, network string) (addrs []netip.Addr, found bool) {
	for i, e := range asker {
		zone := z.zone(e.Tenant)
		for _, n := range zone.networks[network] {
			if !z.routing && n != e.Network {
				continue
			}
			// Two endpoints of the asker must not give one network's addresses twice.
			if slices.ContainsFunc(asker[:i], func(o model.Endpoint) bool {
				return o.Tenant == e.Tenant && (z.routing || o.Network == n)
			}) {
				continue
			}
			if more, ok := zone.names[place{n, name}]; ok {
				addrs, found = append(addrs, more...), true
			}
		}
	}
	return addrs, found
}

// pointers are the names of addr, in the asker's networks first.
func (z *Zones) pointers(asker []model.Endpoint, addr netip.Addr, q dns.Question) (rrs []dns.RR, found bool) {
	var far []owner
	for i, e := range asker {
		for _, o := range z.zone(e.Tenant).owners()[addr] {
			switch {
			case o.network == e.Network:
				found = true
				rrs = append(rrs, &dns.PTR{Hdr: header(q, dns.TypePTR), Ptr: o.name})
			case z.routing && !slices.ContainsFunc(asker[:i], func(a model.Endpoint) bool { return a.Tenant == e.Tenant }):
				far = append(far, o)
			}
		}
	}
	if !found {
		for _, o := range far {
			found = true
			rrs = append(rrs, &dns.PTR{Hdr: header(q, dns.TypePTR), Ptr: o.name})
		}
	}
	if q.Qtype != dns.TypePTR && q.Qtype != dns.TypeANY {
		return nil, found
	}
	return rrs, found
}

// zone is the tenant's index.
func (z *Zones) zone(tenant string) *zone {
	z.mu.Lock()
	defer z.mu.Unlock()
	t, ok := z.tenants[tenant]
	if !ok {
		began := time.Now()
		t = newZone(z.endpoints, tenant)
		z.tenants[tenant] = t
		z.spent += time.Since(began)
	}
	return t
}

// cost is the time that making the indexes took so far.
func (z *Zones) cost() time.Duration {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.spent
}

// place is a name in a network. The name is canonical; the network is spelled as it was created.
type place struct{ network, name string }

// owner is who has an address: the fully qualified name that finds it again.
type owner struct{ network, name string }

// zone is one tenant's index.
type zone struct {
	names    map[place][]netip.Addr
	networks map[string][]string // canonical name → the networks of that name
	owners   func() map[netip.Addr][]owner
}

func newZone(endpoints model.Table[model.Endpoint], tenant string) *zone {
	z := &zone{
		names: map[place][]netip.Addr{}, networks: map[string][]string{},
		// Few ask for it, so it waits for the first who does.
		owners: sync.OnceValue(func() map[netip.Addr][]owner { return owners(endpoints, tenant) }),
	}
	shared := map[place]struct{}{}
	seen := map[string]struct{}{}
	for _, e := range endpoints.All() {
		if e.Tenant != tenant {
			continue
		}
		if _, ok := seen[e.Network]; !ok {
			seen[e.Network] = struct{}{}
			n := canonical(e.Network)
			z.networks[n] = append(z.networks[n], e.Network)
		}
		z.add(e, e.Name, shared)
		for _, alias := range e.Aliases {
			z.add(e, alias, shared)
		}
	}
	for p := range shared {
		// A table has no order. Sorted, the same World gives the same answer, and a name that an endpoint
		// has twice (Docker makes the container's name an alias) counts once.
		addrs := z.names[p]
		slices.SortFunc(addrs, netip.Addr.Compare)
		z.names[p] = slices.Compact(addrs)
	}
	for _, same := range z.networks {
		slices.Sort(same)
	}
	return z
}

func (z *zone) add(e model.Endpoint, name string, shared map[place]struct{}) {
	if !speakable(name) {
		return
	}
	p := place{e.Network, canonical(name)}
	addrs, had := z.names[p]
	if had {
		shared[p] = struct{}{}
	}
	z.names[p] = append(addrs, e.Addrs()...)
}

func owners(endpoints model.Table[model.Endpoint], tenant string) map[netip.Addr][]owner {
	out := map[netip.Addr][]owner{}
	for _, e := range endpoints.All() {
		if e.Tenant != tenant {
			continue
		}
		names := append([]string{e.Name}, e.Aliases...)
		i := slices.IndexFunc(names, speakable)
		if i < 0 {
			continue
		}
		o := owner{e.Network, dns.Fqdn(names[i]) + dns.Fqdn(e.Network)}
		if _, ok := dns.IsDomainName(o.name); !ok {
			continue
		}
		for _, a := range e.Addrs() {
			out[a] = append(out[a], o)
		}
	}
	for _, same := range out {
		slices.SortFunc(same, func(a, b owner) int { return strings.Compare(a.name, b.name) })
	}
	return out
}

// speakable tells whether a name can be asked for. A backslash is how miekg/dns spells bytes that no name of a
// container has.
func speakable(name string) bool {
	if name == "" || name == "." || strings.ContainsRune(name, '\\') {
		return false
	}
	_, ok := dns.IsDomainName(name)
	return ok
}

// canonical is a name without its last dot, in small letters.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

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
