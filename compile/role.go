// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"slices"

	"github.com/contivnet/contiv/model"
)

// role is the rules that hold for an endpoint in one direction. Endpoints for which the same rules hold share it.
type role struct {
	domain *domain
	rules  []*rule
	number uint32
}

// none is the index in compiler.held of the role without rules, whose number is 0.
const none = 0

// holding is what makes up a role: own tells which of the rules that name their own address hold.
type holding struct {
	tenant, group string
	in            bool
	own           string
}

// gatherer finds the roles of endpoints.
type gatherer struct {
	list  []role
	texts []string // what each is
	index map[string]int
	known map[holding]int
}

// roles gives the ports their roles.
func (c *compiler) roles() {
	g := gatherer{list: make([]role, 1), texts: make([]string, 1), index: map[string]int{}, known: map[holding]int{}}
	for i, e := range c.local {
		p := &c.out.Ports[i] // indexes until all are known
		p.InRole, p.OutRole = uint32(g.roleOf(c.domains[e.Tenant], e, true)), uint32(g.roleOf(c.domains[e.Tenant], e, false))
	}
	for i, n := range numbers(g.texts[1:]) {
		g.list[i+1].number = n
	}
	for i := range c.out.Ports {
		p := &c.out.Ports[i]
		p.InRole, p.OutRole = g.list[p.InRole].number, g.list[p.OutRole].number
	}
	c.held = g.list
}

// roleOf is an endpoint's role in one direction, as an index in g.list.
func (g *gatherer) roleOf(d *domain, e model.Endpoint, in bool) int {
	if e.Group == "" || d == nil {
		return none
	}
	group, ok := d.groups[e.Group]
	if !ok {
		return none // noted with the endpoint
	}
	h := holding{tenant: e.Tenant, group: e.Group, in: in}
	if in {
		h.own = d.owned(group.Policies, e)
	}
	i, ok := g.known[h]
	if !ok {
		i = g.gather(d, group.Policies, e, in)
		g.known[h] = i
	}
	return i
}

// owned tells of each rule in the policies that names its own address whether it is about this endpoint.
func (d *domain) owned(policies []string, e model.Endpoint) string {
	var out []byte
	for _, name := range policies {
		p := d.policies[name]
		if p == nil {
			continue // noted with the group
		}
		for _, r := range p.own {
			held := byte('0')
			if r.isAbout(e) {
				held = '1'
			}
			out = append(out, held)
		}
	}
	return string(out)
}

// isAbout tells whether the rule, of a policy of its group, holds for an endpoint.
func (r *rule) isAbout(e model.Endpoint) bool {
	return !r.own.IsValid() || r.own.Contains(e.IPv4) || r.own.Contains(e.IPv6)
}

// gather puts the rules of a role together.
func (g *gatherer) gather(d *domain, policies []string, e model.Endpoint, in bool) int {
	next := role{domain: d}
	var digests []uint64
	for _, name := range policies {
		p := d.policies[name]
		if p == nil {
			continue
		}
		for _, r := range p.rules {
			if r.in == in && r.isAbout(e) {
				next.rules, digests = append(next.rules, r), append(digests, r.digest)
			}
		}
	}
	if len(digests) == 0 {
		return none
	}
	slices.Sort(digests) // the order of rules and of policies means nothing
	text := make([]byte, 0, 8*len(digests))
	for _, digest := range digests {
		text = binary.BigEndian.AppendUint64(text, digest)
	}
	i, ok := g.index[string(text)]
	if !ok {
		i = len(g.list)
		g.list, g.texts = append(g.list, next), append(g.texts, string(text))
		g.index[string(text)] = i
	}
	return i
}
