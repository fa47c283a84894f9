// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"
)

// foldedRole is the rows of a role. They are kept while nothing changes on which they rest.
type foldedRole struct {
	turn   int    // in which they were made
	number uint32 // the role's
	rows   []Verdict
	rules  []*rule // that the rows name
}

func (f foldedRole) holdsFor(r role) bool {
	return f.number == r.number && !slices.ContainsFunc(r.rules, func(r *rule) bool { return r.hasChanged(f.turn) })
}

// verdicts folds the rules of the roles into rows, and says what the rules' numbers stand for.
func (m *Memo) verdicts(roles []role) ([]Verdict, []Rule) {
	numberRules(roles, m.turn)
	slices.SortFunc(roles, func(a, b role) int { return cmp.Compare(a.number, b.number) })
	was := m.folded
	m.folded = make(map[string]foldedRole, len(roles))
	var rows []Verdict
	var rules []*rule
	for _, r := range roles {
		f := was[r.text]
		if !f.holdsFor(r) {
			f = m.folder.fold(r, m.turn)
		}
		m.folded[r.text] = f
		rows = append(rows, f.rows...)
		for _, r := range f.rules {
			if r.listed != m.turn {
				r.listed = m.turn
				rules = append(rules, r)
			}
		}
	}
	return rows, rulesOf(rules)
}

// rulesOf says what the rules' numbers stand for.
func rulesOf(list []*rule) []Rule {
	order := make([]uint64, len(list)) // the number, and where in the list: quicker to sort than rows
	for i, r := range list {
		order[i] = uint64(r.number)<<32 | uint64(i)
	}
	slices.Sort(order)
	out := make([]Rule, 0, len(list))
	for _, o := range order {
		r := list[uint32(o)]
		if n := len(out); n > 0 && out[n-1].Number == r.number {
			continue // another of that key
		}
		row := Rule{Number: r.number, Key: r.key}
		if r.policy != nil && r.policy.holders == 1 {
			row.Group = r.policy.holder
		}
		out = append(out, row)
	}
	return out
}

// numberRules numbers the rules of the roles: those of one key alike.
func numberRules(roles []role, turn int) {
	var list []*rule
	var keys []string
	var at []int // in keys, of each in list
	shared := map[string]int{}
	for _, role := range roles {
		for _, r := range role.rules {
			if r.gathered == turn {
				continue
			}
			r.gathered = turn
			i, had := len(keys), false
			if r.tier != tierGroup {
				i, had = shared[r.key]
			}
			if !had {
				i = len(keys)
				keys = append(keys, r.key)
				if r.tier != tierGroup {
					shared[r.key] = i
				}
			}
			list, at = append(list, r), append(at, i)
		}
	}
	of := numbers(keys)
	for i, r := range list {
		if n := of[at[i]]; r.number != n {
			r.number, r.changed = n, turn
		}
	}
}

// folder holds what is used again from role to role.
type folder struct {
	every   class // every peer, of number 0
	entries []entry
}

// Priorities of rows in which all is said that there is to say. Those of a class are never asked beside those of every peer.
const (
	wholeForEvery = 1
	wholeForClass = 2
)

// fold makes the rows of a role. Where Kubernetes' rules are in it, the rows of a class say all that holds for it: a rule that passes may
// take the decision from one of any priority, which no priority of rows could tell. Otherwise they say what the rules do that name the peer.
func (f *folder) fold(r role, turn int) foldedRole {
	out := foldedRole{turn: turn, number: r.number}
	var touched []*class
	add := func(c *class, r *rule) {
		if len(c.chain) == 0 {
			touched = append(touched, c)
		}
		c.chain = append(c.chain, r)
	}
	whole := false
	for _, r := range r.rules {
		whole = whole || r.tier != tierGroup
		if len(r.peers) == 0 {
			add(&f.every, r)
			continue
		}
		for _, c := range r.classes() {
			add(c, r)
		}
	}
	slices.SortFunc(touched, compareClass)
	cuts := cutsOf(r.rules)
	var every []*rule
	if whole {
		every = slices.Clone(f.every.chain)
	}
	for _, c := range touched {
		at := Verdict{Role: r.number, Class: c.number}
		if whole {
			at.Priority = wholeForEvery
			if c != &f.every {
				at.Priority = wholeForClass
				c.chain = append(c.chain, every...)
			}
		}
		out.rows = f.chain(out.rows, at, c.chain, cuts)
		c.chain = c.chain[:0]
	}
	for _, r := range r.rules {
		if r.named { // where others always decide before it, it is not
			r.named = false
			out.rules = append(out.rules, r)
		}
	}
	return out
}

type entry struct {
	span
	rule *rule
}

// precision puts any port before ranges and those before single ports.
func (s span) precision() int {
	switch {
	case s.port == 0:
		return 0
	case s.isRange():
		return 1
	}
	return 2
}

func compareSpan(a, b span) int {
	return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.precision(), b.precision()), cmp.Compare(a.port, b.port))
}

// chain appends a chain's rows to out. A row says what all rules say that match its packets, the less precise ones too; a row that
// would say what the next less precise one says is left out. With a priority in key the rows say all that there is to say.
func (f *folder) chain(out []Verdict, key Verdict, rules []*rule, cuts map[int16][]uint16) []Verdict {
	f.entries = f.entries[:0]
	for _, r := range rules {
		for _, s := range r.spans {
			if !s.isRange() {
				f.entries = append(f.entries, entry{s, r})
				continue
			}
			for part := range s.parts(cuts[s.protocol]) {
				f.entries = append(f.entries, entry{part, r})
			}
		}
	}
	// Less precise ones come first: AnyProtocol is less than each protocol, and any port less than each port.
	slices.SortFunc(f.entries, func(a, b entry) int { return compareSpan(a.span, b.span) })
	var every, protocol answer // so far: of any protocol; of the entry's protocol and any port
	var ranges []rangeAnswer   // of the entry's protocol
	for i := 0; i < len(f.entries); {
		at := f.entries[i].span
		if i == 0 || at.protocol != f.entries[i-1].protocol {
			protocol, ranges = every, ranges[:0]
		}
		before := protocol
		if at.precision() == 2 {
			for len(ranges) > 0 && ranges[0].end < at.port {
				ranges = ranges[1:]
			}
			if len(ranges) > 0 && ranges[0].port <= at.port {
				before = ranges[0].said
			}
		}
		said := before
		for ; i < len(f.entries) && compareSpan(f.entries[i].span, at) == 0; i++ {
			said = said.with(f.entries[i].rule)
		}
		key.Protocol, key.Port, key.End = at.protocol, at.port, 0
		if at.isRange() {
			key.End = at.end
			ranges = append(ranges, rangeAnswer{at, said})
		}
		if key.Priority != 0 {
			// Where a class had no row at all, every peer's would be asked.
			if is := said.whole(); is != before.whole() || before == (answer{}) && key.Class != 0 {
				out = append(out, is.rowOfAll(key))
			}
		} else if is := said.outcome(); is != before.outcome() {
			out = append(out, is.row(key))
		}
		if at.port == 0 {
			protocol = said
			if at.protocol == AnyProtocol {
				every = said
			}
		}
	}
	return out
}

// rangeAnswer is what a chain says at a range, for the single ports in it.
type rangeAnswer struct {
	span
	said answer
}

// row is the outcome at a key, as one of two.
func (o outcome) row(v Verdict) Verdict {
	v.Allow = true
	if o.enforced != nil {
		v.Allow, v.Priority, v.Rule = o.enforced.allow, o.enforced.priority, o.enforced.number
		o.enforced.named = true
	}
	if o.audited != nil {
		v.AuditPriority = o.audited.priority
		if !o.audited.allow {
			v.Audit = o.audited.number
			o.audited.named = true
		}
	}
	return v
}

// rowOfAll is the outcome at a key, whose priority it keeps.
func (o outcome) rowOfAll(v Verdict) Verdict {
	v.Allow, v.AuditPriority = true, v.Priority
	if o.enforced != nil {
		v.Allow, v.Rule = o.enforced.allow, o.enforced.number
		o.enforced.named = true
	}
	if o.audited != nil {
		v.Audit = o.audited.number
		o.audited.named = true
	}
	return v
}
