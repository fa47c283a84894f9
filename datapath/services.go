// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
)

// ServiceCount is what this node's containers had of one provider of a service, since the two came together. Bytes are of IP packets, as
// the node carries them: what the kernel has not cut into segments yet is one packet.
type ServiceCount struct {
	Service, Provider      uint32 // by the numbers of compile.Service and compile.Provider
	Connections            uint64 // that began; of UDP, what one client's port sent without a pause of three minutes
	Open                   uint64 // of those, how many are there now
	PacketsTo, BytesTo     uint64 // from clients to the provider
	PacketsFrom, BytesFrom uint64 // and back
}

// ServiceCounts are the counts of all pairs that had connections, sorted by service and provider.
func (d *Datapath) ServiceCounts() ([]ServiceCount, error) {
	sums := map[contivProviderKey]*ServiceCount{}
	of := func(k contivProviderKey) *ServiceCount {
		if sums[k] == nil {
			sums[k] = &ServiceCount{Service: k.Service, Provider: k.Number}
		}
		return sums[k]
	}
	add := func(k contivProviderKey, c contivProviderCount) {
		sum := of(k)
		sum.Connections += c.Connections
		sum.PacketsTo += c.PacketsTo
		sum.BytesTo += c.BytesTo
		sum.PacketsFrom += c.PacketsFrom
		sum.BytesFrom += c.BytesFrom
	}
	var key contivProviderKey
	var perCPU []contivProviderCount
	ended := d.objects.ProviderCounts.Iterate()
	for ended.Next(&key, &perCPU) {
		for _, c := range perCPU {
			add(key, c)
		}
	}
	if err := ended.Err(); err != nil {
		return nil, fmt.Errorf("read the counts of providers: %w", err)
	}
	open := func(_ contivTranslationKey, x contivTranslation) error {
		k := contivProviderKey{Service: x.Service, Number: x.Provider}
		add(k, x.count())
		if !x.back() {
			of(k).Open++
		}
		return nil
	}
	if err := errors.Join(
		eachRow(d.objects.CollectedCounts, func(k contivProviderKey, c contivProviderCount) error { add(k, c); return nil }),
		eachRow(d.objects.Translations, open), eachRow(d.objects.Spilled, open),
	); err != nil {
		return nil, err
	}
	var out []ServiceCount
	for _, sum := range sums {
		out = append(out, *sum)
	}
	slices.SortFunc(out, func(a, b ServiceCount) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Provider, b.Provider))
	})
	return out, nil
}

// ---- the tables -----------------------------------------------------------------------------------------------------

// encodeServices adds the rows of services.
func (r *rows) encodeServices(t compile.Tables) {
	r.services = make(map[contivServiceKey]contivService, len(t.Services))
	r.slots, r.contents = map[uint64]bool{}, map[uint64][]uint32{}
	r.providers = make(map[contivProviderKey]contivProvider, len(t.Providers))
	for _, s := range t.Services {
		key := contivServiceKey{Tenant: s.Tenant, Address: s.Addr.As16(), Port: bigEndian16(s.Port), Proto: s.Protocol}
		if s.Network != 0 {
			key.Tenant = scopeNetwork | s.Network
		}
		r.services[key] = contivService{Slots: s.SlotsNumber, Number: s.Number, Target: bigEndian16(s.Target), Affinity: s.Affinity}
		if s.SlotsNumber != 0 {
			r.slots[s.SlotsNumber], r.contents[s.SlotsNumber] = true, s.Slots
		}
	}
	for _, p := range t.Providers {
		r.providers[contivProviderKey{Service: p.Service, Number: p.Number}] = contivProvider{Tenant: p.Tenant, Address: p.Addr.As16(), Port: bigEndian16(p.Port)}
	}
	r.foreign = make(map[contivForeignKey]uint32, len(t.Foreign))
	for _, f := range t.Foreign {
		r.foreign[contivForeignKey{Address: f.Addr.As16()}] = 1
	}
}

// decodeServices is encodeServices the other way. The services' keys, their slots themselves and the endpoints' ids are not there.
func (r rows) decodeServices(t *compile.Tables) {
	for k, v := range r.services {
		s := compile.Service{
			Number: v.Number, Tenant: k.Tenant, Addr: netip.AddrFrom16(k.Address).Unmap(), Protocol: k.Proto, Port: bigEndian16(k.Port),
			Target: bigEndian16(v.Target), Affinity: v.Affinity,
		}
		if k.Tenant&scopeNetwork != 0 {
			s.Network = k.Tenant &^ scopeNetwork
			s.Tenant = r.networks[s.Network].Tenant
		}
		if r.slots[v.Slots] {
			s.SlotsNumber = v.Slots
		}
		t.Services = append(t.Services, s)
	}
	for k, v := range r.providers {
		t.Providers = append(t.Providers, compile.Provider{
			Service: k.Service, Number: k.Number, Tenant: v.Tenant, Addr: netip.AddrFrom16(v.Address).Unmap(), Port: bigEndian16(v.Port),
		})
	}
	for k := range r.foreign {
		t.Foreign = append(t.Foreign, compile.Foreign{Addr: netip.AddrFrom16(k.Address).Unmap()})
	}
	slices.SortFunc(t.Foreign, func(a, b compile.Foreign) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(t.Services, compile.CompareServices)
	slices.SortFunc(t.Providers, compile.CompareProviders)
}

// bigEndian16 turns a number that programs keep in wire order, and back.
func bigEndian16(n uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], n)
	return binary.BigEndian.Uint16(b[:])
}

// putSlots writes the slots that are new. They come before the services that name them, and go after.
func (d *Datapath) putSlots(numbers []uint64, contents map[uint64][]uint32) error {
	const batch = 64
	for chunk := range slices.Chunk(numbers, batch) {
		values := make([]contivSlotList, len(chunk))
		for i, n := range chunk {
			copy(values[i].Providers[:], contents[n])
		}
		if err := (difference[uint64, contivSlotList]{keys: chunk, values: values}).put(d.objects.Slots, contivMapSlots); err != nil {
			return err
		}
	}
	return nil
}

// readSlots tells which slots there are: false for those whose content is not what their number says.
func (d *Datapath) readSlots() (map[uint64]bool, error) {
	out := map[uint64]bool{}
	err := eachRow(d.objects.Slots, func(n uint64, s contivSlotList) error {
		out[n] = compile.NumberSlots(s.Providers[:]) == n
		return nil
	})
	return out, err
}

// ---- translations ---------------------------------------------------------------------------------------------------

func (x contivTranslation) back() bool {
	return x.State&uint8(contivTranslationStateTRANSLATION_BACK) != 0
}

func (x contivTranslation) ending() bool {
	return x.State&uint8(contivTranslationStateTRANSLATION_FIN) != 0
}

// count is what a translation adds to its provider's counts.
func (x contivTranslation) count() contivProviderCount {
	if x.back() {
		return contivProviderCount{PacketsFrom: x.Packets, BytesFrom: x.Bytes}
	}
	return contivProviderCount{Connections: 1, PacketsTo: x.Packets, BytesTo: x.Bytes}
}

// other is the key of the other way, as fill_other in service.h has it.
func (k contivTranslationKey) other(x contivTranslation) contivTranslationKey {
	hairpin := x.State&uint8(contivTranslationStateTRANSLATION_HAIRPIN) != 0
	var ports [4]byte // source and destination, in wire order
	binary.NativeEndian.PutUint32(ports[:], k.Ports)
	var own [2]byte
	binary.NativeEndian.PutUint16(own[:], x.Port)
	o := contivTranslationKey{Tenant: k.Tenant, Proto: k.Proto}
	if x.back() {
		o.Source, o.Destination = k.Destination, x.Address
		if hairpin {
			o.Source = k.Source
		}
		ports = [4]byte{ports[2], ports[3], own[0], own[1]}
	} else {
		o.Source, o.Destination = x.Address, k.Source
		if hairpin {
			o.Destination = k.Destination
		}
		ports = [4]byte{own[0], own[1], ports[0], ports[1]}
	}
	o.Ports = binary.NativeEndian.Uint32(ports[:])
	return o
}

// isIdleTranslation tells whether a connection to a service is over. back is the way from the provider; nil: there is none any more.
func (c clock) isIdleTranslation(proto uint32, to contivTranslation, back *contivTranslation, provided bool, now uint16) bool {
	quiet := c.between(to.Seen, now)
	limit := idleOther
	if back != nil {
		quiet = min(quiet, c.between(back.Seen, now))
	}
	if proto == unix.IPPROTO_TCP {
		limit = idleEnding
		if back != nil && back.Packets > 0 && !back.ending() && !to.ending() && provided {
			limit = idleTCP
		}
	}
	return quiet > limit
}

// collectTranslations removes connections to services that are over.
func (d *Datapath) collectTranslations(now uint16) error {
	return d.endTranslations(func(k contivTranslationKey, x contivTranslation) bool {
		if d.clock.between(x.Seen, now) <= idleEnding {
			return false
		}
		var other contivTranslation
		found := d.objects.Translations.Lookup(k.other(x), &other) == nil
		if x.back() {
			return !found // else it goes with the way there
		}
		provided := d.objects.Providers.Lookup(contivProviderKey{Service: x.Service, Number: x.Provider}, new(contivProvider)) == nil
		if !found {
			return d.clock.isIdleTranslation(k.Proto, x, nil, provided, now)
		}
		return d.clock.isIdleTranslation(k.Proto, x, &other, provided, now)
	})
}

// forgetTranslations ends the connections of clients and of services whose addresses are gone. Those to a provider that is gone stay, for
// its clients to be told.
func (d *Datapath) forgetTranslations(p plan) error {
	gone := p.gone
	if len(gone) == 0 || len(d.held.services) == 0 { // nobody waits for a look at a large table where nothing is in it
		return nil
	}
	return d.endTranslations(func(k contivTranslationKey, x contivTranslation) bool {
		return !x.back() && (gone[contivEndpointKey{Tenant: k.Tenant, Address: k.Source}] || gone[contivEndpointKey{Tenant: k.Tenant, Address: k.Destination}])
	})
}

// endTranslations removes those that over tells of, with their other ways, and counts them.
func (d *Datapath) endTranslations(over func(contivTranslationKey, contivTranslation) bool) error {
	sums := map[contivProviderKey]contivProviderCount{}
	var spills bool
	in := func(m *ebpf.Map, spilled bool) error {
		return eachRow(m, func(k contivTranslationKey, x contivTranslation) error {
			if !over(k, x) {
				spills = spills || spilled
				return nil
			}
			for _, k := range []contivTranslationKey{k, k.other(x)} {
				last, ok, err := d.takeTranslation(k)
				if err != nil {
					return err
				}
				if ok {
					whose := contivProviderKey{Service: last.Service, Number: last.Provider}
					sums[whose] = sums[whose].plus(last.count())
				}
			}
			return nil
		})
	}
	err := errors.Join(in(d.objects.Translations, false), in(d.objects.Spilled, true))
	for k, c := range sums {
		var was contivProviderCount
		if e := d.objects.CollectedCounts.Lookup(k, &was); e != nil && !errors.Is(e, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, fmt.Errorf("read the counts of a provider: %w", e))
			continue
		}
		if e := d.objects.CollectedCounts.Put(k, c.plus(was)); e != nil {
			err = errors.Join(err, fmt.Errorf("count the ended connections of a provider: %w", e))
		}
	}
	if err == nil && !spills {
		err = d.stopSpilling()
	}
	return err
}

func (c contivProviderCount) plus(x contivProviderCount) contivProviderCount {
	return contivProviderCount{
		Connections: c.Connections + x.Connections, PacketsTo: c.PacketsTo + x.PacketsTo, BytesTo: c.BytesTo + x.BytesTo,
		PacketsFrom: c.PacketsFrom + x.PacketsFrom, BytesFrom: c.BytesFrom + x.BytesFrom,
	}
}

// takeTranslation removes one, wherever it is, and gives what it was at last.
func (d *Datapath) takeTranslation(k contivTranslationKey) (x contivTranslation, ok bool, err error) {
	for _, m := range []*ebpf.Map{d.objects.Translations, d.objects.Spilled} {
		err := m.LookupAndDelete(k, &x)
		if err == nil {
			return x, true, nil
		}
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return x, false, fmt.Errorf("end a connection to a service: %w", err)
		}
	}
	return x, false, nil
}

// stopSpilling has nobody look into spilled any more, when there is nothing in it.
func (d *Datapath) stopSpilling() error {
	var was uint32
	if err := d.objects.Spilling.Lookup(uint32(0), &was); err != nil || was == 0 {
		return err
	}
	if err := d.objects.Spilling.Put(uint32(0), uint32(0)); err != nil {
		return fmt.Errorf("note that nothing is spilled: %w", err)
	}
	var k contivTranslationKey
	if err := d.objects.Spilled.NextKey(nil, &k); err != nil {
		return nil // none came meanwhile
	}
	return d.objects.Spilling.Put(uint32(0), uint32(1))
}

// forgetCounts removes the counts of providers that are gone.
func (d *Datapath) forgetCounts() error {
	var gone []contivProviderKey
	var key contivProviderKey
	var perCPU []contivProviderCount
	note := func(k contivProviderKey) {
		if errors.Is(d.objects.Providers.Lookup(k, new(contivProvider)), ebpf.ErrKeyNotExist) {
			gone = append(gone, k)
		}
	}
	ended := d.objects.ProviderCounts.Iterate()
	for ended.Next(&key, &perCPU) {
		note(key)
	}
	err := ended.Err()
	if errors.Is(err, ebpf.ErrIterationAborted) { // rows came and went: the next round has them
		err = nil
	}
	err = errors.Join(err, eachRow(d.objects.CollectedCounts, func(k contivProviderKey, _ contivProviderCount) error { note(k); return nil }))
	for _, k := range gone {
		for _, m := range []*ebpf.Map{d.objects.ProviderCounts, d.objects.CollectedCounts} {
			if e := m.Delete(k); e != nil && !errors.Is(e, ebpf.ErrKeyNotExist) {
				err = errors.Join(err, fmt.Errorf("forget the counts of a provider: %w", e))
			}
		}
	}
	return err
}
