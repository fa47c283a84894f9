// SPDX-License-Identifier: Apache-2.0

package master

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

const (
	// leadSeconds is how long a leader may be silent before another one follows it.
	leadSeconds = 10
	// leadOps is how many objects a leader writes in one transaction, which an etcd takes where nobody raised its limits.
	leadOps = 100
)

// errLed says that another master leads.
var errLed = errors.New("another master leads")

// Lead is this master's turn at what one of all masters may do at a time. Others cannot write while it lasts, and it cannot
// when it is over: each of its writes takes effect only while the store has it as the leader.
type Lead struct {
	m        *Master
	leader   model.Leader
	revision int64 // at which it began
}

// Lead calls do whenever this master leads, with a ctx that ends when it does so no longer, until its own ctx ends. One for which do
// fails lets others try before it does so again.
func (m *Master) Lead(ctx context.Context, of string, do func(context.Context, *Lead) error) {
	select {
	case <-m.ready:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		l, err := m.lead(ctx, of)
		switch {
		case err == nil:
			m.Log.Info("this master leads", "of", of)
			err = l.during(ctx, do)
			m.Log.Info("this master leads no longer", "of", of, "reason", err)
			rest(ctx, 3*time.Second)
		case !errors.Is(err, errLed) && ctx.Err() == nil:
			m.Log.Debug("it is not known who leads", "of", of, "error", err)
		}
		rest(ctx, time.Second)
	}
}

// rest waits.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// lead begins a turn where nobody else has one. This master's World then has all that leaders before it wrote.
func (m *Master) lead(ctx context.Context, of string) (*Lead, error) {
	if _, led := m.ledger.current().Leaders.Get(of); led {
		return nil, errLed
	}
	l := &Lead{m: m, leader: model.Leader{Of: of, Turn: rand.Text(), Master: m.Address}}
	var err error
	l.revision, err = m.transact(ctx, func(p *plan) error {
		now, led := p.world().Leaders.Get(of)
		switch {
		case led && now == l.leader: // the answer was lost
			return nil
		case led:
			return errLed
		}
		p.absent(l.leader)
		p.lend(l.leader, leadSeconds)
		return nil
	})
	if err == nil {
		_, err = m.ledger.wait(ctx, l.revision)
	}
	return l, err
}

// during does what is to be done while this master leads, and then lets others do so at once.
func (l *Lead) during(ctx context.Context, do func(context.Context, *Lead) error) error {
	leading, over := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		over(l.keep(leading))
	}()
	err := do(leading, l)
	if cause := context.Cause(leading); cause != nil {
		err = cause
	}
	over(nil)
	<-kept
	ending, ended := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer ended()
	ref := model.RefOf(l.leader)
	_, _, _ = l.m.Store.Commit(ending, store.Txn{Guards: []store.Guard{store.Unchanged(ref, l.revision)}, Delete: []model.Ref{ref}}) // else it is forgotten
	return err
}

// keep goes on leading until ctx ends, or another master may lead.
func (l *Lead) keep(ctx context.Context) error {
	const every = leadSeconds * time.Second / 4
	for {
		if !l.holds(l.World()) {
			return errLed
		}
		trying, tried := context.WithTimeout(ctx, every)
		// Where the store has forgotten this turn it is not begun again: others may have led since.
		ok, err := l.m.Store.KeepAlive(trying, l.leader, leadSeconds, store.Unchanged(model.RefOf(l.leader), l.revision))
		tried()
		if err == nil && !ok {
			return errLed
		}
		rest(ctx, every) // a store that is away takes no writes, and tells at last whom it has forgotten
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (l *Lead) holds(w model.World) bool {
	now, led := w.Leaders.Get(l.leader.Of)
	return led && now == l.leader
}

// World is the newest that this master has.
func (l *Lead) World() model.World { return l.m.ledger.current() }

// Write puts and removes objects of kinds that nobody but the leader writes. What is so already is not written. An error that is
// model.ErrInvalid says that the store takes no transaction as large as that; after others it may have been done in part.
func (l *Lead) Write(ctx context.Context, put []model.Object, remove []model.Ref) error {
	for part := range slices.Chunk(put, leadOps) {
		if err := l.write(ctx, part, nil); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(remove, leadOps) {
		if err := l.write(ctx, nil, part); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lead) write(ctx context.Context, put []model.Object, remove []model.Ref) error {
	for {
		wrote, passed := false, false
		_, err := l.m.transact(ctx, func(p *plan) error {
			wrote, passed = false, false
			if !l.holds(p.world()) {
				return errLed
			}
			p.unchanged(l.leader)
			for _, o := range put {
				now, there := p.base.Get(model.RefOf(o))
				switch {
				case there && same(now, o):
					passed = true
					continue
				case there: // or a write whose answer was lost could come after one that is newer
					p.unchanged(now)
				default:
					p.absent(o)
				}
				p.put(o)
			}
			for _, r := range remove {
				if now, there := p.base.Get(r); there {
					p.unchanged(now)
					p.remove(now)
				} else {
					passed = true
				}
			}
			wrote = !p.txn.Empty()
			return nil
		})
		if err != nil {
			return fmt.Errorf("write what another source says: %w", err)
		}
		// What was passed over was so in a World that the write may have overtaken: an earlier one may have been on its way, whose answer
		// was lost. That there is nothing to write is true.
		if !wrote || !passed {
			return nil
		}
	}
}

// same tells whether the store would have the same for both.
func same(a, b model.Object) bool {
	one, err := json.Marshal(a)
	if err != nil {
		return false
	}
	other, err := json.Marshal(b)
	return err == nil && bytes.Equal(one, other)
}
