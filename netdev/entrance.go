// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Entrance is where a service of Kubernetes is met by what the node's own stack has. What a packet costs does not depend on how many there are:
//
//	chain arriving { ...
//	  iifname contivh0 ip daddr . meta l4proto . th dport vmap @inner4
//	  iifname != contivh0 ip daddr . meta l4proto . th dport vmap @outer4
//	  fib daddr type local ip daddr != 127.0.0.0/8 iifname contivh0 0.0.0.0 . meta l4proto . th dport vmap @inner4
//	  fib daddr type local ip daddr != 127.0.0.0/8 iifname != contivh0 0.0.0.0 . meta l4proto . th dport vmap @outer4 }
//	map outer4 { type ipv4_addr . inet_proto . inet_service : verdict
//	  10.96.0.7 . tcp . 80 : goto choose4-3, 0.0.0.0 . tcp . 30080 : goto choose4-3-node, 10.96.0.8 . tcp . 80 : goto refuse }
//	chain refuse { meta l4proto tcp reject with tcp reset; reject with icmpx port-unreachable }
//	chain choose4-3 { iifname contivh0 meta mark set mark | 0x1000; dnat to ip daddr . meta l4proto . th dport . numgen random mod 3 map @targets4 }
//	chain choose4-3-node { dnat to 0.0.0.0 . meta l4proto . th dport . numgen random mod 3 map @targets4 }
//	map targets4 { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service
//	  10.96.0.7 . tcp . 80 . 0 : 172.19.0.3 . 8080 ... }
//
// A chain chooses among so many targets, from a certain one on, at random or whom the client met last: services share them. inner is for the
// node's own processes and for containers. Where not everybody is let in, a map of ranges is asked. Containers have one of their own: they come under private
// addresses, which are nobody's that ranges could mean, and yet are within such as 172.16.0.0/12:
//
//	chain ask4 { ip daddr . meta l4proto . th dport . ip saddr vmap @sources4; drop }
//	chain ask4-inner {
//	  iifname contivh0 ip daddr . meta l4proto . th dport . ip saddr vmap @insiders4
//	  iifname != contivh0 ip daddr . meta l4proto . th dport . ip saddr vmap @processes4
//	  drop }
type Entrance struct {
	Addr         netip.Addr // unspecified: each of the node's own, of that family
	Protocol     uint8
	Port         uint16
	Affinity     uint32           // for how many seconds after its last connection began a client meets the same target; 0: each is on its own
	Sources      []netip.Prefix   // who may come, but for containers; none: everybody, and all containers
	Insiders     []netip.Prefix   // which containers may, by their private addresses, where there are Sources
	Outer, Inner []netip.AddrPort // who gets what comes from outside, and from the node itself and containers
	Elsewhere    bool             // outside is not refused, but dropped: another node has somebody
}

const (
	refuseChain = "refuse"
	// The kernel's ways to reject: TCP by a reset, others by an ICMP error of either family, with its code for a port at which nobody listens
	// (linux/netfilter/nf_tables.h).
	rejectReset      = 1
	rejectAnyFamily  = 2
	rejectPortClosed = 1
	// hashSeed has a client's hash be the same after the table was loaded anew: the kernel would take another seed at each time.
	hashSeed = 0x636f6e74
)

// choice is a chain that sends connections to one of some targets.
type choice struct {
	is          addresses
	from, count int
	affinity    uint32 // in seconds; 0: none
	node        bool   // to a port of the node, whatever its address
}

func (c choice) name() string {
	name := fmt.Sprintf("choose%s-%d", c.is.suffix, c.count)
	if c.from > 0 {
		name += fmt.Sprintf("-from-%d", c.from)
	}
	if c.affinity > 0 {
		name += fmt.Sprintf("-client-%d", c.affinity)
	}
	if c.node {
		name += "-node"
	}
	return name
}

// any gives the number of one of the targets.
func (c choice) any(register uint32) expr.Any {
	return &expr.Numgen{Register: register, Modulus: uint32(c.count), Offset: uint32(c.from), Type: unix.NFT_NG_RANDOM}
}

func (c choice) rules(sets map[string]*nftables.Set) []parts {
	if c.affinity > 0 {
		return c.rememberingRules(sets)
	}
	asked, number := c.is.goal(register32, c.node)
	return []parts{{c.is.is(), append(asked, append([]expr.Any{c.any(number)}, c.is.lookUp(sets["targets"+c.is.suffix])...)...)}}
}

// chain begins with marking what containers send to a service's own address: the source that it gets has to be another than that, where both are containers.
func (c choice) chain(sets map[string]*nftables.Set, mark uint32) chain {
	rules := c.rules(sets)
	if !c.node {
		rules = slices.Concat([]parts{{comesBy(model.OutsideDevice), setMark(mark, true)}}, rules)
	}
	return chain{name: c.name(), rules: rules, unread: true}
}

// goTo is the verdict of an entrance for some of its targets, of which the first is the one with the number from.
func (e Entrance) goTo(targets []netip.AddrPort, from int) string {
	if len(targets) == 0 {
		return refuseChain
	}
	return e.choice(len(targets), from).name()
}

func (e Entrance) choice(count, from int) choice {
	return choice{is: addressesLike(e.Addr), from: from, count: count, affinity: e.Affinity, node: e.Addr.IsUnspecified()}
}

// innerFrom is the number of the first target for the node's own: where they are others, they come behind those for outside.
func (e Entrance) innerFrom() int {
	if slices.Equal(e.Outer, e.Inner) {
		return 0
	}
	return len(e.Outer)
}

// choices are the chains that the entrances need, by name.
func (f Firewall) choices() map[string]choice {
	out := map[string]choice{}
	for _, e := range f.Entrances {
		for _, c := range []choice{e.choice(len(e.Outer), 0), e.choice(len(e.Inner), e.innerFrom())} {
			if c.count > 0 {
				out[c.name()] = c
			}
		}
	}
	return out
}

// onlyIn are the entrances that others do not have, or otherwise.
func onlyIn(all, others []Entrance) (out []Entrance) {
	type place struct {
		addr     netip.Addr
		protocol uint8
		port     uint16
	}
	at := func(e Entrance) place { return place{e.Addr, e.Protocol, e.Port} }
	theirs := make(map[place]Entrance, len(others))
	for _, e := range others {
		theirs[at(e)] = e
	}
	for _, e := range all {
		if other, ok := theirs[at(e)]; !ok || !reflect.DeepEqual(e, other) {
			out = append(out, e)
		}
	}
	return out
}

// key is what packets to an entrance show.
func (e Entrance) key() []byte { return keyOf(e.Addr, e.Protocol, e.Port) }

// elements are the rows of an entrance, by set.
func (e Entrance) elements(add func(set string, e nftables.SetElement)) {
	is := addressesLike(e.Addr)
	targets := e.Outer
	if e.innerFrom() > 0 {
		targets = slices.Concat(e.Outer, e.Inner)
	} else if len(e.Outer) == 0 {
		targets = e.Inner
	}
	var numbers []uint32
	if e.Affinity > 0 {
		numbers = targetNumbers(targets, len(e.Outer))
	}
	for i, to := range targets {
		number := binaryutil.NativeEndian.PutUint32(uint32(i))
		if numbers != nil {
			stays := binaryutil.NativeEndian.PutUint32(numbers[i])
			add("numbers"+is.suffix, nftables.SetElement{Key: append(e.key(), number...), Val: stays})
			number = stays
		}
		add("targets"+is.suffix, nftables.SetElement{Key: append(e.key(), number...), Val: append(to.Addr().AsSlice(), word(to.Port())...)})
	}
	outer := &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.goTo(e.Outer, 0)}
	if e.Elsewhere && len(e.Outer) == 0 {
		outer = &expr.Verdict{Kind: expr.VerdictDrop}
	}
	inner := &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.goTo(e.Inner, e.innerFrom())}
	if len(e.Sources) > 0 {
		admit := func(set string, from []netip.Prefix, to *expr.Verdict) {
			for _, s := range disjoint(from) {
				if s.Addr().Is4() == e.Addr.Is4() {
					add(set+is.suffix, nftables.SetElement{
						Key: append(e.key(), s.Addr().AsSlice()...), KeyEnd: append(e.key(), lastOf(s).AsSlice()...), VerdictData: to,
					})
				}
			}
		}
		admit("sources", e.Sources, outer)
		admit("processes", e.Sources, inner)
		admit("insiders", e.Insiders, inner)
		outer = &expr.Verdict{Kind: expr.VerdictGoto, Chain: askChain(is, "")}
		inner = &expr.Verdict{Kind: expr.VerdictGoto, Chain: askChain(is, "-inner")}
	}
	add("outer"+is.suffix, nftables.SetElement{Key: e.key(), VerdictData: outer})
	add("inner"+is.suffix, nftables.SetElement{Key: e.key(), VerdictData: inner})
}

func askChain(is addresses, side string) string { return "ask" + is.suffix + side }

// disjoint are prefixes without those that others have in them.
func disjoint(all []netip.Prefix) (out []netip.Prefix) {
	for i, p := range all {
		p = p.Masked()
		if !slices.ContainsFunc(all, func(o netip.Prefix) bool { return o.Bits() < p.Bits() && o.Contains(p.Addr()) }) &&
			!slices.ContainsFunc(all[:i], func(o netip.Prefix) bool { return o.Masked() == p }) {
			out = append(out, p)
		}
	}
	return out
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// entranceSets are what entrances of a family are kept in.
func (f addresses) entranceSets(t *nftables.Table, id uint32) []*nftables.Set {
	key := []nftables.SetDatatype{f.datatype, nftables.TypeInetProto, nftables.TypeInetService}
	with := func(last nftables.SetDatatype) nftables.SetDatatype {
		return nftables.MustConcatSetType(append(slices.Clone(key), last)...)
	}
	verdicts := nftables.Set{Table: t, IsMap: true, Concatenation: true, KeyType: nftables.MustConcatSetType(key...), DataType: nftables.TypeVerdict}
	outer, inner, sources := verdicts, verdicts, verdicts
	targets := nftables.Set{
		Table: t, IsMap: true, Concatenation: true, KeyType: with(nftables.TypeMark), DataType: nftables.MustConcatSetType(f.datatype, nftables.TypeInetService),
	}
	sources.Interval, sources.KeyType = true, with(f.datatype)
	processes, insiders := sources, sources
	outer.Name, inner.Name, targets.Name = "outer"+f.suffix, "inner"+f.suffix, "targets"+f.suffix
	sources.Name, processes.Name, insiders.Name = "sources"+f.suffix, "processes"+f.suffix, "insiders"+f.suffix
	out := append([]*nftables.Set{&outer, &inner, &sources, &processes, &insiders, &targets}, f.affinitySets(t)...)
	for i, s := range out {
		s.ID = id + uint32(i)
	}
	return out
}

// isNoLoopback matches packets to other addresses than those that mean the machine itself.
func (f addresses) isNoLoopback() []expr.Any {
	if f.proto == unix.NFPROTO_IPV4 {
		return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: f.destination, Len: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{127}}}
	}
	return []expr.Any{f.address(f.destination, 1), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: netip.IPv6Loopback().AsSlice()}}
}

// ask has a map of verdicts say what becomes of what has been loaded.
func ask(m *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: register32, SetName: m.Name, SetID: m.ID, IsDestRegSet: true}
}

// enter asks a map of verdicts for what a packet shows. node: whatever address of the node's it is sent to.
func (f addresses) enter(m *nftables.Set, node bool) []expr.Any {
	asked, _ := f.goal(register32, node)
	return append(asked, ask(m))
}

// askSource asks a map of ranges for what a packet to an entrance shows, and who sent it.
func (f addresses) askSource(m *nftables.Set) []expr.Any {
	asked, next := f.goal(register32, false)
	return append(asked, f.address(f.source, next), ask(m))
}

// comesElsewhere matches what containers do not send: what comes by other devices, and the node's own.
func comesElsewhere() []expr.Any {
	return meta(expr.MetaKeyIIFNAME, expr.CmpOpNeq, ifname(model.OutsideDevice))
}

// entrances are the rules that send packets of a family to the entrances: those that arrive, and the node's own.
func (f addresses) entrances(sets map[string]*nftables.Set) (arriving, own []parts) {
	outer, inner := sets["outer"+f.suffix], sets["inner"+f.suffix]
	in, elsewhere := comesBy(model.OutsideDevice), comesElsewhere()
	return []parts{
			{in, f.is(), f.enter(inner, false)},
			{elsewhere, f.is(), f.enter(outer, false)},
			{in, f.is(), toNode(), f.isNoLoopback(), f.enter(inner, true)},
			{elsewhere, f.is(), toNode(), f.isNoLoopback(), f.enter(outer, true)},
		}, []parts{
			{f.is(), f.enter(inner, false)},
			{f.is(), toNode(), f.isNoLoopback(), f.enter(inner, true)},
		}
}

// entranceChains are those to which entrances send packets, and the one that marks what they have brought to machines.
func (f Firewall) entranceChains(sets map[string]*nftables.Set) []chain {
	out := []chain{{name: refuseChain, unread: true, rules: []parts{
		{meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP}), {&expr.Reject{Type: rejectReset}}},
		{{&expr.Reject{Type: rejectAnyFamily, Code: rejectPortClosed}}},
	}}}
	brought := chain{name: broughtChain, unread: true}
	for _, p := range f.Private {
		is := addressesLike(p.Addr())
		machines := sets["machines"+is.suffix]
		brought.rules = append(brought.rules, parts{is.is(), is.toListed(machines), setMark(f.OwnMark, true)}, parts{is.is(), is.fromListed(machines), setMark(f.OwnMark, true)})
		dropped := parts{verdict(expr.VerdictDrop)}
		out = append(out, chain{name: askChain(is, ""), unread: true, rules: []parts{{is.is(), is.askSource(sets["sources"+is.suffix])}, dropped}},
			chain{name: askChain(is, "-inner"), unread: true, rules: []parts{
				{comesBy(model.OutsideDevice), is.is(), is.askSource(sets["insiders"+is.suffix])},
				{comesElsewhere(), is.is(), is.askSource(sets["processes"+is.suffix])},
				dropped,
			}})
	}
	brought.rules = append(brought.rules, parts{connection(expr.CtKeySTATE, expr.CtStateBitRELATED), setMark(f.OwnMark, true)})
	out = append(out, brought)
	for _, c := range f.choices() {
		out = append(out, c.chain(sets, f.OwnMark))
	}
	return out
}
