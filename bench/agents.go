// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// writeEvery is the distance between two endpoints that agents are told of.
const writeEvery = 100 * time.Millisecond

// arrivals are when each agent got each endpoint.
type arrivals struct {
	mu   sync.Mutex
	seen map[string][]time.Time
}

func (a *arrivals) note(id string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen[id] = append(a.seen[id], now)
}

func (a *arrivals) count(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.seen[id])
}

// agents is a process's whole life: it follows a master as so many agents do, each on a connection of its own, while
// endpoints are created, and prints a watchResult.
func agents(arguments []string) error {
	l, err := parseLoad("agents", arguments)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(l.secs*float64(time.Second))+2*time.Minute)
	defer cancel()
	write, err := l.writer()
	if err != nil {
		return err
	}
	// They begin after this write, so none is sent the whole World: what is measured is the way of a change.
	c, err := api.NewClient(l.to)
	if err != nil {
		return err
	}
	first := newNames()
	from, err := c.Put(ctx, api.ObjectPath(api.Endpoints, first.id), first.asked(), nil)
	if err != nil {
		return err
	}
	seen := &arrivals{seen: map[string][]time.Time{}}
	var connected atomic.Int64
	var troubles atomic.Pointer[error]
	for range l.clients {
		c, err := api.NewClient(l.to)
		if err != nil {
			return err
		}
		go func() {
			_ = c.Follow(ctx, from, func(ch model.Change) error { // ends with ctx
				for _, o := range ch.Put {
					if e, ok := o.(model.Endpoint); ok && !ch.Reset {
						seen.note(e.ID)
					}
				}
				return nil
			}, func(err error) {
				if err == nil {
					connected.Add(1)
				} else {
					troubles.Store(&err)
				}
			})
		}()
	}
	if err := eventually(ctx, func() bool { return int(connected.Load()) == l.clients }); err != nil {
		return fmt.Errorf("connect %d agents: %w", l.clients, err)
	}
	type written struct {
		id   string
		when time.Time
	}
	var writes []written
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for end := time.Now().Add(time.Duration(l.secs * float64(time.Second))); time.Now().Before(end); <-tick.C {
		n := newNames()
		if err := write(ctx, n); err != nil {
			return err
		}
		writes = append(writes, written{n.id, time.Now()})
	}
	for _, w := range writes {
		if err := eventually(ctx, func() bool { return seen.count(w.id) >= l.clients }); err != nil {
			return fmt.Errorf("endpoint %s reached %d of %d agents: %w", w.id, seen.count(w.id), l.clients, err)
		}
	}
	if err := troubles.Load(); err != nil {
		return *err
	}
	var took []float64
	for _, w := range writes {
		for _, at := range seen.seen[w.id] {
			took = append(took, max(0, float64(at.Sub(w.when))/1e6))
		}
	}
	return json.NewEncoder(os.Stdout).Encode(watchResult{
		Agents: l.clients, Writes: len(writes), P50: quantile(took, 0.5), P99: quantile(took, 0.99), Max: quantile(took, 1),
	})
}

// eventually waits for a condition.
func eventually(ctx context.Context, ok func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("not in time")
		}
	}
	return nil
}
