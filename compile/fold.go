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
	out := make([]Rule, len(list))
	for i, o := range order {
		r := list[uint32(o)]
		out[i] = Rule{Number: r.number, Key: r.key}
		if r.policy.holders == 1 {
			out[i].Group = r.policy.holder
		}
	}
	return out
}

// numberRules numbers the rules of the roles.
func numberRules(roles []role, turn int) {
	var list []*rule
	var keys []string
	for _, role := range roles {
		for _, r := range role.rules {
			if r.gathered != turn {
				r.gathered = turn
				list, keys = append(list, r), append(keys, r.key)
			}
		}
	}
	for i, n := range numbers(keys) {
		if r := list[i]; r.number != n {
			r.number, r.changed = n, turn
		}
	}
}

// folder holds what is used again from role to role.
type folder struct {
	every   class // every peer, of number 0
	entries []entry
}

// fold makes the rows of a role.
func (f *folder) fold(r role, turn int) foldedRole {
	out := foldedRole{turn: turn, number: r.number}
	var touched []*class
	add := func(c *class, r *rule) {
		if len(c.chain) == 0 {
			touched = append(touched, c)
		}
		c.chain = append(c.chain, r)
	}
	for _, r := range r.rules {
		if len(r.peer) == 0 {
			add(&f.every, r)
			continue
		}
		for _, c := range r.classes() {
			add(c, r)
		}
	}
	slices.SortFunc(touched, compareClass)
	for _, c := range touched {
		out.rows = f.chain(out.rows, Verdict{Role: r.number, Class: c.number}, c.chain)
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

// answer is what a chain says at one key: the rule that decides, and the one that would among the audited. Either may be nil.
type answer struct{ enforced, audited *rule }

func (a answer) with(r *rule) answer {
	if r.audit {
		if a.audited == nil || r.before(a.audited) {
			a.audited = r
		}
	} else if a.enforced == nil || r.before(a.enforced) {
		a.enforced = r
	}
	return a
}

type entry struct {
	protocol int16
	port     uint16
	rule     *rule
}

// chain appends a chain's rows to out. A row says what all rules say that match its packets, the less precise ones too; a row that
// would say what the next less precise one says is left out.
func (f *folder) chain(out []Verdict, key Verdict, rules []*rule) []Verdict {
	f.entries = f.entries[:0]
	for _, r := range rules {
		for _, p := range r.protocols {
			f.entries = append(f.entries, entry{p, r.port, r})
		}
	}
	// Less precise ones come first: AnyProtocol is less than each protocol, and any port less than each port.
	slices.SortFunc(f.entries, func(a, b entry) int { return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.port, b.port)) })
	var every, protocol answer // so far: of any protocol; of the entry's protocol and any port
	for i := 0; i < len(f.entries); {
		at := f.entries[i]
		if i == 0 || at.protocol != f.entries[i-1].protocol {
			protocol = every
		}
		said := protocol
		for ; i < len(f.entries) && f.entries[i].protocol == at.protocol && f.entries[i].port == at.port; i++ {
			said = said.with(f.entries[i].rule)
		}
		if said != protocol {
			key.Protocol, key.Port = at.protocol, at.port
			out = append(out, said.row(key))
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

// row is the answer at a key.
func (a answer) row(v Verdict) Verdict {
	v.Allow = true
	if a.enforced != nil {
		v.Allow, v.Priority, v.Rule = a.enforced.allow, a.enforced.priority, a.enforced.number
		a.enforced.named = true
	}
	if a.audited != nil {
		v.AuditPriority = a.audited.priority
		if !a.audited.allow {
			v.Audit = a.audited.number
			a.audited.named = true
		}
	}
	return v
}
