// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"encoding/binary"
	"net/netip"
	"slices"

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
	// held remembers the role of a group's endpoints. own tells which of the rules that name their own address hold.
	held map[holding]int
}

type holding struct {
	tenant, group string
	in            bool
	own           string
}

func newRoles() roles {
	return roles{list: make([]role, 1), texts: make([]string, 1), index: map[string]int{}, held: map[holding]int{}}
}

// none is the index in roles.list of the role without rules, whose number is 0.
const none = 0

// numberRoles puts the roles' numbers into the ports, where their indexes were until all roles were known.
func (c *compiler) numberRoles() {
	for i, n := range numbers(c.roles.texts[1:]) {
		c.roles.list[i+1].number = n
	}
	for i := range c.out.Ports {
		p := &c.out.Ports[i]
		p.InRole, p.OutRole = c.roles.list[p.InRole].number, c.roles.list[p.OutRole].number
	}
}

// roleOf is an endpoint's role in one direction, as an index in c.roles.list.
func (c *compiler) roleOf(e model.Endpoint, in bool) int {
	d := c.domains[e.Tenant]
	if e.Group == "" || d == nil {
		return none
	}
	g, ok := d.groups[e.Group]
	if !ok {
		return none // noted with the endpoint
	}
	h := holding{tenant: e.Tenant, group: e.Group, in: in}
	if in {
		h.own = d.owned(g.Policies, e.Addrs())
	}
	i, ok := c.roles.held[h]
	if !ok {
		i = c.roles.of(d, g.Policies, e, in)
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
	policies = slices.Clone(policies)
	slices.Sort(policies) // so that groups share the role whatever the order in which they name them
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
