// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

const (
	// routesGather is how long changes of routes are gathered: a router tells many at once.
	routesGather = 50 * time.Millisecond
	// routesAgain is the pause after something failed, routesLook how often the routes are read anyway.
	routesAgain = time.Second
	routesLook  = 30 * time.Second
)

// followRoutes has the data path send by the routes that the node has learnt, those of routing table netdev.BGPTable. Until the first
// reading, and while it fails, the data path goes on with those that it has.
func followRoutes(ctx context.Context, set func([]datapath.Route) error, log *slog.Logger) error {
	nudge := make(chan struct{}, 1)
	watching := make(chan error, 1)
	go func() {
		watching <- netdev.Watch(ctx, func() {
			select {
			case nudge <- struct{}{}:
			default: // a reading is due already
			}
		})
	}()
	failing := ""
	for {
		routes, err := learntRoutes()
		if err == nil {
			err = set(routes)
		}
		pause := routesLook
		switch {
		case err == nil:
			failing = ""
		default:
			pause = routesAgain
			if err.Error() != failing {
				failing = err.Error()
				log.Error("the data path does not have the routes that were learnt; trying again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-watching:
			if ctx.Err() == nil {
				log.Warn("changes of routes are seen late", "error", err)
				watching = nil
			}
		case <-nudge:
		case <-time.After(pause):
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(routesGather):
		}
	}
}

func learntRoutes() ([]datapath.Route, error) {
	learnt, err := netdev.BGPRoutes()
	if err != nil {
		return nil, err
	}
	out := make([]datapath.Route, 0, len(learnt))
	for _, r := range learnt {
		out = append(out, datapath.Route{Prefix: r.Prefix, Via: r.Via, Device: r.Device})
	}
	return out, nil
}
