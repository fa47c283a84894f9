// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"

	"github.com/contivnet/contiv/compile"
)

// Apply makes the kernel hold the tables, by the difference to what it holds. Ports without a device are left out;
// a later Apply with the device there has them. Ways to other nodes are looked up each time, so an Apply after
// a change of routes mends them. Applying a revision again also mends what somebody else wrote.
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
	changed, err := d.write(*d.held, want)
	if err != nil {
		d.held = nil
	} else {
		d.held = &want
	}
	// After the tables, so that no decision that rests on older ones survives; and after a failure too.
	if changed {
		if err := d.raiseEpoch(); err != nil {
			d.held = nil
			return err
		}
	}
	if err != nil {
		return err
	}
	if !d.switched {
		if err := d.switchLinks(); err != nil {
			return err
		}
		// Cached decisions carry settings of the earlier programs, such as the VTEP.
		if err := d.raiseEpoch(); err != nil {
			return err
		}
		d.switched = true
	}
	d.revision = t.Revision
	return nil
}

// rows asks the machine for what the tables leave open: ifindexes, and the ways to other nodes.
func (d *Datapath) rows(t compile.Tables) (rows, error) {
	ifindex := make(map[string]uint32, len(t.Ports))
	for _, p := range t.Ports {
		i, ok, err := d.dev.index(p.Name)
		if err != nil {
			return rows{}, err
		}
		if ok {
			ifindex[p.Name] = i
		}
	}
	hops := make(map[netip.Addr]contivPeer, len(t.Peers))
	noRoute := map[netip.Addr]bool{}
	for _, p := range t.Peers {
		if !p.VTEP.Is4() {
			noRoute[p.VTEP] = true
			if !d.noRoute[p.VTEP] {
				d.opts.Log.Warn("cannot reach a node: tunnels over IPv6 are not carried yet", "node", p.Name, "vtep", p.VTEP)
			}
			continue
		}
		hop, err := d.dev.hop(d.opts.VTEP, p.VTEP)
		if err != nil {
			noRoute[p.VTEP] = true
			if !d.noRoute[p.VTEP] {
				d.opts.Log.Warn("cannot reach a node until there is a route", "node", p.Name, "error", err)
			}
		}
		hops[p.VTEP] = hop
	}
	d.noRoute = noRoute
	return encode(t, ifindex, hops), nil
}

// write brings the kernel from the held rows to the wanted ones: what is referred to first, removals in reverse.
// changed says whether decisions that were made may be wrong now, also when err is not nil.
func (d *Datapath) write(held, want rows) (changed bool, err error) {
	var (
		networks  = differenceOf(held.networks, want.networks)
		peers     = differenceOf(held.peers, want.peers)
		ports     = differenceOf(held.ports, want.ports)
		endpoints = differenceOf(held.endpoints, want.endpoints)
		o         = d.objects
	)
	changed = networks.changed || peers.changed || ports.changed || endpoints.changed
	for _, step := range []func() error{
		func() error { return networks.put(o.Networks, contivMapNetworks) },
		func() error { return peers.put(o.Peers, contivMapPeers) },
		func() error { return ports.put(o.Ports, contivMapPorts) },
		func() error { return endpoints.put(o.Endpoints, contivMapEndpoints) },
		func() error { return endpoints.remove(o.Endpoints, contivMapEndpoints) },
		func() error { return ports.remove(o.Ports, contivMapPorts) },
		func() error { return peers.remove(o.Peers, contivMapPeers) },
		func() error { return networks.remove(o.Networks, contivMapNetworks) },
	} {
		if err := step(); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// read reads all tables from the kernel.
func (d *Datapath) read() (r rows, err error) {
	if r.networks, err = readTable[uint32, contivNetwork](d.objects.Networks, contivMapNetworks); err != nil {
		return r, err
	}
	if r.peers, err = readTable[contivVtep, contivPeer](d.objects.Peers, contivMapPeers); err != nil {
		return r, err
	}
	if r.ports, err = readTable[uint32, contivPort](d.objects.Ports, contivMapPorts); err != nil {
		return r, err
	}
	r.endpoints, err = readTable[contivEndpointKey, contivEndpoint](d.objects.Endpoints, contivMapEndpoints)
	return r, err
}

// raiseEpoch has every flow decided anew at its next packet.
func (d *Datapath) raiseEpoch() error {
	var epoch uint32
	if err := d.objects.Epoch.Lookup(uint32(0), &epoch); err != nil {
		return fmt.Errorf("read the epoch of decisions: %w", err)
	}
	if err := d.objects.Epoch.Put(uint32(0), epoch+1); err != nil {
		return fmt.Errorf("raise the epoch of decisions: %w", err)
	}
	return nil
}
