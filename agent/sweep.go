// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// verb is what a sweep does about a leftover.
type verb string

const (
	verbForget verb = "forget" // the endpoint's container is gone: delete it at the master and here
	verbPut    verb = "put"    // the endpoint lives and the masters do not have it: put it there again
	verbDrop   verb = "drop"   // announced by the runtime and never attached: drop the record
	verbAwait  verb = "await"  // it looks left over; it may be one that is being started
)

// action is one leftover and what is to be done.
type action struct {
	verb     verb
	id       string
	endpoint model.Endpoint // for verbPut
	reason   string
}

func (x action) String() string { return fmt.Sprintf("endpoint %s: %s", short(x.id), x.reason) }

func short(id string) string { return id[:min(len(id), 12)] }

// evidence is what a node's three witnesses say: the World, the kernel, and the container engine.
type evidence struct {
	node      string
	world     model.World
	ports     []netdev.Port
	records   map[string]record
	busy      map[string]bool // being attached or detached right now
	detached  map[string]bool // gone, and the masters will be told
	live      map[string]bool // what the engine has
	liveKnown bool
	suspects  map[string]time.Time // since when
	patience  time.Duration        // how long one may be a suspect
	now       time.Time
}

// preparedFor is how long an announced endpoint may wait for its container.
const preparedFor = 5 * time.Minute

// leftovers compares the witnesses. It is pure, and its result is in the order of ids.
func leftovers(ev evidence) []action {
	subjects := map[string]*netdev.Port{}
	for id, rec := range ev.records {
		if rec.Endpoint.ID == id {
			subjects[id] = nil
		}
	}
	for id, e := range ev.world.Endpoints.All() {
		if e.Node == ev.node && e.Runtime != model.RuntimeNode { // those are infra's
			subjects[id] = nil
		}
	}
	for _, p := range ev.ports {
		if p.Endpoint != "" {
			subjects[p.Endpoint] = &p
		}
	}
	var out []action
	for id, port := range subjects {
		if ev.busy[id] {
			continue
		}
		if x, ok := ev.judge(id, port); ok {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b action) int { return cmp.Compare(a.id, b.id) })
	return out
}

// judge says what is wrong with one endpoint. port is nil where the kernel has none.
func (ev evidence) judge(id string, port *netdev.Port) (action, bool) {
	e, inWorld := ev.world.Endpoints.Get(id)
	inWorld = inWorld && e.Node == ev.node
	rec, recorded := ev.records[id]
	x := action{id: id}
	say := func(v verb, reason string) (action, bool) {
		x.verb, x.reason = v, reason
		return x, true
	}
	suspect := func(reason string) (action, bool) {
		if since, ok := ev.suspects[id]; !ok || ev.now.Sub(since) < ev.patience {
			return say(verbAwait, reason)
		}
		return say(verbForget, reason)
	}
	switch {
	case port == nil && inWorld && !ev.detached[id]:
		return say(verbForget, "the masters have it and its network device is gone: its container is too")
	case port == nil && recorded && rec.Endpoint.Port != "" && !inWorld:
		return say(verbDrop, "its network device is gone: its container is too")
	case port == nil && recorded && !inWorld && ev.now.Sub(rec.Since) > preparedFor:
		return say(verbDrop, "its runtime announced it and never attached it")
	case port == nil:
		return x, false
	case ev.detached[id]:
		return say(verbForget, "it was detached and its network device is still there")
	case port.Home:
		return suspect("its network device is in no container")
	case !recorded && !inWorld:
		return suspect("nobody knows its network device")
	case ev.liveKnown && recorded && rec.Endpoint.Runtime == "docker" && !ev.live[id]:
		return suspect("the container engine does not have it")
	case recorded && rec.Endpoint.Port == "":
		return suspect("its network device was made and never came into use")
	case !inWorld:
		x.endpoint = rec.Endpoint
		x.endpoint.Port = port.Name
		return say(verbPut, "it lives and the masters do not have it")
	}
	return x, false
}

// Leftovers tells, in words, where intent, kernel and engine differ about this node's endpoints.
func (a *Agent) Leftovers(ctx context.Context) ([]string, error) {
	ev, err := a.evidence(a.live(ctx))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, x := range leftovers(ev) {
		out = append(out, x.String())
	}
	return out, nil
}

// clearTimeout is how long a master may take for one leftover.
const clearTimeout = 5 * time.Second

// Sweep looks for leftovers and clears them.
func (a *Agent) Sweep(ctx context.Context) error {
	_, err := a.sweep(ctx, a.Patience)
	return err
}

// repairPatience is how long Repair leaves a suspect alone: longer than a healthy engine takes to start a container.
const repairPatience = 3 * time.Second

// Repair sweeps for somebody who does not want to wait until suspects have been looked at for long.
func (a *Agent) Repair(ctx context.Context) error {
	patience := min(a.Patience, repairPatience)
	suspects, err := a.sweep(ctx, patience)
	if err != nil || suspects == 0 {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
	}
	_, err = a.sweep(ctx, patience)
	return err
}

// sweep clears what is left over and counts what may be.
func (a *Agent) sweep(ctx context.Context, patience time.Duration) (suspects int, err error) {
	if !a.Fresh() {
		return 0, errNoWord // what is missing in an old World may be new
	}
	live := a.live(ctx)
	ev, err := a.evidence(live)
	if err != nil {
		return 0, err
	}
	ev.patience = patience
	found := leftovers(ev)
	a.suspect(found)
	var failed error
	away := false // no master answers
	for _, x := range found {
		if x.verb == verbAwait {
			suspects++
			continue
		}
		err := a.clear(ctx, x, live, patience, away)
		away = away || unreachable(err)
		failed = errors.Join(failed, err)
	}
	return suspects, failed
}

// suspect notes since when something has looked left over, and forgets what does not any more. What is about to be cleared
// stays a suspect for as long as nobody works on it.
func (a *Agent) suspect(found []action) {
	now := time.Now()
	still := map[string]bool{}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range found {
		still[x.id] = true
		if _, ok := a.suspects[x.id]; !ok && x.verb == verbAwait {
			a.suspects[x.id] = now
		}
	}
	maps.DeleteFunc(a.suspects, func(id string, _ time.Time) bool { return !still[id] })
}

// witness is what the engine says.
type witness struct {
	ids   map[string]bool
	known bool
}

// live asks the engine, where it has any endpoints: it costs a question a network.
func (a *Agent) live(ctx context.Context) (w witness) {
	asked := a.Live != nil && slices.ContainsFunc(a.Attached(), func(e model.Endpoint) bool { return e.Runtime == "docker" })
	if asked {
		w.ids, w.known = a.Live(ctx)
	}
	return w
}

// evidence gathers what the node's witnesses say. The World is taken before the kernel's devices: a device is made before its
// endpoint is put and removed after it is noted as detached, so an endpoint of this World without one is stale.
func (a *Agent) evidence(live witness) (evidence, error) {
	ev := evidence{
		node: a.Node.Name, patience: a.Patience, busy: map[string]bool{}, detached: map[string]bool{},
		live: live.ids, liveKnown: live.known,
	}
	a.mu.Lock()
	ev.world, ev.suspects = a.world, maps.Clone(a.suspects)
	for id := range a.busy {
		ev.busy[id] = true
	}
	a.mu.Unlock()
	var err error
	if ev.ports, err = netdev.Ports(); err != nil {
		return ev, err
	}
	ev.records = a.records.list()
	for _, id := range a.detached.list() {
		ev.detached[id] = true
	}
	ev.now = time.Now()
	return ev, nil
}

// clear does what is to be done about one leftover, if that is still so: since the look a runtime may have detached it, or
// attached it anew. Where no master answers, what is to be told is left to the flush.
func (a *Agent) clear(ctx context.Context, x action, live witness, patience time.Duration, away bool) error {
	free, idle := a.occupyIdle(x.id)
	if !idle {
		return nil
	}
	defer free()
	ev, err := a.evidence(live)
	if err != nil {
		return err
	}
	ev.patience = patience
	x, same := ev.again(x)
	if !same {
		return nil
	}
	if x.verb != verbPut {
		a.Log.Info("clearing up", "endpoint", short(x.id), "do", string(x.verb), "because", x.reason)
	}
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	switch x.verb {
	case verbForget:
		if err := a.detached.add(x.id); err != nil {
			return err
		}
		if err := a.forgetLocally(x.id); err != nil {
			return err
		}
		if away {
			return nil
		}
		return a.tell(ctx, x.id)
	case verbDrop:
		return a.forgetLocally(x.id)
	case verbPut:
		if away {
			return nil
		}
		if _, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, x.id), api.EndpointOf(x.endpoint), nil); err != nil {
			return fmt.Errorf("put endpoint %s again: %w", short(x.id), err)
		}
		a.Log.Info("an endpoint that lives and that the masters had lost is known again", "endpoint", short(x.id))
	}
	return nil
}

// again judges x once more, now that nobody else works on it.
func (ev evidence) again(x action) (action, bool) {
	delete(ev.busy, x.id) // that is us
	for _, y := range leftovers(ev) {
		if y.id == x.id {
			return y, y.verb == x.verb
		}
	}
	return x, false
}

// sweepLoop sweeps at the first World of a master, whenever one sends the whole World again, and now and then.
func (a *Agent) sweepLoop(ctx context.Context) error {
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	trouble := "" // that was told
	for swept := false; ; {
		if a.Fresh() {
			now := ""
			if err := a.Sweep(ctx); err != nil {
				now = err.Error()
			}
			if now != "" && now != trouble && ctx.Err() == nil {
				a.Log.Warn("not everything that is left over could be cleared; it is tried again", "error", now)
			}
			trouble = now
			if !swept {
				swept = true
				close(a.swept)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.sweepNow:
		case <-tick.C:
		}
	}
}
