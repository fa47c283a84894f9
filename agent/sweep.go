// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	port     string
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
	patience  time.Duration
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
		if e.Node == ev.node {
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
	x := action{id: id, port: e.Port}
	if port != nil {
		x.port = port.Name
	}
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
	found, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, x := range found {
		out = append(out, x.String())
	}
	return out, nil
}

// Sweep looks for leftovers and clears them now, suspects of any age included if impatient.
func (a *Agent) Sweep(ctx context.Context, impatient bool) error {
	found, err := a.look(ctx)
	if err != nil {
		return err
	}
	var failed error
	suspects := map[string]bool{}
	for _, x := range found {
		if x.verb == verbAwait && impatient {
			x.verb = verbForget
		}
		if x.verb == verbAwait {
			suspects[x.id] = true
			continue
		}
		a.Log.Info("clearing up", "endpoint", short(x.id), "do", string(x.verb), "because", x.reason)
		failed = errors.Join(failed, a.clear(ctx, x))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.suspects {
		if !suspects[id] {
			delete(a.suspects, id)
		}
	}
	for id := range suspects {
		if _, ok := a.suspects[id]; !ok {
			a.suspects[id] = time.Now()
		}
	}
	return failed
}

// look gathers the evidence. The World is taken before the kernel's devices: a device is made before its endpoint
// is put and removed after it is noted as detached, so an endpoint of this World without one is stale.
func (a *Agent) look(ctx context.Context) ([]action, error) {
	ev := evidence{node: a.Node.Name, patience: a.Patience, now: time.Now(), busy: map[string]bool{}, detached: map[string]bool{}, suspects: map[string]time.Time{}}
	a.mu.Lock()
	ev.world = a.world
	for id := range a.busy {
		ev.busy[id] = true
	}
	for id, since := range a.suspects {
		ev.suspects[id] = since
	}
	a.mu.Unlock()
	if a.Live != nil {
		ev.live, ev.liveKnown = a.Live(ctx)
	}
	var err error
	if ev.ports, err = netdev.Ports(); err != nil {
		return nil, err
	}
	ev.records = a.records.list()
	for _, id := range a.detached.list() {
		ev.detached[id] = true
	}
	return leftovers(ev), nil
}

func (a *Agent) clear(ctx context.Context, x action) error {
	free, err := a.occupy(ctx, x.id)
	if err != nil {
		return err
	}
	defer free()
	// Since the look a runtime may have attached it anew or detached it.
	again, err := a.stillSo(x)
	if err != nil || !again {
		return err
	}
	switch x.verb {
	case verbForget:
		if err := a.detached.add(x.id); err != nil {
			return err
		}
		if err := a.forgetLocally(x.id, x.port); err != nil {
			return err
		}
		return a.tell(ctx, x.id)
	case verbDrop:
		return a.forgetLocally(x.id, x.port)
	case verbPut:
		if _, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, x.id), api.EndpointOf(x.endpoint), nil); err != nil {
			return fmt.Errorf("put endpoint %s again: %w", short(x.id), err)
		}
	}
	return nil
}

// stillSo looks once more at the device of a leftover, now that nobody else works on it.
func (a *Agent) stillSo(x action) (bool, error) {
	ports, err := netdev.Ports()
	if err != nil {
		return false, err
	}
	for _, p := range ports {
		if p.Endpoint == x.id {
			return x.port == p.Name, nil
		}
	}
	_, inWorld := a.World().Endpoints.Get(x.id)
	return inWorld || x.verb != verbPut, nil
}

// sweepLoop sweeps at the first World of a master, whenever one sends the whole World again, and now and then.
func (a *Agent) sweepLoop(ctx context.Context) error {
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	for ready := false; ; {
		if a.Fresh() {
			if err := a.Sweep(ctx, false); err != nil && ctx.Err() == nil {
				a.Log.Warn("not everything that is left over could be cleared; it is tried again", "error", err)
			}
			if !ready && a.WaitApplied(ctx, a.World().Revision) == nil {
				ready = true
				close(a.ready)
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
