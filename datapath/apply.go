// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// Apply makes the kernel hold the tables, by the difference to what it holds. Ports without a device are left out;
// a later Apply with the device there has them. Ways to other nodes are looked up where routes have changed, so an Apply after
// that mends them. Applying a revision again also mends what somebody else wrote.
//
// After an error the kernel holds a part, in an order that never has one row refer to another that is missing.
// Applying again goes on.
func (d *Datapath) Apply(t compile.Tables) error {
	d.applyMu.Lock()
	defer d.applyMu.Unlock()

	want, err := d.rows(t)
	if err != nil {
		return err
	}
	if d.held == nil || t.Revision == d.revision {
		r, err := d.read()
		if err != nil {
			return err
		}
		d.held = &r
	}
	if err := d.carryOut(planFor(*d.held, want)); err != nil {
		d.held = nil
		return err
	}
	if !d.switched.Load() {
		if err := d.switchLinks(); err != nil {
			return err
		}
		// Cached decisions carry settings of the earlier programs, such as the VTEP.
		d.held.epoch = nextEpoch(d.held.epoch)
		if err := d.writeEpoch(d.held.epoch); err != nil {
			d.held = nil
			return err
		}
		d.switched.Store(true)
	}
	d.revision = t.Revision
	return nil
}

// rows asks the machine for what the tables leave open: ifindexes, and the ways to other nodes.
func (d *Datapath) rows(t compile.Tables) (rows, error) {
	ifindex := make(map[string]uint32, len(t.Ports)+1)
	find := func(device string) error {
		i, ok, err := d.dev.index(device)
		if ok {
			ifindex[device] = i
		}
		return err
	}
	if err := find(model.OutsideDevice); err != nil {
		return rows{}, err
	}
	for _, p := range t.Ports {
		if err := find(p.Name); err != nil {
			return rows{}, err
		}
	}
	d.dev.ways.hear()
	hops := make(map[netip.Addr]contivPeer, len(t.Peers))
	noRoute := map[netip.Addr]bool{}
	for _, p := range t.Peers {
		hop, err := d.dev.ways.to(p.VTEP, func() (contivPeer, error) { return d.dev.hop(d.opts.VTEP, p.VTEP) })
		if err != nil {
			noRoute[p.VTEP] = true
			if !d.noRoute[p.VTEP] {
				d.opts.Log.Warn("cannot reach a node until there is a route", "node", p.Name, "error", err)
			}
		}
		hop.Mtu = d.innerMTU(p)
		hops[p.VTEP] = hop
	}
	d.noRoute = noRoute
	return encode(t, ifindex, hops), nil
}

// innerMTU is the largest IP packet in bytes that goes to another node: what the underlays of both take, less the tunnel's headers.
func (d *Datapath) innerMTU(p compile.Peer) uint16 {
	mtu := d.opts.MTU
	if p.MTU != 0 {
		mtu = min(mtu, p.MTU)
	}
	return uint16(min(mtu-Overhead(d.opts.VTEP), 0xffff))
}

// carryOut does what is planned: what is referred to first, removals in reverse. After an error the epoch has been raised
// all the same, so that no decision rests on rows that are no longer there.
func (d *Datapath) carryOut(p plan) error {
	o := d.objects
	if p.flip {
		d.awaitGrace()
	}
	for _, step := range []func() error{
		func() error { return p.networks.put(o.Networks, contivMapNetworks) },
		func() error { return p.peers.put(o.Peers, contivMapPeers) },
		func() error { return d.addRules(p.rules) },
		func() error { return p.verdicts.put(o.Verdicts, contivMapVerdicts) },
		func() error { return p.verdicts.remove(o.Verdicts, contivMapVerdicts) },
		func() error { return p.providers.put(o.Providers, contivMapProviders) },
		func() error { return p.foreign.put(o.Foreign, contivMapForeign) },
		func() error { return d.putSlots(p.slots.keys, p.contents) },
		func() error { return p.services.put(o.Services, contivMapServices) },
		func() error { return p.prefixes.put(o.Prefixes, contivMapPrefixes) },
		func() error { return p.prefixes.remove(o.Prefixes, contivMapPrefixes) },
		func() error { return p.ranges.put(o.Ranges, contivMapRanges) },
		func() error { return p.ranges.remove(o.Ranges, contivMapRanges) },
		func() error { return p.subnets.put(o.Subnets, contivMapSubnets) },
		func() error { return d.putOutside(p) },
		func() error { return p.ports.put(o.Ports, contivMapPorts) },
		func() error { return p.endpoints.put(o.Endpoints, contivMapEndpoints) },
		func() error { return p.stations.put(o.Stations, contivMapStations) },
		func() error { return p.stations.remove(o.Stations, contivMapStations) },
		func() error { return p.members.put(o.Members, contivMapMembers) },
		func() error { return p.members.remove(o.Members, contivMapMembers) },
		func() error { return p.endpoints.remove(o.Endpoints, contivMapEndpoints) },
		func() error { return p.services.remove(o.Services, contivMapServices) },
		func() error { return p.slots.remove(o.Slots, contivMapSlots) },
		func() error { return p.providers.remove(o.Providers, contivMapProviders) },
		func() error { return p.foreign.remove(o.Foreign, contivMapForeign) },
		func() error { return p.privates.remove(o.Privates, contivMapPrivates) },
		func() error { return p.ports.remove(o.Ports, contivMapPorts) },
		func() error { return p.subnets.remove(o.Subnets, contivMapSubnets) },
		func() error { return p.peers.remove(o.Peers, contivMapPeers) },
		func() error { return p.networks.remove(o.Networks, contivMapNetworks) },
	} {
		if err := step(); err != nil {
			if p.changed {
				err = errors.Join(err, d.writeEpoch(nextEpoch(d.held.epoch)))
			}
			return err
		}
	}
	if p.changed {
		if err := d.writeEpoch(p.epoch); err != nil {
			return err
		}
	}
	if p.flip {
		d.startGrace()
	}
	newcomers := func() error {
		if !p.newcomers {
			return nil
		}
		p.after.epoch = nextEpoch(p.after.epoch)
		return d.writeEpoch(p.after.epoch)
	}
	for _, step := range []func() error{
		func() error { return d.forgetConnections(p.gone) },
		func() error { return d.forgetTranslations(p) },
		func() error { return p.newPorts.put(o.Ports, contivMapPorts) },
		func() error { return p.privates.put(o.Privates, contivMapPrivates) },
		func() error { return p.newEndpoints.put(o.Endpoints, contivMapEndpoints) },
		newcomers,
		func() error { return p.rules.remove(o.Rules, contivMapRules) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	d.held = &p.after
	return nil
}

// read reads all tables from the kernel.
func (d *Datapath) read() (r rows, err error) {
	if r.networks, err = readTable[uint32, contivNetwork](d.objects.Networks, contivMapNetworks); err != nil {
		return r, err
	}
	if r.peers, err = readTable[contivVtep, contivPeer](d.objects.Peers, contivMapPeers); err != nil {
		return r, err
	}
	if r.ports, err = readSorted[uint32, contivPort](d.objects.Ports, contivMapPorts, cmp.Compare); err != nil {
		return r, err
	}
	if r.endpoints, err = readSorted[contivEndpointKey, contivEndpoint](d.objects.Endpoints, contivMapEndpoints, compareEndpointKey); err != nil {
		return r, err
	}
	if r.stations, err = readTable[contivStationKey, uint32](d.objects.Stations, contivMapStations); err != nil {
		return r, err
	}
	if r.members, err = readTable[contivMemberKey, uint32](d.objects.Members, contivMapMembers); err != nil {
		return r, err
	}
	verdicts, err := readSorted[contivVerdictKey, contivVerdict](d.objects.Verdicts, contivMapVerdicts, compareVerdictKey)
	if err != nil {
		return r, err
	}
	if r.privates, err = readTable[contivPrivateKey, uint32](d.objects.Privates, contivMapPrivates); err != nil {
		return r, err
	}
	if r.subnets, err = readTable[contivSubnetKey, uint32](d.objects.Subnets, contivMapSubnets); err != nil {
		return r, err
	}
	prefixes, err := readSorted[contivPrefixKey, uint32](d.objects.Prefixes, contivMapPrefixes, comparePrefixKey)
	if err != nil {
		return r, err
	}
	ranges, err := readSorted[contivRangeKey, uint32](d.objects.Ranges, contivMapRanges, compareRangeKey)
	if err != nil {
		return r, err
	}
	r.verdicts, r.prefixes, r.ranges = byBank(verdicts), byBank(prefixes), byBank(ranges)
	if err := d.objects.Outside.Lookup(uint32(0), &r.outside); err != nil {
		return r, fmt.Errorf("read the way to the outside: %w", err)
	}
	if r.rules, err = d.readRules(); err != nil {
		return r, err
	}
	if r.services, err = readTable[contivServiceKey, contivService](d.objects.Services, contivMapServices); err != nil {
		return r, err
	}
	if r.slots, err = d.readSlots(); err != nil {
		return r, err
	}
	if r.providers, err = readTable[contivProviderKey, contivProvider](d.objects.Providers, contivMapProviders); err != nil {
		return r, err
	}
	if r.foreign, err = readTable[contivForeignKey, uint32](d.objects.Foreign, contivMapForeign); err != nil {
		return r, err
	}
	if err := d.objects.Epoch.Lookup(uint32(0), &r.epoch); err != nil {
		return r, fmt.Errorf("read the epoch of decisions: %w", err)
	}
	return r, nil
}

// putOutside writes the way to the outside, where it is another.
func (d *Datapath) putOutside(p plan) error {
	if p.after.outside == d.held.outside {
		return nil
	}
	if err := d.objects.Outside.Put(uint32(0), p.after.outside); err != nil {
		return fmt.Errorf("write the way to the outside: %w", err)
	}
	return nil
}

// writeEpoch has every flow decided anew at its next packet, by the bank of policy that it names.
func (d *Datapath) writeEpoch(epoch uint32) error {
	if err := d.objects.Epoch.Put(uint32(0), epoch); err != nil {
		return fmt.Errorf("raise the epoch of decisions: %w", err)
	}
	return nil
}
