// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func rules() noun {
	return reading(noun{
		plural: api.Rules,
		put: puts(func(r *api.Rule) []part {
			return []part{{"tenantName", &r.TenantName}, {"policyName", &r.PolicyName}, {"ruleId", &r.RuleID}}
		}, askRule),
		remove: removeRule,
	}, func(w model.World) model.Table[model.Rule] { return w.Rules }, noRule,
		func(_ model.World, r model.Rule) api.Rule { return ruleOf(r) }, func(model.World, model.Rule) struct{} { return struct{}{} })
}

func noRule(key string) error {
	return model.NotFound("ruleId", "rule %s not found; netctl policy rule-ls lists those of a policy", key)
}

func ruleOf(r model.Rule) api.Rule {
	out := api.RuleOf(r)
	link(out.LinkSets, "Policies", typePolicy, r.PolicyKey())
	if name := cmp.Or(r.FromGroup, r.ToGroup); name != "" {
		out.Links["MatchEndpointGroup"] = api.Link{Type: typeGroup, Key: model.GroupKey(r.Tenant, name)}
	}
	return out
}

func askRule(asked api.Rule) (write, error) {
	r, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		switch old, exists := p.world().Rules.Get(r.Key()); {
		case !exists:
			if err := p.createRule(r); err != nil {
				return nil, err
			}
		case old != r:
			return nil, model.Exists("ruleId", "can not update a rule after its created: rule %s exists and says otherwise; remove it first with netctl policy rule-rm, or choose another ruleId", r.Key())
		}
		return ruleOf(r), nil
	}}, err
}

func (p *plan) createRule(r model.Rule) error {
	w := p.world()
	it, ok := w.Policies.Get(r.PolicyKey())
	if !ok {
		return model.NotFound("policyName", "Policy not found: tenant %s has no policy %s; create it first with netctl policy create", r.Tenant, r.Policy)
	}
	p.unchanged(it)
	for _, f := range []struct{ field, name string }{{"fromEndpointGroup", r.FromGroup}, {"toEndpointGroup", r.ToGroup}} {
		if f.name == "" {
			continue
		}
		g, ok := w.Groups.Get(model.GroupKey(r.Tenant, f.name))
		if !ok {
			return model.NotFound(f.field, "endpoint group not found: tenant %s has no group %s; create it first with netctl group create", r.Tenant, f.name)
		}
		p.unchanged(g)
	}
	for _, f := range []struct{ field, side, name string }{{"fromNetwork", "from", r.FromNetwork}, {"toNetwork", "to", r.ToNetwork}} {
		if f.name == "" {
			continue
		}
		n, ok := w.Networks.Get(model.NetworkKey(r.Tenant, f.name))
		if !ok {
			return model.NotFound(f.field, "%s Network not found: tenant %s has no network %s; create it first with netctl net create", f.side, r.Tenant, f.name)
		}
		p.unchanged(n)
	}
	p.absent(r)
	p.put(r)
	return nil
}

func removeRule(p *plan, key string) error {
	r, ok := p.world().Rules.Get(key)
	if !ok {
		return noRule(key)
	}
	p.unchanged(r)
	p.remove(r)
	return nil
}

// rulesWhere are a tenant's rules for which is is true, in the order of their keys.
func rulesWhere(w model.World, tenant string, is func(model.Rule) bool) (out []model.Rule) {
	for _, r := range w.Rules.All() {
		if r.Tenant == tenant && is(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b model.Rule) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

// rulesNaming are the rules that select a group's endpoints.
func rulesNaming(w model.World, g model.Group) []model.Rule {
	return rulesWhere(w, g.Tenant, func(r model.Rule) bool { return r.FromGroup == g.Name || r.ToGroup == g.Name })
}

// ruleInTheWay says which rules name what is to be deleted.
func ruleInTheWay(field, what string, list []model.Rule) error {
	return model.InUse(field, "cannot delete %s: %d rules name it (%s); remove them first with netctl policy rule-rm",
		what, len(list), some(list, func(r model.Rule) string { return "rule " + r.ID + " of policy " + r.Policy }))
}
