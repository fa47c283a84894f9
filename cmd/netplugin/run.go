// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/bgp"
	"github.com/contivnet/contiv/cni"
	"github.com/contivnet/contiv/cni/call"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/dns"
	"github.com/contivnet/contiv/docker"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/observe"
)

// mastersPatience is how long the edges stay shut at the start while no master answers. Calls that need none, such as
// removing a container, are served after it.
const mastersPatience = 3 * time.Second

// run is the whole agent: it puts the parts together and ends when ctx does or one of them cannot go on.
func run(ctx context.Context, o options) error {
	if os.Getuid() != 0 {
		return errors.New("root is needed to program the kernel: start netplugin as root")
	}
	unlock, err := lock(o.runDir)
	if err != nil {
		return err
	}
	defer unlock()
	conflist, err := o.cni.text()
	if err != nil {
		return err
	}
	if err := allowSettings(); err != nil {
		return err
	}
	underlay, err := findUnderlay(ctx, o.vtep, o.masters)
	if err != nil {
		return err
	}
	port, err := claimPort(o.vxlanPort)
	if err != nil {
		return err
	}
	defer port.Close()
	ctrl := underlay.Addr
	if o.ctrl != "" {
		ctrl = netip.MustParseAddr(o.ctrl) // options.check has read it
	}
	status, err := listenStatus(ctrl, o.status)
	if err != nil {
		return err
	}
	defer status.Close()
	client, err := api.NewClient(o.masters...)
	if err != nil {
		return err
	}
	wires, err := findUplinks(o.uplinks, underlay.Addr, ctrl)
	if err != nil {
		return err
	}
	path, err := datapath.Open(datapath.Options{
		PinDir: o.pinDir, Uplink: underlay.Interface, VTEP: underlay.Addr, VXLANPort: o.vxlanPort,
		Attach: datapath.AttachMode(o.attach), MTU: underlay.MTU, Uplinks: o.uplinks, Log: o.log,
	})
	if err != nil {
		return err
	}
	defer path.Close()

	node := model.Node{
		Name: o.node, VTEP: underlay.Addr, Ctrl: ctrl, StatusPort: portOf(status), VXLANPort: o.vxlanPort, MTU: underlay.MTU, Version: version,
	}
	engine := docker.NewEngine(o.docker, o.plugin)
	a, err := agent.New(agent.Options{
		Node: node, Client: client, Datapath: path, MTU: containerMTU(underlay), VLANMTU: wires.mtu, Underlay: underlay.Interface,
		RunDir: o.runDir, StateDir: o.stateDir, SweepEvery: o.sweep, Patience: o.sweep, Log: o.log,
		Live: engine.Live, KubeProxy: o.kube.proxy == keepProxy,
	})
	if err != nil {
		return err
	}
	var driver *docker.Driver // nil on a node without Docker
	if o.docker != "" {
		driver, err = docker.New(docker.Options{
			Agent: a, Engine: engine, Socket: filepath.Join(docker.PluginDir, o.plugin+".sock"), StateDir: o.stateDir, Log: o.log,
		})
		if err != nil {
			return err
		}
	}
	pods, err := o.pods()
	if err != nil {
		return err
	}
	o.log.Info("netplugin", "version", version, "node", node.Name, "masters", client.Masters(), "vtep", node.VTEP, "device", underlay.Interface,
		"container MTU", containerMTU(underlay), "VXLAN port", o.vxlanPort, "docker", o.docker)
	names := dns.New(a.World, path, o.kube.domain, o.log)
	seen, err := newSeen(path, firewallDrops)
	if err != nil {
		return err
	}
	routers := bgp.New(bgp.Options{
		Node: o.node, Device: towardsRouters(o.uplinks, underlay), RunDir: o.runDir, World: a.World, Changed: a.Changed, Fresh: a.Fresh, Log: o.log,
	})
	observer := observe.New(observe.Options{
		Node: o.node, Source: seen, BGP: routers.Oper, Route: netdev.RouteInto, Log: o.log,
		Names:   func() (model.World, compile.Tables) { return a.World(), a.Tables() },
		Applied: func() int64 { revision, _ := a.Applied(); return revision },
	})
	diagnose := func(ctx context.Context, repair bool) (diagnosis, error) {
		return examine(ctx, a, path, seen, driver, repair)
	}

	listening, ready := make(chan struct{}), make(chan struct{})
	parts := []func(context.Context) error{
		a.Run,
		names.Run,
		func(ctx context.Context) error { return serveNames(ctx, a, names, o) },
		func(ctx context.Context) error { return serveStatus(ctx, statusSocket(o.runDir), diagnose) },
		func(ctx context.Context) error { return wires.serve(ctx, a, path.UseUplink, o.log) },
		func(ctx context.Context) error { return followRoutes(ctx, path.SetRoutes, o.log) },
		seen.listen,
		observer.Run,
		func(ctx context.Context) error {
			return serveObserved(ctx, status, probed(observer.Handler(), a, ready))
		},
		afterFirstWord(a, routers.Run),
	}
	containers := &cni.Server{Agent: a, Socket: call.SocketPath, Listening: func() { close(listening) }, Log: o.log}
	parts = append(parts, whenAll(func() error {
		if o.cni.install {
			if err := o.cni.put(conflist); err != nil {
				return err
			}
		}
		close(ready)
		return nil
	}, a.Ready(), listening))
	if pods != nil {
		containers.Pods = pods
		parts = append(parts, pods.Run)
	}
	parts = append(parts, afterFirstWord(a, containers.Run))
	if driver != nil {
		parts = append(parts, afterFirstWord(a, driver.Run))
	}
	return together(ctx, parts)
}

// afterFirstWord starts an edge when the node is ready to attach containers, or when the masters have been
// silent for long enough that it has to serve without them.
func afterFirstWord(a *agent.Agent, edge func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-a.Ready():
		case <-time.After(mastersPatience):
		}
		return edge(ctx)
	}
}

// together runs all parts until ctx ends or the first fails, whose error it returns.
func together(ctx context.Context, parts []func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
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

// serveNames keeps the name service in all containers of this node.
func serveNames(ctx context.Context, a *agent.Agent, names *dns.Server, o options) error {
	for {
		sandboxes, world := a.SandboxesChanged(), a.Changed()
		// A World that is not complete would deny names that exist.
		if a.World().Revision > 0 {
			var want []dns.Sandbox
			for _, s := range a.Sandboxes() {
				want = append(want, dns.Sandbox{
					Path: s.Path, Endpoints: s.Endpoints, Everywhere: !s.Docker, Ports: s.Ports, Gateway4: s.Gateway4, Gateway6: s.Gateway6,
				})
			}
			if err := names.Sync(ctx, want); err != nil && ctx.Err() == nil {
				o.log.Warn("not all containers have names answered", "error", err)
			}
			world = nil // later Worlds change answers, not where they are given
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sandboxes:
		case <-world:
		}
	}
}

// examine is the doctor's look at a node.
func examine(ctx context.Context, a *agent.Agent, path *datapath.Datapath, eyes *seen, driver *docker.Driver, repair bool) (diagnosis, error) {
	var mended error
	if repair {
		a.MendInfra()
		mended = errors.Join(a.Repair(ctx), a.Reapply(ctx), a.HoldLimits())
		if driver != nil && a.Fresh() { // or every network of the engine would look removed
			mended = errors.Join(mended, driver.Reconcile(ctx))
		}
	}
	d := diagnosis{Node: a.NodeName(), World: a.World().Revision, Fresh: a.Fresh(), Differences: []string{}}
	asking, done := context.WithTimeout(ctx, 2*time.Second)
	if err := a.Client.Get(asking, api.VersionPath, nil); err != nil {
		d.Alone = err.Error()
	}
	done()
	applied, failed := a.Applied()
	d.Revision = applied
	if failed != nil {
		d.Differences = append(d.Differences, fmt.Sprintf("the newest intent is not in the kernel: %v", failed))
	}
	if mended != nil {
		d.Differences = append(d.Differences, fmt.Sprintf("not everything could be mended: %v", mended))
	}
	held, err := path.Held()
	if err != nil {
		return d, err
	}
	want := a.Tables()
	d.Differences = append(d.Differences, datapath.Differences(want, held)...)
	for _, n := range want.Notes {
		d.Differences = append(d.Differences, n.Text)
	}
	if err := a.OutsideTrouble(); err != nil {
		d.Differences = append(d.Differences, err.Error())
	}
	d.Differences = append(d.Differences, lackedRoutes(want.Entrances, netdev.FindWaysOut)...)
	for _, text := range a.InfraTrouble() {
		d.Differences = append(d.Differences, text)
	}
	left, err := a.Leftovers(ctx)
	if err != nil {
		return d, err
	}
	d.Differences = append(d.Differences, left...)
	d.Differences = append(d.Differences, a.LimitDifferences()...)
	if driver != nil {
		networks, err := driver.Differences(ctx)
		if err != nil {
			networks = []string{fmt.Sprintf("Docker's networks cannot be compared: %v", err)}
		}
		d.Differences = append(d.Differences, networks...)
	}
	drops, err := eyes.Drops() // of all ports, and of the node's netfilter too
	d.Drops = map[string]uint64{}
	for _, one := range drops {
		d.Drops[one.Reason] += one.Packets
	}
	return d, err
}
