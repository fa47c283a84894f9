// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"
)

// Verdict is what the rules of a role say about a packet: the specification of what the data path does. The port is the
// destination's, 0 for protocols without. Its Class, Protocol and Port are those of the row that decided, and
// Audit is 0 unless the packet passes and an audited rule would have denied it. Where no row was found it allows.
func (t Tables) Verdict(role, class uint32, protocol uint8, port uint16) (v Verdict, found bool) {
	v = Verdict{Role: role, Class: class, Protocol: AnyProtocol, Allow: true}
	if role == 0 {
		return v, false
	}
	peer, found := t.answer(role, class, protocol, port)
	if found {
		v = peer
	}
	if class != 0 {
		every, ok := t.answer(role, 0, protocol, port)
		switch {
		case !ok:
		case !found:
			v, found = every, true
		default:
			v = stronger(peer, every)
		}
	}
	if !v.Allow || v.Audit == 0 || v.AuditPriority < v.Priority {
		v.Audit, v.AuditPriority = 0, 0
	}
	return v, found
}

// answer is the first row of one chain.
func (t Tables) answer(role, class uint32, protocol uint8, port uint16) (Verdict, bool) {
	at := Verdict{Role: role, Class: class, Protocol: int16(protocol), Port: port}
	if i, ok := slices.BinarySearchFunc(t.Verdicts, at, CompareVerdicts); ok {
		return t.Verdicts[i], true
	}
	if v, ok := t.inRange(at); ok {
		return v, true
	}
	for _, key := range []Verdict{
		{Role: role, Class: class, Protocol: int16(protocol)},
		{Role: role, Class: class, Protocol: AnyProtocol},
	} {
		if i, ok := slices.BinarySearchFunc(t.Verdicts, key, CompareVerdicts); ok {
			return t.Verdicts[i], true
		}
	}
	return Verdict{}, false
}

// inRange is the row of a range with the port of at.
func (t Tables) inRange(at Verdict) (Verdict, bool) {
	if at.Port == 0 {
		return Verdict{}, false
	}
	want := at.Port
	at.Port, at.End = min(want, lastPort-1), lastPort // no range begins with the last
	i, found := slices.BinarySearchFunc(t.Verdicts, at, CompareVerdicts)
	if !found {
		i--
	}
	if i < 0 {
		return Verdict{}, false
	}
	v := t.Verdicts[i]
	return v, v.Role == at.Role && v.Class == at.Class && v.Protocol == at.Protocol && v.End != 0 && v.Port <= want && want <= v.End
}

// stronger joins the answers of the two chains.
func stronger(peer, every Verdict) Verdict {
	v := peer
	if every.Priority > peer.Priority || every.Priority == peer.Priority && peer.Allow && !every.Allow {
		v = every
	}
	audit := peer
	if every.AuditPriority > peer.AuditPriority || every.AuditPriority == peer.AuditPriority && peer.Audit == 0 {
		audit = every
	}
	v.Audit, v.AuditPriority = audit.Audit, audit.AuditPriority
	return v
}

// CompareVerdicts is the order of Tables.Verdicts.
func CompareVerdicts(a, b Verdict) int {
	return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Protocol, b.Protocol),
		cmp.Compare(a.precision(), b.precision()), cmp.Compare(a.Port, b.Port))
}

func (v Verdict) precision() int { return span{port: v.Port, end: v.End}.precision() }

// Class is what an address of a tenant is to others' rules: its endpoint's class, or where no endpoint has it that of the
// longest prefix.
func (t Tables) Class(tenant uint32, a netip.Addr) uint32 {
	i, ok := slices.BinarySearchFunc(t.Endpoints, Endpoint{Tenant: tenant, Addr: a}, compareEndpoint)
	if ok {
		return t.Endpoints[i].Class
	}
	class, longest := uint32(0), -1
	for _, p := range t.Prefixes {
		if p.Tenant == tenant && p.Prefix.Bits() > longest && p.Prefix.Contains(a) {
			class, longest = p.Class, p.Prefix.Bits()
		}
	}
	return class
}
