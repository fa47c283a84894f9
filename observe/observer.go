// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// every is how often the data path's ring is emptied.
const every = 250 * time.Millisecond

// spare is room in the ring for lines that say what was lost, so that a full reading does not push them out at once.
const spare = 64

// Options are what an Observer looks at. All are needed.
type Options struct {
	Node   string // its name
	Source Source
	// Names gives the World and the Tables that the kernel holds, or is about to.
	Names func() (model.World, compile.Tables)
	// Applied is the revision that the kernel holds.
	Applied func() int64
	// BGP is what has become of the node's sessions with its routers.
	BGP func() api.BGPOper
	// Route is a route of the node's own that overlaps a prefix; ok is false where there is none.
	Route func(into netip.Prefix) (to netip.Prefix, device string, ok bool, err error)
	Log   *slog.Logger
}

// Observer keeps the newest flows of a node. Run it; the other methods may be called from any goroutine.
type Observer struct {
	Options
	ring *ring
	lost atomic.Uint64
	done chan struct{} // closed when Run ends
}

// New makes an Observer that has seen nothing yet.
func New(o Options) *Observer {
	return &Observer{Options: o, ring: newRing(api.MaxLastFlows + spare), done: make(chan struct{})}
}

// Run takes what the data path has seen out of its ring until ctx ends. Call it once.
func (o *Observer) Run(ctx context.Context) error {
	defer close(o.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	var failed error
	_, before := o.Names()
	for {
		events, lost, err := o.Source.Events()
		if err != nil && failed == nil { // once, not four times a second
			o.Log.Warn("connections cannot be told", "error", err)
		}
		failed = err
		world, tables := o.Names()
		o.keep(naming{world: world, tables: tables, before: before}, events, lost)
		before = tables
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// keep names events and puts them into the ring.
func (o *Observer) keep(n naming, events []Event, lost uint64) {
	lines := make([]api.FlowLine, 0, len(events)+1)
	if lost > 0 { // what came first was kept, but nobody knows where the gap is
		o.lost.Add(lost)
		lines = append(lines, api.FlowLine{Lost: &api.Lost{Node: o.Node, Flows: lost, Why: "more came at once than the node's ring holds"}})
	}
	for _, e := range events {
		f := n.flow(e)
		f.Node = o.Node
		lines = append(lines, api.FlowLine{Flow: &f})
	}
	o.ring.add(lines)
}
