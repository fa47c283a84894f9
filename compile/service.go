// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// label is one that a service selects by.
type label struct{ tenant, key, value string }

// addressLike is the endpoint's of the same family as the other; invalid for none.
func addressLike(e *model.Endpoint, other netip.Addr) netip.Addr {
	if other.Is4() {
		return e.IPv4
	}
	return e.IPv6
}

// balanced is a service that is carried.
type balanced struct {
	model.Service
	network   model.Network
	tenant    uint32
	number    uint32
	providers []*model.Endpoint
}

// selectedLabels notes by which labels services select. Endpoints that have one are offered to the services.
func (c *compiler) selectedLabels() {
	c.candidates, c.named = map[label][]*model.Endpoint{}, map[string][]*model.Endpoint{}
	for _, s := range c.world.Services.All() {
		for k, v := range s.Selectors {
			c.candidates[label{s.Tenant, k, v}] = nil
		}
	}
}

// offer takes an endpoint that can be reached.
func (c *compiler) offer(e model.Endpoint) {
	if namespace, name, ok := e.Pod(); ok && c.world.ClusterServices.Len() > 0 {
		c.named[namespace+"/"+name] = append(c.named[namespace+"/"+name], &e)
	}
	if len(c.candidates) == 0 {
		return
	}
	for k, v := range e.Labels {
		l := label{e.Tenant, k, v}
		if have, ok := c.candidates[l]; ok {
			c.candidates[l] = append(have, &e)
		}
	}
}

// services adds the rows of services, of their addresses and of their providers, when all endpoints have been offered.
func (c *compiler) services() {
	if c.world.Services.Len() == 0 && c.world.ClusterServices.Len() == 0 {
		return
	}
	all := c.balanced()
	c.clustered = c.clusterPorts()
	number(all, c.clustered)
	numberOf := c.numberProviders(all)
	provides, virtual := map[place]bool{}, map[place]bool{}
	endpoints := len(c.located) // sorted; services come behind them, until all are there
	c.nobodys = int32(len(c.affiliations))
	c.affiliations = append(c.affiliations, affiliation{})
	was, is := c.slots, map[string]slots{}
	for _, s := range all {
		for _, a := range s.Addrs() {
			_, taken := find(c.located[:endpoints], place{s.tenant, a})
			if taken || virtual[place{s.tenant, a}] {
				c.note(s, "service %s has address %s, which another service or an endpoint has: it is not carried there", s.Key(), a)
				continue
			}
			virtual[place{s.tenant, a}] = true
			c.located = append(c.located, located{of: c.nobodys, Endpoint: Endpoint{
				Tenant: s.tenant, Addr: a, Network: c.numberOf(s.network), MAC: model.MACOf(s.Addrs()[0]), Virtual: true,
			}})
			var ready, away []uint32 // by number; away are those on nodes of which nothing is heard
			for _, p := range s.providers {
				at := place{s.tenant, addressLike(p, a)}
				if !at.addr.IsValid() {
					continue
				}
				n := numberOf[at]
				provides[at] = true
				c.out.Providers = append(c.out.Providers, Provider{Service: s.number, Number: n, Tenant: s.tenant, Addr: at.addr, Endpoint: p.ID})
				if _, heard := c.world.Alive.Get(p.Node); !s.Takes(*p) {
					continue
				} else if heard {
					ready = append(ready, n)
				} else {
					away = append(away, n)
				}
			}
			if len(ready) == 0 { // an agent may be away and its containers not
				ready = away
			}
			slices.Sort(ready)
			chances := slotsFor(ready, was, is)
			affinity := uint32(0)
			if s.Affinity {
				affinity = Endless
			}
			for _, p := range s.Ports {
				protocol := protocolNumbers[p.Protocol]
				if protocol == sctp && p.Port != p.Target {
					c.note(s, "service %s has port %s, which is not carried: what SCTP sends cannot be given another port; make both the same", s.Key(), p)
					continue
				}
				c.out.Services = append(c.out.Services, Service{
					Key: s.Key(), Number: s.number, Tenant: s.tenant, Addr: a, Protocol: protocol, Port: p.Port, Target: p.Target,
					Affinity: affinity, Slots: chances.providers, SlotsNumber: chances.number,
				})
			}
		}
	}
	if len(c.clustered) > 0 {
		b := balancer{
			compiler: c, endpoints: c.located[:endpoints], inside: c.allSubnets(), nodes: c.nodeAddrs(), numberOf: numberBackends(c.clustered),
			slotsOf: func(providers []uint32) slots { return slotsFor(providers, was, is) },
			circles: map[string]string{}, virtual: virtual, provides: provides, own: map[place]bool{}, foreign: map[netip.Addr]bool{}, listening: map[listening]bool{},
		}
		b.clusterServices(c.clustered)
	}
	c.slots = is
	slices.SortFunc(c.located, func(a, b located) int { return compareEndpoint(a.Endpoint, b.Endpoint) })
	for at := range provides {
		if i, ok := find(c.located, at); ok {
			c.located[i].Provides = true
		}
	}
	slices.SortFunc(c.out.Services, CompareServices)
	slices.SortFunc(c.out.Providers, CompareProviders)
	c.out.Providers = slices.Compact(c.out.Providers) // of services of Kubernetes with two addresses, and those that several tenants have
}

// place is an address of a tenant.
type place struct {
	tenant uint32
	addr   netip.Addr
}

// find gives the index of an address in rows that are sorted.
func find(rows []located, at place) (int, bool) {
	return slices.BinarySearchFunc(rows, at, func(row located, at place) int {
		return compareEndpoint(row.Endpoint, Endpoint{Tenant: at.tenant, Addr: at.addr})
	})
}

// balanced are the services that are carried, with those whom they select, in the order of their keys.
func (c *compiler) balanced() []balanced {
	var keys []string
	for key := range c.world.Services.All() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	var out []balanced
	for _, key := range keys {
		s, _ := c.world.Services.Get(key)
		n, ok := c.world.Networks.Get(s.NetworkKey())
		if !ok {
			c.note(s, "service %s is in network %s, which does not exist: it is not carried", s.Key(), s.NetworkKey())
			continue
		}
		t, ok := c.world.Tenants.Get(s.Tenant)
		if !ok {
			continue // noted with the network
		}
		out = append(out, balanced{Service: s, network: n, tenant: t.Number, providers: c.providersOf(s, n)})
	}
	return out
}

// number gives each service, and each port of those of Kubernetes, a number of its own.
func number(all []balanced, clustered []clusterPort) {
	keys := make([]string, 0, len(all)+len(clustered))
	for _, s := range all {
		keys = append(keys, s.Key())
	}
	for _, p := range clustered {
		keys = append(keys, p.key)
	}
	for i, n := range numbers(keys) {
		if i < len(all) {
			all[i].number = n
		} else {
			clustered[i-len(all)].number = n
		}
	}
}

// providersOf are the endpoints that a service selects and that its network reaches, by id.
func (c *compiler) providersOf(s model.Service, n model.Network) []*model.Endpoint {
	var rarest []*model.Endpoint
	first := true
	for k, v := range s.Selectors {
		if have := c.candidates[label{s.Tenant, k, v}]; first || len(have) < len(rarest) {
			rarest, first = have, false
		}
	}
	var out []*model.Endpoint
	for _, p := range rarest {
		if !s.Provides(*p) {
			continue
		}
		if p.Network != s.Network {
			if its, ok := c.world.Networks.Get(p.NetworkKey()); !ok || !c.forwarding.Reaches(n, its) {
				continue
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *model.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// numberProviders numbers the addresses of all providers.
func (c *compiler) numberProviders(all []balanced) map[place]uint32 {
	out := map[place]uint32{}
	var places []place
	var texts []string
	for _, s := range all {
		for _, p := range s.providers {
			for _, a := range p.Addrs() {
				at := place{s.tenant, a}
				if _, ok := out[at]; !ok {
					out[at] = 0
					places, texts = append(places, at), append(texts, s.Tenant+" "+a.String())
				}
			}
		}
	}
	for i, n := range numbers(texts) {
		out[places[i]] = n
	}
	return out
}

const (
	udp  = 17
	sctp = 132
)

var protocolNumbers = map[string]uint8{"TCP": 6, "UDP": udp, "SCTP": sctp}

// SlotCount is how many slots a service has: a prime, and so many that one in the kernel takes a page at most.
const SlotCount = 997

// slots are a service's, with a number that is made from them.
type slots struct {
	providers []uint32
	number    uint64
}

// slotsFor gives the slots of a set of providers, which is sorted, and keeps them in is. Most are as they were.
func slotsFor(providers []uint32, was, is map[string]slots) slots {
	if len(providers) == 0 {
		return slots{}
	}
	var text []byte
	for _, n := range providers {
		text = binary.LittleEndian.AppendUint32(text, n)
	}
	key := string(text)
	out, ok := is[key]
	if ok {
		return out
	}
	if out, ok = was[key]; !ok {
		out.providers = maglev(providers)
		out.number = NumberSlots(out.providers)
	}
	is[key] = out
	return out
}

// NumberSlots is the number of slots with this content; not 0.
func NumberSlots(providers []uint32) uint64 {
	h := uint64(offset64)
	for _, n := range providers {
		h = (h ^ uint64(n)) * prime64
	}
	return max(h, 1)
}

// maglev fills the slots (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", 2016, 3.4): each provider has
// an order of its own in which it wants them, and they take turns. So all have as many, and one that comes or goes moves few slots
// of others. Of more than SlotCount providers the last get none.
func maglev(providers []uint32) []uint32 {
	type walk struct{ at, step uint32 }
	walks := make([]walk, len(providers))
	for i, n := range providers {
		h := spread(uint64(n))
		walks[i] = walk{uint32(h % SlotCount), uint32(spread(h)%(SlotCount-1)) + 1}
	}
	out := make([]uint32, SlotCount)
	for filled := 0; ; {
		for i := range walks {
			w := &walks[i]
			for out[w.at] != 0 {
				w.at = (w.at + w.step) % SlotCount
			}
			out[w.at] = providers[i]
			if filled++; filled == SlotCount {
				return out
			}
		}
	}
}

// spread has neighbours differ in all bits (the finaliser of MurmurHash3).
func spread(n uint64) uint64 {
	n = (n ^ n>>33) * 0xff51afd7ed558ccd
	n = (n ^ n>>33) * 0xc4ceb9fe1a85ec53
	return n ^ n>>33
}

// CompareServices is the order of Tables.Services.
func CompareServices(a, b Service) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), compareAddr(a.Addr, b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Network, b.Network))
}

// CompareProviders is the order of Tables.Providers.
func CompareProviders(a, b Provider) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Number, b.Number))
}
