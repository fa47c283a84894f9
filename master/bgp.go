// SPDX-License-Identifier: Apache-2.0

package master

import (
	"fmt"

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

// bgpOper says why a node does not speak. A node may be configured before it is there.
func bgpOper(w model.World, b model.BGP) api.BGPOper {
	out := api.BGPOper{AdminStatus: "configured; netplugins of this version do not speak BGP"}
	if _, known := w.Nodes.Get(b.Node); !known {
		out.AdminStatus = fmt.Sprintf("waiting: no netplugin with host label %s is known; netctl node ls lists those there are", b.Node)
	}
	return out
}

func askBGP(asked api.BGP) (write, error) {
	b, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		old, exists := p.world().BGPs.Get(b.Key())
		if exists && old == b {
			return api.BGPOf(b), nil
		}
		if mode := p.world().Global().FabricMode; mode != "default" {
			return nil, model.InUse("", "Bgp is not supported in ACI fabric mode: networkInfraType is %s; set it to default first with netctl global set --fabric-mode default", mode)
		}
		for other := range p.world().BGPs.Sorted() {
			if other.Node != b.Node && other.RouterIP.Addr() == b.RouterIP.Addr() {
				return nil, model.Exists("routerip", "routerip %s is the one of host %s; give each host an address of its own", b.RouterIP, other.Node)
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

func removeBGP(p *plan, key string) error {
	b, ok := p.world().BGPs.Get(key)
	if !ok {
		return noBGP(key)
	}
	p.unchanged(b)
	p.remove(b)
	return nil
}
