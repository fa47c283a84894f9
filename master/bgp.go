// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func bgps() noun {
	return reading(noun{
		plural: api.BGPs,
		put:    puts(func(b *api.BGP) []part { return []part{{"hostname", &b.Hostname}} }, askBGP),
		remove: removeBGP,
	}, func(w model.World) model.Table[model.BGP] { return w.BGPs }, noBGP,
		func(_ model.World, b model.BGP) api.BGP { return api.BGPOf(b) }, bgpOper)
}

func noBGP(key string) error {
	return model.NotFound("hostname", "Bgp %s not found; netctl bgp ls lists those there are", key)
}

// bgpOper says why a node is not asked. A node may be configured before it is there.
func bgpOper(w model.World, b model.BGP) (out api.BGPOper) {
	n, known := w.Nodes.Get(b.Node)
	if !known {
		out.AdminStatus = fmt.Sprintf("waiting: no netplugin with host label %s is known; netctl node ls lists those there are", b.Node)
	} else if why := silence(w, n); why != "" {
		out.AdminStatus = "unknown: " + why
	}
	return out
}

// inspectBGP asks the node what has become of its sessions.
func (m *Master) inspectBGP(ctx context.Context, w model.World, key string) (any, error) {
	b, ok := w.BGPs.Get(key)
	if !ok {
		return nil, noBGP(key)
	}
	out := api.BGPInspect{Config: api.BGPOf(b), Oper: bgpOper(w, b)}
	if out.Oper.AdminStatus != "" {
		return out, nil
	}
	n, _ := w.Nodes.Get(b.Node)
	told, err := askNode[bgpAnswer](ctx, m, n, api.AgentBGPPath)
	if out.Oper = told.Oper; err != nil {
		out.Oper = api.BGPOper{AdminStatus: "unknown: " + err.Error()}
	} else if out.Oper.AdminStatus == "" {
		out.Oper.AdminStatus = "waiting: the node has not heard of its configuration yet"
	}
	return out, nil
}

type bgpAnswer struct{ api.NodeBGP }

func (a bgpAnswer) whose() string { return a.Node }

func askBGP(asked api.BGP) (write, error) {
	wanted, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().BGPs.Get(wanted.Key())
		if asked.Neighbor == "" && asked.MoreNeighbors == nil && len(old.Neighbors) > 1 {
			return nil, model.Invalid("more-neighbors", "host %s has %d neighbors and this names none: give neighbor, or more-neighbors as [] to remove all", wanted.Node, len(old.Neighbors))
		}
		b := withKept(wanted, old, asked)
		if err := b.Check(); err != nil { // what is kept may not go with what is new
			return nil, err
		}
		if exists && old.Equal(b) {
			return api.BGPOf(b), nil
		}
		if mode := p.world().Global().FabricMode; mode != "default" {
			return nil, model.InUse("", "Bgp is not supported in ACI fabric mode: networkInfraType is %s; set it to default first with netctl global set --fabric-mode default", mode)
		}
		for other := range p.world().BGPs.Sorted() {
			if at, shared := sharedRouterIP(b, other); shared && other.Node != b.Node {
				field := "routerip"
				if at == b.RouterIP6 {
					field = "routerip6"
				}
				return nil, model.Exists(field, "%s %s is the one of host %s; give each host an address of its own", field, at, other.Node)
			}
		}
		p.guardGlobal()
		p.noneNewer(model.KindBGP, "")
		if exists {
			p.unchanged(old)
		} else {
			p.absent(b)
		}
		p.put(b)
		return api.BGPOf(b), nil
	}}, err
}

// withKept gives b what it had and a client of v1, who does not know it, has left out.
func withKept(b, old model.BGP, asked api.BGP) model.BGP {
	if asked.RouterIP6 == nil {
		b.RouterIP6 = old.RouterIP6
	}
	if asked.MoreNeighbors == nil && len(old.Neighbors) > 1 {
		b.Neighbors = slices.Clone(b.Neighbors)
		for _, n := range old.Neighbors[1:] {
			if !slices.ContainsFunc(b.Neighbors, func(o model.Neighbor) bool { return o.Addr == n.Addr }) {
				b.Neighbors = append(b.Neighbors, n)
			}
		}
	}
	if asked.Password == nil {
		b.Password = old.Password
	}
	if asked.HoldTime == nil {
		b.HoldTime = old.HoldTime
	}
	if asked.Keepalive == nil {
		b.Keepalive = old.Keepalive
	}
	if asked.Announce == nil {
		b.Announce = old.Announce
	}
	return b
}

// sharedRouterIP is a router address of a that is one of b too.
func sharedRouterIP(a, b model.BGP) (netip.Prefix, bool) {
	for _, x := range a.RouterIPs() {
		if slices.ContainsFunc(b.RouterIPs(), func(y netip.Prefix) bool { return x.Addr() == y.Addr() }) {
			return x, true
		}
	}
	return netip.Prefix{}, false
}

func removeBGP(p *plan, key string) error {
	b, ok := p.world().BGPs.Get(key)
	if !ok {
		return noBGP(key)
	}
	p.unchanged(b)
	p.remove(b)
	return nil
}
