// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Prepare remembers an endpoint that the runtime has announced and will attach in a later call.
func (a *Agent) Prepare(ctx context.Context, e model.Endpoint) error {
	e.Node = a.Node.Name
	if old, ok := a.records.get(e.ID); ok && old.Endpoint.Port != "" {
		return nil // announced again by a runtime that did not hear the answer
	}
	return a.records.put(record{Endpoint: e, Since: time.Now()})
}

// Prepared is an endpoint that was announced or attached on this node.
func (a *Agent) Prepared(id string) (model.Endpoint, bool) {
	rec, ok := a.records.get(id)
	return rec.Endpoint, ok
}

// PeerOf is the device that the runtime has to move into the container.
func (a *Agent) PeerOf(port string) string { return netdev.PeerName(port) }

// Attach gives the container in the sandbox (the path of its network namespace, which may not exist yet) an
// interface, has a master know of it, and returns when this node forwards its packets. Without addresses, a master gives them.
// A failure leaves nothing behind. Attaching again what is attached succeeds, and so does attaching what was detached.
func (a *Agent) Attach(ctx context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error) {
	free, err := a.occupy(ctx, e.ID)
	if err != nil {
		return e, err
	}
	defer free()
	if err := a.finishEarlier(ctx, e.ID); err != nil {
		return e, err
	}
	a.expectDevice(e)
	e.Node = a.Node.Name
	if addrs := e.Addrs(); e.MAC.IsZero() && len(addrs) > 0 {
		e.MAC = model.MACOf(addrs[0])
	}
	if e.Port, err = a.createPort(e, sandbox); err != nil {
		a.deviceGiven(e.ID)
		return e, err
	}
	if e, err = a.attach(ctx, e, sandbox); err != nil {
		return e, errors.Join(err, a.forgetLocally(e.ID))
	}
	a.sandboxChanged.notify()
	a.providersChanged.notify()
	return e, nil
}

// finishEarlier ends what an endpoint of the same id has left: a detaching of which no master knows, which would take the
// new one with it, or an attachment whose device went with its container.
func (a *Agent) finishEarlier(ctx context.Context, id string) error {
	rec, ok := a.records.get(id)
	if ok && rec.Endpoint.Port != "" {
		p, there, err := netdev.PortNamed(rec.Endpoint.Port)
		if err != nil {
			return err
		}
		if !there || p.Endpoint != id {
			if err := a.detached.add(id); err != nil {
				return err
			}
		}
	}
	return a.finish(ctx, id)
}

func (a *Agent) attach(ctx context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error) {
	rec, _ := a.records.get(e.ID)
	rec.Since = time.Now()
	e.Unhealthy = begun(a.World().Services, rec.Endpoint, e)
	rec.Endpoint, rec.Sandbox = e, sandbox
	if err := a.records.put(rec); err != nil {
		return e, err
	}
	// Attaching waits for the kernel (16 ms with tcx) and the PUT for the disk of a master: both at once.
	attached := make(chan error, 1)
	go func() { attached <- a.Datapath.Attach(e.Port) }()
	var given api.Endpoint
	revision, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, e.ID), api.EndpointOf(e), &given)
	err = errors.Join(err, <-attached)
	if err == nil && (e.MAC != given.MACAddress || e.IPv4 != given.IPv4Address || e.IPv6 != given.IPv6Address) {
		e.IPv4, e.IPv6, e.MAC = given.IPv4Address, given.IPv6Address, given.MACAddress
		rec.Endpoint = e
		err = a.records.put(rec)
	}
	if err == nil {
		err = a.WaitApplied(ctx, revision)
	}
	if err == nil && sandbox != "" {
		err = a.yieldRoutes(sandbox, e.ID)
	}
	if err == nil {
		return e, nil
	}
	// It may be in the store, also when the answer was an error.
	if err := a.detached.add(e.ID); err != nil {
		return e, err
	}
	nudge(a.flushNow)
	return e, err
}

// Detach takes the endpoint's interface away and has a master know, now or, when none answers, as soon as one does.
// Detaching what is not attached succeeds.
func (a *Agent) Detach(ctx context.Context, id string) error {
	free, err := a.occupy(ctx, id)
	if err != nil {
		return err
	}
	defer free()
	rec, known := a.records.get(id)
	e, inWorld := a.World().Endpoints.Get(id)
	if !known && (!inWorld || e.Node != a.Node.Name) {
		return nil
	}
	if rec.Endpoint.Port != "" || inWorld {
		if err := a.detached.add(id); err != nil {
			return err
		}
	}
	if err := a.forgetLocally(id); err != nil {
		return err
	}
	if !a.detached.has(id) {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.tell(call, id); err != nil {
		a.Log.Info("the masters will be told later that an endpoint is gone", "endpoint", short(id), "error", err)
	}
	return nil
}

// Update changes what is known of an attached endpoint: names, aliases, labels, health. An endpoint that is not
// attached here, or that change leaves as it was and as the masters have it, is left alone.
func (a *Agent) Update(ctx context.Context, id string, change func(*model.Endpoint)) error {
	free, err := a.occupy(ctx, id)
	if err != nil {
		return err
	}
	defer free()
	rec, ok := a.records.get(id)
	if !ok || rec.Endpoint.Port == "" {
		return nil
	}
	before := rec.Endpoint
	change(&rec.Endpoint)
	if !maps.Equal(before.Labels, rec.Endpoint.Labels) {
		rec.Endpoint.Unhealthy = begun(a.World().Services, before, rec.Endpoint)
	}
	said, known := a.World().Endpoints.Get(id)
	if as := api.EndpointOf(rec.Endpoint); equalJSON(api.EndpointOf(before), as) && (!known || equalJSON(api.EndpointOf(said), as)) {
		return nil
	}
	// The record last: when it has the change, a master has it, and a caller that tries again after an error does not stop early.
	if _, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, id), api.EndpointOf(rec.Endpoint), nil); err != nil {
		return fmt.Errorf("update endpoint %s: %w", id, err)
	}
	if err := a.records.put(rec); err != nil {
		return err
	}
	if !maps.Equal(before.Labels, rec.Endpoint.Labels) {
		a.providersChanged.notify()
	}
	return nil
}

// occupy keeps others, and the sweep, off an endpoint until free is called.
func (a *Agent) occupy(ctx context.Context, id string) (free func(), err error) {
	for {
		a.mu.Lock()
		other, taken := a.busy[id]
		if !taken {
			free := a.occupied(id)
			delete(a.suspects, id)
			a.mu.Unlock()
			return free, nil
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another call about endpoint %s: %w", id, ctx.Err())
		case <-other:
		}
	}
}

// occupyIdle occupies an endpoint on which nobody works, without waiting. What it is suspected of, it still is.
func (a *Agent) occupyIdle(id string) (free func(), idle bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.busy[id]; taken {
		return nil, false
	}
	return a.occupied(id), true
}

// occupied is called with mu held.
func (a *Agent) occupied(id string) (free func()) {
	mine := make(chan bool)
	a.busy[id] = mine
	return func() {
		a.mu.Lock()
		delete(a.busy, id)
		a.mu.Unlock()
		close(mine)
	}
}

// notePorts finds which port names are taken, and removes what the last run was just making when it was killed.
func (a *Agent) notePorts() error {
	ports, err := netdev.Ports()
	if err != nil {
		return err
	}
	for _, p := range ports {
		if p.Unnamed {
			if err := netdev.RemovePort(p.Name); err != nil {
				return err
			}
			continue
		}
		a.ports[p.Name] = p.Endpoint
		rec, ok := a.records.get(p.Endpoint)
		if was := rec.Endpoint.Node; ok && !p.Home && was != a.Node.Name {
			return fmt.Errorf("containers are attached here as node %q, so this node cannot be %q: start netplugin with --host-label %s, or stop the containers first",
				was, a.Node.Name, was)
		}
	}
	return nil
}

// portsOf are the names of the endpoint's ports: one, or none.
func (a *Agent) portsOf(id string) (names []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, owner := range a.ports {
		if owner == id {
			names = append(names, name)
		}
	}
	return names
}

// createPort makes the endpoint's veth pair under the lowest free name, or finds the one it has. Where the runtime leaves it to us to
// move the container's end into the sandbox, it is made there.
func (a *Agent) createPort(e model.Endpoint, sandbox string) (string, error) {
	mtu, err := a.mtuOf(e)
	if err != nil {
		return "", err
	}
	for _, name := range a.portsOf(e.ID) {
		a.isNewborn(e.ID)                                      // no more
		return name, netdev.CreatePort(name, e.ID, e.MAC, mtu) // ready already, unless its maker was killed
	}
	for n := 1; n <= 1<<16; n++ {
		name := netdev.PortName(n)
		a.mu.Lock()
		_, taken := a.ports[name]
		_, gone := a.gone[name]
		taken = taken || gone
		if !taken {
			a.ports[name] = e.ID
		}
		a.mu.Unlock()
		if taken {
			continue
		}
		if e.Runtime == model.RuntimeCNI && netdev.IsNamespace(sandbox) {
			if err = netdev.CreatePortInto(sandbox, name, e.ID, e.MAC, mtu); err == nil {
				a.mu.Lock()
				a.newborn[e.ID] = true
				a.mu.Unlock()
			}
		} else {
			err = netdev.CreatePort(name, e.ID, e.MAC, mtu)
		}
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, model.ErrExists) {
			a.freePort(name, e.ID)
			return "", err
		}
		// Somebody else's device has this name: it stays noted as taken.
		a.mu.Lock()
		a.ports[name] = ""
		a.mu.Unlock()
	}
	return "", fmt.Errorf("no free port name: this node has %d", 1<<16)
}

// mtuOf is that of an endpoint's interface, in bytes: what its network's packets may have on their way.
func (a *Agent) mtuOf(e model.Endpoint) (int, error) {
	n, ok := a.World().Networks.Get(e.NetworkKey())
	switch {
	case !ok || n.Encap != model.EncapVLAN:
		return a.MTU, nil
	case a.VLANMTU == 0:
		return 0, model.Invalid("encap", "network %s is VLAN %d, and node %s has no uplink for VLANs: start netplugin there with --vlan-uplinks", n.Key(), n.Tag, a.Node.Name)
	}
	return a.VLANMTU, nil
}

func (a *Agent) freePort(name, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ports[name] == id {
		delete(a.ports, name)
		a.gone[name] = id
		a.goneChanged.notify()
	}
}

// forgetLocally removes the endpoint's port, if it has one, and its record.
func (a *Agent) forgetLocally(id string) error {
	for _, name := range a.portsOf(id) {
		if err := a.Datapath.Detach(name); err != nil {
			return err
		}
		p, there, err := netdev.PortNamed(name)
		if err != nil {
			return err
		}
		if there && p.Endpoint == id { // else it went with the container, and the name may be somebody else's by now
			if err := netdev.RemovePort(name); err != nil {
				return err
			}
		}
		a.freePort(name, id)
	}
	a.deviceGiven(id)
	a.isNewborn(id) // no more
	a.sandboxChanged.notify()
	defer a.providersChanged.notify()
	a.held.free(id)
	return a.records.remove(id)
}
