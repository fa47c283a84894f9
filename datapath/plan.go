// SPDX-License-Identifier: Apache-2.0

package datapath

import "github.com/contivnet/contiv/compile"

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

func planFor(held, want rows) plan {
	live := bankOf(held.epoch)
	spare := 1 - live
	p := plan{
		networks: differenceOf(held.networks, want.networks), peers: differenceOf(held.peers, want.peers),
		stations: differenceOf(held.stations, want.stations), members: differenceOf(held.members, want.members),
		rules: differenceOf(held.rules, want.rules), gone: map[contivEndpointKey]bool{},
		services: differenceOf(held.services, want.services), slots: differenceOf(held.slots, want.slots), contents: want.contents,
		providers: differenceOf(held.providers, want.providers),
	}
	p.rules.changed = false
	wanted := [2]map[contivVerdictKey]contivVerdict{{}, {}}
	for k, v := range want.verdicts {
		wanted[live][k.inBank(live)] = v
		wanted[spare][k.inBank(spare)] = v
	}
	held0 := [2]map[contivVerdictKey]contivVerdict{{}, {}}
	for k, v := range held.verdicts {
		held0[k.bank()][k] = v
	}
	inForce := differenceOf(held0[live], wanted[live])
	p.flip = len(inForce.keys) > 0 || len(inForce.gone) > 0 || held.epoch&epochRecheck != want.epoch&epochRecheck
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
		p.providers.changed // connections to those that are gone have to end
	p.epoch = held.epoch
	if p.changed {
		p.epoch = nextEpoch(held.epoch)
	}
	p.after = rows{
		networks: want.networks, peers: want.peers, stations: want.stations, members: want.members, ports: ports, endpoints: endpoints, rules: want.rules,
		services: want.services, slots: want.slots, providers: want.providers, verdicts: held.verdicts,
	}
	if p.flip {
		p.verdicts = differenceOf(held0[spare], wanted[spare])
		p.epoch = p.epoch&^(epochBank|epochRecheck) | uint32(spare) | want.epoch&epochRecheck
		p.after.verdicts = held0[live]
		for k, v := range wanted[spare] {
			p.after.verdicts[k] = v
		}
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
