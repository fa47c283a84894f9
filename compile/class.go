// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// class is a set of selectors: what some addresses of a tenant have in common for all of its rules.
type class struct {
	domain *domain
	has    []int // indexes in domain.named, sorted
	number uint32
}

// nobody is the index in compiler.classes of the class without selectors, whose number is 0.
const nobody = 0

// affiliate is an affiliation as its tenant's rules see it.
type affiliate struct {
	domain *domain     // nil where no rule names anybody
	has    []int       // the group and the network, where rules name them
	class  map[int]int // by the longest named prefix of the address, -1 for none: an index in compiler.classes
}

// classify gives the endpoints' rows their classes.
func (c *compiler) classify() {
	c.classes, c.classTexts, c.classIndex = make([]class, 1), make([]string, 1), map[string]int{}
	affiliates := make([]affiliate, len(c.affiliations))
	for i, a := range c.affiliations {
		d := c.domains[a.tenant]
		if d == nil || len(d.named) == 0 {
			continue
		}
		affiliates[i] = affiliate{domain: d, class: map[int]int{}}
		for _, s := range []selector{{group: a.group}, {network: a.network}} {
			if named, ok := d.selectors[s]; ok {
				affiliates[i].has = append(affiliates[i].has, named)
			}
		}
	}
	c.out.Endpoints = make([]Endpoint, len(c.located))
	for i := range c.located {
		row := &c.out.Endpoints[i]
		*row = c.located[i].Endpoint
		if a := affiliates[c.located[i].of]; a.domain != nil {
			row.Class = uint32(c.classOf(a, row.Addr))
		}
	}
}

// classOf is the class of an endpoint's address, as an index in c.classes.
func (c *compiler) classOf(of affiliate, a netip.Addr) int {
	longest, _, ok := of.domain.prefixes.find(a, a.BitLen())
	if !ok {
		longest = -1
	}
	i, ok := of.class[longest]
	if !ok {
		i = c.classWith(of.domain, append(of.domain.prefixes.all(a, a.BitLen()), of.has...))
		of.class[longest] = i
	}
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
