// SPDX-License-Identifier: Apache-2.0

package master

import (
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
	links := map[string]api.Link{}
	for _, n := range networksOf(w, t.Name) {
		links[n.Key()] = api.Link{Type: "network", Key: n.Key()}
	}
	if len(links) > 0 {
		out.LinkSets["Networks"] = links
	}
	return out
}

func tenantOper(w model.World, t model.Tenant) api.TenantOper {
	var out api.TenantOper
	for _, n := range networksOf(w, t.Name) {
		oper := networkOper(w, n)
		out.Endpoints = append(out.Endpoints, oper.Endpoints...)
		oper.Endpoints = nil // told once
		out.Networks = append(out.Networks, oper)
	}
	out.TotalNetworks, out.TotalEndpoints = len(out.Networks), len(out.Endpoints)
	return out
}

func networksOf(w model.World, tenant string) (out []model.Network) {
	for n := range w.Networks.Sorted() {
		if n.Tenant == tenant {
			out = append(out, n)
		}
	}
	return out
}

// namesOf lists up to three.
func namesOf(list []model.Network) string {
	var names []string
	for _, n := range list[:min(len(list), 3)] {
		names = append(names, n.Name)
	}
	if len(list) > 3 {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

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
	if n := networksOf(p.world(), key); len(n) > 0 {
		return model.InUse("tenantName", "cannot delete %s, has %d networks (%s): delete them first with netctl net rm -t %s", key, len(n), namesOf(n), key)
	}
	p.unchanged(t)
	p.noneNewer(model.KindNetwork, key+":")
	p.remove(t)
	return nil
}
