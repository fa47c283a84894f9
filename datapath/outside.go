// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// OwnMark is the bit of a packet's mark by which the data path knows what the node's own processes send by its devices in infra networks: what has
// come from elsewhere must not have it there, and is somebody to policies who is not the node.
const OwnMark = uint32(contivNodeOWN_MARK)

// AttachOutside has what the node sends to model.OutsideDevice pass the data path, whose side of that pair is model.OutsidePort. Both
// must be there. Attaching again succeeds, and is how a pair that was made anew is attached.
func (d *Datapath) AttachOutside() error {
	defer d.names.lock(model.OutsidePort)()
	index, ok, err := d.dev.index(model.OutsidePort)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("attach %s: there is no such device", model.OutsidePort)
	}
	now := attachment{d.mode, hookOutside, index}
	found, err := attachments(d.attach.dir)
	if err != nil {
		return err
	}
	for _, a := range found {
		if a == now && d.attach.alive(a) {
			return nil
		}
	}
	return d.attach.attach(now, d.objects.FromHost)
}

// Bits of the longest prefixes in the tables' keys: with the tenant, and with bank and tenant.
const (
	subnetBits = 32
	prefixBits = 64
)

// encodeOutside leaves out the way to the outside while its device is not there.
func encodeOutside(r *rows, t compile.Tables, ifindex map[string]uint32) {
	if i, ok := ifindex[model.OutsideDevice]; ok && t.Outside.IPv4.IsValid() {
		r.outside = contivExit{Ifindex: i, Mac: t.Outside.MAC, Ipv4: as4(t.Outside.IPv4.Addr()), Ipv6: as6(t.Outside.IPv6.Addr())}
	}
	for _, p := range t.Ports {
		i, ok := ifindex[p.Name]
		for _, a := range []netip.Addr{p.Private4, p.Private6} {
			if ok && a.IsValid() {
				r.privates[contivPrivateKey{Address: a.As16()}] = i
			}
		}
	}
	for _, s := range t.Subnets {
		r.subnets[contivSubnetKey{Bits: subnetBits + mappedBits(s.Prefix), Tenant: s.Tenant, Address: s.Prefix.Addr().As16()}] = 1
	}
	prefixes := make(table[contivPrefixKey, uint32], 0, len(t.Prefixes))
	for _, p := range t.Prefixes {
		k := contivPrefixKey{Bits: prefixBits + mappedBits(p.Prefix), Tenant: p.Tenant, Address: p.Prefix.Masked().Addr().As16()}
		prefixes = append(prefixes, row[contivPrefixKey, uint32]{k, p.Class})
	}
	prefixes = append(prefixes, ipv4Apart(t.Prefixes)...)
	prefixes = prefixes.sorted(comparePrefixKey)
	r.prefixes[0], r.prefixes[1] = prefixes, prefixes
}

// mapped is where the programs have IPv4: in the middle of what IPv6 has.
var mapped = netip.PrefixFrom(netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff}), 96)

// coversIPv4 tells whether a prefix of IPv6, as ::/0, has what the programs have IPv4 as.
func coversIPv4(p netip.Prefix) bool {
	return p.Addr().Is6() && p.Bits() <= mapped.Bits() && p.Contains(mapped.Addr())
}

// ipv4Apart are the rows that keep IPv4 addresses from being of the class of IPv6 ones: of tenants that have a prefix of IPv6 that covers
// them, and none for all of IPv4. Their class is 0, which no other row has.
func ipv4Apart(prefixes []compile.Prefix) table[contivPrefixKey, uint32] {
	covered := map[uint32]bool{}
	for _, p := range prefixes {
		covered[p.Tenant] = covered[p.Tenant] || coversIPv4(p.Prefix)
	}
	for _, p := range prefixes {
		if p.Prefix.Addr().Is4() && p.Prefix.Bits() == 0 {
			covered[p.Tenant] = false
		}
	}
	var out table[contivPrefixKey, uint32]
	for tenant, is := range covered {
		if is {
			out = append(out, row[contivPrefixKey, uint32]{key: contivPrefixKey{Bits: prefixBits + mappedBits(mapped), Tenant: tenant, Address: mapped.Addr().As16()}})
		}
	}
	return out
}

// decodeOutside is the other way. Ports have their private addresses in rows of their own.
func decodeOutside(t *compile.Tables, r rows) {
	if o := r.outside; o.Ifindex != 0 {
		t.Outside = compile.Outside{
			IPv4: netip.PrefixFrom(from4(o.Ipv4), 16), IPv6: netip.PrefixFrom(from6(o.Ipv6), 112), MAC: o.Mac,
		}
	}
	for k := range r.subnets {
		t.Subnets = append(t.Subnets, compile.Subnet{Tenant: k.Tenant, Prefix: unmapped(k.Address, k.Bits-subnetBits)})
	}
	for _, p := range r.prefixes[bankOf(r.epoch)] {
		k := p.key
		if p.value == 0 {
			continue // see ipv4Apart
		}
		t.Prefixes = append(t.Prefixes, compile.Prefix{Tenant: k.Tenant, Prefix: unmapped(k.Address, k.Bits-prefixBits), Class: p.value})
	}
	slices.SortFunc(t.Subnets, func(a, b compile.Subnet) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), comparePrefix(a.Prefix, b.Prefix))
	})
	slices.SortFunc(t.Prefixes, func(a, b compile.Prefix) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), comparePrefix(a.Prefix, b.Prefix))
	})
}

// mappedBits is a prefix's length where IPv4 is written as ::ffff:a.b.c.d.
func mappedBits(p netip.Prefix) uint32 { return uint32(p.Bits() + 128 - p.Addr().BitLen()) }

func unmapped(address [16]byte, bits uint32) netip.Prefix {
	a := netip.AddrFrom16(address)
	if a.Is4In6() {
		return netip.PrefixFrom(a.Unmap(), int(bits)-96)
	}
	return netip.PrefixFrom(a, int(bits))
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
