// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// infra is this node's own devices in networks, with the node's routes by them. All of it outlives the process. What there should be follows
// from the World alone, and what there is from the devices' marks, so nothing is written down.
type infra struct {
	mu     sync.Mutex
	heard  bool // a World of a master was compiled in this run; before, what the last run made is newer than the snapshot
	wanted []compile.Infra
	ready  []compile.Infra // those whose device is there
	routed bool            // their routes were made, as far as that can be
	// Why the node does not have all of it: by its place, its devices, its routes.
	claim, device, route error
}

// infraRetry is the pause after a master could not give this node its place: doubled each time, up to infraRetryMax.
const infraRetry, infraRetryMax = time.Second, 30 * time.Second

// InfraTrouble tells, in words, what this node lacks in infra networks.
func (a *Agent) InfraTrouble() []string {
	x := &a.infra
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	tell := func(err error) {
		if err != nil {
			out = append(out, strings.Split(err.Error(), "\n")...) // joined by lines
		}
	}
	tell(x.claim)
	tell(x.device)
	tell(x.route)
	if x.route != nil {
		return out
	}
	for _, i := range x.ready {
		missing, err := netdev.MissingRoutes(i.Network, nodeRoutes(i))
		tell(err)
		for _, r := range missing {
			out = append(out, fmt.Sprintf("this node lacks its route to %s by %s", r.Prefix, i.Network))
		}
	}
	return out
}

func nodeRoutes(i compile.Infra) []netdev.NodeRoute {
	out := make([]netdev.NodeRoute, 0, len(i.Routes))
	for _, r := range i.Routes {
		out = append(out, netdev.NodeRoute(r))
	}
	return out
}

// makeInfra makes the devices of tables that are about to be applied.
func (a *Agent) makeInfra(t compile.Tables) {
	x := &a.infra
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.heard && reflect.DeepEqual(x.wanted, t.Infra) {
		return
	}
	x.heard, x.wanted, x.routed = true, t.Infra, false
	if slices.ContainsFunc(t.Infra, func(i compile.Infra) bool { return !a.guards(i.Network) }) {
		a.openOutside(t) // before there is something to guard
	}
	a.makeInfraDevices()
}

// makeInfraDevices is called with mu held. made tells that a device is new, so that the data path does not know of it.
func (a *Agent) makeInfraDevices() (made bool) {
	x := &a.infra
	was := x.device
	x.device, x.ready = nil, nil
	for _, i := range x.wanted {
		isNew, err := a.makeInfraDevice(i)
		made = made || isNew
		if err != nil {
			x.device = errors.Join(x.device, fmt.Errorf("network %s: %w", i.Network, err))
			continue
		}
		x.ready = append(x.ready, i)
	}
	a.tellInfra("this node is not in all infra networks", was, x.device)
	return made
}

func (a *Agent) makeInfraDevice(i compile.Infra) (made bool, err error) {
	if !a.guards(i.Network) { // other tenants' containers would come by the node to its network
		return false, errors.New("the device waits for nftables table inet contiv, which could not be loaded")
	}
	mtu, err := a.mtuOf(model.Endpoint{Tenant: model.DefaultTenant, Network: i.Network})
	if err != nil {
		return false, err
	}
	made, err = netdev.MakeInfra(netdev.Infra{Device: i.Network, Port: i.Port, Addrs: i.Addrs, MAC: i.MAC, MTU: mtu})
	if err == nil {
		err = a.Datapath.Attach(i.Port)
	}
	return made, err
}

// routeInfra gives the node its routes when the tables are applied, and removes devices of networks that are gone.
func (a *Agent) routeInfra() {
	x := &a.infra
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.routed {
		a.routeInfraDevices()
	}
}

// routeInfraDevices is called with mu held.
func (a *Agent) routeInfraDevices() {
	x := &a.infra
	was := x.route
	x.route = a.removeInfra()
	for _, i := range x.ready {
		if err := netdev.SetNodeRoutes(i.Network, nodeRoutes(i)); err != nil {
			x.route = errors.Join(x.route, err)
		}
	}
	x.routed = true
	a.tellInfra("this node does not have all routes to containers", was, x.route)
}

// removeInfra removes the devices of networks that are gone.
func (a *Agent) removeInfra() error {
	have, err := netdev.InfraDevices()
	if err != nil {
		return err
	}
	var failed error
	for _, device := range have {
		if slices.ContainsFunc(a.infra.wanted, func(i compile.Infra) bool { return i.Network == device }) {
			continue
		}
		err := a.Datapath.Detach(model.InfraPort(device))
		if err == nil {
			err = netdev.RemovePort(device)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// tellInfra logs trouble that is new.
func (a *Agent) tellInfra(what string, was, is error) {
	if is != nil && (was == nil || was.Error() != is.Error()) {
		a.Log.Warn(what+"; it is tried again", "error", is)
	}
}

// infraLoop takes this node's place in each infra network, and puts back what somebody has removed.
func (a *Agent) infraLoop(ctx context.Context) error {
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	for pause := infraRetry; ; {
		next := a.worldChanged.next()
		var retry <-chan time.Time
		if err := a.claimInfra(ctx); err == nil {
			pause = infraRetry
		} else {
			// Not at each change: where there are too few addresses, many nodes ask.
			next, retry = nil, time.After(pause)
			pause = min(2*pause, infraRetryMax)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-retry:
		case <-tick.C:
			a.MendInfra()
		}
	}
}

// claimInfra asks for the places that this node does not have. A master gives each the lowest free address, and the same again to who has one.
func (a *Agent) claimInfra(ctx context.Context) error {
	w := a.World()
	if !a.Fresh() || !a.placed(w) {
		return nil
	}
	var failed error
	for _, n := range w.Networks.All() {
		if n.Type != model.NetworkInfra || n.Tenant != model.DefaultTenant {
			continue
		}
		e := model.Endpoint{
			ID: model.InfraEndpoint(n.Name, a.Node.Name), Tenant: n.Tenant, Network: n.Name, Node: a.Node.Name,
			Port: model.InfraPort(n.Name), Runtime: model.RuntimeNode,
		}
		if _, has := w.Endpoints.Get(e.ID); has {
			continue
		}
		call, done := context.WithTimeout(ctx, clearTimeout)
		revision, err := a.Client.Put(call, api.ObjectPath(api.Endpoints, e.ID), api.EndpointOf(e), nil)
		if err == nil {
			err = a.WaitWorld(call, revision) // or it would be asked for again
		}
		done()
		if err != nil && !errors.Is(err, model.ErrNotFound) { // the network was just removed
			failed = errors.Join(failed, fmt.Errorf("network %s: this node has no address: %w", n.Key(), err))
		}
	}
	x := &a.infra
	x.mu.Lock()
	defer x.mu.Unlock()
	a.tellInfra("this node has no place in an infra network", x.claim, failed)
	x.claim = failed
	return failed
}

// MendInfra makes again what is missing.
func (a *Agent) MendInfra() {
	x := &a.infra
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.heard {
		return
	}
	if a.makeInfraDevices() {
		a.applyAgain(errors.New("a device of this node in an infra network was made again"))
	}
	a.routeInfraDevices()
}
