// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/model"
)

// ledger is the newest World and what is derived from it, so that no write walks all of it.
type ledger struct {
	mu    sync.Mutex
	world model.World
	moved chan struct{} // closed and replaced whenever the World moves or a claim is dropped
	feed  feed
	// macs tells which endpoint has a MAC of a network.
	macs map[macKey]string
	// floors tells below which address of a pool none is free.
	floors map[poolKey]floor
	// pools are the addresses that groups keep to themselves: network → group → range.
	pools map[string]map[string]model.Range
	// claims are addresses on their way into the store. Without them all that ask at once would be given
	// the same address, and all but one would have to ask again.
	claims map[string]bool
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
		moved: make(chan struct{}), feed: feed{max: backlog}, macs: map[macKey]string{},
		floors: map[poolKey]floor{}, pools: map[string]map[string]model.Range{}, claims: map[string]bool{},
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
	l.signal()
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
		if old, ok := l.world.Endpoints.Get(id); ok && l.macs[macOf(old)] == id {
			delete(l.macs, macOf(old))
		}
	}
	for _, r := range c.Delete {
		switch r.Kind {
		case model.KindEndpoint:
			forget(r.Key)
		case model.KindAddress:
			if old, ok := l.world.Addresses.Get(r.Key); ok {
				l.lower(poolKey{network: old.Network, v6: old.Addr.Is6()}, old.Addr)
				for group, r := range l.pools[old.Network] {
					if r.Contains(old.Addr) {
						l.lower(poolKey{network: old.Network, group: group}, old.Addr)
					}
				}
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
			l.macs[macOf(o)] = o.ID
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

func macOf(e model.Endpoint) macKey { return macKey{e.NetworkKey(), e.MAC} }

func (l *ledger) signal() {
	close(l.moved)
	l.moved = make(chan struct{})
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
		w, moved := l.world, l.moved
		l.mu.Unlock()
		if w.Revision >= revision {
			return w, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return w, ctx.Err()
		}
	}
}

// motion is closed at the next change of the ledger.
func (l *ledger) motion() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// macOwner is the endpoint that has the MAC in the network, "" for none.
func (l *ledger) macOwner(network string, mac model.MAC) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.macs[macKey{network, mac}]
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
	var from, lowest netip.Addr // lowest that the World has free
	if f := l.floors[k]; f.pool == p {
		from = f.addr
	}
	a, ok = alloc.Address(l.world, n, p, from, apart, func(a netip.Addr) bool {
		if !lowest.IsValid() {
			lowest = a
		}
		if l.claims[model.AddressKey(k.network, a)] {
			busy = true
			return true
		}
		return mine(a)
	})
	if lowest.IsValid() {
		l.floors[k] = floor{p, lowest}
	}
	if ok {
		l.claims[model.AddressKey(k.network, a)] = true
	}
	return a, busy, ok
}

// drop ends claims, of which the World now has what became of them.
func (l *ledger) drop(claims []string) {
	if len(claims) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range claims {
		delete(l.claims, c)
	}
	l.signal()
}
