// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// Datapath is what the agent needs of package datapath.
type Datapath interface {
	// Attach has the packets of the port's container pass the data path. Attaching again succeeds.
	Attach(port string) error
	// Detach forgets the port. The device may be gone already.
	Detach(port string) error
	// AttachOutside has what the node sends to its end of the way to the outside pass the data path. Attaching again succeeds.
	AttachOutside() error
	// Apply makes the kernel hold the tables.
	Apply(compile.Tables) error
}

// Options say which node this is and what it works with.
type Options struct {
	Node     model.Node
	Client   *api.Client
	Datapath Datapath
	MTU      int    // bytes, of containers' interfaces in VXLAN networks
	VLANMTU  int    // bytes, of those in VLANs; 0: this node has no uplink for them
	Underlay string // the device that carries tunnels
	RunDir   string // for what goes at a reboot, as /run/contiv/netplugin
	StateDir string // for what stays, as /var/lib/contiv/netplugin
	// Live gives the ids of the endpoints that the container engine has; false when it cannot be asked.
	// nil where there is no engine.
	Live func(context.Context) (map[string]bool, bool)
	// KubeProxy tells that a kube-proxy on this node carries what the node's processes and the outside send to services of Kubernetes. Else the
	// agent does. What containers send to their addresses is the data path's in any case.
	KubeProxy bool
	// SweepEvery is how often leftovers are looked for, Patience how long a suspect is left alone. A
	// container that is being started looks like a leftover for as long as its engine takes.
	SweepEvery, Patience time.Duration
	Log                  *slog.Logger
}

// Agent is a node's. Make one with New and Run it; the other methods may be called from any goroutine.
type Agent struct {
	Options
	records   records
	detached  detached
	outside   outside
	infra     infra
	datagrams datagrams
	held      held
	tracked   compile.Outside // of which connection tracking has been gone through; applyLoop's
	swept     chan struct{}   // closed after the first sweep of a fresh World
	ready     chan struct{}

	applying sync.Mutex // held while tables are applied; taken before mu

	mu       sync.Mutex
	world    model.World
	fresh    bool  // the World came from a master, not from the snapshot
	applied  int64 // the revision that the kernel holds
	failed   error // why the newest World is not applied
	again    bool  // it is to be applied once more, for what applyLoop may not have seen
	tables   compile.Tables
	ports    map[string]string    // name of each port in use, or about to be → endpoint
	gone     map[string]string    // name of each that was, and of which the node may still track connections → endpoint
	found    map[string]string    // ports that were there when this run began, until what others left has been forgotten
	busy     map[string]chan bool // endpoints that are being attached or detached
	suspects map[string]time.Time // leftovers, since when
	newborn  map[string]bool      // endpoints whose device was made in its container, and has no routes yet
	bare     map[string]bool      // endpoints that are attached and whose container gets its device next, by Equip

	worldChanged   broadcast
	goneChanged    broadcast // ports that are gone, or what a master has been told of them
	appliedChanged broadcast
	sandboxChanged broadcast
	// providersChanged says that containers or their labels have come or gone.
	providersChanged broadcast
	sweepNow         chan struct{}
	flushNow         chan struct{}
	appearNow        chan struct{}
}

// New makes the node's agent from what the last run left on disk.
func New(o Options) (*Agent, error) {
	if err := o.Node.Check(); err != nil {
		return nil, err
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 30 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	a := &Agent{
		Options: o, swept: make(chan struct{}), ready: make(chan struct{}), ports: map[string]string{}, gone: map[string]string{}, busy: map[string]chan bool{},
		suspects: map[string]time.Time{}, bare: map[string]bool{}, newborn: map[string]bool{}, sweepNow: make(chan struct{}, 1), flushNow: make(chan struct{}, 1),
		appearNow: make(chan struct{}, 1),
	}
	var err error
	if a.records, err = openRecords(filepath.Join(o.RunDir, "endpoints")); err != nil {
		return nil, err
	}
	if a.detached, err = openDetached(filepath.Join(o.StateDir, "detached")); err != nil {
		return nil, err
	}
	if err := a.notePorts(); err != nil {
		return nil, err
	}
	a.found = maps.Clone(a.ports)
	a.held.all = map[string][]hold{}
	a.holdPublished()
	if a.world, err = loadSnapshot(o.StateDir); err != nil {
		// It only serves while no master does, so a bad one is no reason to stop.
		o.Log.Warn("the snapshot of the last World cannot be used", "error", err)
	}
	a.tables = compile.For(a.world, o.Node.Name)
	for id, rec := range a.records.list() {
		a.noteGone(rec.Endpoint.Port, id)
	}
	a.notePortsGone(a.tables)
	a.outside.end, a.outside.tables = a.tables.Outside, a.tables
	a.datagrams.begin(a.firewall(a.tables, nil).Entrances)
	return a, nil
}

// Run works until ctx ends. It fails at once only for what waiting cannot mend, such as another live
// node with this one's name.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context) error{
		a.follow, a.applyLoop, a.sweepLoop, a.flushLoop, a.presenceLoop, a.snapshotLoop, a.sandboxLoop,
		a.healthLoop, a.limitLoop, a.readyLoop, a.outsideLoop, a.datagramsLoop, a.trackedLoop, a.infraLoop, a.healthPortLoop,
	} {
		wg.Go(func() {
			if err := loop(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// NodeName is this node's name.
func (a *Agent) NodeName() string { return a.Node.Name }

// Masters is the client that the agent uses.
func (a *Agent) Masters() *api.Client { return a.Client }

// Ready is closed when this node has heard a master, is known to it, holds what it should, and has been swept once.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// wait blocks until ok holds. changed must be notified whenever it may have come to hold.
func (a *Agent) wait(ctx context.Context, changed *broadcast, what string, ok func() bool) error {
	for {
		next := changed.next()
		a.mu.Lock()
		done := ok()
		a.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		case <-next:
		}
	}
}

// readyLoop closes ready. Later Worlds that cannot be applied do not open it again.
func (a *Agent) readyLoop(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.swept:
	}
	err := a.wait(ctx, &a.appliedChanged, "the node to hold what it should", func() bool {
		_, known := a.world.Nodes.Get(a.Node.Name)
		return a.fresh && a.applied > 0 && a.failed == nil && known
	})
	if err == nil {
		close(a.ready)
	}
	return nil // it ends with ctx
}

// nudge wakes a loop without waiting for it.
func nudge(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is about to wake already
	}
}
