// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// Owners of addresses that no endpoint has.
const (
	ownerGateway  = "gateway"
	ownerReserved = "reserved"
)

// maxReserved bounds what is set aside, so that creating a network fits into one transaction of any etcd.
const maxReserved = 100

func networks() noun {
	return noun{
		plural: api.Networks,
		list: func(w model.World) any {
			out := []api.Network{}
			for n := range w.Networks.Sorted() {
				out = append(out, networkOf(w, n))
			}
			return out
		},
		get: func(w model.World, key string) (any, error) {
			n, err := network(w, key)
			return networkOf(w, n), err
		},
		inspect: func(w model.World, key string) (any, error) {
			n, err := network(w, key)
			if err != nil {
				return nil, err
			}
			return api.NetworkInspect{Config: networkOf(w, n), Oper: networkOper(w, n, censusOf(w, n.Tenant, n.Name))}, nil
		},
		put: puts(func(n *api.Network) []part {
			return []part{{"tenantName", &n.TenantName}, {"networkName", &n.NetworkName}}
		}, askNetwork),
		remove: removeNetwork,
	}
}

// network finds a network by its key.
func network(w model.World, key string) (model.Network, error) {
	n, ok := w.Networks.Get(key)
	if !ok {
		return n, model.NotFound("networkName", "network %s not found; netctl net ls -a lists those there are", key)
	}
	return n, nil
}

func networkOf(w model.World, n model.Network) api.Network {
	out := api.NetworkOf(n)
	for _, g := range groupsOn(w, n) {
		link(out.LinkSets, "EndpointGroups", typeGroup, g.Key())
	}
	for _, s := range servicesOn(w, n) {
		link(out.LinkSets, "Servicelbs", typeService, s.Key())
	}
	return out
}

func groupsOn(w model.World, n model.Network) []model.Group {
	return groupsOf(w, n.Tenant, func(g model.Group) bool { return g.Network == n.Name })
}

func servicesOn(w model.World, n model.Network) (out []model.Service) {
	for _, s := range w.Services.All() {
		if s.NetworkKey() == n.Key() {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b model.Service) int { return cmp.Compare(a.Key(), b.Key()) })
	return out
}

// shownPool is what the texts about addresses are about: as in v1, IPv4 where there is any.
func shownPool(n model.Network) model.Pool {
	if n.IPv4.IsZero() {
		return n.IPv6
	}
	return n.IPv4
}

func networkOper(w model.World, n model.Network, c census) api.NetworkOper {
	out := api.NetworkOper{PktTag: n.Tag, NetworkTag: n.Label}
	if n.Encap == model.EncapVXLAN {
		out.ExternalPktTag = n.Tag
	}
	if out.NetworkTag == "" {
		out.NetworkTag = n.Name + "." + n.Tenant
	}
	pool := shownPool(n)
	taken, ranges := c.taken(n, pool), poolsOn(w, n)
	for _, a := range c.addresses[n.Key()] {
		if a.Addr.BitLen() == pool.Prefix.Addr().BitLen() && a.Owner != ownerGateway && a.Owner != ownerReserved {
			out.AllocatedAddressesCount++
		}
	}
	out.AllocatedIPAddresses, out.AvailableIPAddresses = alloc.Allocated(pool, taken, ranges), alloc.Available(pool, taken, ranges)
	for _, e := range c.endpoints[n.Key()] {
		out.Endpoints = append(out.Endpoints, endpointOper(w, e))
	}
	out.NumEndpoints = len(out.Endpoints)
	return out
}

func askNetwork(asked api.Network) (write, error) {
	n, err := asked.Model()
	if err != nil {
		return write{}, err
	}
	if n.Reserved, err = reserved(n); err != nil {
		return write{}, err
	}
	return write{picky: n.Requested != 0, decide: func(p *plan) (any, error) {
		decide := p.createNetwork
		if old, exists := p.world().Networks.Get(n.Key()); exists {
			decide = func(n model.Network) error { return sameNetwork(old, n) }
		}
		if err := decide(n); err != nil {
			return nil, err
		}
		return networkOf(p.world(), n), nil
	}}, nil
}

// reserved is what is set aside, in one order and without doubles, so that equal networks compare equal.
func reserved(n model.Network) ([]netip.Addr, error) {
	list := slices.Clone(n.Reserved)
	slices.SortFunc(list, netip.Addr.Compare)
	if list = slices.Compact(list); len(list) > maxReserved {
		return nil, model.Invalid("reserved", "%d addresses are set aside; at most %d are possible: use a range as subnet instead", len(list), maxReserved)
	}
	return list, nil
}

// createNetwork checks n against all others, gives it a tag, and takes its own addresses.
func (p *plan) createNetwork(n model.Network) error {
	t, err := tenant(p.world(), n.Tenant)
	if err != nil {
		return err
	}
	if private := p.world().Global().PrivateSubnet; !n.IPv4.IsZero() && private.Overlaps(n.IPv4.Subnet()) {
		return model.Exists("subnet", "subnet %s conflicts with the private subnet %s of the nodes; choose another, or before there are networks change that with netctl global set --private-subnet",
			n.IPv4, private)
	}
	if err := besideNodes(p.world(), n); err != nil {
		return err
	}
	for _, other := range p.networksNear(n) {
		if n.IPv6.Overlaps(other.IPv6) {
			return model.Exists("ipv6Subnet", "network %s conflicts with subnetv6 %s (it has %s); choose another", other.Name, n.IPv6, other.IPv6)
		}
		if n.IPv4.Overlaps(other.IPv4) {
			return model.Exists("subnet", "network %s conflicts with subnet %s (it has %s); choose another", other.Name, n.IPv4, other.IPv4)
		}
		if err := gatewaysApart(n, other); err != nil {
			return err
		}
		if err := p.strays(n, other); err != nil {
			return err
		}
	}
	if clash, is := p.world().Groups.Get(model.GroupKey(n.Tenant, n.Name)); is {
		return model.Exists("networkName", "EndpointGroup %s conflicts with the network name: containers ask for both by name; choose another", clash.Name)
	}
	if n.Tag, err = p.tag(n); err != nil {
		return err
	}
	p.unchanged(t)
	p.guardGlobal()
	p.noneNewer(model.KindNetwork, "")
	p.noneNewer(model.KindGroup, n.Tenant+":")
	p.put(n)
	for _, pool := range []model.Pool{n.IPv4, n.IPv6} {
		if pool.Gateway.IsValid() {
			p.put(model.Address{Network: n.Key(), Addr: pool.Gateway, Owner: ownerGateway})
		}
	}
	for _, a := range n.Reserved {
		p.put(model.Address{Network: n.Key(), Addr: a, Owner: ownerReserved})
	}
	return nil
}

// gatewaysApart refuses a range that could give a container the gateway of another range of its subnet. Two ranges may have one gateway.
func gatewaysApart(n, other model.Network) error {
	for _, f := range []struct {
		subnet, gateway string
		now, old        model.Pool
	}{{"subnet", "gateway", n.IPv4, other.IPv4}, {"ipv6Subnet", "ipv6Gateway", n.IPv6, other.IPv6}} {
		switch {
		case f.now.Gateway == f.old.Gateway:
		case gives(f.now, f.old.Gateway):
			return model.Exists(f.subnet, "network %s has its gateway %s in the range %s; choose another range, or the same gateway", other.Name, f.old.Gateway, f.now)
		case gives(f.old, f.now.Gateway):
			return model.Exists(f.gateway, "gateway %s is in the range %s of network %s; choose another", f.now.Gateway, f.old, other.Name)
		}
	}
	return nil
}

// gives tells whether a is one of those that the pool gives unasked.
func gives(p model.Pool, a netip.Addr) bool {
	first, last, ok := p.Bounds()
	return ok && a.IsValid() && !a.Less(first) && !last.Less(a)
}

// strays refuses a range in which another network of the subnet has given an address that was asked for.
func (p *plan) strays(n, other model.Network) error {
	for _, a := range p.world().Addresses.All() {
		if a.Network == other.Key() && a.Owner != ownerGateway && n.Pool(a.Addr).Overlaps(poolOf(a.Addr)) {
			return model.Exists("subnet", "network %s has given address %s, which is in this range; choose another", other.Name, a.Addr)
		}
	}
	p.noneNewer(model.KindAddress, other.Key()+"/")
	return nil
}

// tag is the one that was asked for, or the lowest that is free.
func (p *plan) tag(n model.Network) (uint32, error) {
	g := p.world().Global()
	field, text, max := "vxlans", g.VXLANs, uint32(model.MaxVXLAN)
	if n.Encap == model.EncapVLAN {
		field, text, max = "vlans", g.VLANs, model.MaxVLAN
	}
	low, high, err := model.TagRange(field, text, max)
	if err != nil {
		return 0, err
	}
	if n.Requested == 0 {
		tag, ok := p.tagsOf(n.Encap).Lowest(low, high)
		if !ok {
			return 0, model.InUse("pktTag", "no %ss available: all of %s have networks; widen the range with netctl global set, or delete networks", n.Encap, text)
		}
		return tag, nil
	}
	if n.Requested < low || n.Requested > high {
		return 0, model.Invalid("pktTag", "requested %s %d is out of range %s; choose one in it, or widen it with netctl global set", n.Encap, n.Requested, text)
	}
	if other, taken := p.tagsOf(n.Encap).Owner(n.Requested); taken {
		return 0, model.Exists("pktTag", "requested %s %d is not available: network %s has it; choose another, or leave pktTag out", n.Encap, n.Requested, other)
	}
	return n.Requested, nil
}

// sameNetwork refuses to change what exists.
func sameNetwork(old, n model.Network) error {
	for _, f := range []struct {
		field    string
		old, now any
	}{
		{"nwType", old.Type, n.Type}, {"encap", old.Encap, n.Encap}, {"pktTag", old.Requested, n.Requested},
		{"subnet", old.IPv4.String(), n.IPv4.String()}, {"gateway", text(old.IPv4.Gateway), text(n.IPv4.Gateway)},
		{"ipv6Subnet", old.IPv6.String(), n.IPv6.String()}, {"ipv6Gateway", text(old.IPv6.Gateway), text(n.IPv6.Gateway)},
		{"cfgdTag", old.Label, n.Label}, {"reserved", fmt.Sprint(old.Reserved), fmt.Sprint(n.Reserved)}, {"internal", old.Internal, n.Internal},
	} {
		if f.old != f.now {
			return model.Exists(f.field, "network %s exists with %s %q, which cannot be changed to %q: delete the network first, or choose another name",
				n.Key(), f.field, fmt.Sprint(f.old), fmt.Sprint(f.now))
		}
	}
	// Whoever created it keeps it; only an engine that would have it its own is told.
	if n.Origin != "" && n.Origin != old.Origin {
		return model.Exists("networkName", "network %s exists already and was made with netctl", n.Key())
	}
	return nil
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// removeNetwork takes its addresses with it: also those held for containers that are about to be attached, which
// then fail because the network is gone. Nodes' places in an infra network go with it too.
func removeNetwork(p *plan, key string) error {
	w := p.world()
	n, err := network(w, key)
	if err != nil {
		return err
	}
	if g := groupsOn(w, n); len(g) > 0 {
		return model.InUse("networkName", "cannot delete %s has %s (%s): delete them first with netctl group rm -t %s", n.Name, counted(len(g), "endpoint group"), some(g, groupName), n.Tenant)
	}
	if s := servicesOn(w, n); len(s) > 0 {
		return model.InUse("networkName", "cannot delete %s has %s (%s): delete them first with netctl service rm -t %s",
			n.Name, counted(len(s), "service"), some(s, func(s model.Service) string { return s.Name }), n.Tenant)
	}
	naming := rulesWhere(w, n.Tenant, func(r model.Rule) bool { return r.FromNetwork == n.Name || r.ToNetwork == n.Name })
	if len(naming) > 0 {
		return ruleInTheWay("networkName", "network "+n.Name, naming)
	}
	if on := containersOn(w, n); len(on) > 0 {
		return model.InUse("networkName", "cannot delete network %s: Network has active endpoints: it has %s (%s); remove their containers first", key, counted(len(on), "endpoint"), someOf(on))
	}
	p.unchanged(n)
	p.noneNewer(model.KindGroup, n.Tenant+":")
	p.noneNewer(model.KindService, n.Tenant+":")
	p.noneNewer(model.KindRule, n.Tenant+":")
	p.noneNewer(model.KindAddress, key+"/") // each endpoint comes with an address
	p.remove(n)
	p.removeAll(model.KindAddress, key+"/")
	if n.Type == model.NetworkInfra {
		p.removeAll(model.KindEndpoint, model.InfraEndpoint(n.Name, ""))
	}
	return nil
}

// someOf names up to three endpoints and where they are.
func someOf(list []model.Endpoint) model.List {
	return some(list, func(e model.Endpoint) string { return fmt.Sprintf("%s on node %s", nameOf(e), e.Node) })
}

// counted is a number of things, as 1 group, 2 groups or 2 policies.
func counted(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	if stem, is := strings.CutSuffix(one, "y"); is {
		return fmt.Sprint(n, " ", stem, "ies")
	}
	return fmt.Sprint(n, " ", one, "s")
}

// some names up to three of a list.
func some[T any](list []T, name func(T) string) model.List {
	var parts []string
	for _, v := range list[:min(len(list), 3)] {
		parts = append(parts, name(v))
	}
	if len(list) > 3 {
		parts = append(parts, "…")
	}
	return model.List(strings.Join(parts, ", "))
}
