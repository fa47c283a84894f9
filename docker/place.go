// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/contivnet/contiv/model"
)

// place is where containers come to be that join one of the engine's networks: in a network of the World and, where
// group is not "", in one of its groups.
type place struct {
	network model.Network
	group   string
}

// key names the place among all of them: tenant:network, or tenant:network/group. No name has a slash.
func (p place) key() string {
	if p.group == "" {
		return p.network.Key()
	}
	return p.network.Key() + groupSeparator + p.group
}

func (p place) String() string {
	if p.group == "" {
		return "network " + p.network.DockerName()
	}
	return fmt.Sprintf("group %s of network %s", p.group, p.network.DockerName())
}

// removal is how its owner removes it.
func (p place) removal() string {
	if p.group == "" {
		return fmt.Sprintf("netctl net rm -t %s %s", p.network.Tenant, p.network.Name)
	}
	return fmt.Sprintf("netctl group rm -t %s %s", p.network.Tenant, p.group)
}

// placeIn is the place of that network's key and group, if the World has it and it is for containers.
func placeIn(w model.World, key, group string) (place, bool) {
	n, ok := w.Networks.Get(key)
	if !ok || n.Type != model.NetworkData {
		return place{}, false
	}
	if group != "" {
		g, ok := w.Groups.Get(model.GroupKey(n.Tenant, group))
		if !ok || g.Network != n.Name {
			return place{}, false
		}
	}
	return place{n, group}, true
}

// wanted is a network that the engine should have.
type wanted struct {
	place
	name string // in the engine
	// spare: it is another name of what the engine has under a first one, and yields to whoever has it.
	spare bool
	// holder is the wanted network that has the name already; "" when it is free.
	holder string
}

// groupNames are a group's names in every engine: db.contiv-net and, when nothing else has that, db; with the
// tenant's as networks have it.
func groupNames(g model.Group) (full, short string) {
	full = model.Network{Tenant: g.Tenant, Name: g.Name + "." + g.Network}.DockerName()
	return full, model.Network{Tenant: g.Tenant, Name: g.Name}.DockerName()
}

// wantedIn are the networks that an engine should have. Names have dots, so two may want one: a network comes before
// a group's full name, and that before a short one; among equals the first by key has it, on every node the same.
func wantedIn(w model.World) []wanted {
	var networks, full, short []wanted
	for n := range w.Networks.Sorted() {
		if n.Type == model.NetworkData {
			networks = append(networks, wanted{place: place{network: n}, name: n.DockerName()})
		}
	}
	for g := range w.Groups.Sorted() {
		p, ok := placeIn(w, g.NetworkKey(), g.Name)
		if !ok {
			continue // its network is on the way
		}
		long, spare := groupNames(g)
		full = append(full, wanted{place: p, name: long})
		short = append(short, wanted{place: p, name: spare, spare: true})
	}
	out := slices.Concat(networks, full, short)
	holders := make(map[string]string, len(out))
	for i, x := range out {
		if holder, taken := holders[x.name]; taken {
			out[i].holder = holder
			continue
		}
		holders[x.name] = x.String()
	}
	return out
}

// difference is what is new or other in now.
func difference(before, now map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(now)) {
		if before[k] != now[k] {
			out = append(out, now[k])
		}
	}
	return out
}
