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

// rows is a compile.Tables in the kernel's words, by key.
type rows struct {
	networks  map[uint32]contivNetwork
	peers     map[contivVtep]contivPeer
	ports     table[uint32, contivPort] // by ifindex
	endpoints table[contivEndpointKey, contivEndpoint]
	stations  map[contivStationKey]uint32
	members   map[contivMemberKey]uint32
	verdicts  [2]table[contivVerdictKey, contivVerdict] // by bank, which the keys do not say; wanted ones are the same in both
	ranges    [2]table[contivRangeKey, uint32]          // the same
	rules     table[uint32, ruleRow]
	services  map[contivServiceKey]contivService
	slots     map[uint64]bool // by their number; true: they are what it says
	contents  map[uint64][]uint32
	providers map[contivProviderKey]contivProvider
	foreign   map[contivForeignKey]uint32
	privates  map[contivPrivateKey]uint32 // ifindex
	subnets   map[contivSubnetKey]uint32
	prefixes  [2]table[contivPrefixKey, uint32] // the same
	outside   contivExit
	epoch     uint32 // wanted: its flag epochRecheck only
}

// The bits of the epoch and of a verdict's key, as abi.h has them.
const (
	epochBank    = 1
	epochRecheck = 2
	epochStep    = 4

	bankShift     = 31
	protocolShift = 16
	anyProtocol   = 256
	headProtocol  = 257
	rangeProtocol = 512
)

// scopeNetwork marks the number of a network in the place of a tenant's, as abi.h has it.
const scopeNetwork = 1 << 31

// encode leaves out what cannot be written yet: a port without a device, with its endpoints. A node without a hop has no route.
func encode(t compile.Tables, ifindex map[string]uint32, hops map[netip.Addr]contivPeer) rows {
	r := rows{
		networks:  make(map[uint32]contivNetwork, len(t.Networks)),
		peers:     make(map[contivVtep]contivPeer, len(t.Peers)),
		ports:     make(table[uint32, contivPort], 0, len(t.Ports)),
		endpoints: make(table[contivEndpointKey, contivEndpoint], 0, len(t.Endpoints)),
		rules:     make(table[uint32, ruleRow], 0, len(t.Rules)),
		privates:  map[contivPrivateKey]uint32{},
		subnets:   make(map[contivSubnetKey]uint32, len(t.Subnets)),
	}
	encodeOutside(&r, t, ifindex)
	if t.Recheck {
		r.epoch = epochRecheck
	}
	verdicts := verdictRows(t.Verdicts)
	r.verdicts[0], r.verdicts[1] = verdicts, verdicts
	ranges := rangeRows(t.Verdicts)
	r.ranges[0], r.ranges[1] = ranges, ranges
	for _, x := range t.Rules {
		r.rules = append(r.rules, row[uint32, ruleRow]{key: x.Number})
	}
	for _, n := range t.Networks {
		r.networks[n.Number] = contivNetwork{Tenant: n.Tenant, Bridged: flag(n.Bridged), Flooded: flag(n.Flooded), Broadcast4: as4(n.Broadcast)}
	}
	for _, p := range t.Peers {
		r.peers[contivVtep{Address: p.VTEP.As16()}] = hops[p.VTEP]
	}
	for _, p := range t.Ports {
		if i, ok := ifindex[p.Name]; ok {
			r.ports = append(r.ports, row[uint32, contivPort]{i, contivPort{
				Tenant: p.Tenant, Network: p.Network, Ipv4: as4(p.IPv4), Gateway4: as4(p.Gateway4),
				Ipv6: as6(p.IPv6), Gateway6: as6(p.Gateway6), Mac: p.MAC, Bridged: flag(p.Bridged),
				InRole: [2]uint32{p.InRole, p.InRole}, OutRole: [2]uint32{p.OutRole, p.OutRole},
				Dscp: p.DSCP, SendRate: p.Sends.Rate, SendBurst: p.Sends.Burst, ReceiveRate: p.Receives.Rate, ReceiveBurst: p.Receives.Burst,
				Private4: as4(p.Private4), Private6: as6(p.Private6), Home: flag(p.Home),
			}})
		}
	}
	r.stations, r.members = vlanPorts(t.Ports, ifindex)
	for _, e := range t.Endpoints {
		to := contivEndpoint{
			Network: e.Network, Mac: e.MAC, Class: [2]uint32{e.Class, e.Class}, Virtual: virtual(e), Provides: flag(e.Provides),
		}
		switch {
		case e.Virtual:
		case e.Port != "":
			i, ok := ifindex[e.Port]
			if !ok {
				continue
			}
			to.Ifindex = i
		default:
			to.Vtep = e.VTEP.As16()
		}
		r.endpoints = append(r.endpoints, row[contivEndpointKey, contivEndpoint]{contivEndpointKey{Tenant: e.Tenant, Address: e.Addr.As16()}, to})
	}
	r.encodeServices(t)
	r.ports, r.endpoints, r.rules = r.ports.sorted(cmp.Compare[uint32]), r.endpoints.sorted(compareEndpointKey), r.rules.sorted(cmp.Compare[uint32])
	return r
}

func verdictKey(v compile.Verdict) contivVerdictKey {
	protocol := uint32(anyProtocol)
	if v.Protocol != compile.AnyProtocol {
		protocol = uint32(uint8(v.Protocol))
	}
	if v.End != 0 {
		protocol |= rangeProtocol
	}
	return contivVerdictKey{Role: v.Role, Class: v.Class, What: protocol<<protocolShift | uint32(v.Port)}
}

// verdictRows adds to the rows of policy a head for each class of a role, which tells what kinds of rows follow, so that the
// programs look for no others.
func verdictRows(verdicts []compile.Verdict) table[contivVerdictKey, contivVerdict] {
	out := make(table[contivVerdictKey, contivVerdict], 0, 2*len(verdicts))
	head := -1
	for _, v := range verdicts {
		k := verdictKey(v)
		if head < 0 || out[head].key.Role != v.Role || out[head].key.Class != v.Class {
			head = len(out)
			out = append(out, row[contivVerdictKey, contivVerdict]{key: contivVerdictKey{Role: v.Role, Class: v.Class, What: headProtocol << protocolShift}})
		}
		kind := contivRowKindROW_PORT
		switch {
		case v.Protocol == compile.AnyProtocol:
			kind = contivRowKindROW_ANY
		case v.Port == 0:
			kind = contivRowKindROW_PROTOCOL
		case v.End != 0:
			kind = contivRowKindROW_RANGE
		}
		out[head].value.Rule |= uint32(kind)
		out = append(out, row[contivVerdictKey, contivVerdict]{k, contivVerdict{
			Rule: v.Rule, Audit: v.Audit, Deny: flag(!v.Allow), Priority: v.Priority, AuditPriority: v.AuditPriority, End: uint32(v.End),
		}})
	}
	return out.sorted(compareVerdictKey)
}

// isHead tells heads from rows that policy has.
func (k contivVerdictKey) isHead() bool { return k.What>>protocolShift == headProtocol }

func verdict(k contivVerdictKey, v contivVerdict) compile.Verdict {
	out := compile.Verdict{
		Role: k.Role, Class: k.Class, Protocol: compile.AnyProtocol, Port: uint16(k.What), Allow: v.Deny == 0,
		Priority: v.Priority, Rule: v.Rule, Audit: v.Audit, AuditPriority: v.AuditPriority,
		End: uint16(v.End),
	}
	if p := k.What >> protocolShift; p != anyProtocol {
		out.Protocol = int16(p &^ rangeProtocol)
	}
	return out
}

// decode is encode the other way, of what is in force. What the kernel does not hold stays zero: revision, names of nodes,
// endpoints and rules, routes. A port whose device is gone is named by its ifindex, as #17.
func decode(r rows, name func(ifindex uint32) (string, bool)) compile.Tables {
	port := func(i uint32) string {
		if n, ok := name(i); ok {
			return n
		}
		return fmt.Sprintf("#%d", i)
	}
	live := bankOf(r.epoch)
	t := compile.Tables{Recheck: r.epoch&epochRecheck != 0}
	for _, v := range r.verdicts[live] {
		if !v.key.isHead() {
			t.Verdicts = append(t.Verdicts, verdict(v.key, v.value))
		}
	}
	for number, n := range r.networks {
		t.Networks = append(t.Networks, compile.Network{
			Number: number, Tenant: n.Tenant, Bridged: n.Bridged != 0, Flooded: n.Flooded != 0, Broadcast: from4(n.Broadcast4),
		})
	}
	for v := range r.peers {
		t.Peers = append(t.Peers, compile.Peer{VTEP: netip.AddrFrom16(v.Address).Unmap()})
	}
	for _, r := range r.ports {
		p := r.value
		t.Ports = append(t.Ports, compile.Port{
			Name: port(r.key), Tenant: p.Tenant, Network: p.Network, IPv4: from4(p.Ipv4), Gateway4: from4(p.Gateway4),
			IPv6: from6(p.Ipv6), Gateway6: from6(p.Gateway6), MAC: p.Mac, Bridged: p.Bridged != 0,
			InRole: p.InRole[live], OutRole: p.OutRole[live], DSCP: p.Dscp, Private4: from4(p.Private4), Private6: from6(p.Private6),
			Sends:    compile.Limit{Rate: p.SendRate, Burst: p.SendBurst},
			Receives: compile.Limit{Rate: p.ReceiveRate, Burst: p.ReceiveBurst},
			Home:     p.Home != 0,
		})
	}
	decodeOutside(&t, r)
	for _, r := range r.endpoints {
		k, e := r.key, r.value
		row := compile.Endpoint{Tenant: k.Tenant, Addr: netip.AddrFrom16(k.Address).Unmap(), Network: e.Network, MAC: model.MAC(e.Mac), Class: e.Class[live], Virtual: e.Virtual != 0, Beside: e.Virtual == uint8(contivVirtualVIRTUAL_BESIDE), Provides: e.Provides != 0}
		switch {
		case row.Virtual:
		case e.Ifindex != 0:
			row.Port = port(e.Ifindex)
		default:
			row.VTEP = netip.AddrFrom16(e.Vtep).Unmap()
		}
		t.Endpoints = append(t.Endpoints, row)
	}
	r.decodeServices(&t)
	slices.SortFunc(t.Networks, func(a, b compile.Network) int { return cmp.Compare(a.Number, b.Number) })
	slices.SortFunc(t.Peers, func(a, b compile.Peer) int { return a.VTEP.Compare(b.VTEP) })
	slices.SortFunc(t.Ports, func(a, b compile.Port) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(t.Endpoints, func(a, b compile.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Addr.Compare(b.Addr))
	})
	return t
}

// virtual is whether an endpoint's address is a service's.
func virtual(e compile.Endpoint) uint8 {
	switch {
	case e.Virtual && e.Beside:
		return uint8(contivVirtualVIRTUAL_BESIDE)
	case e.Virtual:
		return uint8(contivVirtualVIRTUAL_OWN)
	}
	return uint8(contivVirtualVIRTUAL_NOT)
}

func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func as4(a netip.Addr) (out [4]byte) {
	if a.Is4() {
		out = a.As4()
	}
	return out
}

func as6(a netip.Addr) (out [16]byte) {
	if a.Is6() {
		out = a.As16()
	}
	return out
}

func from4(b [4]byte) netip.Addr {
	if b == ([4]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom4(b)
}

func from6(b [16]byte) netip.Addr {
	if b == ([16]byte{}) {
		return netip.Addr{}
	}
	return netip.AddrFrom16(b)
}
