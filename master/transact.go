// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// maxTries bounds how often a write is decided anew. Whoever is refused by a guard was overtaken by another write,
// so some write succeeds each time.
const maxTries = 200

// errBusy is a write that cannot be decided before others are done.
var errBusy = errors.New("too many others write at once; try again")

// plan is a write in the making: what the World says it is decided on, and what will be written.
type plan struct {
	world  model.World
	txn    store.Txn
	ledger *ledger
	claims []string
}

func (p *plan) guard(g ...store.Guard) { p.txn.Guards = append(p.txn.Guards, g...) }

func (p *plan) put(o model.Object) { p.txn.Put = append(p.txn.Put, store.Put{Object: o}) }

// lend puts what the store is to forget after so many seconds.
func (p *plan) lend(o model.Object, seconds int64) {
	p.txn.Put = append(p.txn.Put, store.Put{Object: o, Seconds: seconds})
}

func (p *plan) remove(o model.Object) { p.txn.Delete = append(p.txn.Delete, model.RefOf(o)) }

// unchanged has the write fail where o is not what the World says any more.
func (p *plan) unchanged(o model.Object) { p.guard(store.Unchanged(model.RefOf(o), p.world.Revision)) }

// absent has the write fail where there is such an object by now.
func (p *plan) absent(o model.Object) { p.guard(store.Absent(model.RefOf(o))) }

// noneNewer has the write fail where an object of the kind, whose key begins with prefix, was written since.
func (p *plan) noneNewer(kind model.Kind, prefix string) {
	p.guard(store.NoneNewer(kind, prefix, p.world.Revision))
}

// address is the lowest free address of a network's pool. It stays claimed until the plan has been done.
func (p *plan) address(n model.Network, pool model.Pool) (netip.Addr, error) {
	a, busy, ok := p.ledger.claim(n, pool)
	switch {
	case ok:
		key := model.AddressKey(n.Key(), a)
		p.claims = append(p.claims, key)
		if _, taken := p.world.Addresses.Get(key); taken {
			return a, errBusy // the ledger is newer than this World: what was given up since is to be seen first
		}
		return a, nil
	case busy:
		return a, errBusy
	}
	return a, model.InUse("ipAddress", "no address is free in %s of network %s: remove containers, or use a larger network", pool, n.Key())
}

// transact decides a write on the World and does it, again and again while others are faster. The revision is that of the
// write, or one at which there was nothing to write. This master's World has come there when it returns.
//
// decide may be called many times, each time with a new plan; it must have no other effect.
func (m *Master) transact(ctx context.Context, decide func(*plan) error) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	w := m.ledger.current()
	// sure: w is not older than the request, so that a refusal, or that there is nothing to do, is true. Another
	// master's write may have been acknowledged before it has reached this World.
	sure := false
	var trouble error
	for range maxTries {
		if ctx.Err() != nil {
			break
		}
		p := &plan{world: w, ledger: m.ledger}
		motion := m.ledger.motion()
		err := decide(p)
		switch {
		case errors.Is(err, errBusy):
			m.ledger.drop(p.claims)
			m.pause(ctx, motion)
			w = m.ledger.current()
			continue
		case err == nil && !p.txn.Empty():
		case sure:
			m.ledger.drop(p.claims)
			return w.Revision, err
		default:
			m.ledger.drop(p.claims)
			if w, err = m.catchUp(ctx); err != nil {
				trouble = err
				m.pause(ctx, nil)
				continue
			}
			sure = true
			continue
		}
		revision, ok, err := m.Store.Commit(ctx, p.txn)
		switch {
		case err != nil: // it may have taken effect; the next World tells
			m.ledger.drop(p.claims)
			trouble = err
			m.pause(ctx, nil)
			w = m.ledger.current()
		case ok:
			// A World that is late is no reason to call a write failed.
			_, _ = m.ledger.wait(ctx, revision)
			m.ledger.drop(p.claims)
			return revision, nil
		default:
			// The claims stay until the World shows who has the addresses, lest the next try finds the same.
			w, sure = m.overtaken(ctx, revision)
			m.ledger.drop(p.claims)
		}
	}
	if trouble == nil {
		return 0, errBusy
	}
	return 0, fmt.Errorf("the store (etcd) is away, so nothing can be changed now; what runs goes on running, try again later: %w", trouble)
}

// consider decides without writing.
func (m *Master) consider(ctx context.Context, decide func(*plan) error) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.Patience)
	defer cancel()
	w, err := m.catchUp(ctx)
	if err != nil {
		return 0, fmt.Errorf("the store (etcd) is away, so nothing can be checked now: %w", err)
	}
	p := &plan{world: w, ledger: m.ledger}
	err = decide(p)
	m.ledger.drop(p.claims)
	return w.Revision, err
}

// catchUp is the World as new as the store was when it was called.
func (m *Master) catchUp(ctx context.Context) (model.World, error) {
	for {
		revision, err := m.Store.Revision(ctx)
		if err != nil {
			return model.World{}, err
		}
		// When it is not there soon, asking again also asks the store to say how far the watch is.
		if w, ok := m.overtaken(ctx, revision); ok {
			return w, nil
		}
		if ctx.Err() != nil {
			return model.World{}, fmt.Errorf("this master's view has not come to revision %d: %w", revision, ctx.Err())
		}
	}
}

// overtaken waits a moment for the World to come to a revision that the store has.
func (m *Master) overtaken(ctx context.Context, revision int64) (w model.World, there bool) {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	w, err := m.ledger.wait(ctx, revision)
	return w, err == nil
}

// pause waits until something moves (nil: nothing to wait for), but not for long.
func (m *Master) pause(ctx context.Context, motion <-chan struct{}) {
	t := time.NewTimer(100 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-motion:
	case <-t.C:
	}
}
