// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Sandbox is a container's network namespace and this node's endpoints in it.
type Sandbox struct {
	Path      string
	Endpoints []string // ids, sorted
	Ports     []string // theirs, in the same order
	Docker    bool     // the container is Docker's, which has a resolver inside
	// Gateway4 and Gateway6 say that a network of its has a gateway, so that it gets a default route by us.
	Gateway4, Gateway6 bool
}

// Sandboxes are those of this node's containers that exist by now, by path. They are where names are served.
func (a *Agent) Sandboxes() []Sandbox {
	in := map[string]Sandbox{}
	networks, records := a.World().Networks, a.records.list()
	for _, id := range slices.Sorted(maps.Keys(records)) {
		rec := records[id]
		if rec.Sandbox != "" && rec.Endpoint.Port != "" {
			s, e := in[rec.Sandbox], rec.Endpoint
			s.Endpoints, s.Ports, s.Docker = append(s.Endpoints, id), append(s.Ports, e.Port), s.Docker || e.Runtime == "docker"
			if n, ok := networks.Get(e.NetworkKey()); ok {
				s.Gateway4 = s.Gateway4 || e.IPv4.IsValid() && n.IPv4.Gateway.IsValid()
				s.Gateway6 = s.Gateway6 || e.IPv6.IsValid() && n.IPv6.Gateway.IsValid()
			}
			in[rec.Sandbox] = s
		}
	}
	var out []Sandbox
	for path, s := range in {
		if netdev.IsNamespace(path) {
			s.Path = path
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Sandbox) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

// InSandbox are the endpoints that were attached to the container in the sandbox of that path, which may not exist yet.
func (a *Agent) InSandbox(path string) []model.Endpoint {
	var out []model.Endpoint
	for _, rec := range a.records.list() {
		if path != "" && rec.Sandbox == path && rec.Endpoint.Port != "" {
			out = append(out, rec.Endpoint)
		}
	}
	return out
}

// SandboxesChanged is closed when Sandboxes may have changed.
func (a *Agent) SandboxesChanged() <-chan struct{} { return a.sandboxChanged.next() }

// deviceTimeout is how long a runtime may take from asking for a device to having it in the container.
const deviceTimeout = time.Minute

// sandboxLoop gives containers the routes to the other networks of their tenant, and follows changes of them.
func (a *Agent) sandboxLoop(ctx context.Context) error {
	type device struct {
		port   int
		since  time.Time // when its endpoint was attached: a later one of the id has another device
		there  bool      // the container has it
		given  bool
		routes []netip.Prefix // that it was given
	}
	devices := map[string]*device{} // by endpoint
	arrived := make(chan string, 8) // endpoints whose device is there
	nextSandbox := a.sandboxChanged.next()
	var done map[string][]netip.Prefix // what all containers were given
	for moved := true; ; {
		nextApplied := a.appliedChanged.next()
		records := a.records.list()
		want := a.wantedRoutes(records)
		look := moved || !maps.EqualFunc(want, done, slices.Equal) // most Worlds change nothing here
		if look {
			maps.DeleteFunc(devices, func(id string, _ *device) bool { _, ok := records[id]; return !ok })
			done = want
		}
		moved = false
		for id, rec := range records {
			if !look || rec.Sandbox == "" || rec.Endpoint.Port == "" || a.expectsDevice(id) {
				continue
			}
			d := devices[id]
			if d == nil || !d.since.Equal(rec.Since) { // one by one: to list a node's devices takes long
				port, ok, err := netdev.PortNamed(rec.Endpoint.Port)
				if err != nil {
					a.Log.Warn("a container's device cannot be looked for", "endpoint", short(id), "error", err)
					done = nil // at the next World again
				}
				if err != nil || !ok || port.Endpoint != id {
					continue
				}
				newborn := a.isNewborn(id)
				d = &device{port: port.Index, since: rec.Since, there: newborn, given: newborn}
				devices[id] = d
				if !newborn {
					go a.awaitDevice(ctx, id, rec.Sandbox, port.Index, arrived)
				}
			}
			routes, compiled := want[id]
			if !d.there || !compiled || d.given && slices.Equal(d.routes, routes) {
				continue
			}
			if err := netdev.SetRoutes(rec.Sandbox, d.port, routes); err != nil && !netdev.Gone(err) {
				a.Log.Warn("a container does not have its routes", "endpoint", short(id), "error", err)
				done = nil // at the next World again
				continue
			}
			d.given, d.routes = true, routes
		}
		select {
		case <-ctx.Done():
			return nil
		case id := <-arrived:
			if d := devices[id]; d != nil {
				d.there = true
			}
			moved = true
			a.sandboxChanged.notify() // its namespace is there: names can be served in it
		case <-nextSandbox:
			nextSandbox, moved = a.sandboxChanged.next(), true
		case <-nextApplied:
		}
	}
}

func (a *Agent) awaitDevice(ctx context.Context, id, sandbox string, port int, arrived chan<- string) {
	wait, cancel := context.WithTimeout(ctx, deviceTimeout)
	defer cancel()
	if err := netdev.WaitForDevice(wait, sandbox, port); err != nil {
		if ctx.Err() == nil {
			a.Log.Debug("a container did not take its device", "endpoint", short(id), "error", err)
		}
		return
	}
	select {
	case arrived <- id:
	case <-ctx.Done():
	}
}

// portsByEndpoint are this node's ports by whose they are; none where they cannot be listed.
func (a *Agent) portsByEndpoint() map[string]netdev.Port {
	ports, err := netdev.Ports()
	if err != nil {
		a.Log.Warn("containers' routes are not looked after now", "error", err)
	}
	out := make(map[string]netdev.Port, len(ports))
	for _, p := range ports {
		out[p.Endpoint] = p
	}
	return out
}

// gatewayBridge is the device by which Docker lets containers of networks without a gateway out.
const gatewayBridge = "docker_gwbridge"

// wantedRoutes are each endpoint's routes but for the subnets that its container is in with another device, and for those of
// Docker's gateway bridge, to which it may be connected next: Docker refuses to connect a container to a subnet to
// which it has a route.
func (a *Agent) wantedRoutes(records map[string]record) map[string][]netip.Prefix {
	world := a.World()
	bridge, err := netdev.SubnetsOf(gatewayBridge)
	if err != nil {
		a.Log.Warn("containers' routes may be in the way of Docker's own", "error", err)
	}
	direct := map[string][]netip.Prefix{} // by sandbox
	for _, rec := range records {
		if n, ok := world.Networks.Get(rec.Endpoint.NetworkKey()); ok && rec.Sandbox != "" {
			for _, addr := range rec.Endpoint.Addrs() {
				direct[rec.Sandbox] = append(direct[rec.Sandbox], n.Pool(addr).Subnet())
			}
		}
	}
	out := map[string][]netip.Prefix{}
	for _, p := range a.Tables().Ports {
		out[p.Endpoint] = slices.DeleteFunc(slices.Clone(p.Routes), func(r netip.Prefix) bool {
			return slices.ContainsFunc(direct[records[p.Endpoint].Sandbox], r.Overlaps) || slices.ContainsFunc(bridge, r.Overlaps)
		})
	}
	return out
}

// yieldRoutes takes routes that would be in the way of a new device of the sandbox from the devices that it has. The
// endpoint of the new one is on record.
func (a *Agent) yieldRoutes(sandbox, endpoint string) error {
	records := a.records.list()
	others := slices.DeleteFunc(slices.Collect(maps.Keys(records)), func(id string) bool { return records[id].Sandbox != sandbox || id == endpoint })
	if len(others) == 0 || !netdev.IsNamespace(sandbox) {
		return nil
	}
	ports, want := a.portsByEndpoint(), a.wantedRoutes(records)
	for _, id := range others {
		port, ok := ports[id]
		if !ok || port.Home {
			continue
		}
		if err := netdev.SetRoutes(sandbox, port.Index, want[id]); err != nil && !netdev.Gone(err) {
			return fmt.Errorf("make way for another device in %s: %w", sandbox, err)
		}
	}
	return nil
}
