// SPDX-License-Identifier: Apache-2.0

package master

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// holdAddress gives a node an address of a network before its endpoint is known, as Docker's IPAM asks for it.
func (m *Master) holdAddress(w http.ResponseWriter, r *http.Request, args []string) error {
	asked, err := body[api.AddressRequest](r, api.MaxBody)
	if err != nil {
		return err
	}
	if err := model.CheckName("node", asked.Node, 253); err != nil {
		return err
	}
	var answer api.Address
	var again model.Address // held by this node already
	revision, err := m.transact(r.Context(), func(p *plan) error {
		n, err := network(p.world(), args[0])
		if err != nil {
			return err
		}
		again = model.Address{}
		g, err := p.groupOn(n, asked.GroupName)
		if err != nil {
			return err
		}
		a, pool, err := p.askedAddress(n, g, asked)
		if err != nil {
			return err
		}
		answer = api.Address{IPAddress: a, Length: pool.Prefix.Bits()}
		held := model.Address{Network: n.Key(), Addr: a, Owner: asked.Node, Held: true}
		switch old, taken := p.world().Addresses.Get(held.Key()); {
		case !taken:
		case old == held:
			again = held
			return nil
		default:
			return takenAddress(p.world(), old)
		}
		p.unchanged(n)
		p.absent(held)
		p.lend(held, model.HoldSeconds)
		return nil
	})
	if err == nil && again.Held {
		// Docker asked again: the wait begins anew. If it ran out this moment, attaching takes the address itself.
		_, err = m.Store.KeepAlive(r.Context(), again, model.HoldSeconds, store.Unchanged(model.RefOf(again), revision))
	}
	if err != nil {
		return err
	}
	return reply(w, answer, revision)
}

// askedAddress is the address of a request, and the pool that it is from.
func (p *plan) askedAddress(n model.Network, g model.Group, asked api.AddressRequest) (netip.Addr, model.Pool, error) {
	if a := asked.IPAddress; a.IsValid() {
		pool := n.Pool(a)
		if pool.IsZero() {
			return a, pool, model.Invalid("ipAddress", "address %s is asked for, but network %s has no subnet of that family", a, n.Key())
		}
		return a, pool, p.usable(n, g, a)
	}
	pool, family := n.IPv4, "IPv4"
	if asked.IPv6 {
		pool, family = n.IPv6, "IPv6"
	}
	if pool.IsZero() {
		return netip.Addr{}, pool, model.Invalid("ipv6", "network %s has no %s subnet", n.Key(), family)
	}
	a, err := p.address(n, g, asked.IPv6, p.ambiguous(newcomer{tenant: n.Tenant, node: asked.Node}, n, asked.IPv6))
	return a, pool, err
}

// usable tells whether an endpoint of n and of group g, zero for none, may ask for a. Outside its range, where a range was given, it may be another
// network's that has another range of the subnet.
func (p *plan) usable(n model.Network, g model.Group, a netip.Addr) error {
	pool := n.Pool(a)
	if err := pool.Usable(a); err != nil {
		return err
	}
	if err := p.inPool(n, g, a); err != nil {
		return err
	}
	if !pool.First.IsValid() || !a.Less(pool.First) && !pool.Last.Less(a) {
		return nil
	}
	for _, other := range networksOf(p.world(), n.Tenant) {
		if other.Name != n.Name && other.Pool(a).Overlaps(poolOf(a)) {
			return model.Exists("ipAddress", "address %s belongs to network %s, which has %s; choose another", a, other.Key(), other.Pool(a))
		}
	}
	p.noneNewer(model.KindNetwork, n.Tenant+":")
	return nil
}

// poolOf is a pool of one address.
func poolOf(a netip.Addr) model.Pool { return model.Pool{Prefix: netip.PrefixFrom(a, a.BitLen())} }

// takenAddress says who has an address.
func takenAddress(w model.World, a model.Address) error {
	const field = "ipAddress"
	switch {
	case a.Held:
		return model.Exists(field, "address %s of network %s is being given to a container on node %s; choose another, or try again in %d s", a.Addr, a.Network, a.Owner, model.HoldSeconds)
	case a.Owner == ownerGateway:
		return model.Exists(field, "address %s is the gateway of network %s; choose another", a.Addr, a.Network)
	case a.Owner == ownerReserved:
		return model.Exists(field, "address %s of network %s is set aside; choose another", a.Addr, a.Network)
	}
	if key, ok := strings.CutPrefix(a.Owner, ownerService); ok {
		return model.Exists(field, "address %s of network %s is in use by service %s; choose another, or delete that service", a.Addr, a.Network, key)
	}
	if e, ok := w.Endpoints.Get(a.Owner); ok {
		return model.Exists(field, "address %s of network %s is in use by %s on node %s; choose another, or remove that container", a.Addr, a.Network, nameOf(e), e.Node)
	}
	return model.Exists(field, "address %s of network %s is in use by endpoint %s; choose another", a.Addr, a.Network, a.Owner)
}

// releaseAddress gives back what is held for the node in ?owner. An address that has become an endpoint's goes with that.
func (m *Master) releaseAddress(w http.ResponseWriter, r *http.Request, args []string) error {
	a, err := netip.ParseAddr(args[1])
	if err != nil {
		return model.Invalid("ipAddress", "address %q in the URL is not an address", args[1])
	}
	owner := r.URL.Query().Get("owner")
	if owner == "" {
		return model.Invalid("owner", "owner is empty; give the node that holds the address, as ?owner=node1")
	}
	revision, err := m.transact(r.Context(), func(p *plan) error {
		if old, ok := p.world().Addresses.Get(model.AddressKey(args[0], a)); ok && old.Held && old.Owner == owner {
			p.unchanged(old)
			p.remove(old)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return reply(w, a, revision)
}
