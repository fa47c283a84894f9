// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
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

// errHollow says why a World is not believed.
var errHollow = errors.New("the masters have no network at all, but containers run here in some: their store was lost, or they are another cluster's. " +
	"The containers go on with what this node holds; restore the store, or remove the containers")

// hollow tells whether a World that came whole cannot be true: a network does not go while containers are in it. Applied, it
// would cut all of them off. What was heard before in this run is no help where it had no network either; the snapshot is
// none at all, as it may be older than a container's network.
func (a *Agent) hollow(w model.World) bool {
	if w.Networks.Len() > 0 || a.Fresh() && a.World().Networks.Len() == 0 {
		return false
	}
	for id, rec := range a.records.list() {
		if rec.Endpoint.Port == "" {
			continue
		}
		if p, there, err := netdev.PortNamed(rec.Endpoint.Port); err == nil && there && p.Endpoint == id && !p.Home {
			return true
		}
	}
	return false
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
	var heard model.World // what the masters say, believed or not
	whole, doubted := false, false
	return a.Client.Follow(ctx, 0, func(c model.Change) error {
		whole = whole || c.Reset
		if !whole {
			return nil // it is no difference to anything that was heard in this run
		}
		placed := a.placed(heard)
		heard = heard.With(c)
		if (c.Reset || doubted) && a.hollow(heard) {
			if !doubted {
				a.Log.Error(errHollow.Error())
			}
			doubted = true
			a.mu.Lock()
			a.fresh, a.failed = false, errHollow
			a.mu.Unlock()
			return nil
		}
		a.mu.Lock()
		a.world, a.fresh = heard, true
		if c.Reset || doubted {
			a.applied = 0 // revisions of another store are not comparable
		}
		a.mu.Unlock()
		a.worldChanged.notify()
		if placed && !a.placed(heard) {
			nudge(a.appearNow)
		}
		if c.Reset || doubted {
			nudge(a.sweepNow)
		}
		doubted = false
		return nil
	}, trouble)
}
