// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// Pool is the addresses of one family that a network has to give.
type Pool struct {
	// Prefix is the subnet as the user wrote it; its host bits may be set. Use Subnet for the masked one.
	Prefix netip.Prefix `json:"prefix,omitzero"`
	// First and Last bound what is given unasked, when a range was written (10.1.1.10-10.1.1.20/24)
	// or Docker's --ip-range was used; both zero otherwise.
	First netip.Addr `json:"first,omitzero"`
	Last  netip.Addr `json:"last,omitzero"`
	// Gateway is the network's own address, zero when it has none.
	Gateway netip.Addr `json:"gateway,omitzero"`
}

// IsZero tells whether the network has no addresses of this family.
func (p Pool) IsZero() bool { return p == Pool{} }

// Subnet is the prefix without its host bits.
func (p Pool) Subnet() netip.Prefix { return p.Prefix.Masked() }

// String is what ParsePool reads: a.b.c.d/len, or first-last/len for a range.
func (p Pool) String() string {
	switch {
	case p.IsZero():
		return ""
	case p.First.IsValid():
		return fmt.Sprintf("%s-%s/%d", p.First, p.Last, p.Prefix.Bits())
	}
	return p.Prefix.String()
}

// Broadcast is the subnet's last address. In IPv6 it is an ordinary address (RFC 4291 2.6 has no broadcast).
func (p Pool) Broadcast() netip.Addr { return lastOf(p.Subnet()) }

// Bounds are the first and last address that may be given unasked. ok is false when there are none.
// A subnet's first address is never given: it is IPv4's network address and IPv6's
// subnet-router anycast address (RFC 4291 2.6.1). An IPv4 /31 has none to give, as in the original.
func (p Pool) Bounds() (first, last netip.Addr, ok bool) {
	if p.IsZero() {
		return first, last, false
	}
	first, last = p.Subnet().Addr().Next(), p.Broadcast()
	if last.Is4() {
		last = last.Prev()
	}
	if p.First.IsValid() {
		if first.Less(p.First) {
			first = p.First
		}
		if p.Last.Less(last) {
			last = p.Last
		}
	}
	return first, last, first.IsValid() && !last.Less(first)
}

// Usable tells whether a may be given to an endpoint that asks for it. The error says why not;
// whether another has it already is not known here.
func (p Pool) Usable(a netip.Addr) error {
	switch {
	case p.IsZero() || !p.Subnet().Contains(a):
		return Invalid("ipAddress", "address %s is outside the subnet %s", a, p)
	case a == p.Subnet().Addr():
		return Invalid("ipAddress", "address %s is the network's own address in %s; choose another", a, p.Subnet())
	case a.Is4() && a == p.Broadcast():
		return Invalid("ipAddress", "address %s is the broadcast address of %s; choose another", a, p.Subnet())
	case a == p.Gateway:
		return Exists("ipAddress", "address %s is the gateway of %s; choose another", a, p.Subnet())
	}
	return nil
}

// Overlaps tells whether two pools could give the same address. Two ranges of one subnet may not.
func (p Pool) Overlaps(q Pool) bool {
	if p.IsZero() || q.IsZero() || !p.Subnet().Overlaps(q.Subnet()) {
		return false
	}
	pf, pl := p.span()
	qf, ql := q.span()
	return !pl.Less(qf) && !ql.Less(pf)
}

// span is every address that the pool claims, reserved ones too.
func (p Pool) span() (first, last netip.Addr) {
	if p.First.IsValid() {
		return p.First, p.Last
	}
	return p.Subnet().Addr(), p.Broadcast()
}

// ParsePool reads a subnet or a range, and the gateway ("" for none). The field names in errors are
// subnet and gateway, or ipv6Subnet and ipv6Gateway where v6 is asked for.
func ParsePool(text, gateway string, v6 bool) (Pool, error) {
	field, gwField, example, gwExample := "subnet", "gateway", "10.1.2.0/24", "10.1.2.1"
	shortest, longest := 8, 31
	if v6 {
		field, gwField, example, gwExample = "ipv6Subnet", "ipv6Gateway", "2001:db8:1::/64", "2001:db8:1::1"
		shortest, longest = 8, 127
	}
	if text == "" {
		if gateway != "" {
			return Pool{}, Invalid(gwField, "%s %q is given without %s; give both", gwField, gateway, field)
		}
		return Pool{}, nil
	}
	var p Pool
	wrong := func() (Pool, error) {
		return Pool{}, Invalid(field, "%s %q is not a subnet; write it as %s", field, text, example)
	}
	addrs, bits, ok := strings.Cut(text, "/")
	if !ok {
		return wrong()
	}
	first, last, ranged := strings.Cut(addrs, "-")
	pre, err := netip.ParsePrefix(first + "/" + bits)
	if err != nil || pre.Addr().Is4In6() || pre.Addr().Is6() != v6 {
		return wrong()
	}
	p.Prefix = pre
	if pre.Bits() < shortest || pre.Bits() > longest {
		return Pool{}, Invalid(field, "%s %q has length /%d; use /%d to /%d", field, text, pre.Bits(), shortest, longest)
	}
	for _, not := range notForContainers {
		if pre.Masked().Overlaps(not.space) {
			return Pool{}, Invalid(field, "%s %q has addresses of %s, which are %s and no container's; choose another, as %s", field, text, not.space, not.what, example)
		}
	}
	if ranged {
		p.First = pre.Addr()
		if p.Last, err = netip.ParseAddr(last); err != nil || !pre.Masked().Contains(p.Last) || p.Last.Less(p.First) {
			return Pool{}, Invalid(field, "%s %q is not a range; write first-last/len with both ends in one subnet, as 10.1.1.10-10.1.1.20/24", field, text)
		}
	}
	if gateway == "" {
		return p, nil
	}
	g, err := netip.ParseAddr(gateway)
	if err != nil || g.Is6() != v6 || g.Zone() != "" {
		return Pool{}, Invalid(gwField, "%s %q is not an address; write it as %s", gwField, gateway, gwExample)
	}
	if err := p.Usable(g); err != nil {
		return Pool{}, Invalid(gwField, "%s %s cannot be used: %s", gwField, g, err)
	}
	p.Gateway = g
	return p, nil
}

// notForContainers is what no machine can have for an address of its own (RFC 6890).
var notForContainers = []struct {
	space netip.Prefix
	what  string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("::/8"), "reserved"}, // with loopback and the mapped ones
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
