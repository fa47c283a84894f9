// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"slices"

	"github.com/contivnet/contiv/model"
)

// role is the rules that hold for an endpoint in one direction. Endpoints for which the same rules hold share it.
type role struct {
	text   string // what it is
	rules  []*rule
	number uint32
}

// none is the index in gatherer.list of the role without rules, whose number is 0.
const none = 0

// holding is what makes up a role: own tells which of the rules that name their own address hold.
type holding struct {
	domain   *domain
	policies string // group.text
	in       bool
	own      string
	pod      int32 // index in compiler.pods, where policies of Kubernetes may hold
}

// gatherer finds the roles of endpoints.
type gatherer struct {
	compiler *compiler
	list     []role
	index    map[string]int // by text
	known    map[holding]int
}

// rolesOf gives the ports of the endpoints their roles.
func (b *book) rolesOf(c *compiler, ports []Port) []role {
	g := gatherer{compiler: c, list: make([]role, 1), index: map[string]int{}, known: map[holding]int{}}
	for i, e := range c.local { // indexes until all are known
		ports[i].InRole, ports[i].OutRole = uint32(g.roleOf(b.domains[e.Tenant], e, true)), uint32(g.roleOf(b.domains[e.Tenant], e, false))
	}
	roles := g.list[1:]
	texts := make([]string, len(roles))
	for i, r := range roles {
		texts[i] = r.text
	}
	for i, n := range numbers(texts) {
		roles[i].number = n
	}
	for i := range ports {
		p := &ports[i]
		p.InRole, p.OutRole = g.list[p.InRole].number, g.list[p.OutRole].number
	}
	return roles
}

// roleOf is an endpoint's role in one direction, as an index in g.list.
func (g *gatherer) roleOf(d *domain, e model.Endpoint, in bool) int {
	if d == nil {
		return none
	}
	h := holding{domain: d, in: in}
	group := d.groups[e.Group] // a dangling name is noted with the endpoint
	if group != nil {
		h.policies = group.text
		if in {
			h.own = group.owned(e)
		}
	}
	if len(d.pods) > 0 {
		h.pod = g.compiler.pods.of(e)
	}
	if group == nil && h.pod == none {
		return none
	}
	i, ok := g.known[h]
	if !ok {
		i = g.gather(h, group, e)
		g.known[h] = i
	}
	return i
}

// owned tells of each rule in the policies that names its own address whether it is about this endpoint.
func (g *group) owned(e model.Endpoint) string {
	var out []byte
	for _, p := range g.policies {
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
func (g *gatherer) gather(h holding, group *group, e model.Endpoint) int {
	var rules []*rule
	var digests []uint64
	if group != nil {
		for _, p := range group.policies {
			for _, r := range p.rules {
				if r.in == h.in && r.isAbout(e) {
					rules, digests = append(rules, r), append(digests, r.digest)
				}
			}
		}
	}
	if h.pod != none {
		for _, r := range h.domain.podRules(g.compiler.world, g.compiler.pods.list[h.pod], h.in) {
			rules, digests = append(rules, r), append(digests, r.digest)
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
		g.list = append(g.list, role{text: string(text), rules: rules})
		g.index[string(text)] = i
	}
	return i
}
