// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/contivnet/contiv/compile"
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

// lackedRoutes says of which family the node has no default route though there are services of Kubernetes, which have virtual addresses.
func lackedRoutes(services []compile.Entrance, find func(v6 bool) (netdev.WaysOut, error)) (out []string) {
	if len(services) == 0 {
		return nil
	}
	ways, err := find(true)
	if err != nil {
		return []string{fmt.Sprintf("this node's default routes cannot be read: %v", err)}
	}
	is6 := func(e compile.Entrance) bool { return e.Addr.Is6() }
	for _, family := range []struct {
		name        string
		there, used bool
	}{
		{"IPv4", ways.Default4, slices.ContainsFunc(services, func(e compile.Entrance) bool { return !is6(e) })}, {"IPv6", ways.Default6, slices.ContainsFunc(services, is6)},
	} {
		if family.used && !family.there {
			out = append(out, fmt.Sprintf("this node has no %s default route, so its own programs send nothing to the virtual addresses of services of Kubernetes: add one, to whatever router", family.name))
		}
	}
	return out
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
