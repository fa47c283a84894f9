// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/contivnet/contiv/compile"
)

// plan is how the kernel's tables get from the rows that they hold to those that are wanted.
//
// A packet never meets a mixture of two policies. What policy says is in two banks, and the epoch says which one is in force: the
// difference is written to the other, and then one word puts it in force (flip). Rows of new endpoints come after that, because
// they would meet rules that do not know them; rows of endpoints that go, before.
type plan struct {
	networks  difference[uint32, contivNetwork]
	peers     difference[contivVtep, contivPeer]
	ports     difference[uint32, contivPort]
	endpoints difference[contivEndpointKey, contivEndpoint]
	stations  difference[contivStationKey, uint32]
	members   difference[contivMemberKey, uint32]
	verdicts  difference[contivVerdictKey, contivVerdict] // of the bank that is not in force
	rules     difference[uint32, ruleRow]
	services  difference[contivServiceKey, contivService]
	slots     difference[uint64, bool]
	contents  map[uint64][]uint32 // of slots
	providers difference[contivProviderKey, contivProvider]
	foreign   difference[contivForeignKey, uint32]
	privates  difference[contivPrivateKey, uint32]
	subnets   difference[contivSubnetKey, uint32]
	prefixes  difference[contivPrefixKey, uint32] // of the bank that is not in force
	ranges    difference[contivRangeKey, uint32]  // the same

	flip    bool
	changed bool                       // decisions that were made may be wrong
	epoch   uint32                     // to write then
	gone    map[contivEndpointKey]bool // whose connections have ended

	newPorts     difference[uint32, contivPort]
	newEndpoints difference[contivEndpointKey, contivEndpoint]
	// newcomers tells that flows to and from whoever is on a wire, or beyond routers, may be a new endpoint's. All are decided anew then.
	newcomers bool

	after rows // what the kernel holds when all is done
}

// ruleRow stands for a rule's counters.
type ruleRow struct{}

func bankOf(epoch uint32) int { return int(epoch & epochBank) }

// inBank is a row's key in a bank.
func (k contivVerdictKey) inBank(bank int) contivVerdictKey {
	k.What = k.What&^(1<<bankShift) | uint32(bank)<<bankShift
	return k
}

func (k contivVerdictKey) bank() int { return int(k.What >> bankShift) }

func (k contivPrefixKey) inBank(bank int) contivPrefixKey {
	k.Bank = uint32(bank)
	return k
}

func (k contivPrefixKey) bank() int { return int(k.Bank) }

// bankedKey is a key of a table that is in both banks.
type bankedKey[K any] interface {
	comparable
	inBank(int) K
	bank() int
}

// byBank takes apart what was read, whose keys say their banks.
func byBank[K bankedKey[K], V comparable](all table[K, V]) (banks [2]table[K, V]) {
	for _, r := range all {
		bank := r.key.bank()
		banks[bank] = append(banks[bank], row[K, V]{r.key.inBank(0), r.value})
	}
	return banks
}

// differenceInBank is what turns a bank into what is wanted.
func differenceInBank[K bankedKey[K], V comparable](held, want [2]table[K, V], compare func(a, b K) int, bank int) difference[K, V] {
	d := differenceOfTables(held[bank], want[bank], compare)
	for _, keys := range [...][]K{d.keys, d.gone} {
		for i := range keys {
			keys[i] = keys[i].inBank(bank)
		}
	}
	return d
}

func planFor(held, want rows) plan {
	live := bankOf(held.epoch)
	spare := 1 - live
	p := plan{
		networks: differenceOf(held.networks, want.networks), peers: differenceOf(held.peers, want.peers),
		stations: differenceOf(held.stations, want.stations), members: differenceOf(held.members, want.members),
		rules: differenceOfTables(held.rules, want.rules, cmp.Compare[uint32]), gone: map[contivEndpointKey]bool{},
		services: differenceOf(held.services, want.services), slots: differenceOf(held.slots, want.slots), contents: want.contents,
		providers: differenceOf(held.providers, want.providers),
		foreign:   differenceOf(held.foreign, want.foreign),
		privates:  differenceOf(held.privates, want.privates), subnets: differenceOf(held.subnets, want.subnets),
	}
	p.rules.changed = false
	p.services.putLast(func(s contivService) bool { return s.Number == 0 }) // as it sends to the rows of networks
	p.flip = !slices.Equal(held.verdicts[live], want.verdicts[live]) || !slices.Equal(held.prefixes[live], want.prefixes[live]) ||
		!slices.Equal(held.ranges[live], want.ranges[live]) ||
		held.epoch&epochRecheck != want.epoch&epochRecheck ||
		saysOther(held.ports, want.ports, cmp.Compare[uint32], live) || saysOther(held.endpoints, want.endpoints, compareEndpointKey, live)
	p.after = rows{
		networks: want.networks, peers: want.peers, stations: want.stations, members: want.members, rules: want.rules, verdicts: held.verdicts,
		services: want.services, slots: want.slots, providers: want.providers,
		foreign: want.foreign, privates: want.privates, subnets: want.subnets, prefixes: held.prefixes, ranges: held.ranges, outside: want.outside,
	}
	p.ports, p.newPorts, p.after.ports = replace(held.ports, want.ports, cmp.Compare[uint32], live, p.flip)
	p.endpoints, p.newEndpoints, p.after.endpoints = replace(held.endpoints, want.endpoints, compareEndpointKey, live, p.flip)
	for _, k := range p.endpoints.gone {
		p.gone[k] = true
	}
	p.newcomers = meetStrangers(p.newEndpoints.keys, want.networks)
	p.changed = p.flip || p.networks.changed || p.peers.changed || p.ports.changed || p.endpoints.changed ||
		p.providers.changed || // connections to those that are gone have to end
		len(p.foreign.keys) > 0 || p.foreign.changed || // replies come from there now, or no more
		p.privates.changed || held.outside != want.outside || enclosesOutside(p.subnets.keys, held.ports)
	p.epoch = held.epoch
	if p.changed {
		p.epoch = nextEpoch(held.epoch)
	}
	if p.flip {
		p.verdicts = differenceInBank(held.verdicts, want.verdicts, compareVerdictKey, spare)
		p.prefixes = differenceInBank(held.prefixes, want.prefixes, comparePrefixKey, spare)
		p.ranges = differenceInBank(held.ranges, want.ranges, compareRangeKey, spare)
		p.after.verdicts[spare], p.after.prefixes[spare], p.after.ranges[spare] = want.verdicts[spare], want.prefixes[spare], want.ranges[spare]
		p.epoch = p.epoch&^(epochBank|epochRecheck) | uint32(spare) | want.epoch&epochRecheck
	}
	p.after.epoch = p.epoch
	return p
}

// meetStrangers tells whether new endpoints are of tenants with networks whose packets are let go to addresses that no endpoint has.
// What is decided for such an address holds no more when an endpoint gets it, of whichever network of the tenant.
func meetStrangers(endpoints []contivEndpointKey, networks map[uint32]contivNetwork) bool {
	if len(endpoints) == 0 {
		return false
	}
	meets := map[uint32]bool{} // tenants
	for number, n := range networks {
		if number&(compile.VLAN|compile.Routed) != 0 {
			meets[n.Tenant] = true
		}
	}
	return slices.ContainsFunc(endpoints, func(k contivEndpointKey) bool { return meets[k.Tenant] })
}

// enclosesOutside tells whether new subnets may have in them what was outside for a port.
func enclosesOutside(subnets []contivSubnetKey, ports table[uint32, contivPort]) bool {
	if len(subnets) == 0 {
		return false
	}
	goesOut := map[uint32]bool{} // tenants
	for _, r := range ports {
		p := r.value
		if p.Private4 != ([4]byte{}) || p.Private6 != ([16]byte{}) {
			goesOut[p.Tenant] = true
		}
	}
	return slices.ContainsFunc(subnets, func(k contivSubnetKey) bool { return goesOut[k.Tenant] })
}

// banked is a row with columns of policy, which are in two banks.
type banked[V any] interface {
	comparable
	isSame(V) bool           // tells whether both are the same container's
	with(held V, bank int) V // has the bank of another
}

// saysOther tells whether a bank says something else of a container that was there before.
func saysOther[K comparable, V banked[V]](held, want table[K, V], compare func(a, b K) int, bank int) bool {
	for h, w := range pairs(held, want, compare) {
		if h != nil && w != nil && w.value.isSame(h.value) && w.value.with(h.value, bank) != w.value {
			return true
		}
	}
	return false
}

// replace leaves the bank that is in force as it is in the rows that stay, and with flip writes the other. Rows that are
// another container's go, and come anew.
func replace[K comparable, V banked[V]](held, want table[K, V], compare func(a, b K) int, live int, flip bool) (now, anew difference[K, V], after table[K, V]) {
	after = make(table[K, V], 0, len(want))
	for h, w := range pairs(held, want, compare) {
		same := h != nil && w != nil && w.value.isSame(h.value)
		if h != nil && !same {
			now.drop(h.key)
		}
		if w == nil {
			continue
		}
		r := *w
		if same {
			r.value = r.value.with(h.value, live)
			if !flip {
				r.value = r.value.with(h.value, 1-live)
			}
		}
		switch {
		case !same:
			anew.add(r, false)
		case r.value != h.value:
			now.add(r, true)
		}
		after = append(after, r)
	}
	return now, anew, after
}

// nextEpoch makes every flow void and leaves policy as it is.
func nextEpoch(epoch uint32) uint32 { return epoch + epochStep }

func (p contivPort) isSame(q contivPort) bool {
	return p.Tenant == q.Tenant && p.Network == q.Network && p.Ipv4 == q.Ipv4 && p.Ipv6 == q.Ipv6 && p.Mac == q.Mac
}

func (p contivPort) with(held contivPort, bank int) contivPort {
	p.InRole[bank], p.OutRole[bank] = held.InRole[bank], held.OutRole[bank]
	return p
}

func (e contivEndpoint) isSame(f contivEndpoint) bool {
	e.Class, e.Provides = f.Class, f.Provides
	return e == f
}

func (e contivEndpoint) with(held contivEndpoint, bank int) contivEndpoint {
	e.Class[bank] = held.Class[bank]
	return e
}

func compareEndpointKey(a, b contivEndpointKey) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), bytes.Compare(a.Address[:], b.Address[:]))
}

// compareVerdictKey puts the rows about every protocol first, and of one those about every port and those of ranges, as compile does.
func compareVerdictKey(a, b contivVerdictKey) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Class, b.Class), cmp.Compare(a.rank(), b.rank()))
}

func comparePrefixKey(a, b contivPrefixKey) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), bytes.Compare(a.Address[:], b.Address[:]), cmp.Compare(a.Bits, b.Bits))
}

func (k contivVerdictKey) rank() uint32 {
	what := k.What &^ (1 << bankShift)
	protocol, port := what>>protocolShift, what&0xffff
	switch protocol {
	case headProtocol:
		return 0
	case anyProtocol:
		return 1
	}
	precision := uint32(2)
	switch {
	case protocol&rangeProtocol != 0:
		precision = 1
	case port == 0:
		precision = 0
	}
	return 2 + (3*(protocol&^rangeProtocol)+precision)<<protocolShift + port
}
