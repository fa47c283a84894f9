// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/alloc"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// maxTries bounds how often a write is decided anew. Whoever is refused by a guard was overtaken by another write,
// so some write succeeds each time.
const maxTries = 200

// errBusy is a write that cannot be decided before others are done.
var errBusy = errors.New("too many others write at once; try again")

// plan is a write in the making: what the World says that it is decided on, and what will be written. Several decisions
// may be made on one plan; each sees what those before it did.
type plan struct {
	base   model.World // as the store has it: what the guards are about
	seen   model.World // base and what the plan does, but for what is fresh
	fresh  model.Change
	own    map[model.Ref]bool // what the plan itself writes or removes
	guards map[store.Guard]bool
	txn    store.Txn
	ledger *ledger
	claims []claim
	puts   int                      // how many times something was put, what was taken back since included
	tags   map[string]*alloc.TagSet // by encapsulation, of what will be; made when asked for
	nets   subnets                  // of what will be; made when asked for
	pools  []model.Group            // with pools, that the plan makes: the ledger does not know them yet
}

func newPlan(w model.World, l *ledger) *plan {
	return &plan{base: w, seen: w, ledger: l, own: map[model.Ref]bool{}, guards: map[store.Guard]bool{}}
}

// world is what there will be when the plan is done, as far as it goes by now.
func (p *plan) world() model.World {
	if !p.fresh.Empty() {
		p.fresh.Revision = p.base.Revision
		p.seen, p.fresh = p.seen.With(p.fresh), model.Change{}
	}
	return p.seen
}

// guard adds each guard once, as an etcd takes only so many.
func (p *plan) guard(g store.Guard) {
	if !p.guards[g] {
		p.guards[g] = true
		p.txn.Guards = append(p.txn.Guards, g)
	}
}

func (p *plan) put(o model.Object) { p.lend(o, 0) }

// lend puts what the store is to forget after so many seconds; 0: never.
func (p *plan) lend(o model.Object, seconds int64) {
	p.claimKey(model.RefOf(o))
	p.puts++
	p.txn.Put = append(p.txn.Put, store.Put{Object: o, Seconds: seconds})
	p.fresh.Put = append(p.fresh.Put, o)
	if n, is := o.(model.Network); is {
		if p.tags[n.Encap] != nil {
			p.tags[n.Encap].Take(n.Tag, n.Key())
		}
		if p.nets != nil {
			p.nets.take(n)
		}
	}
}

func (p *plan) remove(o model.Object) {
	ref := model.RefOf(o)
	p.claimKey(ref)
	p.txn.Delete = append(p.txn.Delete, ref)
	if len(p.fresh.Put) > 0 {
		p.world() // a change deletes before it puts
	}
	p.fresh.Delete = append(p.fresh.Delete, ref)
	if ref.Kind == model.KindNetwork {
		p.tags, p.nets = nil, nil
	}
}

// tagsOf are the encapsulation's tags that are taken. They are not looked for anew for each of thousands of networks.
func (p *plan) tagsOf(encap string) *alloc.TagSet {
	if p.tags == nil {
		p.tags = map[string]*alloc.TagSet{}
	}
	if p.tags[encap] == nil {
		p.tags[encap] = alloc.NewTagSet(p.world(), encap)
	}
	return p.tags[encap]
}

// networksNear are those of n's tenant with which it shares a subnet, ranges apart or not, in the order of their names.
func (p *plan) networksNear(n model.Network) (out []model.Network) {
	if p.nets == nil {
		p.nets = subnetsIn(p.world())
	}
	for _, name := range p.nets.near(n) {
		if other, ok := p.world().Networks.Get(model.NetworkKey(n.Tenant, name)); ok {
			out = append(out, other)
		}
	}
	return out
}

// removeAll removes the rows of a kind whose keys begin with prefix. It is for what goes with its owner: later decisions on this
// plan still see it.
func (p *plan) removeAll(kind model.Kind, prefix string) {
	p.txn.DeleteAll = append(p.txn.DeleteAll, model.Ref{Kind: kind, Key: prefix})
}

// claimKey makes the key the plan's own and takes back what the plan was to do with it before: a transaction may have a key once.
func (p *plan) claimKey(ref model.Ref) {
	if p.own[ref] {
		p.txn.Put = slices.DeleteFunc(p.txn.Put, func(o store.Put) bool { return model.RefOf(o.Object) == ref })
		p.txn.Delete = slices.DeleteFunc(p.txn.Delete, func(r model.Ref) bool { return r == ref })
	}
	p.own[ref] = true
}

// unchanged has the write fail where o is not what the World says any more.
func (p *plan) unchanged(o model.Object) {
	if ref := model.RefOf(o); !p.own[ref] { // what is the plan's own is guarded since it became that
		p.guard(store.Unchanged(ref, p.base.Revision))
	}
}

// absent has the write fail where there is such an object by now.
func (p *plan) absent(o model.Object) {
	if ref := model.RefOf(o); !p.own[ref] {
		p.guard(store.Absent(ref))
	}
}

// noneNewer has the write fail where an object of the kind, whose key begins with prefix, was written since.
func (p *plan) noneNewer(kind model.Kind, prefix string) {
	p.guard(store.NoneNewer(kind, prefix, p.base.Revision))
}

// address is the lowest free address of a network's pool or, where the group has one, of the group's; the zero group is
// none. It stays claimed until the plan has been done. One that is to be avoided (nil: none is) is given where there is no other.
func (p *plan) address(n model.Network, g model.Group, v6 bool, avoid func(netip.Addr) bool) (netip.Addr, error) {
	pool, group := poolFor(n, g, v6)
	mine := func(a netip.Addr) bool {
		return p.own[model.Ref{Kind: model.KindAddress, Key: model.AddressKey(n.Key(), a)}] || group == "" && p.inOwnPool(n, a)
	}
	var a netip.Addr
	var busy, ok bool
	if avoid != nil {
		a, _, ok = p.ledger.claim(n, group, pool, func(a netip.Addr) bool { return mine(a) || avoid(a) })
	}
	if !ok {
		a, busy, ok = p.ledger.claim(n, group, pool, mine)
	}
	switch {
	case ok:
		key := model.AddressKey(n.Key(), a)
		p.claims = append(p.claims, claim{n.Key(), a})
		if _, taken := p.world().Addresses.Get(key); taken {
			return a, errBusy // the ledger is newer than this World: what was given up since is to be seen first
		}
		return a, nil
	case busy:
		return a, errBusy
	case group != "":
		return a, model.InUse("ipAddress", "auto allocation failed - address exhaustion in pool %s of group %s: remove containers, or make a group with a larger ipPool", g.Pool, g.Key())
	}
	return a, model.InUse("ipAddress", "no address is free in %s of network %s: remove containers, or use a larger network", pool, n.Key())
}

// transact decides a write on the World and does it, again and again while others are faster. The revision is that of the
// write, or one at which there was nothing to write. This master's World has come there when it returns.
//
// decide may be called many times, each time with a new plan; it must have no other effect.
func (m *Master) transact(ctx context.Context, decide func(*plan) error) (revision int64, err error) {
	return m.transactWithin(ctx, m.Patience, decide)
}

// transactWithin is transact for what may take longer, or shorter.
func (m *Master) transactWithin(ctx context.Context, patience time.Duration, decide func(*plan) error) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := m.ledger.current()
	// sure: w is not older than the request, so that a refusal, or that there is nothing to do, is true. Another
	// master's write may have been acknowledged before it has reached this World.
	sure := false
	var trouble error
	removing := false // a removal was sent to the store and not answered
	for range maxTries {
		if ctx.Err() != nil {
			break
		}
		p := newPlan(w, m.ledger)
		motion := m.ledger.motion()
		began := time.Now()
		err := decide(p)
		switch {
		case time.Since(began) > patience: // a commit would not be waited for, and might take effect all the same
			m.ledger.drop(p.claims)
			// Not a refusal: a process that was stopped meanwhile comes here too, and then another master does it.
			return 0, fmt.Errorf("this was not checked within %s, so nothing was changed: ask for less at once, or try again later", patience)
		case errors.Is(err, errBusy):
			m.ledger.drop(p.claims)
			m.pause(ctx, motion)
			w = m.ledger.current()
			continue
		case err == nil && !p.txn.Empty():
		case sure:
			m.ledger.drop(p.claims)
			if removing && errors.Is(err, model.ErrNotFound) {
				err = nil // it is gone, as was asked
			}
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
		trying, tried := m.attempt(ctx, min(patience/3, m.Patience/3+time.Duration(p.txn.Ops())*perOp))
		revision, ok, err := m.Store.Commit(trying, p.txn)
		tried()
		switch {
		case errors.Is(err, store.ErrTooMany):
			m.ledger.drop(p.claims)
			return 0, model.Invalid("", "this is more than the store takes in one transaction (%d operations on %d conditions), so nothing was changed: "+
				"start the etcd members with --max-txn-ops 10000 and --max-request-bytes 8388608, or ask for less at once",
				p.txn.Ops(), len(p.txn.Guards))
		case err != nil: // it may have taken effect; the next World tells
			m.ledger.drop(p.claims)
			trouble = fmt.Errorf("this write may yet take effect: %w", err)
			removing = len(p.txn.Put) == 0
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

// considerWithin decides without writing.
func (m *Master) considerWithin(ctx context.Context, patience time.Duration, decide func(*plan) error) (revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w, err := m.catchUp(ctx)
	if err != nil {
		return 0, fmt.Errorf("the store (etcd) is away, so nothing can be checked now: %w", err)
	}
	p := newPlan(w, m.ledger)
	err = decide(p)
	m.ledger.drop(p.claims)
	return w.Revision, err
}

// catchUp is the World as new as the store was when it was called.
func (m *Master) catchUp(ctx context.Context) (model.World, error) {
	for {
		trying, tried := m.attempt(ctx, m.Patience/3)
		revision, err := m.Store.Revision(trying)
		late := trying.Err() != nil
		tried()
		if err != nil && late && ctx.Err() == nil {
			continue
		}
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

// perOp is what the store may take for each operation of a commit beyond what a small one may.
const perOp = time.Millisecond

// attempt bounds one call of the store to a part of the time there is: what etcd's members pass on to a leader that has just died is
// lost, and what goes to a member that hangs may succeed at the next.
func (m *Master) attempt(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok && time.Now().After(deadline) { // it was, while this process slept, and no timer has said so yet
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}
	return context.WithTimeout(ctx, bound)
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
