// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"

	"github.com/contivnet/contiv/model"
)

// World is the newest that this node has seen.
func (a *Agent) World() model.World {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.world
}

// Changed is closed when the World changes. Take it before the World that it is about.
func (a *Agent) Changed() <-chan struct{} { return a.worldChanged.next() }

// Fresh tells whether the World came from a master in this run, not from the disk.
func (a *Agent) Fresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fresh
}

// WaitWorld returns when this node has seen the revision.
func (a *Agent) WaitWorld(ctx context.Context, revision int64) error {
	return a.wait(ctx, &a.worldChanged, fmt.Sprintf("revision %d to arrive", revision), func() bool {
		return a.fresh && a.world.Revision >= revision
	})
}

// follow keeps the World up to date. It begins with the whole of it: after a restart the store may be another.
func (a *Agent) follow(ctx context.Context) error {
	down := false
	trouble := func(err error) {
		switch {
		case err != nil && !down:
			down = true
			a.Log.Warn("the masters are not followed; containers go on with what this node holds", "error", err)
		case err == nil && down:
			down = false
			a.Log.Info("a master is followed again")
		}
		if err == nil {
			nudge(a.flushNow)
		}
	}
	return a.Client.Follow(ctx, 0, func(c model.Change) error {
		a.mu.Lock()
		a.world = a.world.With(c)
		a.fresh = true
		a.mu.Unlock()
		a.worldChanged.notify()
		if c.Reset {
			nudge(a.sweepNow)
		}
		return nil
	}, trouble)
}
