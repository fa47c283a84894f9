// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/netdev"
)

// Sandbox is a container's network namespace and this node's endpoints in it.
type Sandbox struct {
	Path      string
	Endpoints []string // ids, sorted
}

// Sandboxes are those that exist by now, by path.
func (a *Agent) Sandboxes() []Sandbox {
	in := map[string][]string{}
	for id, rec := range a.records.list() {
		if rec.Sandbox != "" && rec.Endpoint.Port != "" {
			in[rec.Sandbox] = append(in[rec.Sandbox], id)
		}
	}
	var out []Sandbox
	for path, ids := range in {
		if netdev.IsNamespace(path) {
			slices.Sort(ids)
			out = append(out, Sandbox{path, ids})
		}
	}
	slices.SortFunc(out, func(a, b Sandbox) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// SandboxesChanged is closed when Sandboxes may have changed.
func (a *Agent) SandboxesChanged() <-chan struct{} { return a.sandboxChanged.next() }

// deviceTimeout is how long a runtime may take from asking for a device to having it in the container.
const deviceTimeout = time.Minute

// sandboxLoop gives containers the routes to the other networks of their tenant, and follows changes of them.
func (a *Agent) sandboxLoop(ctx context.Context) error {
	type given struct {
		port   int
		routes []netip.Prefix
	}
	have := map[string]given{}      // by endpoint
	waiting := map[string]int{}     // endpoints whose device is awaited, with their port's index
	arrived := make(chan string, 8) // endpoints whose device is there
	for {
		nextSandbox, nextApplied := a.sandboxChanged.next(), a.appliedChanged.next()
		routes := map[string][]netip.Prefix{}
		for _, p := range a.Tables().Ports {
			routes[p.Endpoint] = p.Routes
		}
		index := map[string]int{}
		ports, err := netdev.Ports()
		if err != nil {
			a.Log.Warn("containers' routes are not looked after now", "error", err)
		}
		for _, p := range ports {
			index[p.Endpoint] = p.Index
		}
		records := a.records.list()
		for id := range have {
			if _, ok := records[id]; !ok {
				delete(have, id)
			}
		}
		for id, rec := range records {
			port, ok := index[id]
			want, compiled := routes[id]
			if !ok || !compiled || rec.Sandbox == "" || waiting[id] == port {
				continue
			}
			old, known := have[id]
			switch {
			case known && old.port == port && slices.Equal(old.routes, want):
			case known && old.port == port:
				if err := netdev.SetRoutes(rec.Sandbox, port, want); err != nil && !netdev.Gone(err) {
					a.Log.Warn("a container does not have its routes", "endpoint", short(id), "error", err)
					continue
				}
				have[id] = given{port, want}
			default:
				waiting[id] = port
				go func() {
					wait, cancel := context.WithTimeout(ctx, deviceTimeout)
					defer cancel()
					err := netdev.WaitForDevice(wait, rec.Sandbox, port)
					if err == nil {
						err = netdev.SetRoutes(rec.Sandbox, port, want)
					}
					if err != nil && ctx.Err() == nil {
						a.Log.Debug("a container did not take its device", "endpoint", short(id), "error", err)
					}
					a.sandboxChanged.notify() // its namespace is there: names can be served in it
					select {
					case arrived <- id:
					case <-ctx.Done():
					}
				}()
				have[id] = given{port, want}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case id := <-arrived:
			delete(waiting, id)
		case <-nextSandbox:
		case <-nextApplied:
		}
	}
}
