// SPDX-License-Identifier: Apache-2.0

package master

import (
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func netprofiles() noun {
	return reading(noun{
		plural: api.Netprofiles,
		put: puts(func(n *api.Netprofile) []part {
			return []part{{"tenantName", &n.TenantName}, {"profileName", &n.ProfileName}}
		}, askNetprofile),
		remove: removeNetprofile,
		atOnce: true,
	}, func(w model.World) model.Table[model.Netprofile] { return w.Netprofiles }, noNetprofile, netprofileOf,
		func(model.World, model.Netprofile) struct{} { return struct{}{} })
}

func noNetprofile(key string) error {
	return model.NotFound("profileName", "netprofile %s not found; netctl netprofile ls -a lists those there are", key)
}

func netprofileOf(w model.World, n model.Netprofile) api.Netprofile {
	out := api.NetprofileOf(n)
	for _, g := range groupsLimitedBy(w, n) {
		link(out.LinkSets, "EndpointGroups", typeGroup, g.Key())
	}
	out.Links["Tenant"] = api.Link{Type: typeTenant, Key: n.Tenant}
	return out
}

func groupsLimitedBy(w model.World, n model.Netprofile) []model.Group {
	return groupsOf(w, n.Tenant, func(g model.Group) bool { return g.Netprofile == n.Name })
}

// askNetprofile creates it or replaces all that it limits: what is left out is limited no more, but for what a client of v1 does not know.
func askNetprofile(asked api.Netprofile) (write, error) {
	wanted, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		n := wanted
		old, exists := p.world().Netprofiles.Get(n.Key())
		if asked.IngressBandwidth == nil {
			n.IngressBandwidth = old.IngressBandwidth
		}
		if err := n.Check(); err != nil { // what is kept may not go with what is new
			return nil, err
		}
		switch {
		case !exists:
			t, err := tenant(p.world(), n.Tenant)
			if err != nil {
				return nil, err
			}
			p.unchanged(t)
			p.absent(n)
			p.put(n)
		case old != n:
			p.unchanged(old)
			p.put(n)
		}
		return netprofileOf(p.world(), n), nil
	}}, err
}

func removeNetprofile(p *plan, key string) error {
	n, ok := p.world().Netprofiles.Get(key)
	if !ok {
		return noNetprofile(key)
	}
	if g := groupsLimitedBy(p.world(), n); len(g) > 0 {
		return model.InUse("profileName", "NetProfile is being used: netprofile %s by %s (%s); take it out of them first with netctl group create", n.Name, counted(len(g), "group"), some(g, groupName))
	}
	p.unchanged(n)
	p.noneNewer(model.KindGroup, n.Tenant+":")
	p.remove(n)
	return nil
}
