// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// role is the rules that hold for an endpoint in one direction. Endpoints for which the same rules hold share it.
type role struct {
	domain *domain
	rules  []*rule
	number uint32
}

// roles are those of this node's endpoints.
type roles struct {
	list  []role
	texts []string
	index map[string]int
	// held remembers the role of a set of policies, as most endpoints differ in nothing else.
	held map[holding]int
}

// holding is what makes up a role. own tells which of the rules that name their own address hold.
type holding struct {
	domain   *domain
	policies string
	in       bool
	own      string
}

// none is the index in roles.list of the role without rules, whose number is 0.
const none = 0

// rolePorts gives the ports their roles, and the roles their numbers.
func (c *compiler) rolePorts() {
	c.roles = roles{list: make([]role, 1), texts: make([]string, 1), index: map[string]int{}, held: map[holding]int{}}
	in, out := make(map[string]int, len(c.local)), make(map[string]int, len(c.local))
	for _, e := range c.local {
		in[e.ID], out[e.ID] = c.roleOf(e, true), c.roleOf(e, false)
	}
	for i, n := range numbers(c.roles.texts[1:]) {
		c.roles.list[i+1].number = n
	}
	for i := range c.out.Ports {
		p := &c.out.Ports[i]
		p.InRole, p.OutRole = c.roles.list[in[p.Endpoint]].number, c.roles.list[out[p.Endpoint]].number
	}
}

// roleOf is an endpoint's role in one direction, as an index in c.roles.list.
func (c *compiler) roleOf(e model.Endpoint, in bool) int {
	if e.Group == "" {
		return none
	}
	g, ok := c.world.Groups.Get(model.GroupKey(e.Tenant, e.Group))
	if !ok {
		if in { // once an endpoint
			c.note(e, "endpoint %s is in group %s, which does not exist: no policy holds for it", e.ID, model.GroupKey(e.Tenant, e.Group))
		}
		return none
	}
	d := c.domains[e.Tenant]
	if d == nil {
		return none
	}
	policies := slices.Clone(g.Policies)
	slices.Sort(policies)
	h := holding{domain: d, policies: strings.Join(policies, "\n"), in: in}
	if in {
		h.own = d.owned(policies, e.Addrs())
	}
	i, ok := c.roles.held[h]
	if !ok {
		i = c.roles.of(d, policies, e, in)
		c.roles.held[h] = i
	}
	return i
}

// owned tells of each rule in the policies that names its own address whether it names one of these.
func (d *domain) owned(policies []string, addrs []netip.Addr) string {
	var out []byte
	for _, p := range policies {
		for _, r := range d.sorted(p).own {
			held := byte('0')
			if slices.ContainsFunc(addrs, r.own.Contains) {
				held = '1'
			}
			out = append(out, held)
		}
	}
	return string(out)
}

// of gathers the rules of a role.
func (rs *roles) of(d *domain, policies []string, e model.Endpoint, in bool) int {
	next := role{domain: d}
	direction := model.Out
	if in {
		direction = model.In
	}
	text := []byte(d.tenant.Name + "\n" + direction + "\n")
	for _, p := range policies {
		for _, r := range d.sorted(p).rules {
			if r.in != in || r.own.IsValid() && !slices.ContainsFunc(e.Addrs(), r.own.Contains) {
				continue
			}
			next.rules = append(next.rules, r)
			text = binary.BigEndian.AppendUint64(text, r.digest)
		}
	}
	if len(next.rules) == 0 {
		return none
	}
	i, ok := rs.index[string(text)]
	if !ok {
		i = len(rs.list)
		rs.list, rs.texts = append(rs.list, next), append(rs.texts, string(text))
		rs.index[string(text)] = i
	}
	return i
}
