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
				out = append(out, api.NetworkOf(n))
			}
			return out
		},
		get: func(w model.World, key string) (any, error) {
			n, err := network(w, key)
			return api.NetworkOf(n), err
		},
		inspect: func(w model.World, key string) (any, error) {
			n, err := network(w, key)
			if err != nil {
				return nil, err
			}
			return api.NetworkInspect{Config: api.NetworkOf(n), Oper: networkOper(w, n)}, nil
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

func networkOper(w model.World, n model.Network) api.NetworkOper {
	out := api.NetworkOper{PktTag: n.Tag, NetworkTag: n.Label}
	if n.Encap == model.EncapVXLAN {
		out.ExternalPktTag = n.Tag
	}
	if out.NetworkTag == "" {
		out.NetworkTag = n.Name + "." + n.Tenant
	}
	pool := n.IPv4 // as in v1, the texts are about IPv4 where there is any
	if pool.IsZero() {
		pool = n.IPv6
	}
	var taken []netip.Addr
	for _, a := range w.Addresses.All() {
		if a.Network != n.Key() || a.Addr.Is4() != pool.Prefix.Addr().Is4() {
			continue
		}
		taken = append(taken, a.Addr)
		if a.Owner != ownerGateway && a.Owner != ownerReserved {
			out.AllocatedAddressesCount++
		}
	}
	out.AllocatedIPAddresses, out.AvailableIPAddresses = alloc.Allocated(pool, taken), alloc.Available(pool, taken)
	for _, e := range endpointsOn(w, n) {
		out.Endpoints = append(out.Endpoints, endpointOper(w, e))
	}
	out.NumEndpoints = len(out.Endpoints)
	return out
}

// endpointsOn are a network's endpoints in the order of their addresses.
func endpointsOn(w model.World, n model.Network) (out []model.Endpoint) {
	for _, e := range w.Endpoints.All() {
		if e.Tenant == n.Tenant && e.Network == n.Name {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b model.Endpoint) int {
		return cmp.Or(a.IPv4.Compare(b.IPv4), a.IPv6.Compare(b.IPv6), cmp.Compare(a.ID, b.ID))
	})
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
		return api.NetworkOf(n), decide(n)
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
	for _, other := range networksOf(p.world(), n.Tenant) {
		if n.IPv6.Overlaps(other.IPv6) {
			return model.Exists("ipv6Subnet", "network %s conflicts with subnetv6 %s (it has %s); choose another", other.Name, n.IPv6, other.IPv6)
		}
		if n.IPv4.Overlaps(other.IPv4) {
			return model.Exists("subnet", "network %s conflicts with subnet %s (it has %s); choose another", other.Name, n.IPv4, other.IPv4)
		}
		if err := p.strays(n, other); err != nil {
			return err
		}
	}
	if n.Tag, err = p.tag(n); err != nil {
		return err
	}
	p.unchanged(t)
	p.guardGlobal()
	p.noneNewer(model.KindNetwork, "")
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

// strays refuses a range in which another network of the subnet has given an address that was asked for.
func (p *plan) strays(n, other model.Network) error {
	overlap := func(a, b model.Pool) bool { return !a.IsZero() && !b.IsZero() && a.Subnet().Overlaps(b.Subnet()) }
	if !overlap(n.IPv4, other.IPv4) && !overlap(n.IPv6, other.IPv6) {
		return nil
	}
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
		tag, ok := alloc.Tag(p.world(), n.Encap, low, high)
		if !ok {
			return 0, model.InUse("pktTag", "no %ss available: all of %s have networks; widen the range with netctl global set, or delete networks", n.Encap, text)
		}
		return tag, nil
	}
	if n.Requested < low || n.Requested > high {
		return 0, model.Invalid("pktTag", "requested %s %d is out of range %s; choose one in it, or widen it with netctl global set", n.Encap, n.Requested, text)
	}
	if other, taken := alloc.Tags(p.world(), n.Encap)[n.Requested]; taken {
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
// then fail because the network is gone.
func removeNetwork(p *plan, key string) error {
	n, err := network(p.world(), key)
	if err != nil {
		return err
	}
	if on := endpointsOn(p.world(), n); len(on) > 0 {
		return model.InUse("networkName", "cannot delete network %s: %d endpoints are on it (%s); remove their containers first", key, len(on), someOf(on))
	}
	p.unchanged(n)
	p.noneNewer(model.KindAddress, key+"/") // each endpoint comes with an address
	p.remove(n)
	p.removeAll(model.KindAddress, key+"/")
	return nil
}

// someOf names up to three endpoints and where they are.
func someOf(list []model.Endpoint) string {
	var parts []string
	for _, e := range list[:min(len(list), 3)] {
		parts = append(parts, fmt.Sprintf("%s on node %s", nameOf(e), e.Node))
	}
	if len(list) > 3 {
		parts = append(parts, "…")
	}
	return strings.Join(parts, ", ")
}
