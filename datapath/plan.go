// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"maps"
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
	privates  difference[contivPrivateKey, uint32]
	subnets   difference[contivSubnetKey, uint32]
	prefixes  difference[contivPrefixKey, uint32] // of the bank that is not in force

	flip    bool
	changed bool                       // decisions that were made may be wrong
	epoch   uint32                     // to write then
	gone    map[contivEndpointKey]bool // whose connections have ended

	newPorts     difference[uint32, contivPort]
	newEndpoints difference[contivEndpointKey, contivEndpoint]
	// newcomers tells that flows which go out on a wire, to whoever is there, may be to a new endpoint. All are decided anew then.
	newcomers bool

	after rows // what the kernel holds when all is done
}

// ruleRow stands for a rule's counters.
type ruleRow struct{}

func bankOf(epoch uint32) int { return int(epoch & epochBank) }

// inBank is a wanted row's key in a bank.
func (k contivVerdictKey) inBank(bank int) contivVerdictKey {
	k.What |= uint32(bank) << bankShift
	return k
}

func (k contivVerdictKey) bank() int { return int(k.What >> bankShift) }

func (k contivPrefixKey) inBank(bank int) contivPrefixKey {
	k.Bank = uint32(bank)
	return k
}

func (k contivPrefixKey) bank() int { return int(k.Bank) }

// banked is a key of a table that is in both banks.
type banked[K any] interface {
	comparable
	inBank(int) K
	bank() int
}

// byBank gives wanted rows, which are in no bank, a key in each, and held ones to theirs.
func byBank[K banked[K], V any](held, want map[K]V) (h, w [2]map[K]V) {
	for bank := range w {
		h[bank], w[bank] = map[K]V{}, make(map[K]V, len(want))
		for k, v := range want {
			w[bank][k.inBank(bank)] = v
		}
	}
	for k, v := range held {
		h[k.bank()][k] = v
	}
	return h, w
}

func planFor(held, want rows) plan {
	live := bankOf(held.epoch)
	spare := 1 - live
	p := plan{
		networks: differenceOf(held.networks, want.networks), peers: differenceOf(held.peers, want.peers),
		stations: differenceOf(held.stations, want.stations), members: differenceOf(held.members, want.members),
		rules: differenceOf(held.rules, want.rules), gone: map[contivEndpointKey]bool{},
		services: differenceOf(held.services, want.services), slots: differenceOf(held.slots, want.slots), contents: want.contents,
		providers: differenceOf(held.providers, want.providers),
		privates:  differenceOf(held.privates, want.privates), subnets: differenceOf(held.subnets, want.subnets),
	}
	p.rules.changed = false
	held0, wanted := byBank(held.verdicts, want.verdicts)
	heldPrefixes, wantedPrefixes := byBank(held.prefixes, want.prefixes)
	inForce := differenceOf(held0[live], wanted[live])
	p.flip = len(inForce.keys) > 0 || len(inForce.gone) > 0 || held.epoch&epochRecheck != want.epoch&epochRecheck
	named := differenceOf(heldPrefixes[live], wantedPrefixes[live])
	p.flip = p.flip || len(named.keys) > 0 || len(named.gone) > 0
	for k, w := range want.ports {
		h, ok := held.ports[k]
		p.flip = p.flip || ok && isSamePort(h, w) && (h.InRole[live] != w.InRole[live] || h.OutRole[live] != w.OutRole[live])
	}
	for k, w := range want.endpoints {
		h, ok := held.endpoints[k]
		p.flip = p.flip || ok && isSameEndpoint(h, w) && h.Class[live] != w.Class[live]
	}

	ports, newPorts := map[uint32]contivPort{}, map[uint32]contivPort{}
	for k, w := range want.ports {
		h, ok := held.ports[k]
		if !ok || !isSamePort(h, w) {
			newPorts[k] = w
			continue
		}
		w.InRole[live], w.OutRole[live] = h.InRole[live], h.OutRole[live]
		if !p.flip {
			w.InRole[spare], w.OutRole[spare] = h.InRole[spare], h.OutRole[spare]
		}
		ports[k] = w
	}
	endpoints, newEndpoints := map[contivEndpointKey]contivEndpoint{}, map[contivEndpointKey]contivEndpoint{}
	for k, w := range want.endpoints {
		h, ok := held.endpoints[k]
		if !ok || !isSameEndpoint(h, w) {
			newEndpoints[k] = w
			continue
		}
		w.Class[live] = h.Class[live]
		if !p.flip {
			w.Class[spare] = h.Class[spare]
		}
		endpoints[k] = w
	}
	p.ports, p.endpoints = differenceOf(held.ports, ports), differenceOf(held.endpoints, endpoints)
	p.newPorts, p.newEndpoints = differenceOf(nil, newPorts), differenceOf(nil, newEndpoints)
	for _, k := range p.endpoints.gone {
		p.gone[k] = true
	}
	p.changed = p.flip || p.networks.changed || p.peers.changed || p.ports.changed || p.endpoints.changed ||
		p.providers.changed || // connections to those that are gone have to end
		p.privates.changed || held.outside != want.outside || enclosesOutside(p.subnets.keys, held.ports)
	p.epoch = held.epoch
	if p.changed {
		p.epoch = nextEpoch(held.epoch)
	}
	p.after = rows{
		networks: want.networks, peers: want.peers, stations: want.stations, members: want.members, ports: ports, endpoints: endpoints, rules: want.rules,
		services: want.services, slots: want.slots, providers: want.providers, verdicts: held.verdicts,
		privates: want.privates, subnets: want.subnets, prefixes: held.prefixes, outside: want.outside,
	}
	if p.flip {
		p.verdicts = differenceOf(held0[spare], wanted[spare])
		p.epoch = p.epoch&^(epochBank|epochRecheck) | uint32(spare) | want.epoch&epochRecheck
		p.after.verdicts = held0[live]
		maps.Copy(p.after.verdicts, wanted[spare])
		p.prefixes = differenceOf(heldPrefixes[spare], wantedPrefixes[spare])
		p.after.prefixes = heldPrefixes[live]
		maps.Copy(p.after.prefixes, wantedPrefixes[spare])
	}
	p.after.epoch = p.epoch
	for _, e := range newEndpoints {
		p.newcomers = p.newcomers || e.Network&compile.VLAN != 0
	}
	for k, v := range newPorts {
		ports[k] = v
	}
	for k, v := range newEndpoints {
		endpoints[k] = v
	}
	return p
}

// enclosesOutside tells whether new subnets may have in them what was outside for a port.
func enclosesOutside(subnets []contivSubnetKey, ports map[uint32]contivPort) bool {
	if len(subnets) == 0 {
		return false
	}
	goesOut := map[uint32]bool{} // tenants
	for _, p := range ports {
		if p.Private4 != ([4]byte{}) || p.Private6 != ([16]byte{}) {
			goesOut[p.Tenant] = true
		}
	}
	return slices.ContainsFunc(subnets, func(k contivSubnetKey) bool { return goesOut[k.Tenant] })
}

// nextEpoch makes every flow void and leaves policy as it is.
func nextEpoch(epoch uint32) uint32 { return epoch + epochStep }

// isSamePort tells whether a port is still the same container's. Where it is not, its old row goes before the new one comes.
func isSamePort(a, b contivPort) bool {
	return a.Tenant == b.Tenant && a.Network == b.Network && a.Ipv4 == b.Ipv4 && a.Ipv6 == b.Ipv6 && a.Mac == b.Mac
}

func isSameEndpoint(a, b contivEndpoint) bool {
	a.Class, a.Provides = b.Class, b.Provides
	return a == b
}
