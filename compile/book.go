// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"

	"github.com/contivnet/contiv/model"
)

// book is the rules of a World, made ready to be folded. From one World to the next it reads only the rules that differ.
type book struct {
	world    model.World        // whose rules they are
	domains  map[string]*domain // by tenant
	rules    map[string]*rule   // by key, those that can match something
	dangling map[string]Note    // about the others, by key
	notes    []Note             // about groups
}

// read makes it the book of w, whose endpoints are where c says; moved tells that they are not where they were. It tells whether rules name what
// they did not name before, or no longer do.
func (b *book) read(w model.World, c *compiler, moved bool) (renamed bool) {
	was := b.world
	if b.domains == nil || was.Tenants != w.Tenants || was.Networks != w.Networks || was.Groups != w.Groups || was.Policies != w.Policies {
		was, renamed = model.World{}, true
		*b = newBook(w)
	}
	b.world = w
	for d := range w.Rules.Since(was.Rules) {
		old := b.rules[d.Key]
		delete(b.rules, d.Key)
		delete(b.dangling, d.Key)
		if d.Is != nil {
			b.take(d.Key, *d.Is)
		}
		if old != nil { // after its successor, which may name the same
			old.leave()
		}
	}
	b.readPods(c, was, moved)
	for _, d := range b.domains {
		renamed = d.settle() || renamed
	}
	return renamed
}

// newBook is without rules.
func newBook(w model.World) book {
	b := book{domains: map[string]*domain{}, rules: make(map[string]*rule, w.Rules.Len()), dangling: map[string]Note{}}
	for _, t := range w.Tenants.All() {
		b.domains[t.Name] = &domain{tenant: t, policies: map[string]*policy{}, groups: map[string]*group{}, selectors: map[selector]*named{}}
	}
	for _, n := range w.Networks.All() {
		if d := b.domains[n.Tenant]; d != nil && !n.IPv4.IsZero() && !n.IPv6.IsZero() {
			d.dual = true
		}
	}
	for _, p := range w.Policies.All() {
		if d := b.domains[p.Tenant]; d != nil {
			d.policies[p.Name] = &policy{Policy: p}
		}
	}
	for _, g := range w.Groups.All() {
		var own group
		for _, name := range g.Policies {
			if _, ok := w.Policies.Get(model.PolicyKey(g.Tenant, name)); !ok {
				b.notes = append(b.notes, Note{model.RefOf(g), fmt.Sprintf("group %s names policy %s, which does not exist: no rules of it hold", g.Key(), name)})
				continue
			}
			if d := b.domains[g.Tenant]; d != nil {
				p := d.policies[name]
				p.holders, p.holder = p.holders+1, g.Key()
				own.policies, own.text = append(own.policies, p), own.text+"\n"+name
			}
		}
		if d := b.domains[g.Tenant]; d != nil {
			d.groups[g.Name] = &own
		}
	}
	return b
}

// allNotes are about groups and rules, in no particular order.
func (b *book) allNotes() []Note {
	out := slices.Clone(b.notes)
	for _, n := range b.dangling {
		out = append(out, n)
	}
	return out
}
