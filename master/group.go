// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func groups() noun {
	return reading(noun{
		plural: api.EndpointGroups,
		put: puts(func(g *api.EndpointGroup) []part {
			return []part{{"tenantName", &g.TenantName}, {"groupName", &g.GroupName}}
		}, askGroup),
		remove: removeGroup,
	}, func(w model.World) model.Table[model.Group] { return w.Groups }, noGroup, groupOf,
		func(w model.World, g model.Group) api.EndpointGroupOper {
			return groupOper(w, g, censusOf(w, g.Tenant, g.Network))
		})
}

func noGroup(key string) error {
	return model.NotFound("groupName", "endpointGroup %s not found; netctl group ls -a lists those there are", key)
}

// group finds a group by its key.
func group(w model.World, key string) (model.Group, error) {
	g, ok := w.Groups.Get(key)
	if !ok {
		return g, noGroup(key)
	}
	return g, nil
}

func groupOf(w model.World, g model.Group) api.EndpointGroup {
	out := api.EndpointGroupOf(g)
	for _, name := range g.Policies {
		link(out.LinkSets, "Policies", typePolicy, model.PolicyKey(g.Tenant, name))
	}
	for _, name := range g.Contracts {
		link(out.LinkSets, "ExtContractsGrps", typeContracts, model.Contracts{Tenant: g.Tenant, Name: name}.Key())
	}
	for _, r := range rulesNaming(w, g) {
		link(out.LinkSets, "MatchRules", typeRule, r.Key())
	}
	out.Links["Tenant"] = api.Link{Type: typeTenant, Key: g.Tenant}
	out.Links["Network"] = api.Link{Type: typeNetwork, Key: g.NetworkKey()}
	if g.Netprofile != "" {
		out.Links["NetProfile"] = api.Link{Type: typeNetprofile, Key: model.NetprofileKey(g.Tenant, g.Netprofile)}
	}
	if a := profilesNaming(w, g); len(a) > 0 {
		out.Links["AppProfile"] = api.Link{Type: typeAppProfile, Key: a[0].Key()}
	}
	return out
}

// groupOper tells of a group without a pool what its network has for it.
func groupOper(w model.World, g model.Group, c census) api.EndpointGroupOper {
	out := api.EndpointGroupOper{GroupTag: g.Label}
	if out.GroupTag == "" {
		out.GroupTag = g.Name + "." + g.Tenant
	}
	var own []netip.Addr
	for _, e := range c.endpoints[g.NetworkKey()] {
		if e.Group == g.Name {
			own = append(own, e.Addrs()...)
			out.Endpoints = append(out.Endpoints, endpointOper(w, e))
		}
	}
	out.NumEndpoints = len(out.Endpoints)
	n, ok := w.Networks.Get(g.NetworkKey())
	if !ok {
		return out
	}
	out.PktTag = n.Tag
	if n.Encap == model.EncapVXLAN {
		out.ExternalPktTag = n.Tag
	}
	if !g.Pool.IsZero() {
		pool, taken := groupPool(n, g), c.taken(n, n.IPv4)
		out.AllocatedIPAddresses, out.AvailableIPAddresses = alloc.Allocated(pool, taken, nil), alloc.Available(pool, taken, nil)
		return out
	}
	pool := shownPool(n)
	out.AllocatedIPAddresses = alloc.Allocated(pool, own, nil)
	out.AvailableIPAddresses = alloc.Available(pool, c.taken(n, pool), poolsOn(w, n))
	return out
}

// groupsOf are a tenant's groups in the order of their keys for which is is true.
func groupsOf(w model.World, tenant string, is func(model.Group) bool) (out []model.Group) {
	for _, g := range w.Groups.All() {
		if g.Tenant == tenant && is(g) {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b model.Group) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

func profilesNaming(w model.World, g model.Group) (out []model.AppProfile) {
	for a := range w.AppProfiles.Sorted() {
		if a.Tenant == g.Tenant && slices.Contains(a.Groups, g.Name) {
			out = append(out, a)
		}
	}
	return out
}

func askGroup(asked api.EndpointGroup) (write, error) {
	g, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().Groups.Get(g.Key())
		decide := p.createGroup
		if exists {
			decide = func(g model.Group) (model.Group, error) { return p.updateGroup(old, g) }
		}
		now, err := decide(g)
		if err != nil {
			return nil, err
		}
		return groupOf(p.world(), now), nil
	}}, err
}

// createGroup gives it the lowest number that is free, and the addresses of its pool.
func (p *plan) createGroup(g model.Group) (model.Group, error) {
	t, err := tenant(p.world(), g.Tenant)
	if err != nil {
		return g, err
	}
	n, err := network(p.world(), g.NetworkKey())
	if err != nil {
		return g, err
	}
	if n.Type == model.NetworkInfra {
		return g, model.Invalid("networkName", "network %s is an infra network, in which nodes are and no containers; choose a network of type data", n.Key())
	}
	if clash, is := p.world().Networks.Get(model.NetworkKey(g.Tenant, g.Name)); is {
		return g, model.Exists("groupName", "Network %s conflicts with the endpointGroup name: containers ask for both by name; choose another", clash.Name)
	}
	if err := p.groupRefers(g); err != nil {
		return g, err
	}
	p.unchanged(t)
	p.unchanged(n)
	p.noneNewer(model.KindNetwork, g.Tenant+":")
	if !g.Pool.IsZero() {
		if err := p.newPool(n, g); err != nil {
			return g, err
		}
	}
	number, ok := alloc.GroupNumber(p.world())
	if !ok {
		return g, model.InUse("groupName", "there are as many groups as there can be; delete one")
	}
	g.Number = number
	p.absent(g)
	p.noneNewer(model.KindGroup, "")
	p.put(g)
	return g, nil
}

// updateGroup replaces what policies, netprofile and contracts it has.
func (p *plan) updateGroup(old, g model.Group) (model.Group, error) {
	switch {
	case g.Network != old.Network:
		return g, model.Exists("networkName", "Cannot change network association after epg is created. Group %s is on network %s, not on %s; delete the group first, or choose another name",
			g.Key(), old.Network, g.Network)
	case g.Pool != old.Pool && g.Pool.IsZero():
		return g, model.Exists("ipPool", "Cannot change IP pool after epg is created. Group %s has ipPool %q, and it is left out; give it as it is", g.Key(), old.Pool.String())
	case g.Pool != old.Pool:
		return g, model.Exists("ipPool", "Cannot change IP pool after epg is created. Group %s has ipPool %q, not %q; delete the group first, or choose another name",
			g.Key(), old.Pool.String(), g.Pool.String())
	case g.Label != old.Label && g.Label == "":
		return g, model.Exists("cfgdTag", "group %s has cfgdTag %q, which cannot be changed, and it is left out; give it as it is", g.Key(), old.Label)
	case g.Label != old.Label:
		return g, model.Exists("cfgdTag", "group %s exists with cfgdTag %q, which cannot be changed to %q; delete the group first, or choose another name", g.Key(), old.Label, g.Label)
	}
	g.Number = old.Number
	if slices.Equal(g.Policies, old.Policies) && g.Netprofile == old.Netprofile && slices.Equal(g.Contracts, old.Contracts) {
		return old, nil
	}
	if err := p.groupRefers(g); err != nil {
		return g, err
	}
	p.unchanged(old)
	p.put(g)
	return g, nil
}

// groupRefers refuses a group that names what is not there, and has the write fail where that goes meanwhile.
func (p *plan) groupRefers(g model.Group) error {
	w := p.world()
	for _, name := range g.Policies {
		it, ok := w.Policies.Get(model.PolicyKey(g.Tenant, name))
		if !ok {
			return model.NotFound("policies", "Policy not found: tenant %s has no policy %s; create it first with netctl policy create", g.Tenant, name)
		}
		p.unchanged(it)
	}
	if g.Netprofile != "" {
		it, ok := w.Netprofiles.Get(model.NetprofileKey(g.Tenant, g.Netprofile))
		if !ok {
			return model.NotFound("netProfile", "netprofile not found: tenant %s has no netprofile %s; create it first with netctl netprofile create", g.Tenant, g.Netprofile)
		}
		p.unchanged(it)
	}
	for _, name := range g.Contracts {
		it, ok := w.Contracts.Get(model.Contracts{Tenant: g.Tenant, Name: name}.Key())
		if !ok {
			return model.NotFound("extContractsGrps", "External contracts group %s not found in tenant %s; create it first with netctl external-contracts create", name, g.Tenant)
		}
		p.unchanged(it)
	}
	return nil
}

// removeGroup gives its pool back to the network.
func removeGroup(p *plan, key string) error {
	w := p.world()
	g, err := group(w, key)
	if err != nil {
		return err
	}
	if a := profilesNaming(w, g); len(a) > 0 {
		return model.InUse("groupName", "Cannot delete %s, associated to appProfile %s: take it out of that first with netctl app-profile update", g.Name, a[0].Name)
	}
	var in []model.Endpoint
	for _, e := range endpointsOn(w, g.Tenant, g.Network) {
		if e.Group == g.Name {
			in = append(in, e)
		}
	}
	if len(in) > 0 {
		return model.InUse("groupName", "EPG %s has active endpoints: it has %s (%s); remove their containers first", g.Name, counted(len(in), "endpoint"), someOf(in))
	}
	if r := rulesNaming(w, g); len(r) > 0 {
		return ruleInTheWay("groupName", "endpoint group "+g.Name, r)
	}
	p.unchanged(g)
	p.noneNewer(model.KindAppProfile, g.Tenant+":")
	p.noneNewer(model.KindAddress, g.NetworkKey()+"/") // each endpoint comes with an address
	p.noneNewer(model.KindRule, g.Tenant+":")
	p.remove(g)
	return nil
}
