// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// rule is a model.Rule, or one of Kubernetes, made ready to be folded.
type rule struct {
	key       string // of rules of Kubernetes several may have one
	policy    *policy
	tier      tier
	in        bool
	allow     bool
	pass      bool // it ends its tier, and nothing else
	audit     bool
	priority  uint8
	spans     []span
	own       netip.Prefix    // of In: which addresses of the group's endpoints; invalid: all
	peers     []peer          // any of them; none: everybody
	precision int             // 2: it names its peer; 1: only its own address; 0: neither
	rank      rank            // of rules of Kubernetes
	needs     model.NamedPort // of those about what comes in: what a pod must have for them to hold; zero: nothing
	digest    uint64          // of all that it says
	left      bool            // it is no longer in the book

	number   uint32 // once a role of this node has it
	changed  int    // the turn in which number changed last
	gathered int    // the turn in which it was numbered last
	listed   int    // the turn in which it was put on a list of rules last
	named    bool   // a row of the role that is being folded names it
}

// span is where the packets go that a rule matches.
type span struct {
	protocol  int16  // AnyProtocol
	port, end uint16 // the first and the last; both 0: any
}

// isRange tells it from a single port, and from any.
func (s span) isRange() bool { return s.end > s.port }

// peer is one way to be whom a rule names.
type peer struct {
	all    []*named // what must be satisfied
	except []*named // and what must not
}

// take reads a rule. One that cannot match anything is noted and left out.
func (b *book) take(key string, r model.Rule) {
	out, why := b.rule(key, r)
	if why != "" {
		b.dangling[key] = Note{model.RefOf(r), why}
		return
	}
	b.rules[key] = out
	p := out.policy
	p.rules = append(p.rules, out)
	if out.own.IsValid() {
		p.own = append(p.own, out)
	}
}

// leave takes the rule out of its policy, when its domain settles.
func (r *rule) leave() {
	r.left, r.policy.left = true, true
	r.forget()
}

// forget takes back what the rule named.
func (r *rule) forget() {
	for _, p := range r.peers {
		for _, n := range p.all {
			n.leave()
		}
		for _, n := range p.except {
			n.leave()
		}
	}
}

// rule is r made ready, or why it can match nothing.
func (b *book) rule(key string, r model.Rule) (out *rule, why string) {
	d := b.domains[r.Tenant]
	if d == nil || d.policies[r.Policy] == nil {
		return nil, fmt.Sprintf("rule %s is in policy %s, which does not exist: it holds nowhere", key, r.PolicyKey())
	}
	p := d.policies[r.Policy]
	protocols, ok := protocolsOf(r.Protocol)
	if !ok || r.Direction != model.In && r.Direction != model.Out || r.Action != model.Allow && r.Action != model.Deny ||
		r.Priority < model.MinPriority || r.Priority > model.MaxPriority {
		return nil, fmt.Sprintf("rule %s says what this version does not know: it holds nowhere", key)
	}
	out = &rule{
		key: key, policy: p, tier: tierGroup, in: r.Direction == model.In, allow: r.Action == model.Allow, audit: p.Audit,
		priority: uint8(r.Priority), spans: make([]span, len(protocols)),
	}
	for i, n := range protocols {
		out.spans[i] = span{n, r.Port, r.Port}
	}
	group, network, prefix := r.FromGroup, r.FromNetwork, r.From
	if !out.in {
		group, network, prefix = r.ToGroup, r.ToNetwork, r.To
	}
	if out.in && r.To.IsValid() {
		out.own, out.precision = r.To.Masked(), 1
	}
	if group != "" || network != "" || prefix.IsValid() {
		out.precision = 2
	}
	switch {
	case !out.own.IsValid():
	case prefix.IsValid() && family(prefix.Addr()) != family(out.own.Addr()):
		return nil, fmt.Sprintf("rule %s is about packets from %s to %s, which are of two families: it matches nobody", key, prefix, out.own)
	case !prefix.IsValid() && d.dual:
		// A role is of both families. What is sent to an IPv4 address comes from one.
		prefix = netip.PrefixFrom(out.own.Addr(), 0)
	}
	if _, ok := d.groups[group]; group != "" && !ok {
		return nil, fmt.Sprintf("rule %s names group %s, which does not exist: it matches nobody", key, group)
	}
	if _, ok := b.world.Networks.Get(model.NetworkKey(r.Tenant, network)); network != "" && !ok {
		return nil, fmt.Sprintf("rule %s names network %s, which does not exist: it matches nobody", key, network)
	}
	var who []*named
	if group != "" {
		who = append(who, d.name(selector{group: group}))
	}
	if network != "" {
		who = append(who, d.name(selector{network: network}))
	}
	if prefix.IsValid() {
		who = append(who, d.name(selector{prefix: prefix.Masked()}))
	}
	if len(who) > 0 {
		out.peers = []peer{{all: who}}
	}
	out.digest = digest(r, out, len(who))
	return out, ""
}

// protocolsOf are the protocol numbers that a rule's protocol means.
func protocolsOf(text string) ([]int16, bool) {
	n, any, ok := model.ProtocolNumber(text)
	switch {
	case !ok:
		return nil, false
	case any:
		return []int16{AnyProtocol}, true
	case strings.EqualFold(text, "icmp"):
		return []int16{model.ProtocolICMP, model.ProtocolICMPv6}, true
	}
	return []int16{int16(n)}, true
}

// digest stands for all that r says and for whether it is enforced.
func digest(r model.Rule, out *rule, selectors int) uint64 {
	h := uint64(offset64)
	for _, s := range [...]string{out.key, r.Direction, r.Action, r.Protocol, r.FromGroup, r.FromNetwork, r.ToGroup, r.ToNetwork} {
		h = hash64(hash64(h, s), "\x00")
	}
	var buf [128]byte
	b := append(buf[:0], out.priority, byte(r.Port>>8), byte(r.Port), byte(selectors))
	if out.audit {
		b[3] |= 0x80
	}
	b = r.To.AppendTo(append(r.From.AppendTo(b), 0))
	return hash64(h, string(b))
}

// before tells whether r decides where both match, which are of one tier: of groups' rules the higher priority, then deny, then the rule that
// names its peer, then the one that names its own address, then the lower key. All but the first two only make it certain which is told.
func (r *rule) before(q *rule) bool {
	if r.tier != tierGroup {
		return r.rank.compare(q.rank) < 0
	}
	switch {
	case r.priority != q.priority:
		return r.priority > q.priority
	case r.allow != q.allow:
		return !r.allow
	case r.precision != q.precision:
		return r.precision > q.precision
	}
	return r.key < q.key
}

// hasChanged tells whether what rows say about the rule has changed after a turn: its number, or the classes that it matches.
func (r *rule) hasChanged(after int) bool {
	later := func(n *named) bool { return n.changed > after }
	return r.changed > after || slices.ContainsFunc(r.peers, func(p peer) bool {
		return slices.ContainsFunc(p.all, later) || slices.ContainsFunc(p.except, later)
	})
}
