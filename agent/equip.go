// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Device is a container's interface as the container should see it.
type Device = netdev.Device

// CheckSandbox refuses a path that is not the network namespace of a container.
func CheckSandbox(path string) error {
	switch {
	case !netdev.IsNamespace(path):
		return fmt.Errorf("%q is not a network namespace", path)
	case netdev.IsNodes(path):
		return fmt.Errorf("%q is the node's own network namespace, which no container gets", path)
	}
	return nil
}

// Equip moves an attached endpoint's device into the container's namespace and sets it up, for runtimes that leave
// that to their plugin. Done twice, it changes nothing.
func (a *Agent) Equip(id, sandbox string, d Device) error {
	port, ok, err := a.portOf(id)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("endpoint %s has no port", short(id))
	}
	if err := netdev.Equip(port, sandbox, d); err != nil {
		return err
	}
	a.deviceGiven(id)
	a.sandboxChanged.notify() // it has its routes: names can be served by them
	return nil
}

// portOf finds an attached endpoint's port by its name: to list a node's devices takes as long as there are many.
func (a *Agent) portOf(id string) (netdev.Port, bool, error) {
	for _, name := range a.portsOf(id) {
		if p, ok, err := netdev.PortNamed(name); err != nil || ok && p.Endpoint == id {
			return p, ok, err
		}
	}
	return netdev.Port{}, false, nil
}

// expectDevice notes that the endpoint's container gets its device by Equip, so that nobody looks for it before.
func (a *Agent) expectDevice(e model.Endpoint) {
	if e.Runtime == model.RuntimeCNI {
		a.mu.Lock()
		a.bare[e.ID] = true
		a.mu.Unlock()
	}
}

func (a *Agent) deviceGiven(id string) {
	a.mu.Lock()
	delete(a.bare, id)
	a.mu.Unlock()
}

// isNewborn tells, once, whether the endpoint's device was made in its container and has no routes yet.
func (a *Agent) isNewborn(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	is := a.newborn[id]
	delete(a.newborn, id)
	return is
}

// expectsDevice tells whether Equip is still to come.
func (a *Agent) expectsDevice(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bare[id]
}

// Drift tells how the container's device differs from d; "" where it does not.
func (a *Agent) Drift(id, sandbox string, d Device) (string, error) {
	port, ok, err := a.portOf(id)
	if err != nil || !ok {
		return "its port is gone", err
	}
	return netdev.Drift(port, sandbox, d)
}

// Elsewhere is the network namespace, another than the one at the path sandbox, that an endpoint is attached to; "" where there is none, or
// none any more.
func (a *Agent) Elsewhere(id, sandbox string) string {
	rec, ok := a.records.get(id)
	if !ok || rec.Endpoint.Port == "" || !netdev.IsNamespace(rec.Sandbox) || netdev.SameNamespace(rec.Sandbox, sandbox) {
		return ""
	}
	return rec.Sandbox
}

// Attached are the endpoints that this node has attached.
func (a *Agent) Attached() []model.Endpoint {
	var out []model.Endpoint
	for _, rec := range a.records.list() {
		if rec.Endpoint.Port != "" {
			out = append(out, rec.Endpoint)
		}
	}
	return out
}
