// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// class is a set of selectors: what some addresses of a tenant have in common for all of its rules.
type class struct {
	domain *domain
	has    []int // indexes in domain.named, sorted
	number uint32
}

// membership is what makes up the class of an endpoint's address; -1 for what no rule names.
type membership struct{ group, network, prefix int }

// nobody is the index in compiler.classes of the class without selectors, whose number is 0.
const nobody = 0

// classOf gives the class of an endpoint's address, as an index in c.classes.
func (c *compiler) classOf(d *domain, e model.Endpoint, a netip.Addr) int {
	if d == nil || len(d.named) == 0 {
		return nobody
	}
	m := membership{-1, -1, -1}
	if i, ok := d.selectors[selector{group: e.Group}]; ok && e.Group != "" {
		m.group = i
	}
	if i, ok := d.selectors[selector{network: e.Network}]; ok {
		m.network = i
	}
	if i, _, ok := d.prefixes.find(a, a.BitLen()); ok {
		m.prefix = i
	}
	if i, ok := d.members[m]; ok {
		return i
	}
	has := d.prefixes.all(a, a.BitLen())
	if m.group >= 0 {
		has = append(has, m.group)
	}
	if m.network >= 0 {
		has = append(has, m.network)
	}
	i := c.classWith(d, has)
	d.members[m] = i
	return i
}

// classWith is the class of a set of selectors, as an index in c.classes.
func (c *compiler) classWith(d *domain, has []int) int {
	if len(has) == 0 {
		return nobody
	}
	slices.SortFunc(has, func(a, b int) int { return cmp.Compare(d.named[a].String(), d.named[b].String()) })
	var b strings.Builder
	b.WriteString(d.tenant.Name)
	for _, s := range has {
		b.WriteByte('\n')
		b.WriteString(d.named[s].String())
	}
	if i, ok := c.classIndex[b.String()]; ok {
		return i
	}
	slices.Sort(has)
	i := len(c.classes)
	c.classes, c.classTexts = append(c.classes, class{domain: d, has: has}), append(c.classTexts, b.String())
	c.classIndex[b.String()] = i
	return i
}

// prefixes gives their rows to the named prefixes and to the subnets of the named networks.
func (c *compiler) prefixes() {
	for _, d := range c.domains {
		rows := make(map[netip.Prefix]bool, len(d.prefixes.at)+len(d.subnets.at))
		for p := range d.prefixes.at {
			rows[p] = true
		}
		for p := range d.subnets.at {
			rows[p] = true
		}
		for p := range rows {
			has := d.prefixes.all(p.Addr(), p.Bits())
			for _, s := range d.subnets.all(p.Addr(), p.Bits()) {
				has = append(has, d.subnetOf[s]...)
			}
			c.out.Prefixes = append(c.out.Prefixes, Prefix{Tenant: d.tenant.Number, Prefix: p, Class: uint32(c.classWith(d, has))})
		}
	}
	slices.SortFunc(c.out.Prefixes, func(a, b Prefix) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), comparePrefix(a.Prefix, b.Prefix))
	})
}

// numberClasses puts the classes' numbers into the rows, where their indexes were until all classes were known.
func (c *compiler) numberClasses() {
	for i, n := range numbers(c.classTexts[1:]) {
		c.classes[i+1].number = n
	}
	for i := range c.out.Endpoints {
		c.out.Endpoints[i].Class = c.classes[c.out.Endpoints[i].Class].number
	}
	for i := range c.out.Prefixes {
		c.out.Prefixes[i].Class = c.classes[c.out.Prefixes[i].Class].number
	}
	for _, d := range c.domains {
		d.matching = make([][]int, len(d.named))
	}
	for i, k := range c.classes {
		for _, s := range k.has {
			k.domain.matching[s] = append(k.domain.matching[s], i)
		}
	}
}

// classesOf are the classes whose addresses satisfy a rule that names its peer.
func (c *compiler) classesOf(d *domain, r *rule) []int {
	rarest := r.peer[0]
	for _, s := range r.peer[1:] {
		if len(d.matching[s]) < len(d.matching[rarest]) {
			rarest = s
		}
	}
	if len(r.peer) == 1 {
		return d.matching[rarest]
	}
	var out []int
	for _, i := range d.matching[rarest] {
		has := func(s int) bool {
			_, ok := slices.BinarySearch(c.classes[i].has, s)
			return ok
		}
		if !slices.ContainsFunc(r.peer, func(s int) bool { return !has(s) }) {
			out = append(out, i)
		}
	}
	return out
}
