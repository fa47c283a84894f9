// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"slices"
)

// verdicts folds the rules of each role of this node into rows, and says what the rules' numbers stand for.
func (c *compiler) verdicts() {
	list := slices.Clone(c.held[1:])
	slices.SortFunc(list, func(a, b role) int { return cmp.Compare(a.number, b.number) })
	rules := numberRules(list)
	chains := make([][]*rule, len(c.classes)) // by class, those of one role
	for _, r := range list {
		var touched []int
		add := func(class int, rule *rule) {
			if len(chains[class]) == 0 {
				touched = append(touched, class)
			}
			chains[class] = append(chains[class], rule)
		}
		for _, rule := range r.rules {
			if len(rule.peer) == 0 {
				add(nobody, rule) // class 0 is every peer here
				continue
			}
			for _, class := range c.classesOf(r.domain, rule) {
				add(class, rule)
			}
		}
		slices.SortFunc(touched, func(a, b int) int { return cmp.Compare(c.classes[a].number, c.classes[b].number) })
		for _, class := range touched {
			c.out.Verdicts = c.fold.chain(c.out.Verdicts, Verdict{Role: r.number, Class: c.classes[class].number}, chains[class])
			chains[class] = chains[class][:0]
		}
	}
	c.rules(rules)
}

// rules says what the numbers stand for that verdicts name. A rule before which others always decide is not named.
func (c *compiler) rules(list []*rule) {
	order := make([]uint64, 0, len(list)) // the number, and where in the list: quicker to sort than rows
	for i, r := range list {
		if r.named {
			order = append(order, uint64(r.number)<<32|uint64(i))
		}
	}
	slices.Sort(order)
	c.out.Rules = make([]Rule, 0, len(order))
	for _, o := range order {
		r := list[uint32(o)]
		row := Rule{Number: r.number, Key: r.key}
		if d := c.domains[r.tenant]; d.holders[r.policy] == 1 {
			row.Group = d.holder[r.policy]
		}
		c.out.Rules = append(c.out.Rules, row)
	}
}

// numberRules numbers the rules of the roles.
func numberRules(list []role) []*rule {
	var out []*rule
	var keys []string
	for _, role := range list {
		for _, r := range role.rules {
			if !r.gathered {
				r.gathered = true
				out, keys = append(out, r), append(keys, r.key)
			}
		}
	}
	for i, n := range numbers(keys) {
		out[i].number = n
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

// folder holds what is used again from chain to chain.
type folder struct{ entries []entry }

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
