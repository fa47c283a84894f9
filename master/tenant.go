// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"slices"
	"strings"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func tenants() noun {
	return noun{
		plural: api.Tenants,
		list: func(w model.World) any {
			out := []api.Tenant{}
			for t := range w.Tenants.Sorted() {
				out = append(out, tenantOf(w, t))
			}
			return out
		},
		get: func(w model.World, key string) (any, error) {
			t, err := tenant(w, key)
			return tenantOf(w, t), err
		},
		inspect: func(w model.World, key string) (any, error) {
			t, err := tenant(w, key)
			if err != nil {
				return nil, err
			}
			return api.TenantInspect{Config: tenantOf(w, t), Oper: tenantOper(w, t)}, nil
		},
		put:    puts(func(t *api.Tenant) []part { return []part{{"tenantName", &t.TenantName}} }, askTenant),
		remove: removeTenant,
	}
}

// tenant finds a tenant by its name.
func tenant(w model.World, name string) (model.Tenant, error) {
	t, ok := w.Tenants.Get(name)
	if !ok {
		return t, model.NotFound("tenantName", "tenant %s not found; netctl tenant ls lists those there are", name)
	}
	return t, nil
}

func tenantOf(w model.World, t model.Tenant) api.Tenant {
	out := api.TenantOf(t)
	e := estateOf(w, t.Name)
	for _, o := range e.networks {
		link(out.LinkSets, "Networks", typeNetwork, o.Key())
	}
	for _, o := range e.groups {
		link(out.LinkSets, "EndpointGroups", typeGroup, o.Key())
	}
	for _, o := range e.policies {
		link(out.LinkSets, "Policies", typePolicy, o.Key())
	}
	for _, o := range e.netprofiles {
		link(out.LinkSets, "NetProfiles", typeNetprofile, o.Key())
	}
	for _, o := range e.services {
		link(out.LinkSets, "Servicelbs", typeService, o.Key())
	}
	for _, o := range e.appProfiles {
		link(out.LinkSets, "AppProfiles", typeAppProfile, o.Key())
	}
	return out
}

// estate is what a tenant has, each kind in the order of its keys.
type estate struct {
	networks    []model.Network
	groups      []model.Group
	policies    []model.Policy
	netprofiles []model.Netprofile
	services    []model.Service
	appProfiles []model.AppProfile
	contracts   []model.Contracts
}

func estateOf(w model.World, tenant string) estate {
	return estate{
		networks:    ownedBy(w.Networks, tenant),
		groups:      ownedBy(w.Groups, tenant),
		policies:    ownedBy(w.Policies, tenant),
		netprofiles: ownedBy(w.Netprofiles, tenant),
		services:    ownedBy(w.Services, tenant),
		appProfiles: ownedBy(w.AppProfiles, tenant),
		contracts:   ownedBy(w.Contracts, tenant),
	}
}

// ownedBy are the tenant's objects of a table whose keys begin with tenant:.
func ownedBy[T model.Object](table model.Table[T], tenant string) (out []T) {
	for key, o := range table.All() {
		if strings.HasPrefix(key, tenant+":") {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b T) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

func tenantOper(w model.World, t model.Tenant) api.TenantOper {
	e, c := estateOf(w, t.Name), censusOf(w, t.Name, "")
	out := api.TenantOper{
		TotalNetworks: len(e.networks), TotalEPGs: len(e.groups), TotalPolicies: len(e.policies),
		TotalNetprofiles: len(e.netprofiles), TotalServiceLBs: len(e.services), TotalAppProfiles: len(e.appProfiles),
	}
	// Endpoints are told once, not again under what they are in.
	for _, n := range e.networks {
		oper := networkOper(w, n, c)
		out.Endpoints = append(out.Endpoints, oper.Endpoints...)
		oper.Endpoints = nil
		out.Networks = append(out.Networks, oper)
	}
	for _, g := range e.groups {
		oper := groupOper(w, g, c)
		oper.Endpoints = nil
		out.EndpointGroups = append(out.EndpointGroups, oper)
	}
	for _, p := range e.policies {
		oper := policyOper(w, p, c)
		oper.Endpoints = nil
		out.Policies = append(out.Policies, oper)
	}
	for _, s := range e.services {
		out.ServiceLBs = append(out.ServiceLBs, serviceOper(w, s))
	}
	out.TotalEndpoints = len(out.Endpoints)
	return out
}

func networksOf(w model.World, tenant string) []model.Network { return ownedBy(w.Networks, tenant) }

func askTenant(asked api.Tenant) (write, error) {
	t, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().Tenants.Get(t.Name)
		if exists && old.DefaultNetwork != t.DefaultNetwork {
			return nil, model.Exists("defaultNetwork", "tenant %s exists with defaultNetwork %q, which cannot be changed", t.Name, old.DefaultNetwork)
		}
		if !exists {
			if err := p.createTenant(t); err != nil {
				return nil, err
			}
		}
		return tenantOf(p.world(), t), nil
	}}, err
}

// createTenant gives it the lowest number that is free. The number of a deleted tenant is given again; its
// networks went before it.
func (p *plan) createTenant(t model.Tenant) error {
	number, ok := alloc.Number(p.world())
	if !ok {
		return model.InUse("tenantName", "there are as many tenants as there can be; delete one")
	}
	t.Number = number
	p.absent(t)
	p.noneNewer(model.KindTenant, "")
	p.put(t)
	return nil
}

func removeTenant(p *plan, key string) error {
	if key == model.DefaultTenant {
		return model.Invalid("tenantName", "tenant %s cannot be deleted: it is the one that is meant where none is named", key)
	}
	t, err := tenant(p.world(), key)
	if err != nil {
		return err
	}
	e := estateOf(p.world(), key)
	for _, has := range []struct {
		count            int
		format, what, rm string
		names            model.List
		kind             model.Kind
	}{
		{len(e.appProfiles), "cannot delete %s, has %s", "app profile", "app-profile rm", some(e.appProfiles, func(o model.AppProfile) string { return o.Name }), model.KindAppProfile},
		{len(e.groups), "cannot delete %s has %s", "endpoint group", "group rm", some(e.groups, groupName), model.KindGroup},
		{len(e.policies), "cannot delete %s has %s", "policy", "policy rm", some(e.policies, func(o model.Policy) string { return o.Name }), model.KindPolicy},
		{len(e.netprofiles), "Cannot delete %s has %s", "netprofile", "netprofile rm", some(e.netprofiles, func(o model.Netprofile) string { return o.Name }), model.KindNetprofile},
		{len(e.services), "cannot delete %s has %s", "service", "service rm", some(e.services, func(o model.Service) string { return o.Name }), model.KindService},
		{len(e.networks), "cannot delete %s has %s", "network", "net rm", some(e.networks, func(o model.Network) string { return o.Name }), model.KindNetwork},
		{len(e.contracts), "cannot delete %s has %s", "external contract", "external-contracts rm", some(e.contracts, func(o model.Contracts) string { return o.Name }), model.KindContracts},
	} {
		if has.count > 0 {
			return model.InUse("tenantName", has.format+" (%s): delete them first with netctl %s -t %s", key, counted(has.count, has.what), has.names, has.rm, key)
		}
		p.noneNewer(has.kind, key+":")
	}
	p.unchanged(t)
	p.remove(t)
	return nil
}
