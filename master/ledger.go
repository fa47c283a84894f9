// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/model"
)

// ledger is the newest World and what is derived from it, so that no write walks all of it.
type ledger struct {
	mu    sync.Mutex
	world model.World
	moved chan struct{} // closed and replaced whenever the World moves
	freed chan struct{} // the same, also whenever claims are dropped
	feed  feed
	// waiters are for one revision each: were they woken by every other too, many writers would be woken by each of themselves.
	waiters []waiter
	// macs tells which endpoint has a MAC of a network, but for those that have the one of their IPv4 address: almost
	// all, and the address tells whose it is.
	macs map[macKey]string
	// floors tells below which address of a pool none is both free and unclaimed.
	floors map[poolKey]floor
	// pools are the addresses that groups keep to themselves: network → group → range.
	pools map[string]map[string]model.Range
	// claims are addresses on their way into the store. Without them all that ask at once would be given
	// the same address, and all but one would have to ask again.
	claims map[claim]bool
}

type waiter struct {
	revision int64
	there    chan struct{}
}

type claim struct {
	network string
	addr    netip.Addr
}

type macKey struct {
	network string
	mac     model.MAC
}

// poolKey is a family of a network's addresses or, with a group, that group's part of the IPv4 ones.
type poolKey struct {
	network, group string
	v6             bool
}

// floor is good for the pool that it was found in; the network may have been made anew since, with another.
type floor struct {
	pool model.Pool
	addr netip.Addr
}

func newLedger(backlog int) *ledger {
	return &ledger{
		moved: make(chan struct{}), freed: make(chan struct{}), feed: feed{max: backlog}, macs: map[macKey]string{},
		floors: map[poolKey]floor{}, pools: map[string]map[string]model.Range{}, claims: map[claim]bool{},
	}
}

// apply moves the World on. It is what the store is followed with.
func (l *ledger) apply(c model.Change) error {
	line, err := lineOf(c)
	if err != nil {
		return fmt.Errorf("encode revision %d for watchers: %w", c.Revision, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.derive(c)
	l.world = l.world.With(c)
	switch {
	case c.Reset:
		l.feed.reset(c.Revision)
	case !c.Empty():
		l.feed.add(line)
	}
	close(l.moved)
	l.moved = make(chan struct{})
	l.signal()
	l.waiters = slices.DeleteFunc(l.waiters, func(w waiter) bool {
		if w.revision > l.world.Revision {
			return false
		}
		close(w.there)
		return true
	})
	return nil
}

// derive is called with the World as it was before c.
func (l *ledger) derive(c model.Change) {
	if c.Reset {
		clear(l.macs)
		clear(l.floors)
		clear(l.pools)
	}
	forget := func(id string) {
		if old, ok := l.world.Endpoints.Get(id); ok && !ownMAC(old) && l.macs[macOf(old)] == id {
			delete(l.macs, macOf(old))
		}
	}
	for _, r := range c.Delete {
		switch r.Kind {
		case model.KindEndpoint:
			forget(r.Key)
		case model.KindAddress:
			if old, ok := l.world.Addresses.Get(r.Key); ok {
				l.free(claim{old.Network, old.Addr})
			}
		case model.KindNetwork:
			delete(l.floors, poolKey{network: r.Key})
			delete(l.floors, poolKey{network: r.Key, v6: true})
		case model.KindGroup:
			if old, ok := l.world.Groups.Get(r.Key); ok && !old.Pool.IsZero() {
				delete(l.pools[old.NetworkKey()], r.Key)
				delete(l.floors, poolKey{network: old.NetworkKey(), group: r.Key})
				l.lower(poolKey{network: old.NetworkKey()}, old.Pool.First)
			}
		}
	}
	for _, o := range c.Put {
		switch o := o.(type) {
		case model.Endpoint:
			if !c.Reset {
				forget(o.ID)
			}
			if !ownMAC(o) {
				l.macs[macOf(o)] = o.ID
			}
		case model.Group:
			if o.Pool.IsZero() {
				continue
			}
			of := l.pools[o.NetworkKey()]
			if of == nil {
				of = map[string]model.Range{}
				l.pools[o.NetworkKey()] = of
			}
			of[o.Key()] = o.Pool
		}
	}
}

// free says that an address has come free.
func (l *ledger) free(c claim) {
	l.lower(poolKey{network: c.network, v6: c.addr.Is6()}, c.addr)
	for group, r := range l.pools[c.network] {
		if r.Contains(c.addr) {
			l.lower(poolKey{network: c.network, group: group}, c.addr)
		}
	}
}

// lower says that an address of a pool has come free.
func (l *ledger) lower(k poolKey, a netip.Addr) {
	if f, ok := l.floors[k]; ok && a.Less(f.addr) {
		l.floors[k] = floor{f.pool, a}
	}
}

// poolAt is the group of a network to whose pool an address belongs, "" for none.
func (l *ledger) poolAt(network string, a netip.Addr) (group string, pool model.Range) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for group, r := range l.pools[network] {
		if r.Contains(a) {
			return group, r
		}
	}
	return "", model.Range{}
}

// ownMAC tells whether the endpoint's MAC says its IPv4 address.
func ownMAC(e model.Endpoint) bool { return e.IPv4.IsValid() && e.MAC == model.MACOf(e.IPv4) }

func macOf(e model.Endpoint) macKey { return macKey{e.NetworkKey(), e.MAC} }

func (l *ledger) signal() {
	close(l.freed)
	l.freed = make(chan struct{})
}

// current is the newest World.
func (l *ledger) current() model.World {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.world
}

// wait is the World once it has come to the revision; the newest there is with ctx's error.
func (l *ledger) wait(ctx context.Context, revision int64) (model.World, error) {
	for {
		l.mu.Lock()
		w := l.world
		if w.Revision >= revision {
			l.mu.Unlock()
			return w, nil
		}
		there := make(chan struct{})
		l.waiters = append(l.waiters, waiter{revision, there})
		l.mu.Unlock()
		select {
		case <-there: // and may have gone again, where the store was set back
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			l.waiters = slices.DeleteFunc(l.waiters, func(w waiter) bool { return w.there == there })
			return l.world, ctx.Err()
		}
	}
}

// motion is closed at the next change of the World or of the claims.
func (l *ledger) motion() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.freed
}

// macOwner is the endpoint that has the MAC in the network, "" for none.
func (l *ledger) macOwner(network string, mac model.MAC) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id := l.macs[macKey{network, mac}]; id != "" {
		return id
	}
	// An IPv6 address makes another MAC, so this is no endpoint's where it is not an IPv4 address's.
	said := netip.AddrFrom4([4]byte(mac[2:]))
	if row, ok := l.world.Addresses.Get(model.AddressKey(network, said)); ok && !row.Held {
		if e, ok := l.world.Endpoints.Get(row.Owner); ok && e.MAC == mac && e.IPv4 == said && e.NetworkKey() == network {
			return e.ID
		}
	}
	return ""
}

// claim finds the lowest free address of a pool, which is the group's whose key is given or the network's where that is "", and
// keeps it from others until drop. mine tells which addresses the asker has taken already. ok is false when there is
// none; busy then tells whether one may yet come free, because a claim may not become a write.
func (l *ledger) claim(n model.Network, group string, p model.Pool, mine func(netip.Addr) bool) (a netip.Addr, busy, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := poolKey{n.Key(), group, p.Prefix.Addr().Is6()}
	var apart []model.Range
	if group == "" {
		for _, r := range l.pools[k.network] {
			apart = append(apart, r)
		}
	}
	var from, passed netip.Addr // passed: the first that is free and not taken here, as it is the asker's
	if f := l.floors[k]; f.pool == p {
		from = f.addr
	}
	a, ok = alloc.Address(l.world, n, p, from, apart, func(a netip.Addr) bool {
		if l.claims[claim{k.network, a}] {
			return true
		}
		if mine(a) {
			if !passed.IsValid() {
				passed = a
			}
			return true
		}
		return false
	})
	switch {
	case ok:
		l.claims[claim{k.network, a}] = true
		l.floors[k] = floor{p, a.Next()}
		if passed.IsValid() {
			l.floors[k] = floor{p, passed}
		}
	default:
		for c := range l.claims {
			if c.network != k.network || !gives(p, c.addr) || mine(c.addr) {
				continue
			}
			busy = busy || !slices.ContainsFunc(apart, func(r model.Range) bool { return r.Contains(c.addr) })
		}
	}
	return a, busy, ok
}

// drop ends claims, of which the World now has what became of them.
func (l *ledger) drop(claims []claim) {
	if len(claims) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		delete(l.claims, c)
		if _, taken := l.world.Addresses.Get(model.AddressKey(c.network, c.addr)); !taken {
			l.free(c)
		}
	}
	l.signal()
}
