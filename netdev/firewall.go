// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Firewall is all that a node's netfilter does for us: one nftables table, inet contiv. Loaded in one transaction in the calling thread's
// namespace, in place of what was there, it is:
//
//	table inet contiv {
//	  chain forged { type filter hook forward priority -1
//	    udp dport 4789 fib saddr . iif oif missing drop }
//	  chain borrowed { type filter hook postrouting priority 110
//	    ip saddr 192.168.2.10 udp dport 4789 drop }
//	  chain passing { type filter hook forward priority -1
//	    oifname contivh1 ct status dnat accept
//	    oifname contivh1 drop
//	    oifname contivh0 ct state established,related accept
//	    oifname contivh0 ct status dnat accept
//	    oifname contivh0 drop
//	    iifname contivh0 ct status dnat accept
//	    iifname contivh0 oifname br0 accept
//	    iifname contivh0 oifkind bridge drop
//	    ct status dnat jump brought }
//	  chain brought {
//	    ip daddr . meta l4proto . th dport @machines4 meta mark set mark | 0x1000
//	    ip saddr . meta l4proto . th sport @machines4 meta mark set mark | 0x1000
//	    ct state related meta mark set mark | 0x1000 }
//	  chain entering { type filter hook input priority -1
//	    iifname contivh0 ct state established,related accept
//	    iifname contivh0 meta l4proto icmp accept
//	    iifname contivh0 meta l4proto ipv6-icmp accept
//	    iifname contivh0 ip daddr . meta l4proto . th dport @machines4 accept
//	    iifname contivh0 drop }
//	  chain leaving { type nat hook postrouting priority 99
//	    oifname contivh0 ip saddr 127.0.0.0/8 snat to 192.168.2.10
//	    oifname contivh0 ct original ip daddr 132.1.1.2 snat to 192.168.2.10
//	    oifname contivh0 ip saddr 172.19.0.0/16 meta mark & 0x1000 != 0 snat to 192.168.2.10
//	    oifname contivh0 ip saddr 172.19.0.0/16 snat to ct original ip daddr
//	    oifname contivh0 snat to ip saddr
//	    oifname != contivh0 ip saddr 172.19.0.0/16 masquerade
//	    oifname contivh1 ct status dnat masquerade
//	    oifname != contivh0 ct status dnat ip daddr . meta l4proto . th dport @machines4 masquerade }
//	  chain home { type filter hook postrouting priority 110
//	    oifname contivh1 iif 0 meta mark set mark | 0x1000
//	    oifname contivh1 iif != 0 meta mark set mark & ~0x1000 }
//	  set machines4 { type ipv4_addr . inet_proto . inet_service }
//	  map published4 { type inet_proto . inet_service : ipv4_addr . inet_service }
//	  map published4at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//	  chain arriving { type nat hook prerouting priority -100
//	    fib daddr type local dnat to ip daddr . meta l4proto . th dport map @published4at
//	    fib daddr type local dnat to meta l4proto . th dport map @published4 }
//	  chain own { type nat hook output priority -100, and the same }
//	}
//
// forged and borrowed keep everybody but the data path from sending tunnels' packets under the address of a node. Containers that have a
// way out leave under the node's address, so their packets to the VXLAN port would be taken by other nodes for its own; forged is for
// the address of a third node, written into a packet, for which no NAT is done.
//
// passing keeps tenants apart on the way that they share, and from what else runs on the node: to a private address goes only what
// answers, or was sent to a published port. Bridges are other containers', unless the node itself goes out by them. To tenants' networks the
// node goes by its own devices there, and takes nobody along: containers of other tenants come to its stack by contivh0 and by Docker's
// bridges. What goes to a machine that provides a service, and what that answers, has a bit of its mark by which PassForwarding knows it.
//
// leaving comes before others' translation of sources, of Docker's bridges for one: who asks a container at a published port keeps its address,
// and the node's own in the private subnet is nobody's. Containers that come by the node have its address: the one they ask for, so that answers come to it, and where
// that is virtual, and in the tenant of who answers a service's own, the node's for all containers.
//
// home tells the data path what the node's own processes send to tenants' networks, which policies of Kubernetes let pass: a packet that came to the node
// by a device still knows that one here, also where no forwarding is seen, as with IPVS. It comes last, so what others do with marks means nothing to it; and
// where the table is gone nothing is the node's own.
//
// entering keeps the node's own services (netmaster and etcd may be among them) from containers: they may ping it, and answer it, and reach
// what provides a service of Kubernetes.
//
// What the data path sends to other containers does not pass netfilter, so it pays nothing.
type Firewall struct {
	VTEP      netip.Addr // this node's
	VXLANPort uint16     // UDP
	// Private are the private subnets, one of a family; none where containers have no way to the outside.
	Private []netip.Prefix
	// Inside are the node's own devices in tenants' networks, Uplinks bridges by which this node reaches others.
	Inside, Uplinks []string
	// OwnMark is the bit of packets' mark that tells the node's own to Inside from what it forwards there. On other packets that it forwards it means that they go to Machines, or
	// that containers send them to a service's own address.
	OwnMark uint32
	// Homes are the node's own addresses on Inside. Who asks there for a published port comes from a tenant, as which the outside may not come.
	Homes     []netip.Addr
	Published []Published
	Machines  []Machine
	Entrances []Entrance
	Probed    []Probed
}

// Machine is a provider of services of Kubernetes that is no container's of ours: a node, or a machine elsewhere.
type Machine struct {
	Addr     netip.Addr
	Protocol uint8
	Port     uint16
}

// Published is a port of the node behind which a container's is.
type Published struct {
	Protocol uint8
	Host     netip.Addr // the node's address; unspecified (0.0.0.0 or ::) for every one of that family
	Port     uint16
	To       netip.AddrPort // private address
}

const (
	firewallTable   = "contiv"
	forgedChain     = "forged"
	borrowedChain   = "borrowed"
	passingChain    = "passing"
	broughtChain    = "brought"
	enteringChain   = "entering"
	beforeSourceNAT = 99 // which is at 100
	afterSourceNAT  = 110
	beforeFilter    = -1

	// metaKeyOutputKind is the kind of device by which a packet leaves (linux/netfilter/nf_tables.h); the library has no name for it.
	metaKeyOutputKind expr.MetaKey = 27

	statusDNAT = 1 << 5 // of a connection (linux/netfilter/nf_conntrack_common.h)
)

// The parts of rules. Those that look leave what they found in register 1.
type parts = [][]expr.Any

func meta(key expr.MetaKey, op expr.CmpOp, data []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: data}}
}

// ifname is a device's name as the kernel compares it.
func ifname(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}

func leavesBy(device string) []expr.Any {
	return meta(expr.MetaKeyOIFNAME, expr.CmpOpEq, ifname(device))
}
func comesBy(device string) []expr.Any {
	return meta(expr.MetaKeyIIFNAME, expr.CmpOpEq, ifname(device))
}

func udpTo(port uint16) []expr.Any {
	return append(meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_UDP}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)})
}

// addresses is what rules about addresses of one family need to know.
type addresses struct {
	proto               byte // of nfnetlink
	source, destination uint32
	length              uint32 // of an address, in bytes
	datatype            nftables.SetDatatype
	suffix              string
}

func addressesLike(a netip.Addr) addresses {
	if a.Is4() {
		return addresses{unix.NFPROTO_IPV4, 12, 16, 4, nftables.TypeIPAddr, "4"}
	}
	return addresses{unix.NFPROTO_IPV6, 8, 24, 16, nftables.TypeIP6Addr, "6"}
}

func (f addresses) is() []expr.Any { return meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{f.proto}) }

func (f addresses) address(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: f.length}
}

// from matches packets with a source in the prefix.
func from(p netip.Prefix) []expr.Any {
	f := addressesLike(p.Addr())
	mask := make([]byte, f.length)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(f.is(), f.address(f.source, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: f.length, Mask: mask, Xor: make([]byte, f.length)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: p.Masked().Addr().AsSlice()})
}

// connection matches packets of which the connection's key has one of the bits.
func connection(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// setMark sets a bit of the packet's mark, or clears it.
func setMark(bit uint32, to bool) []expr.Any {
	var is uint32
	if to {
		is = bit
	}
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(^bit), Xor: binaryutil.NativeEndian.PutUint32(is)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}
}

// hasMark matches packets whose mark has a bit.
func hasMark(bit uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// toNode matches packets to an address of the node itself.
func toNode() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func verdict(k expr.VerdictKind) []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: k}}
}

// chain is one of the table's.
type chain struct {
	name     string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority nftables.ChainPriority
	rules    []parts
	unread   bool // the library cannot read its rules back
}

func (f Firewall) chains(sets map[string]*nftables.Set) []chain {
	is := addressesLike(f.VTEP)
	accept, drop := verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
	forged := chain{name: forgedChain, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, priority: beforeFilter, rules: []parts{{
		is.is(), udpTo(f.VXLANPort), {
			&expr.Fib{Register: 1, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)}, // no device: the way back is another
		}, drop,
	}}}
	borrowed := chain{name: borrowedChain, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPostrouting, priority: afterSourceNAT, rules: []parts{
		{from(netip.PrefixFrom(f.VTEP, f.VTEP.BitLen())), udpTo(f.VXLANPort), drop},
	}}
	if len(f.Private) == 0 {
		return []chain{forged, borrowed}
	}
	toContainers, in := leavesBy(model.OutsideDevice), comesBy(model.OutsideDevice)
	translated := connection(expr.CtKeySTATUS, statusDNAT)
	passing := chain{name: passingChain, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookForward, priority: beforeFilter}
	home := chain{name: "home", kind: nftables.ChainTypeFilter, hook: nftables.ChainHookPostrouting, priority: afterSourceNAT}
	for _, device := range f.Inside {
		none := make([]byte, 4)
		home.rules = append(home.rules,
			parts{leavesBy(device), meta(expr.MetaKeyIIF, expr.CmpOpEq, none), setMark(f.OwnMark, true)},
			parts{leavesBy(device), meta(expr.MetaKeyIIF, expr.CmpOpNeq, none), setMark(f.OwnMark, false)})
		passing.rules = append(passing.rules, parts{leavesBy(device), translated, accept}, parts{leavesBy(device), drop})
	}
	for _, p := range f.Private {
		passing.rules = append(passing.rules, addressesLike(p.Addr()).notProbing())
	}
	passing.rules = append(passing.rules, []parts{
		{toContainers, connection(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept},
		{toContainers, translated, accept},
		{toContainers, drop},
		{in, translated, accept},
	}...)
	for _, device := range f.Uplinks {
		passing.rules = append(passing.rules, parts{in, leavesBy(device), accept})
	}
	passing.rules = append(passing.rules, parts{in, meta(metaKeyOutputKind, expr.CmpOpEq, ifname("bridge")), drop})
	if len(f.Entrances) > 0 {
		passing.rules = append(passing.rules, parts{translated, {&expr.Verdict{Kind: expr.VerdictJump, Chain: broughtChain}}})
	}

	entering := chain{name: enteringChain, kind: nftables.ChainTypeFilter, hook: nftables.ChainHookInput, priority: beforeFilter, rules: []parts{
		{in, connection(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept},
		{in, meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_ICMP}), accept},
		{in, meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_ICMPV6}), accept},
	}}
	for _, p := range f.Private {
		is := addressesLike(p.Addr())
		entering.rules = append(entering.rules, parts{in, is.is(), is.toListed(sets["machines"+is.suffix]), accept})
	}
	entering.rules = append(entering.rules, parts{in, drop})

	leaving := chain{name: "leaving", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPostrouting, priority: beforeSourceNAT, unread: true}
	leaving.rules = []parts{{
		toContainers, from(netip.MustParsePrefix("127.0.0.0/8")), snat(f.own(netip.IPv4Unspecified())),
	}}
	for _, p := range f.Private {
		leaving.rules = append(leaving.rules, addressesLike(p.Addr()).probes(sets))
	}
	for _, home := range f.Homes {
		is := addressesLike(home)
		leaving.rules = append(leaving.rules, parts{toContainers, is.is(), {
			&expr.Ct{Key: expr.CtKeyDST, Register: 1, Direction: 0},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: home.AsSlice()},
		}, snat(f.own(home))})
	}
	for _, device := range f.Inside { // as its address there, or what answers would not come back
		leaving.rules = append(leaving.rules, parts{leavesBy(device), translated, {&expr.Masq{}}})
	}
	var looks, arriving, own []parts
	byOthers := meta(expr.MetaKeyOIFNAME, expr.CmpOpNeq, ifname(model.OutsideDevice))
	for _, p := range f.Private {
		is := addressesLike(p.Addr())
		if len(f.Entrances) > 0 {
			leaving.rules = append(leaving.rules, parts{toContainers, from(p), hasMark(f.OwnMark), snat(f.own(p.Addr()))})
		}
		leaving.rules = append(leaving.rules, parts{
			// From one port to another, by a published one: the answer must come back this way.
			toContainers, from(p), {
				&expr.Ct{Key: expr.CtKeyDST, Register: 1, Direction: 0},
				&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(is.proto), RegAddrMin: 1},
			},
		}, parts{
			toContainers, is.is(), {
				is.address(is.source, 1),
				&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(is.proto), RegAddrMin: 1},
			},
		}, parts{byOthers, from(p), {&expr.Masq{}}}, parts{byOthers, is.is(), translated, is.toListed(sets["machines"+is.suffix]), {&expr.Masq{}}})
		asked, _ := is.goal(register32, false)
		own = append(own, is.probing(sets))
		looks = append(looks,
			parts{is.is(), toNode(), asked, is.lookUp(sets["published"+is.suffix+"at"])},
			parts{is.is(), toNode(), upperTo(register32), is.lookUp(sets["published"+is.suffix])})
		if len(f.Entrances) > 0 {
			from, by := is.entrances(sets)
			arriving, own = append(arriving, from...), append(own, by...)
		}
	}
	out := []chain{
		forged, borrowed, passing, entering, leaving, home,
		{name: "arriving", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookPrerouting, priority: *nftables.ChainPriorityNATDest, rules: slices.Concat(looks, arriving)},
		{name: "own", kind: nftables.ChainTypeNAT, hook: nftables.ChainHookOutput, priority: *nftables.ChainPriorityNATDest, rules: slices.Concat(looks, own)},
	}
	if len(f.Entrances) > 0 {
		out = append(out, f.entranceChains(sets)...)
	}
	return out
}

// The kernel's registers of four bytes. The one of 16 with number 1 is the first four of them.
const (
	register32 = 8
)

// words is how many registers an address takes.
func (f addresses) words() uint32 { return f.length / 4 }

// goal loads what packets ask for into registers, from the given one on: destination, protocol and port. node: the unspecified address stands for
// the destination, as it does for each of the node's own. next is the register behind.
func (f addresses) goal(register uint32, node bool) (load []expr.Any, next uint32) {
	at := f.address(f.destination, register)
	if node {
		at = &expr.Immediate{Register: register, Data: make([]byte, f.length)}
	}
	next = register + f.words()
	return append([]expr.Any{at}, upperTo(next)...), next + 2
}

// keyOf is what goal loads, as sets have it.
func keyOf(a netip.Addr, protocol uint8, port uint16) []byte {
	return append(a.AsSlice(), upper(protocol, port)...)
}

// lookUp sends what has been loaded to where a map says, if that has it.
func (f addresses) lookUp(m *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: register32, DestRegister: register32, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}, f.dnat(register32)}
}

// snat has packets come from an address.
func snat(from netip.Addr) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: from.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(addressesLike(from).proto), RegAddrMin: 1},
	}
}

// dnat sends packets to the address and port that are in registers, from the given one on.
func (f addresses) dnat(to uint32) expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: to, RegProtoMin: to + f.words()}
}

// upperTo loads the protocol and the destination port into two registers, of which the first is given.
func upperTo(register uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Payload{DestRegister: register + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// toListed matches packets whose destination, protocol and port a set has.
func (f addresses) toListed(s *nftables.Set) []expr.Any {
	asked, _ := f.goal(register32, false)
	return append(asked, lookIn(s))
}

// fromListed matches packets whose source, protocol and source port a set has.
func (f addresses) fromListed(s *nftables.Set) []expr.Any {
	next := register32 + f.words()
	return []expr.Any{
		f.address(f.source, register32), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: next},
		&expr.Payload{DestRegister: next + 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2}, lookIn(s),
	}
}

// lookIn matches where a set has what has been loaded.
func lookIn(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: register32, SetName: s.Name, SetID: s.ID}
}

// own is the address under which the node speaks to its containers when it may not keep another of that family. The family of tunnels may be the
// other: then it is a dummy address (192.0.0.8, RFC 7600; 100:0:0:1::/64, RFC 9780), which nobody else has. Answers are translated back before
// they are routed.
func (f Firewall) own(like netip.Addr) netip.Addr {
	switch {
	case f.VTEP.Is4() == like.Is4():
		return f.VTEP
	case like.Is4():
		return netip.AddrFrom4([4]byte{192, 0, 0, 8})
	}
	return netip.AddrFrom16([16]byte{0: 1, 7: 1, 15: 1})
}

// sets are, by name, the maps of what is published, to one address of the node (…at) and to any, and the machines that provide services.
func (f Firewall) sets(t *nftables.Table) map[string]*nftables.Set {
	out := map[string]*nftables.Set{}
	for _, p := range f.Private {
		is := addressesLike(p.Addr())
		key := []nftables.SetDatatype{nftables.TypeInetProto, nftables.TypeInetService}
		to := nftables.MustConcatSetType(is.datatype, nftables.TypeInetService)
		for name, key := range map[string][]nftables.SetDatatype{
			"published" + is.suffix: key, "published" + is.suffix + "at": append([]nftables.SetDatatype{is.datatype}, key...),
			probedMap(is): append([]nftables.SetDatatype{is.datatype}, key...),
		} {
			out[name] = &nftables.Set{
				// Unique in the transaction; the library's own numbering is not safe for concurrent use.
				ID: uint32(len(out) + 1), Table: t, Name: name, IsMap: true, Concatenation: true,
				KeyType: nftables.MustConcatSetType(key...), DataType: to,
			}
		}
		name := "machines" + is.suffix
		out[name] = &nftables.Set{
			ID: uint32(len(out) + 1), Table: t, Name: name, Concatenation: true,
			KeyType: nftables.MustConcatSetType(append([]nftables.SetDatatype{is.datatype}, key...)...),
		}
		name = probingSet(is)
		out[name] = &nftables.Set{ID: uint32(len(out) + 1), Table: t, Name: name, Concatenation: true, KeyType: out["machines"+is.suffix].KeyType}
		if len(f.Entrances) > 0 {
			for _, s := range is.entranceSets(t, uint32(len(out)+1)) {
				out[s.Name] = s
			}
		}
	}
	return out
}

// word is a number of 16 bits in the first half of four bytes.
func word(port uint16) []byte { return append(binary.BigEndian.AppendUint16(nil, port), 0, 0) }

// element is the row of a published port, and the map that it is in.
func (p Published) element() (name string, e nftables.SetElement) {
	name, e.Key = "published"+addressesLike(p.To.Addr()).suffix, upper(p.Protocol, p.Port)
	if !p.Host.IsUnspecified() {
		name, e.Key = name+"at", keyOf(p.Host, p.Protocol, p.Port)
	}
	e.Val = append(p.To.Addr().AsSlice(), word(p.To.Port())...)
	return name, e
}

// upper is a protocol and a port, as upperTo loads them.
func upper(protocol uint8, port uint16) []byte {
	return append([]byte{protocol, 0, 0, 0}, word(port)...)
}

// element is the row of a machine, and the set that it is in.
func (m Machine) element() (name string, e nftables.SetElement) {
	return "machines" + addressesLike(m.Addr).suffix, nftables.SetElement{Key: keyOf(m.Addr, m.Protocol, m.Port)}
}

// atOnce is how many elements go in one message, which is shorter than 64 KiB.
const atOnce = 300

// elements are the rows of all sets, by the sets' names.
func (f Firewall) elements() map[string][]nftables.SetElement {
	out := map[string][]nftables.SetElement{}
	add := func(name string, e nftables.SetElement) { out[name] = append(out[name], e) }
	for _, p := range f.Published {
		add(p.element())
	}
	for _, m := range f.Machines {
		add(m.element())
	}
	for _, p := range f.Probed {
		add(p.element())
		add(p.probing())
	}
	for _, e := range f.Entrances {
		e.elements(add)
	}
	return out
}

// Change is Load where the table is still as it was loaded for another Firewall: the kernel is told what differs, in one transaction. What cannot
// be changed so is loaded.
func (f Firewall) Change(was Firewall) error {
	if !reflect.DeepEqual(f.frame(), was.frame()) {
		return f.Load()
	}
	c, err := openNetfilter()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	whole, sets, had, have := f, f.sets(t), was.choices(), f.choices()
	for name, choice := range have {
		if _, ok := had[name]; !ok {
			x := choice.chain(sets, f.OwnMark)
			x.add(c, t)
			x.fill(c, t, nil)
		}
	}
	was.Entrances, f.Entrances = onlyIn(was.Entrances, f.Entrances), onlyIn(f.Entrances, was.Entrances)
	before, after := was.elements(), f.elements()
	for name, s := range sets {
		gone, anew := elementDifference(before[name], after[name])
		for some := range slices.Chunk(gone, atOnce) {
			if err := c.SetDeleteElements(s, some); err != nil {
				return fmt.Errorf("change nftables set %s: %w", name, err)
			}
		}
		if err := addElements(c, s, anew); err != nil {
			return err
		}
	}
	for name := range had {
		if _, ok := have[name]; !ok {
			c.DelChain(&nftables.Chain{Table: t, Name: name})
		}
	}
	if c.Flush() != nil { // it is another's doing, which Load undoes
		return whole.Load()
	}
	return nil
}

// frame is what only Load can change.
func (f Firewall) frame() any {
	enters := len(f.Entrances) > 0
	f.Published, f.Machines, f.Entrances, f.Probed = nil, nil, nil, nil
	return struct {
		Firewall
		enters bool
	}{f, enters}
}

// elementDifference is what turns one content of a set into another.
func elementDifference(before, after []nftables.SetElement) (gone, anew []nftables.SetElement) {
	have := make(map[string]nftables.SetElement, len(before))
	for _, e := range before {
		have[string(e.Key)+string(e.KeyEnd)] = e
	}
	for _, e := range after {
		key := string(e.Key) + string(e.KeyEnd)
		h, ok := have[key]
		if ok && bytes.Equal(h.Val, e.Val) && reflect.DeepEqual(h.VerdictData, e.VerdictData) {
			delete(have, key)
			continue
		}
		anew = append(anew, e)
	}
	return slices.Collect(maps.Values(have)), anew
}

// addElements adds rows to a set.
func addElements(c *nftables.Conn, s *nftables.Set, all []nftables.SetElement) error {
	for some := range slices.Chunk(all, atOnce) {
		if err := c.SetAddElements(s, some); err != nil {
			return fmt.Errorf("fill nftables set %s: %w", s.Name, err)
		}
	}
	return nil
}

// add adds the chain without its rules.
func (x chain) add(c *nftables.Conn, t *nftables.Table) {
	ch := &nftables.Chain{Table: t, Name: x.name}
	if x.hook != nil {
		ch.Type, ch.Hooknum, ch.Priority = x.kind, x.hook, &x.priority
	}
	c.AddChain(ch)
}

// fill adds its rules. They go on from what they have counted.
func (x chain) fill(c *nftables.Conn, t *nftables.Table, counted map[string]uint64) {
	for _, rule := range x.rules {
		r := &nftables.Rule{Table: t, Chain: &nftables.Chain{Table: t, Name: x.name}}
		for _, p := range rule {
			r.Exprs = append(r.Exprs, p...)
		}
		countOn(counted, x.name, r)
		c.AddRule(r)
	}
}

// largestTransaction bounds what is told to the kernel at once, in bytes: it is one message. A thousand services take 2 MB.
const largestTransaction = 64 << 20

func openNetfilter() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		return errors.Join(c.SetWriteBuffer(largestTransaction), c.SetReadBuffer(largestTransaction))
	}))
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	return c, nil
}

// Load puts the table in place of whatever is there, whose counts go on and whose clients are remembered.
func (f Firewall) Load() error {
	c, err := openNetfilter()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	counted, err := firewallDrops(c)
	if err != nil {
		return err
	}
	sets := f.sets(t)
	met, err := remembered(c, t, sets)
	if err != nil {
		return err
	}
	c.AddTable(t) // or deleting it would fail where there is none
	c.DelTable(t)
	c.AddTable(t)
	removeEarlier(c)
	for name, m := range sets {
		if err := c.AddSet(m, nil); err != nil {
			return fmt.Errorf("make nftables set %s: %w", name, err)
		}
	}
	chains := f.chains(sets)
	for _, x := range chains { // before what sends packets there
		x.add(c, t)
	}
	for _, x := range chains {
		x.fill(c, t, counted)
	}
	for _, all := range []map[string][]nftables.SetElement{f.elements(), met} {
		for name, elements := range all {
			if err := addElements(c, sets[name], elements); err != nil {
				return err
			}
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("load nftables table %s: %w", firewallTable, err)
	}
	return nil
}

// Loaded tells whether all rules and published ports are still in the calling thread's namespace: a firewall that is loaded anew often clears everybody's.
func (f Firewall) Loaded() (bool, error) {
	c, err := openNetfilter()
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	for _, x := range f.chains(f.sets(t)) {
		if x.unread {
			continue // who clears one clears others
		}
		rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: x.name})
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read nftables table %s: %w", firewallTable, err)
		}
		if len(rules) != len(x.rules) {
			return false, nil
		}
	}
	return f.leads(c, t)
}

// FirewallStands tells whether a firewall is in force in the calling thread's namespace, whichever. Each has its first chain and that one's rule.
func FirewallStands() (bool, error) {
	c, err := openNetfilter()
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	rules, err := c.GetRules(t, &nftables.Chain{Table: t, Name: forgedChain})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return false, fmt.Errorf("read nftables table %s: %w", firewallTable, err)
	}
	return len(rules) > 0, nil
}

// removeEarlier has c delete the table that earlier versions loaded, of family ip: nobody else would, and it knows nothing of what the
// node's address and port are now. That there is none is fine.
func removeEarlier(c *nftables.Conn) {
	earlier := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: firewallTable}
	c.AddTable(earlier)
	c.DelTable(earlier)
}

// RemoveFirewall removes the table, and that of earlier versions. That there is none is fine.
func RemoveFirewall() error {
	c, err := openNetfilter()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
	c.AddTable(t)
	c.DelTable(t)
	removeEarlier(c)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("delete nftables table %s: %w", firewallTable, err)
	}
	return nil
}
