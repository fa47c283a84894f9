// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

// zone is the names of one tenant. Not safe for concurrent use.
type zone struct {
	tenant   string
	names    map[string][]set // by canonical name
	services map[string][]model.Service
	owners   map[netip.Addr][]owner // nil until somebody asks backwards
}

// rank says whose a name is where several have it. The lowest wins.
type rank uint8

const (
	ofService rank = iota
	ofGroup
	ofContainer
)

// set is all who have one name in one network.
type set struct {
	network string // as it was created
	rank    rank
	objects int          // that give the name; one may have no address
	addrs   []netip.Addr // in no order
	ailing  []netip.Addr // those that are given only where nobody has others
}

// of is where the addresses of a giver are.
func (s *set) of(its giver) *[]netip.Addr {
	if its.ailing {
		return &s.ailing
	}
	return &s.addrs
}

// giver is what an object gives to a name.
type giver struct {
	addrs  []netip.Addr
	ailing bool // others should rather be asked
}

// owner is who has an address: the fully qualified name that finds it again.
type owner struct{ network, name string }

// step is to a zone with an object or to one without it.
type step bool

const (
	add    step = true
	remove step = false
)

func newZone(tenant string) *zone {
	return &zone{tenant: tenant, names: map[string][]set{}, services: map[string][]model.Service{}}
}

// endpoint gives a container's addresses its name, its aliases and its group's name.
func (z *zone) endpoint(e model.Endpoint, to step) {
	addrs := e.Addrs()
	its := giver{addrs, e.Ailing()}
	first := ""
	for i := -1; i < len(e.Aliases); i++ {
		name := e.Name
		if i >= 0 {
			name = e.Aliases[i]
		}
		if !speakable(name) {
			continue
		}
		if first == "" {
			first = name
		}
		// Docker makes the container's name an alias too.
		if i >= 0 && (same(name, e.Name) || slices.ContainsFunc(e.Aliases[:i], func(o string) bool { return same(o, name) })) {
			continue
		}
		z.name(name, e.Network, ofContainer, its, to)
	}
	if e.Group != "" {
		z.name(e.Group, e.Network, ofGroup, its, to)
	}
	z.owner(first, e.Network, addrs, to)
}

// group makes a group's name known also while it has no members: a name that will have an address soon must not be
// denied by somebody else, whose denial may be kept.
func (z *zone) group(g model.Group, to step) { z.name(g.Name, g.Network, ofGroup, giver{}, to) }

func (z *zone) service(s model.Service, to step) {
	if !speakable(s.Name) {
		return
	}
	z.name(s.Name, s.Network, ofService, giver{addrs: s.Addrs()}, to)
	z.owner(s.Name, s.Network, s.Addrs(), to)
	name := canonical(s.Name)
	list := slices.DeleteFunc(z.services[name], func(o model.Service) bool { return o.Name == s.Name })
	if to == add {
		list = append(list, s)
	}
	put(z.services, name, list)
}

// name gives addresses a name, or takes it away.
func (z *zone) name(name, network string, r rank, its giver, to step) {
	name = canonical(name)
	list := z.names[name]
	at := slices.IndexFunc(list, func(s set) bool { return s.network == network && s.rank == r })
	if to == add && at < 0 {
		at, list = len(list), append(list, set{network: network, rank: r})
		z.names[name] = list
	}
	switch {
	case to == add:
		list[at].objects++
		addrs := list[at].of(its)
		*addrs = append(*addrs, its.addrs...)
	case at >= 0 && list[at].objects > 1:
		list[at].objects--
		addrs := list[at].of(its)
		for _, a := range its.addrs {
			*addrs = without(*addrs, a)
		}
	case at >= 0:
		put(z.names, name, cut(list, at))
	}
}

// owner makes an address found backwards.
func (z *zone) owner(name, network string, addrs []netip.Addr, to step) {
	o := owner{network, dns.Fqdn(name) + dns.Fqdn(network)}
	if _, ok := dns.IsDomainName(o.name); z.owners == nil || name == "" || !ok {
		return
	}
	for _, a := range addrs {
		list := z.owners[a]
		if to == add {
			list = append(list, o)
		} else {
			list = without(list, o)
		}
		put(z.owners, a, list)
	}
}

// put keeps a list that has something in it.
func put[K comparable, V any](m map[K][]V, key K, list []V) {
	if len(list) == 0 {
		delete(m, key)
		return
	}
	m[key] = list
}

// without is list without one v, changed in place.
func without[V comparable](list []V, v V) []V {
	return cut(list, slices.Index(list, v))
}

// cut is list without what is at a place, changed in place; all of it for a negative one.
func cut[V any](list []V, at int) []V {
	if at < 0 {
		return list
	}
	last := len(list) - 1
	list[at] = list[last]
	clear(list[last:])
	return list[:last]
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

func same(a, b string) bool { return canonical(a) == canonical(b) }
