// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"

	"github.com/contivnet/contiv/model"
)

// Placement is where a container goes: into a network of a tenant, or into a group, which is in one. What is "" is not said.
type Placement struct {
	Tenant  string `json:"tenant"`
	Network string `json:"network"`
	Group   string `json:"group"`
}

// defaultNetwork is the network of those of whom nothing is said.
const defaultNetwork = "default-net"

// Or is p, with what it leaves open as in the more general q. Networks and groups are names within a tenant, and a group's network is
// known: who names another tenant gets neither from q, and who names a network or a group gets not the other.
func (p Placement) Or(q Placement) Placement {
	if p.Tenant != "" && p.Tenant != cmp.Or(q.Tenant, model.DefaultTenant) {
		return p
	}
	p.Tenant = cmp.Or(p.Tenant, q.Tenant)
	if p.Network == "" && p.Group == "" {
		p.Network, p.Group = q.Network, q.Group
	}
	return p
}

// whole is p with the defaults for all that nobody said.
func (p Placement) whole() Placement {
	p.Tenant = cmp.Or(p.Tenant, model.DefaultTenant)
	if p.Group == "" {
		p.Network = cmp.Or(p.Network, defaultNetwork)
	}
	return p
}

// networkIn is the network of w that a whole p means, by its name or by that of its group.
func (p Placement) networkIn(w model.World) (model.Network, error) {
	name := p.Network
	if p.Group != "" {
		g, ok := w.Groups.Get(model.GroupKey(p.Tenant, p.Group))
		if !ok {
			return model.Network{}, model.NotFound("group", "group %s of tenant %s does not exist: create it with netctl group create -t %s %s %s",
				p.Group, p.Tenant, p.Tenant, cmp.Or(name, "NETWORK"), p.Group)
		}
		name = cmp.Or(name, g.Network)
		if g.Network != name {
			return model.Network{}, model.Invalid("group", "group %s of tenant %s is in network %s, not in %s: correct the network where the group is asked for, or leave it out",
				p.Group, p.Tenant, g.Network, name)
		}
	}
	n, ok := w.Networks.Get(model.NetworkKey(p.Tenant, name))
	if !ok {
		return n, model.NotFound("network", "network %s of tenant %s does not exist: create it with netctl net create -t %s -s SUBNET %s", name, p.Tenant, p.Tenant, name)
	}
	return n, nil
}
