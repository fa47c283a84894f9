// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"github.com/contivnet/contiv/model"
)

// domain is what a tenant's rules come to. Rules never reach into another tenant.
type domain struct {
	tenant    model.Tenant
	policies  map[string]*policy     // by name
	groups    map[string]model.Group // by name
	holders   map[string]int         // how many groups name a policy
	holder    map[string]string      // the key of one of them
	selectors map[selector]int       // index in named
	named     []selector             // those that any rule of the tenant names, also where its policy is on no group
	prefixes  nest                   // the named prefixes; values are indexes in named
	subnets   nest                   // of the named networks; values are indexes in subnetOf
	subnetOf  [][]int                // networks with the same subnet, as indexes in named
	matching  [][]int                // by index in named: the classes that satisfy it
	dual      bool                   // some network has IPv4 and IPv6
}

// policy is one with its rules.
type policy struct {
	model.Policy
	rules []*rule
	own   []*rule // those that name their own address
}

// policies reads the rules and what they name. A rule that cannot match anything is noted and left out.
func (c *compiler) policies() {
	c.domains = map[string]*domain{}
	if c.world.Rules.Len() > 0 {
		for _, t := range c.world.Tenants.All() {
			c.domains[t.Name] = &domain{
				tenant: t, policies: map[string]*policy{}, groups: map[string]model.Group{}, holders: map[string]int{}, holder: map[string]string{},
				selectors: map[selector]int{}, prefixes: newNest(), subnets: newNest(),
			}
		}
		for _, n := range c.world.Networks.All() {
			if d := c.domains[n.Tenant]; d != nil && !n.IPv4.IsZero() && !n.IPv6.IsZero() {
				d.dual = true
			}
		}
		for _, p := range c.world.Policies.All() {
			if d := c.domains[p.Tenant]; d != nil {
				d.policies[p.Name] = &policy{Policy: p}
			}
		}
		rules := make([]rule, c.world.Rules.Len()) // in one piece, as there may be many
		for _, r := range c.world.Rules.All() {
			if c.rule(r, &rules[0]) {
				rules = rules[1:]
			}
		}
	}
	for _, g := range c.world.Groups.All() {
		if d := c.domains[g.Tenant]; d != nil {
			d.groups[g.Name] = g
		}
		for _, p := range g.Policies {
			if _, ok := c.world.Policies.Get(model.PolicyKey(g.Tenant, p)); !ok {
				c.note(g, "group %s names policy %s, which does not exist: no rules of it hold", g.Key(), p)
				continue
			}
			if d := c.domains[g.Tenant]; d != nil {
				d.holders[p]++
				d.holder[p] = g.Key()
			}
		}
	}
}
