// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// Options are what a master is made of.
type Options struct {
	Store   store.Store
	Log     *slog.Logger
	Version api.Version
	// Address is where other masters and agents reach this one, host:port, as /info tells it.
	Address string
	// NodeGC is how long a node may be silent before its endpoints are given up. 0: 24 hours.
	NodeGC time.Duration
	// ForwardMode is the cluster's until an operator changes it; it matters to the first master only. "": routing.
	ForwardMode string

	// Patience is how long a write waits for the store. 0: 4.5 s, so that a client has its answer within 5.
	Patience time.Duration
	// ApplyPatience is how long an apply may take, which may write thousands of objects at once. 0: 30 s.
	ApplyPatience time.Duration
	// Backlog is how many changes are kept for watchers that come back. 0: 4096.
	Backlog int
	// Sweep is how often nodes that were silent for NodeGC are looked for, and a third of how long
	// one must look given up before it is. 0: 10 s, which leaves a living one several pulses to say so.
	Sweep time.Duration
	// CutOff is how long the store may be out of reach before watchers are sent to another master. 0: 10 s.
	CutOff time.Duration
}

// Master is an http.Handler that serves the v1 API while Run runs.
type Master struct {
	Options
	ledger  *ledger
	contact contact
	wake    wake
	agents  *http.Client // asks nodes what they have seen
	routes  []route
	// turn is held by a write of tenants, networks, nodes or settings. Such writes are guarded on all of their kind, so
	// two at once in one master would only make each other start again.
	turn  chan struct{}
	long  atomic.Bool   // who has the turn may take longer than Patience, as an apply may
	ready chan struct{} // closed when the World is there, with its default tenant
	done  chan struct{} // closed when Run ends
}

// New makes a master. Nothing happens before Run.
func New(o Options) *Master {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.NodeGC, 24*time.Hour)
	set(&o.Patience, 4500*time.Millisecond)
	set(&o.ApplyPatience, api.ApplySeconds*time.Second)
	set(&o.Sweep, 10*time.Second)
	set(&o.CutOff, 10*time.Second)
	if o.Backlog == 0 {
		o.Backlog = 4096
	}
	if o.ForwardMode == "" {
		o.ForwardMode = model.ForwardRouting
	}
	m := &Master{
		Options: o, ledger: newLedger(o.Backlog), agents: agentsClient(),
		turn: make(chan struct{}, 1), ready: make(chan struct{}), done: make(chan struct{}),
	}
	m.routes = m.allRoutes()
	return m
}

// Ready is closed when the master can serve.
func (m *Master) Ready() <-chan struct{} { return m.ready }

// Run follows the store and clears up after lost nodes, until ctx ends. Call it once.
func (m *Master) Run(ctx context.Context) error {
	defer close(m.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan error, 1)
	go func() { followed <- m.Store.Follow(ctx, m.ledger.apply) }()
	err := m.begin(ctx)
	if err == nil {
		m.contact.made()
		close(m.ready)
		var asking sync.WaitGroup
		asking.Go(func() { m.keepContact(ctx) })
		asking.Go(func() { m.stayAwake(ctx) })
		m.sweepLoop(ctx)
		asking.Wait()
	}
	cancel()
	if e := <-followed; err == nil && ctx.Err() == nil {
		err = e
	}
	return err
}

// begin waits for the World and makes what exists from the start. It ends early only with ctx.
func (m *Master) begin(ctx context.Context) error {
	if _, err := m.ledger.wait(ctx, 1); err != nil {
		return nil // told to stop
	}
	for {
		_, err := m.transact(ctx, func(p *plan) error {
			if !p.world().HasGlobal() {
				g := model.DefaultGlobal()
				g.ForwardMode = m.ForwardMode
				if err := g.Check(); err != nil {
					return err
				}
				p.absent(g)
				p.put(g)
			}
			if _, ok := p.world().Tenants.Get(model.DefaultTenant); !ok {
				return p.createTenant(model.Tenant{Name: model.DefaultTenant})
			}
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return nil
		case api.ErrorOf(err).Status != http.StatusServiceUnavailable:
			return fmt.Errorf("make the default tenant and settings: %w", err)
		}
		m.Log.Warn("cannot begin yet; trying on", "error", err)
	}
}

// behindLong is how long a write waits for its turn while one has it that may take long. A client that knows no other master waits
// longer.
const behindLong = 10 * time.Second

// take waits for the turn of writes that exclude each other. Give it back by calling the result.
func (m *Master) take(ctx context.Context, patience time.Duration) (back func(), err error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for waited := patience; ; waited = behindLong {
		select {
		case m.turn <- struct{}{}:
			m.long.Store(patience > m.Patience)
			return func() { <-m.turn }, nil
		case <-ctx.Done():
			return nil, errBusy
		case <-late.C:
		}
		if waited >= behindLong || !m.long.Load() {
			return nil, errBusy
		}
		late.Reset(behindLong - waited)
	}
}
