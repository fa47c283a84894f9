// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"strings"

	"github.com/contivnet/contiv/model"
)

// rule is a model.Rule made ready to be folded.
type rule struct {
	key       string
	tenant    string
	policy    string
	in        bool
	allow     bool
	audit     bool
	priority  uint8
	protocols []int16
	port      uint16
	own       netip.Prefix // of In: which addresses of the group's endpoints; invalid: all
	peer      []int        // what a peer must satisfy, as indexes in domain.named; empty: nothing
	precision int          // 2: it names its peer; 1: only its own address; 0: neither
	digest    uint64       // of all that it says
	gathered  bool         // it is in a role of this node
	number    uint32       // given then
	named     bool         // a row names it
}

// rule takes r into its tenant's domain, as out. It tells whether r can match anything.
func (c *compiler) rule(r model.Rule, out *rule) bool {
	d := c.domains[r.Tenant]
	if d == nil || d.policies[r.Policy] == nil {
		c.note(r, "rule %s is in policy %s, which does not exist: it holds nowhere", r.Key(), r.PolicyKey())
		return false
	}
	in := d.policies[r.Policy]
	protocols, ok := protocolsOf(r.Protocol)
	if !ok || r.Direction != model.In && r.Direction != model.Out || r.Action != model.Allow && r.Action != model.Deny ||
		r.Priority < model.MinPriority || r.Priority > model.MaxPriority {
		c.note(r, "rule %s says what this version does not know: it holds nowhere", r.Key())
		return false
	}
	*out = rule{
		key: r.Key(), tenant: r.Tenant, policy: r.Policy, in: r.Direction == model.In, allow: r.Action == model.Allow, audit: in.Audit,
		priority: uint8(r.Priority), protocols: protocols, port: r.Port,
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
		c.note(r, "rule %s is about packets from %s to %s, which are of two families: it matches nobody", r.Key(), prefix, out.own)
		return false
	case !prefix.IsValid() && d.dual:
		// A role is of both families. What is sent to an IPv4 address comes from one.
		prefix = netip.PrefixFrom(out.own.Addr(), 0)
	}
	out.peer = make([]int, 0, 2)
	if group != "" {
		i, ok := c.nameGroup(d, group)
		if !ok {
			c.note(r, "rule %s names group %s, which does not exist: it matches nobody", r.Key(), group)
			return false
		}
		out.peer = append(out.peer, i)
	}
	if network != "" {
		i, ok := c.nameNetwork(d, network)
		if !ok {
			c.note(r, "rule %s names network %s, which does not exist: it matches nobody", r.Key(), network)
			return false
		}
		out.peer = append(out.peer, i)
	}
	if prefix.IsValid() {
		out.peer = append(out.peer, d.namePrefix(prefix.Masked()))
	}
	out.digest = digest(r, out)
	in.rules = append(in.rules, out)
	if out.own.IsValid() {
		in.own = append(in.own, out)
	}
	return true
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
func digest(r model.Rule, out *rule) uint64 {
	h := uint64(offset64)
	for _, s := range [...]string{out.key, r.Direction, r.Action, r.Protocol, r.FromGroup, r.FromNetwork, r.ToGroup, r.ToNetwork} {
		h = hash64(hash64(h, s), "\x00")
	}
	var buf [128]byte
	b := append(buf[:0], out.priority, byte(out.port>>8), byte(out.port), byte(len(out.peer)))
	if out.audit {
		b[3] |= 0x80
	}
	b = r.To.AppendTo(append(r.From.AppendTo(b), 0))
	return hash64(h, string(b))
}

// before tells whether r decides where both match: the higher priority, then deny, then the rule that names its peer, then
// the one that names its own address, then the lower key. All but the first two only make it certain which is told.
func (r *rule) before(q *rule) bool {
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
