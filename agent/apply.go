// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/contivnet/contiv/compile"
)

// applyRetry is the pause after a failure, which is retried whole.
const applyRetry = 200 * time.Millisecond

// Applied is the revision that the kernel holds, and why it is not the newest.
func (a *Agent) Applied() (revision int64, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied, a.failed
}

// Tables are what the kernel should hold, as compiled last; before a master is heard, by the snapshot.
func (a *Agent) Tables() compile.Tables {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.tables
}

// AppliedChanged is closed when Applied or Tables may have changed.
func (a *Agent) AppliedChanged() <-chan struct{} { return a.appliedChanged.next() }

// WaitApplied returns when the kernel holds the revision or a later one.
func (a *Agent) WaitApplied(ctx context.Context, revision int64) error {
	return a.wait(ctx, &a.appliedChanged, fmt.Sprintf("revision %d to be applied", revision), func() bool {
		return a.applied >= revision && a.fresh
	})
}

// errNoWord refuses what must not rest on what a master said to an earlier run.
var errNoWord = errors.New("no master has been heard since this agent started: look at the masters first")

// Reapply makes the kernel hold the tables again, whatever is thought to be in it.
func (a *Agent) Reapply(ctx context.Context) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	a.mu.Lock()
	tables, fresh := a.tables, a.fresh && a.applied > 0
	a.mu.Unlock()
	if !fresh {
		return errNoWord // the kernel holds what the last run put there, which is better than nothing
	}
	return a.Datapath.Apply(tables)
}

// apply makes the kernel hold newer tables. Nobody applies older ones after them.
func (a *Agent) apply(t compile.Tables) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	err := a.Datapath.Apply(t)
	a.mu.Lock()
	a.tables = t
	a.mu.Unlock()
	return err
}

// applyAgain has applyLoop apply the newest tables once more, and says why until it has. Before a master is heard there is nothing to
// apply: what is applied then is applied whole.
func (a *Agent) applyAgain(why error) {
	a.mu.Lock()
	if a.fresh {
		a.failed, a.again = why, true
	}
	a.mu.Unlock()
	a.worldChanged.notify()
}

// applyLoop applies each new World. Until one comes from a master nothing is applied: the kernel
// holds what the last run put there, which is as new as the snapshot and serves on.
func (a *Agent) applyLoop(ctx context.Context) error {
	noted := map[compile.Note]bool{}
	var memo compile.Memo
	for {
		next := a.worldChanged.next()
		a.mu.Lock()
		world, due := a.world, a.fresh && (a.world.Revision != a.applied || a.failed != nil)
		a.again = false
		a.mu.Unlock()
		var retry <-chan time.Time
		if due {
			tables := memo.For(world, a.Node.Name)
			a.makeOutside(tables)
			a.makeInfra(tables)
			err := a.apply(tables)
			a.openOutside(tables)
			a.forgetEarlier(tables)
			a.routeInfra()
			if err != nil {
				a.Log.Error("the data path does not hold the newest World; trying again", "revision", world.Revision, "error", err)
				retry = time.After(applyRetry)
			}
			a.mu.Lock()
			if err != nil || !a.again { // or this turn came too early for what asks for another
				a.failed = err
			}
			if err == nil {
				a.applied = world.Revision
			}
			a.mu.Unlock()
			a.appliedChanged.notify()
			noted = a.logNotes(noted, tables.Notes)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-retry:
		}
	}
}

// logNotes says each note once, when it appears.
func (a *Agent) logNotes(before map[compile.Note]bool, notes []compile.Note) map[compile.Note]bool {
	now := make(map[compile.Note]bool, len(notes))
	for _, n := range notes {
		now[n] = true
		if !before[n] {
			a.Log.Warn(n.Text, "kind", n.Object.Kind, "key", n.Object.Key)
		}
	}
	return now
}
