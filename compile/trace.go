// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// Question is about the first packet of a connection between two addresses of a tenant.
type Question struct {
	Tenant   string
	From, To netip.Addr // of one family; those that no endpoint has are outside
	Protocol uint8      // IP protocol number
	Port     uint16     // of the destination; 0 for protocols that have none
}

// QuestionOf asks about two endpoints: about IPv4 where both have it. ok is false where no packet can go from one to the other,
// as they are of two tenants or have no family in common.
func QuestionOf(from, to model.Endpoint, protocol uint8, port uint16) (q Question, ok bool) {
	q = Question{Tenant: from.Tenant, Protocol: protocol, Port: port}
	switch {
	case from.Tenant != to.Tenant:
		return q, false
	case from.IPv4.IsValid() && to.IPv4.IsValid():
		q.From, q.To = from.IPv4, to.IPv4
	case from.IPv6.IsValid() && to.IPv6.IsValid():
		q.From, q.To = from.IPv6, to.IPv6
	default:
		return q, false
	}
	return q, true
}

// Decision is what the rules say about a question. The packet passes when each step lets it.
type Decision struct {
	Allow bool
	// Steps are the places where rules are asked, in the packet's order; none where it meets no policy. A packet that one
	// denies does not come to the next.
	Steps []Step
	// Without is the decision if the rule of Decisive were not there; nil where no rule decided.
	Without *Decision
	// Unreachable says why no packet gets there although the rules allow it; "" where it does.
	Unreachable string
}

// Step is one end's rules and what they say.
type Step struct {
	Endpoint  string // the id of the endpoint whose rules are asked
	Group     string // its group's key
	Node      string // where they are enforced
	Direction string // model.Out at the sender, model.In at the receiver
	Allow     bool
	Rule      string // the key of the rule that decides, as Tables.Rules has it; "" when none matches, which is allow
	Policy    string // its policy's key; of one of Kubernetes the kind before it
	// Audit is the key of a rule of an audited policy that would deny what passes; "" for none.
	Audit string
}

// Decisive is the step that settled the matter: the one that denied, or of those that allowed the last with a rule. ok is false
// where no rule matched anywhere.
func (d Decision) Decisive() (s Step, ok bool) {
	for _, step := range slices.Backward(d.Steps) {
		if step.Rule != "" {
			return step, true
		}
	}
	return s, false
}

// Audits are the rules of audited policies that would deny.
func (d Decision) Audits() []string {
	var out []string
	for _, s := range d.Steps {
		if s.Audit != "" {
			out = append(out, s.Audit)
		}
	}
	return out
}

// Trace answers a question from the intent alone, reading one rule after the other. It knows nothing of classes and roles, and so
// is what they are tested against.
func Trace(w model.World, q Question) Decision {
	t := tracer{world: w, question: q, from: endpointAt(w, q.Tenant, q.From), to: endpointAt(w, q.Tenant, q.To)}
	d := t.decision("")
	if s, ok := d.Decisive(); ok {
		without := t.decision(s.Rule)
		d.Without = &without
	}
	return d
}

type tracer struct {
	world    model.World
	question Question
	from, to model.Endpoint // without id where the address is no endpoint's
}

// endpointAt is the endpoint that has the address. One that no node can reach has none.
func endpointAt(w model.World, tenant string, a netip.Addr) model.Endpoint {
	for _, e := range w.Endpoints.All() {
		if e.Tenant != tenant || !slices.Contains(e.Addrs(), a) {
			continue
		}
		_, known := w.Networks.Get(e.NetworkKey())
		if _, up := w.Nodes.Get(e.Node); known && up {
			return e
		}
	}
	return model.Endpoint{}
}

// decision is what the rules say when the rule with that key is not there.
func (t tracer) decision(without string) Decision {
	d := Decision{Allow: true}
	for _, at := range []struct {
		own       model.Endpoint
		direction string
	}{{t.from, model.Out}, {t.to, model.In}} {
		if !d.Allow {
			break
		}
		if s, ok := t.step(at.own, at.direction, without); ok {
			d.Steps, d.Allow = append(d.Steps, s), s.Allow
		}
	}
	if d.Allow {
		d.Unreachable = t.unreachable()
	}
	return d
}

func (t tracer) groupOf(e model.Endpoint) (model.Group, bool) {
	if e.ID == "" || e.Group == "" {
		return model.Group{}, false
	}
	return t.world.Groups.Get(model.GroupKey(e.Tenant, e.Group))
}

// said is what a rule says that matches.
type said struct {
	key, policy string // its own, and its policy's
	allow, pass bool
}

// step asks an endpoint's rules; ok is false where it has none to ask.
func (t tracer) step(own model.Endpoint, direction, without string) (s Step, ok bool) {
	g, grouped := t.groupOf(own)
	says, selected := t.podPolicies(own, direction, without)
	if !grouped && !selected {
		return s, false
	}
	s = Step{Endpoint: own.ID, Node: own.Node, Direction: direction, Allow: true}
	var enforced, all []model.Rule
	audited := map[string]bool{}
	if grouped {
		s.Group = g.Key()
		for _, r := range t.world.Rules.All() {
			p, ok := t.world.Policies.Get(r.PolicyKey())
			if !ok || r.Tenant != g.Tenant || !slices.Contains(g.Policies, r.Policy) || r.Direction != direction || r.Key() == without || !t.matches(r) {
				continue
			}
			all = append(all, r)
			if audited[r.Key()] = p.Audit; !p.Audit {
				enforced = append(enforced, r)
			}
		}
		slices.SortFunc(enforced, compareDecisive)
		slices.SortFunc(all, compareDecisive)
	}
	if r, ok := decisive(says, enforced); ok {
		s.Allow, s.Rule, s.Policy = r.allow, r.key, r.policy
	}
	// What would decide if every policy were enforced.
	if r, ok := decisive(says, all); ok && s.Allow && !r.allow && audited[r.key] {
		s.Audit = r.key
	}
	return s, true
}

// decisive goes through the tiers, in which the first of the group's rules is one.
func decisive(tier [tiers]*said, group []model.Rule) (said, bool) {
	if len(group) > 0 {
		r := group[0]
		tier[tierGroup] = &said{key: r.Key(), policy: r.PolicyKey(), allow: r.Action == model.Allow}
	}
	for _, r := range tier {
		if r != nil && !r.pass {
			return *r, true
		}
	}
	return said{}, false
}

// compareDecisive puts first the rule that decides where all of them match.
func compareDecisive(a, b model.Rule) int {
	if c := cmp.Compare(b.Priority, a.Priority); c != 0 {
		return c
	}
	if a.Action != b.Action {
		return strings.Compare(b.Action, a.Action) // deny before allow
	}
	return cmp.Or(cmp.Compare(naming(b), naming(a)), cmp.Compare(a.Key(), b.Key()))
}

// naming tells how much a rule says of who: of its peer, of its own address, of neither.
func naming(r model.Rule) int {
	switch {
	case r.FromGroup != "", r.FromNetwork != "", r.From.IsValid(), r.ToGroup != "", r.ToNetwork != "", r.Direction == model.Out && r.To.IsValid():
		return 2
	case r.To.IsValid():
		return 1
	}
	return 0
}

// matches tells whether a rule of one of the ends is about the packet.
func (t tracer) matches(r model.Rule) bool {
	q := t.question
	if !matchesProtocol(r, q.Protocol) || r.Port != 0 && r.Port != q.Port {
		return false
	}
	if r.Priority < model.MinPriority || r.Priority > model.MaxPriority {
		return false
	}
	if r.Action != model.Allow && r.Action != model.Deny {
		return false
	}
	if r.Direction == model.Out {
		return t.isPeer(t.to, q.To, r.ToGroup, r.ToNetwork, r.To)
	}
	return (!r.To.IsValid() || r.To.Contains(q.To)) && t.isPeer(t.from, q.From, r.FromGroup, r.FromNetwork, r.From)
}

func matchesProtocol(r model.Rule, protocol uint8) bool {
	if strings.EqualFold(r.Protocol, "icmp") {
		return protocol == model.ProtocolICMP || protocol == model.ProtocolICMPv6
	}
	n, any, ok := model.ProtocolNumber(r.Protocol)
	return ok && (any || n == protocol)
}

// isPeer tells whether an address, and the endpoint that has it, is what a rule names.
func (t tracer) isPeer(e model.Endpoint, a netip.Addr, group, network string, prefix netip.Prefix) bool {
	if group != "" {
		if _, ok := t.world.Groups.Get(model.GroupKey(t.question.Tenant, group)); !ok || e.Group != group {
			return false
		}
	}
	if network != "" {
		n, ok := t.world.Networks.Get(model.NetworkKey(t.question.Tenant, network))
		switch {
		case !ok:
			return false
		case e.ID != "":
			if e.Network != network {
				return false
			}
		case n.Pool(a).IsZero() || !n.Pool(a).Subnet().Contains(a):
			return false
		}
	}
	return !prefix.IsValid() || prefix.Contains(a)
}

// unreachable says why endpoints of the two networks do not reach each other.
func (t tracer) unreachable() string {
	if t.from.ID == "" || t.to.ID == "" {
		return ""
	}
	a, _ := t.world.Networks.Get(t.from.NetworkKey())
	b, _ := t.world.Networks.Get(t.to.NetworkKey())
	f := t.world.Forwarding()
	switch {
	case f.Reaches(a, b):
		return ""
	case f.Bridged:
		return fmt.Sprintf("networks %s and %s are not joined in forwarding mode bridge", a.Key(), b.Key())
	}
	if a.Encap == model.EncapVLAN || b.Encap == model.EncapVLAN {
		return fmt.Sprintf("networks %s and %s are joined by a router in the VLAN, or not at all", a.Key(), b.Key())
	}
	return fmt.Sprintf("networks %s and %s are not joined, as one of them is internal", a.Key(), b.Key())
}
