// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
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
// interface, has a master know of it, and returns when this node forwards its packets. The addresses must be set.
// A failure leaves nothing behind. Attaching again what is attached succeeds.
func (a *Agent) Attach(ctx context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error) {
	if !e.IPv4.IsValid() && !e.IPv6.IsValid() {
		return e, model.Invalid("ipAddress", "endpoint %s has no address", e.ID)
	}
	free, err := a.occupy(ctx, e.ID)
	if err != nil {
		return e, err
	}
	defer free()
	e.Node = a.Node.Name
	if e.MAC.IsZero() {
		e.MAC = model.MACOf(e.Addrs()[0])
	}
	if e.Port, err = a.createPort(e); err != nil {
		return e, err
	}
	if err := a.attach(ctx, e, sandbox); err != nil {
		return e, errors.Join(err, a.forgetLocally(e.ID, e.Port))
	}
	a.sandboxChanged.notify()
	return e, nil
}

func (a *Agent) attach(ctx context.Context, e model.Endpoint, sandbox string) error {
	rec, had := a.records.get(e.ID)
	if !had {
		rec.Since = time.Now()
	}
	rec.Endpoint, rec.Sandbox = e, sandbox
	if err := a.records.put(rec); err != nil {
		return err
	}
	// Attaching waits for the kernel (16 ms with tcx) and the PUT for the disk of a master: both at once.
	attached := make(chan error, 1)
	go func() { attached <- a.Datapath.Attach(e.Port) }()
	revision, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, e.ID), api.EndpointOf(e), nil)
	err = errors.Join(err, <-attached)
	if err == nil {
		err = a.WaitApplied(ctx, revision)
	}
	if err == nil && sandbox != "" {
		err = a.yieldRoutes(sandbox, e.ID)
	}
	if err == nil {
		return nil
	}
	// It may be in the store, also when the answer was an error.
	if err := a.detached.add(e.ID); err != nil {
		return err
	}
	nudge(a.flushNow)
	return err
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
	port := rec.Endpoint.Port
	if port == "" && inWorld {
		port = e.Port
	}
	if port != "" || inWorld {
		if err := a.detached.add(id); err != nil {
			return err
		}
	}
	if err := a.forgetLocally(id, port); err != nil {
		return err
	}
	if !a.detached.has(id) {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := a.tell(call, id); err != nil {
		a.Log.Info("the masters will be told later that an endpoint is gone", "endpoint", id, "error", err)
	}
	return nil
}

// Update changes what is known of an attached endpoint: names, aliases, labels. An endpoint that is not
// attached here, or that change leaves as it was, is left alone.
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
	before := api.EndpointOf(rec.Endpoint)
	change(&rec.Endpoint)
	if after := api.EndpointOf(rec.Endpoint); equalJSON(before, after) {
		return nil
	}
	// The record last: when it has the change, a master has it, and a caller that tries again after an error does not stop early.
	if _, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, id), api.EndpointOf(rec.Endpoint), nil); err != nil {
		return fmt.Errorf("update endpoint %s: %w", id, err)
	}
	return a.records.put(rec)
}

// occupy keeps others, and the sweep, off an endpoint until free is called.
func (a *Agent) occupy(ctx context.Context, id string) (free func(), err error) {
	for {
		a.mu.Lock()
		other, taken := a.busy[id]
		if !taken {
			mine := make(chan bool)
			a.busy[id] = mine
			delete(a.suspects, id)
			a.mu.Unlock()
			return func() {
				a.mu.Lock()
				delete(a.busy, id)
				a.mu.Unlock()
				close(mine)
			}, nil
		}
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for another call about endpoint %s: %w", id, ctx.Err())
		case <-other:
		}
	}
}

// notePorts finds which port names are taken.
func (a *Agent) notePorts() error {
	ports, err := netdev.Ports()
	if err != nil {
		return err
	}
	for _, p := range ports {
		a.ports[p.Name] = p.Endpoint
	}
	return nil
}

// createPort makes the endpoint's veth pair under the lowest free name, or finds the one it has.
func (a *Agent) createPort(e model.Endpoint) (string, error) {
	a.mu.Lock()
	for name, id := range a.ports {
		if id == e.ID {
			a.mu.Unlock()
			return name, nil
		}
	}
	a.mu.Unlock()
	for n := 1; n <= 1<<16; n++ {
		name := netdev.PortName(n)
		a.mu.Lock()
		_, taken := a.ports[name]
		if !taken {
			a.ports[name] = e.ID
		}
		a.mu.Unlock()
		if taken {
			continue
		}
		err := netdev.CreatePort(name, e.ID, e.MAC, a.MTU)
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

func (a *Agent) freePort(name, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ports[name] == id {
		delete(a.ports, name)
	}
}

// forgetLocally removes the endpoint's port, if it has one, and its record.
func (a *Agent) forgetLocally(id, port string) error {
	if port != "" {
		ports, err := netdev.Ports()
		if err != nil {
			return err
		}
		for _, p := range ports {
			// The name may be another endpoint's by now.
			if p.Name != port || p.Endpoint != id {
				continue
			}
			if err := errors.Join(a.Datapath.Detach(port), netdev.RemovePort(port)); err != nil {
				return err
			}
		}
		a.mu.Lock()
		owner := a.ports[port]
		a.mu.Unlock()
		if owner == id {
			if err := a.Datapath.Detach(port); err != nil { // its device went with the container
				return err
			}
			a.freePort(port, id)
		}
	}
	a.sandboxChanged.notify()
	return a.records.remove(id)
}
