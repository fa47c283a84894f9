// SPDX-License-Identifier: Apache-2.0

package master

import (
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// What is kept for ACI fabrics: application profiles, external contracts and the gateway. Nothing enforces it.

func appProfiles() noun {
	return reading(noun{
		plural: api.AppProfiles,
		put: puts(func(a *api.AppProfile) []part {
			return []part{{"tenantName", &a.TenantName}, {"appProfileName", &a.AppProfileName}}
		}, askAppProfile),
		remove: removeAppProfile,
		atOnce: true,
	}, func(w model.World) model.Table[model.AppProfile] { return w.AppProfiles }, noAppProfile,
		func(_ model.World, a model.AppProfile) api.AppProfile { return appProfileOf(a) }, notEnforced[model.AppProfile])
}

func notEnforced[T any](model.World, T) api.NotEnforced {
	return api.NotEnforced{Note: api.NotEnforcedNote}
}

func noAppProfile(key string) error {
	return model.NotFound("appProfileName", "appProfile %s not found; netctl app-profile ls -a lists those there are", key)
}

func appProfileOf(a model.AppProfile) api.AppProfile {
	out := api.AppProfileOf(a)
	for _, g := range a.Groups {
		link(out.LinkSets, "EndpointGroups", typeGroup, model.GroupKey(a.Tenant, g))
	}
	out.Links["Tenant"] = api.Link{Type: typeTenant, Key: a.Tenant}
	return out
}

// askAppProfile creates it or replaces its groups.
func askAppProfile(asked api.AppProfile) (write, error) {
	a, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().AppProfiles.Get(a.Key())
		if exists && slices.Equal(old.Groups, a.Groups) {
			return appProfileOf(old), nil
		}
		t, err := tenant(p.world(), a.Tenant)
		if err != nil {
			return nil, err
		}
		for _, name := range a.Groups {
			g, ok := p.world().Groups.Get(model.GroupKey(a.Tenant, name))
			if !ok {
				return nil, model.NotFound("endpointGroups", "EndpointGroup %s not found; create it first with netctl group create", model.GroupKey(a.Tenant, name))
			}
			p.unchanged(g)
		}
		if exists {
			p.unchanged(old)
		} else {
			p.unchanged(t)
			p.absent(a)
		}
		p.put(a)
		return appProfileOf(a), nil
	}}, err
}

func removeAppProfile(p *plan, key string) error {
	a, ok := p.world().AppProfiles.Get(key)
	if !ok {
		return noAppProfile(key)
	}
	p.unchanged(a)
	p.remove(a)
	return nil
}

func contracts() noun {
	return reading(noun{
		plural: api.ExtContractsGroups,
		put: puts(func(c *api.ExtContractsGroup) []part {
			return []part{{"tenantName", &c.TenantName}, {"contractsGroupName", &c.ContractsGroupName}}
		}, askContracts),
		remove: removeContracts,
		atOnce: true,
	}, func(w model.World) model.Table[model.Contracts] { return w.Contracts }, noContracts, contractsOf, notEnforced[model.Contracts])
}

func noContracts(key string) error {
	return model.NotFound("contractsGroupName", "extContractsGroup %s not found; netctl external-contracts ls -a lists those there are", key)
}

func contractsOf(w model.World, c model.Contracts) api.ExtContractsGroup {
	out := api.ExtContractsGroupOf(c)
	for _, g := range groupsUnderContracts(w, c) {
		link(out.LinkSets, "EndpointGroups", typeGroup, g.Key())
	}
	return out
}

func groupsUnderContracts(w model.World, c model.Contracts) []model.Group {
	return groupsOf(w, c.Tenant, func(g model.Group) bool { return slices.Contains(g.Contracts, c.Name) })
}

func askContracts(asked api.ExtContractsGroup) (write, error) {
	c, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().Contracts.Get(c.Key())
		switch {
		case exists && old.Type == c.Type && slices.Equal(old.List, c.List):
			return contractsOf(p.world(), old), nil
		case exists:
			return nil, model.Exists("contracts", "external contracts update not supported: %s exists and is %s %v; delete it first, or choose another name", c.Key(), old.Type, old.List)
		}
		t, err := tenant(p.world(), c.Tenant)
		if err != nil {
			return nil, err
		}
		p.unchanged(t)
		p.absent(c)
		p.put(c)
		return contractsOf(p.world(), c), nil
	}}, err
}

func removeContracts(p *plan, key string) error {
	c, ok := p.world().Contracts.Get(key)
	if !ok {
		return noContracts(key)
	}
	if g := groupsUnderContracts(p.world(), c); len(g) > 0 {
		return model.InUse("contractsGroupName", "External contracts group is in-use: %s by %s (%s); take it out of them first with netctl group create", c.Name, counted(len(g), "group"), some(g, groupName))
	}
	p.unchanged(c)
	p.noneNewer(model.KindGroup, c.Tenant+":")
	p.remove(c)
	return nil
}

func aciGateways() noun {
	return reading(noun{
		plural: api.ACIGateways,
		put:    puts(func(g *api.ACIGateway) []part { return []part{{"name", &g.Name}} }, askACIGateway),
		remove: removeACIGateway,
	}, func(w model.World) model.Table[model.ACIGateway] { return w.ACIGateways }, noACIGateway,
		func(_ model.World, g model.ACIGateway) api.ACIGateway { return api.ACIGatewayOf(g) },
		func(w model.World, _ model.ACIGateway) api.ACIGatewayOper {
			return api.ACIGatewayOper{NumAppProfiles: w.AppProfiles.Len(), Note: api.NotEnforcedNote}
		})
}

func noACIGateway(key string) error {
	return model.NotFound("name", "aciGw %s not found; the only one is called %s, and netctl aci-gw set makes it", key, model.ACIGatewayName)
}

// askACIGateway makes or replaces the gateway: what is left out has its default again, as in v1.
func askACIGateway(asked api.ACIGateway) (write, error) {
	if asked.Name != "" && asked.Name != model.ACIGatewayName {
		return write{}, model.Invalid("name", "aciGw is called %s, not %q", model.ACIGatewayName, asked.Name)
	}
	g, err := asked.Model()
	return write{key: model.ACIGatewayName, decide: func(p *plan) (any, error) {
		switch old, exists := p.world().ACIGateway(); {
		case !exists:
			p.absent(g)
			p.put(g)
		case old != g:
			p.unchanged(old)
			p.put(g)
		}
		return api.ACIGatewayOf(g), nil
	}}, err
}

func removeACIGateway(p *plan, key string) error {
	g, ok := p.world().ACIGateway()
	if !ok || key != model.ACIGatewayName {
		return noACIGateway(key)
	}
	if a := slices.Collect(p.world().AppProfiles.Sorted()); len(a) > 0 {
		return model.InUse("name", "%d App-Profiles found. Delete them first: %s, with netctl app-profile rm", len(a), some(a, model.AppProfile.Key))
	}
	p.unchanged(g)
	p.noneNewer(model.KindAppProfile, "")
	p.remove(g)
	return nil
}
