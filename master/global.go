// SPDX-License-Identifier: Apache-2.0

package master

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// globalOper is what is in use of what Global allows. v1's defaultNetwork is not here, as v1 never gave it a value.
type globalOper struct {
	ClusterMode string `json:"clusterMode,omitempty"` // docker; other engines are served beside it
	// FreeVXLANsStart is the number before the lowest VXLAN tag that networks may have.
	FreeVXLANsStart int    `json:"freeVXLANsStart,omitempty"`
	NumNetworks     int    `json:"numNetworks,omitempty"` // of all tenants
	VLANsInUse      string `json:"vlansInUse,omitempty"`  // as 1-3, 10
	VXLANsInUse     string `json:"vxlansInUse,omitempty"` // as 1-3, 10
}

// clusterMode is which engine v1's masters were told to serve. Ours serve all at once.
const clusterMode = "docker"

func globals() noun {
	get := func(w model.World, key string) (api.Global, error) {
		if key != model.GlobalName {
			return api.Global{}, model.NotFound("name", "global %s not found; the only one is called %s", key, model.GlobalName)
		}
		return api.GlobalOf(w.Global()), nil
	}
	return noun{
		plural: api.Globals,
		list:   func(w model.World) any { return []api.Global{api.GlobalOf(w.Global())} },
		get:    func(w model.World, key string) (any, error) { return get(w, key) },
		inspect: func(w model.World, key string) (any, error) {
			g, err := get(w, key)
			lowest, _, _ := model.TagRange("vxlans", w.Global().VXLANs, model.MaxVXLAN) // it was checked when it was written
			return api.Inspect[api.Global, globalOper]{Config: g, Oper: globalOper{
				ClusterMode: clusterMode, FreeVXLANsStart: int(max(lowest, 1)) - 1,
				NumNetworks: w.Networks.Len(),
				VLANsInUse:  tagRanges(alloc.Tags(w, model.EncapVLAN)), VXLANsInUse: tagRanges(alloc.Tags(w, model.EncapVXLAN)),
			}}, err
		},
		put: puts(func(g *api.Global) []part { return []part{{"name", &g.Name}} }, askGlobal),
	}
}

// askGlobal changes the fields that are given and leaves the others as they are.
func askGlobal(asked api.Global) (write, error) {
	if asked.Name != "" && asked.Name != model.GlobalName {
		return write{}, model.Invalid("name", "global is called %s, not %q", model.GlobalName, asked.Name)
	}
	if err := changedGlobal(model.DefaultGlobal(), asked).Check(); err != nil {
		return write{}, err
	}
	return write{key: model.GlobalName, private: asked.PvtSubnet, decide: func(p *plan) (any, error) {
		old := p.world().Global()
		now := changedGlobal(old, asked)
		if err := now.Check(); err != nil {
			return nil, err
		}
		if now == old && p.world().HasGlobal() {
			return api.GlobalOf(now), nil
		}
		if err := mayChangeGlobal(p.world(), old, now); err != nil {
			return nil, err
		}
		p.guardGlobal()
		p.noneNewer(model.KindNetwork, "")
		p.noneNewer(model.KindBGP, "")
		p.put(now)
		return api.GlobalOf(now), nil
	}}, nil
}

// guardGlobal has the write fail where the settings are others by now.
func (p *plan) guardGlobal() {
	if g := p.world().Global(); p.world().HasGlobal() {
		p.unchanged(g)
	} else {
		p.absent(g)
	}
}

func changedGlobal(g model.Global, asked api.Global) model.Global {
	for _, f := range []struct {
		to   *string
		from string
	}{
		{&g.FabricMode, asked.NetworkInfraType}, {&g.ForwardMode, asked.FwdMode}, {&g.ARPMode, asked.ArpMode},
		{&g.VLANs, asked.Vlans}, {&g.VXLANs, asked.Vxlans}, {&g.Established, asked.Established},
	} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if g.Established == model.EstablishedKeep { // as it is kept since there was no other
		g.Established = ""
	}
	if asked.PvtSubnet != (netip.Prefix{}) {
		g.PrivateSubnet = asked.PvtSubnet
	}
	return g
}

// mayChangeGlobal refuses what would pull the ground from under networks.
func mayChangeGlobal(w model.World, old, now model.Global) error {
	vlans, vxlans := alloc.Tags(w, model.EncapVLAN), alloc.Tags(w, model.EncapVXLAN)
	if existing := existingText(len(vlans), len(vxlans)); existing != "" {
		if now.ForwardMode != old.ForwardMode {
			return model.InUse("fwdMode", "Unable to update forwarding mode due to existing %s; delete the networks first", existing)
		}
		if now.PrivateSubnet != old.PrivateSubnet {
			return model.InUse("pvtSubnet", "Unable to update private subnet due to existing %s; delete the networks first", existing)
		}
	}
	if n := w.BGPs.Len(); n > 0 && old.ForwardMode == model.ForwardRouting && now.ForwardMode != old.ForwardMode {
		return model.InUse("fwdMode", "please delete existing Bgp configs: there are those of %s (netctl bgp ls), and BGP needs fwdMode routing", counted(n, "node"))
	}
	for _, f := range []struct {
		field, name, text string
		max               uint32
		taken             map[uint32]string
	}{{"vlans", "vlan", now.VLANs, model.MaxVLAN, vlans}, {"vxlans", "vxlan", now.VXLANs, model.MaxVXLAN, vxlans}} {
		low, high, err := model.TagRange(f.field, f.text, f.max)
		if err != nil {
			return err
		}
		outside := map[uint32]string{}
		for tag, key := range f.taken {
			if tag < low || tag > high {
				outside[tag] = key
			}
		}
		if len(outside) > 0 {
			return model.InUse(f.field, "cannot update the %s range due to existing %ss %s; choose a range that has them", f.name, f.name, tagRanges(outside))
		}
	}
	return nil
}

func existingText(vlans, vxlans int) string {
	var parts []string
	if vlans > 0 {
		parts = append(parts, counted(vlans, "vlan"))
	}
	if vxlans > 0 {
		parts = append(parts, counted(vxlans, "vxlan"))
	}
	return strings.Join(parts, " and ")
}

// tagRanges is the text of tags, as 1-3, 10.
func tagRanges(taken map[uint32]string) string {
	tags := make([]uint32, 0, len(taken))
	for t := range taken {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	var parts []string
	for i := 0; i < len(tags); {
		first := i
		for i++; i < len(tags) && tags[i] == tags[i-1]+1; i++ {
		}
		part := fmt.Sprint(tags[first])
		if i-1 > first {
			part += fmt.Sprint("-", tags[i-1])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
