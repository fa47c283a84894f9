// SPDX-License-Identifier: Apache-2.0

package master

import (
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func policies() noun {
	return reading(noun{
		plural: api.Policies,
		put: puts(func(p *api.Policy) []part {
			return []part{{"tenantName", &p.TenantName}, {"policyName", &p.PolicyName}}
		}, askPolicy),
		remove: removePolicy,
	}, func(w model.World) model.Table[model.Policy] { return w.Policies }, noPolicy, policyOf,
		func(w model.World, p model.Policy) api.PolicyOper { return policyOper(w, p, censusOf(w, p.Tenant, "")) })
}

func noPolicy(key string) error {
	return model.NotFound("policyName", "policy %s not found; netctl policy ls -a lists those there are", key)
}

func policyOf(w model.World, p model.Policy) api.Policy {
	out := api.PolicyOf(p)
	for _, g := range groupsUnder(w, p) {
		link(out.LinkSets, "EndpointGroups", typeGroup, g.Key())
	}
	for _, r := range w.Rules.All() {
		if r.Policy == p.Name && r.Tenant == p.Tenant {
			link(out.LinkSets, "Rules", typeRule, r.Key())
		}
	}
	out.Links["Tenant"] = api.Link{Type: typeTenant, Key: p.Tenant}
	return out
}

// policyOper has the endpoints in which the policy takes effect.
func policyOper(w model.World, p model.Policy, c census) (out api.PolicyOper) {
	for _, g := range groupsUnder(w, p) {
		for _, e := range c.endpoints[g.NetworkKey()] {
			if e.Group == g.Name {
				out.Endpoints = append(out.Endpoints, endpointOper(w, e))
			}
		}
	}
	out.NumEndpoints = len(out.Endpoints)
	return out
}

// groupsUnder are the groups that name the policy.
func groupsUnder(w model.World, p model.Policy) []model.Group {
	return groupsOf(w, p.Tenant, func(g model.Group) bool { return slices.Contains(g.Policies, p.Name) })
}

func askPolicy(asked api.Policy) (write, error) {
	wanted, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		it := wanted
		old, exists := p.world().Policies.Get(it.Key())
		if exists && asked.Audit == nil {
			it.Audit = old.Audit // a v1 client that writes it again must not have it enforced
		}
		if !exists {
			t, err := tenant(p.world(), it.Tenant)
			if err != nil {
				return nil, err
			}
			p.unchanged(t)
			p.absent(it)
			p.put(it)
		} else if old != it {
			p.unchanged(old)
			p.put(it)
		}
		return policyOf(p.world(), it), nil
	}}, err
}

// removePolicy takes its rules with it.
func removePolicy(p *plan, key string) error {
	w := p.world()
	it, ok := w.Policies.Get(key)
	if !ok {
		return noPolicy(key)
	}
	if g := groupsUnder(w, it); len(g) > 0 {
		return model.InUse("policyName", "Policy is being used: policy %s by %s (%s); take it out of them first with netctl group create", it.Name, counted(len(g), "group"), some(g, groupName))
	}
	p.unchanged(it) // whoever adds a rule or names it is refused when it is gone
	p.noneNewer(model.KindGroup, it.Tenant+":")
	p.remove(it)
	p.removeAll(model.KindRule, key+":")
	return nil
}

func groupName(g model.Group) string { return g.Name }
