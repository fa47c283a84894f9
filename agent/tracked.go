// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"maps"
	"net/netip"
	"time"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/netdev"
)

// The node's connection tracking knows connections of private addresses, and has no way to find those of one: its whole table has to be gone through, which
// takes tens of milliseconds where it is empty. So no container waits for that: a port that is gone keeps its number, and with it its private
// addresses, until what came for it has been forgotten; others are there for those who come meanwhile.

// trackedPause is for how long ports that are gone are gathered before their connections are forgotten.
const trackedPause = time.Second

// noteGone keeps the number of an endpoint's port from others where there is no such port: it went while this process was dead, or its maker was killed.
func (a *Agent) noteGone(port, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.ports[port]; port != "" && !there {
		a.gone[port] = id
	}
}

// notePortsGone notes those that tables still lead to.
func (a *Agent) notePortsGone(t compile.Tables) {
	for _, p := range t.Ports {
		if !p.Home {
			a.noteGone(p.Name, p.Endpoint)
		}
	}
}

// forgetEarlier has connection tracking forget what the last run left of ports that it removed, before anybody gets their private addresses, and does so
// again where the private addresses are others. What tables still lead to is trackedLoop's, once it has been swept.
func (a *Agent) forgetEarlier(t compile.Tables) {
	if a.tracked == t.Outside {
		return
	}
	a.mu.Lock()
	keep, first := a.found, a.found != nil
	if !first {
		keep = maps.Clone(a.ports)
	}
	a.mu.Unlock()
	if first { // what leads to some of them is in force until they have been swept
		a.notePortsGone(t)
	}
	a.forgetTracked(t.Outside, func(port string) bool { return keep[port] == "" })
	a.tracked = t.Outside
	a.mu.Lock()
	a.found = nil
	a.mu.Unlock()
}

// trackedLoop gives the numbers of ports that are gone to others, once connection tracking has forgotten theirs.
func (a *Agent) trackedLoop(ctx context.Context) error {
	for {
		next, nextGone := a.appliedChanged.next(), a.goneChanged.next()
		private, over := a.portsOver()
		if len(over) > 0 {
			a.forgetTracked(private, func(port string) bool { return over[port] })
			a.mu.Lock()
			maps.DeleteFunc(a.gone, func(port, _ string) bool { return over[port] })
			a.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-nextGone:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(trackedPause):
		}
	}
}

// portsOver are the ports that are gone and to which nothing leads any more: netfilter has what the tables say without them, and no master
// still has their endpoints.
func (a *Agent) portsOver() (private compile.Outside, over map[string]bool) {
	a.outside.mu.Lock()
	t, asked := a.outside.tables, a.outside.asked
	a.outside.mu.Unlock()
	if !asked {
		return private, nil
	}
	a.mu.Lock()
	gone := maps.Clone(a.gone)
	a.mu.Unlock()
	for _, p := range t.Ports {
		delete(gone, p.Name)
	}
	over = map[string]bool{}
	for port, id := range gone {
		if !a.detached.has(id) {
			over[port] = true
		}
	}
	return t.Outside, over
}

// forgetTracked has connection tracking forget the connections of private addresses of certain ports. Where that cannot be, what still comes for them is brought to
// the next who have them, which is told and no reason to refuse those.
func (a *Agent) forgetTracked(private compile.Outside, of func(port string) bool) {
	err := netdev.ForgetTracked(func(addr netip.Addr) bool {
		n := private.Port(addr)
		return n != 0 && of(netdev.PortName(n))
	})
	if err != nil {
		a.Log.Warn("connections of a container that is gone may reach the next one", "error", err)
	}
}
