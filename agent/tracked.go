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

// forgetEarlier has connection tracking forget what the last run left of ports that it removed, before anybody gets their private addresses. It is done
// once what leads there is no longer in force, and again where the private addresses are others.
func (a *Agent) forgetEarlier(t compile.Tables) {
	if a.tracked == t.Outside {
		return
	}
	a.mu.Lock()
	keep := a.found
	if keep == nil {
		keep = maps.Clone(a.ports)
	}
	a.mu.Unlock()
	a.forgetTracked(t.Outside, func(port string) bool { return keep[port] == "" })
	a.tracked = t.Outside
	a.mu.Lock()
	a.found = nil
	a.mu.Unlock()
}

// trackedLoop gives the numbers of ports that are gone to others, once connection tracking has forgotten theirs.
func (a *Agent) trackedLoop(ctx context.Context) error {
	for {
		next := a.appliedChanged.next()
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
	over = map[string]bool{}
	a.mu.Lock()
	for port, id := range a.gone {
		over[port] = !a.detached.has(id)
	}
	a.mu.Unlock()
	for _, p := range t.Ports {
		delete(over, p.Name)
	}
	maps.DeleteFunc(over, func(_ string, is bool) bool { return !is })
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
