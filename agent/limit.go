// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

// limits are what one endpoint's queues should let pass.
type limits struct{ sends, receives netdev.Limit }

// unknownPort is in the place of the port of an endpoint whose queues have to be looked at.
const unknownPort = -1

// limitLoop keeps the queues that hold back what containers send and receive: one inside, one on the node's side of the veth pair.
// The first cannot be made before the runtime has moved the device, and who may administer the network inside can take it
// away: the data path drops what is too much then, and the queue is made again with the next sweep.
func (a *Agent) limitLoop(ctx context.Context) error {
	type queues struct {
		port int
		limits
	}
	held := map[string]queues{} // by endpoint; none: the devices are as the kernel made them
	for id := range a.records.list() {
		held[id] = queues{port: unknownPort} // of the last run
	}
	err := a.wait(ctx, &a.appliedChanged, "the first World", func() bool { return a.fresh && a.applied > 0 })
	if err != nil {
		return nil // the snapshot may not have all
	}
	tick := time.NewTicker(a.SweepEvery)
	defer tick.Stop()
	trouble := "" // that was told
	nextSandbox := a.sandboxChanged.next()
	for look := true; ; {
		nextApplied := a.appliedChanged.next()
		records := a.records.list()
		var ports map[string]netdev.Port // listed when they are needed, which takes long
		var failed error
		for id, want := range a.wantedLimits() {
			q, known := held[id]
			if !known && want == (limits{}) || known && q.limits == want && q.port != unknownPort && !look {
				continue
			}
			if ports == nil {
				ports = a.portsByEndpoint()
			}
			port, ok := ports[id]
			if !ok || known && q.limits == want && q.port == port.Index {
				continue
			}
			there, err := a.limit(port, records[id], want)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("endpoint %s: %w", short(id), err))
			}
			switch {
			case err != nil || !there:
				held[id] = queues{port: unknownPort}
			case want == (limits{}):
				delete(held, id)
			default:
				held[id] = queues{port.Index, want}
			}
		}
		for id := range held {
			if _, ok := records[id]; !ok {
				delete(held, id)
			}
		}
		now := ""
		if failed != nil {
			now = failed.Error()
		}
		if now != "" && now != trouble {
			a.Log.Warn("not all containers are held to what they may send and receive; it is tried again", "error", now)
		}
		trouble, look = now, false
		select {
		case <-ctx.Done():
			return nil
		case <-nextSandbox:
			nextSandbox, look = a.sandboxChanged.next(), true
		case <-nextApplied:
		case <-tick.C:
			for id, q := range held {
				q.port = unknownPort
				held[id] = q
			}
		}
	}
}

// wantedLimits are those of this node's endpoints, also where there are none.
func (a *Agent) wantedLimits() map[string]limits {
	ports := a.Tables().Ports
	out := make(map[string]limits, len(ports))
	for _, p := range ports {
		out[p.Endpoint] = limits{netdev.Limit(p.Sends), netdev.Limit(p.Receives)}
	}
	return out
}

// HoldLimits makes the queues that are missing, whatever is thought to be there.
func (a *Agent) HoldLimits() error {
	if !a.Fresh() {
		return errNoWord
	}
	records, ports := a.records.list(), a.portsByEndpoint()
	var failed error
	for id, want := range a.wantedLimits() {
		if port, ok := ports[id]; ok && want != (limits{}) {
			_, err := a.limit(port, records[id], want)
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// LimitDifferences tells, in words, which of this node's containers are not held to what they may send and receive.
func (a *Agent) LimitDifferences() []string {
	var out []string
	var ports map[string]netdev.Port
	records := a.records.list()
	for _, p := range a.Tables().Ports {
		sends, receives := netdev.Limit(p.Sends), netdev.Limit(p.Receives)
		if sends == (netdev.Limit{}) && receives == (netdev.Limit{}) {
			continue
		}
		if ports == nil {
			ports = a.portsByEndpoint()
		}
		port, ok := ports[p.Endpoint]
		if !ok {
			continue // the sweep tells of it
		}
		rec := records[p.Endpoint]
		mtu, err := a.mtuOf(rec.Endpoint)
		sent, again := netdev.SentWithin(rec.Sandbox, port.Index, sends)
		received, last := netdev.ReceivedWithin(port.Index, receives, mtu)
		switch err := errors.Join(err, again, last); {
		case err != nil:
			out = append(out, fmt.Sprintf("endpoint %s: its limits cannot be looked at: %v", short(p.Endpoint), err))
		case !sent:
			out = append(out, fmt.Sprintf("endpoint %s: its container does not have the queue that holds back what it sends", short(p.Endpoint)))
		case !received:
			out = append(out, fmt.Sprintf("endpoint %s: its port %s does not have the queue that holds back what it receives", short(p.Endpoint), port.Name))
		}
	}
	return out
}

// limit makes both queues of a port. there is false when the container does not have its device yet, or any more.
func (a *Agent) limit(port netdev.Port, rec record, want limits) (there bool, err error) {
	if !netdev.IsNamespace(rec.Sandbox) {
		return false, nil
	}
	mtu, err := a.mtuOf(rec.Endpoint)
	if err != nil {
		return false, err
	}
	// The outer one comes last: a queue that is given to a device whose other side is up is in use at once.
	err = netdev.LimitSent(rec.Sandbox, port.Index, want.sends)
	if err == nil {
		err = netdev.LimitReceived(port.Index, want.receives, mtu)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return false, nil
	}
	return true, err
}
