// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

const (
	// engineTimeout is how long the engine may take for one network.
	engineTimeout = 30 * time.Second
	// keepRetry is the pause before what failed is tried again: doubled each time, up to keepRetryMax.
	keepRetry, keepRetryMax = 250 * time.Millisecond, 5 * time.Second
	// settle is how long a network may be recorded and not shown by the engine: while it is being made.
	settle = time.Minute
)

// wake has the keeper look soon.
func (d *Driver) wake() {
	select {
	case d.nudge <- struct{}{}:
	default: // it is about to
	}
}

// keep makes the engine's networks those of the World, whenever either changes.
func (d *Driver) keep(ctx context.Context) {
	pause := keepRetry
	var last intent
	for due := true; ; {
		changed := d.Agent.Changed()
		now := intentOf(d.Agent.World())
		due = due || now != last
		var retry <-chan time.Time
		if due && d.Agent.Fresh() {
			if err := d.Reconcile(ctx); err != nil && ctx.Err() == nil {
				retry = time.After(pause)
				pause = min(2*pause, keepRetryMax)
			} else {
				pause = keepRetry
			}
			last, due = now, false
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-retry:
			due = true
		case <-d.nudge:
			due = true
		}
	}
}

// intent is what of the World the engine's networks follow from. Tables share their parts between revisions, so an equal
// one is unchanged.
type intent struct {
	networks model.Table[model.Network]
	groups   model.Table[model.Group]
}

func intentOf(w model.World) intent { return intent{w.Networks, w.Groups} }

// Differences tells, in words, how the engine's networks differ from the World's.
func (d *Driver) Differences(ctx context.Context) ([]string, error) {
	if !d.Agent.Fresh() {
		return nil, errors.New("compare the networks: no netmaster has been heard yet")
	}
	w := d.Agent.World()
	actions, err := d.look(ctx, w)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range actions {
		if a.verb != verbYield { // as it should be
			out = append(out, a.String())
		}
	}
	return out, nil
}

// Problems are what the keeper could not do the last time it tried, sorted.
func (d *Driver) Problems() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Values(d.problems))
}

// look reads the record before the engine: what is written down was in the engine, or is just coming.
func (d *Driver) look(ctx context.Context, w model.World) ([]action, error) {
	l, _ := d.record.read()
	call, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	have, err := d.Engine.networks(call)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	have = slices.DeleteFunc(have, func(n engineNetwork) bool { return time.Since(d.gone[n.ID]) < settle })
	maps.DeleteFunc(d.gone, func(_ string, since time.Time) bool { return time.Since(since) > settle })
	d.mu.Unlock()
	return slices.DeleteFunc(plan(w, have, l, d.name), func(a action) bool {
		return a.verb == verbForget && time.Since(l.Networks[a.id].Since) < settle
	}), nil
}

// Reconcile removes the differences now. An error says that some are left; Problems says which.
func (d *Driver) Reconcile(ctx context.Context) error {
	d.keeping.Lock()
	defer d.keeping.Unlock()
	w := d.Agent.World()
	actions, err := d.look(ctx, w)
	if err != nil {
		return err // what the problems were, they still are
	}
	problems, yields := map[string]string{}, map[string]string{}
	var failed error
	for _, a := range actions {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if a.verb == verbYield {
			yields[a.name] = a.String()
			continue
		}
		err := d.do(ctx, a)
		if isAway(err) {
			return err
		}
		if err != nil {
			problems[a.name+" "+a.key] = err.Error()
			if a.verb != verbBlock { // waiting does not help against those, and their end is an event
				failed = errors.Join(failed, err)
			}
		}
	}
	d.report(problems, yields)
	return errors.Join(failed, d.prune())
}

// prune drops pools that were asked for and never came into use: by an engine that was killed.
func (d *Driver) prune() error {
	return d.record.change(func(l *ledger) {
		maps.DeleteFunc(l.Pools, func(_ string, p pool) bool { return p.Network == "" && time.Since(p.Since) > settle })
	})
}

// report logs what is new, once.
func (d *Driver) report(problems, yields map[string]string) {
	d.mu.Lock()
	before, yielded := d.problems, d.yields
	d.problems, d.yields = problems, yields
	d.mu.Unlock()
	for _, text := range difference(before, problems) {
		d.Log.Error(text)
	}
	for _, text := range difference(yielded, yields) {
		d.Log.Warn(text)
	}
	for subject, text := range before {
		if _, still := problems[subject]; !still {
			d.Log.Info("this is no problem any more", "problem", text)
		}
	}
}

func (d *Driver) do(ctx context.Context, a action) error {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	switch a.verb {
	case verbCreate:
		return d.create(ctx, a)
	case verbRemove:
		return d.remove(ctx, a)
	case verbAdopt:
		return d.adopt(ctx, a)
	case verbNote:
		return d.note(a.id, a.intent.place)
	case verbForget:
		return d.forget(a.id)
	case verbDelete:
		return d.deleteLate(ctx, a)
	}
	return errors.New(a.String())
}

// note writes down that the engine's network is the World's.
func (d *Driver) note(id string, p place) error {
	return d.record.change(func(l *ledger) {
		k := knownOf(p)
		if old, ok := l.Networks[id]; ok {
			k.Asked, k.Since = old.Asked, old.Since
		}
		l.Networks[id] = k
	})
}

func (d *Driver) create(ctx context.Context, a action) error {
	d.mu.Lock()
	d.creating[a.key] = a.intent.place
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.creating, a.key)
		d.mu.Unlock()
	}()
	id, err := d.Engine.createNetwork(ctx, forEngine(a.intent, d.name))
	if err != nil {
		return fmt.Errorf("make Docker network %s: %w", a.name, err)
	}
	d.Log.Info("Docker network made", "name", a.name, "for", a.key, "id", short(id))
	return d.note(id, a.intent.place)
}

func (d *Driver) remove(ctx context.Context, a action) error {
	d.mu.Lock()
	d.removing[a.id] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.removing, a.id)
		d.mu.Unlock()
	}()
	if err := d.Engine.removeNetwork(ctx, a.id); err != nil {
		return fmt.Errorf("remove Docker network %s, which %s: %w", a.name, a.reason, err)
	}
	d.Log.Info("Docker network removed", "name", a.name, "id", short(a.id), "because", a.reason)
	return d.forget(a.id)
}

// adopt puts a user's network into the World. If a master refuses it, it is taken away again: the
// user has had the command's success already, and a network that no other node knows would be worse.
func (d *Driver) adopt(ctx context.Context, a action) error {
	var made api.Network
	revision, err := d.Agent.Masters().Put(ctx, api.ObjectPath(api.Networks, a.key), a.asked, &made)
	var refusal *api.Error
	switch {
	case noMaster(err):
		return fmt.Errorf("Docker network %s is not in the cluster yet: %w", a.name, err)
	case errors.As(err, &refusal):
		l, _ := d.record.read()
		if _, seen := l.Networks[a.id]; !seen {
			return fmt.Errorf("Docker network %s is not in the cluster: %w", a.name, err)
		}
		d.Log.Error("a network that was made with docker network create is refused, and removed again", "name", a.name, "error", err)
		a.reason = "is refused: " + refusal.Text
		return d.remove(ctx, a)
	case err != nil:
		return fmt.Errorf("put Docker network %s into the cluster: %w", a.name, err)
	}
	if err := d.Agent.WaitWorld(ctx, revision); err != nil {
		return fmt.Errorf("put Docker network %s into the cluster: %w", a.name, err)
	}
	n, ok := d.Agent.World().Networks.Get(a.key)
	if !ok {
		return fmt.Errorf("Docker network %s was removed from the cluster while it was made", a.name)
	}
	d.Log.Info("a network that was made with docker network create is in the cluster", "name", a.name, "network", a.key, "id", short(a.id))
	return d.note(a.id, place{network: n})
}

// deleteLate deletes what a user removed while no master answered. A refusal ends it: the network is made again.
func (d *Driver) deleteLate(ctx context.Context, a action) error {
	if a.name != "" {
		_, err := d.Agent.Masters().Delete(ctx, api.ObjectPath(api.Networks, a.key))
		if noMaster(err) {
			return fmt.Errorf("remove network %s: %w", a.key, err)
		}
		if err != nil {
			d.Log.Warn("a network that was removed with docker network rm is kept", "network", a.key, "error", err)
		}
	}
	return d.record.change(func(l *ledger) { delete(l.Removed, a.key) })
}
