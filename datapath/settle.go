// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"sync/atomic"
	"time"
)

// A port is attached in two steps where the kernel has tcx. Whoever starts a container waits for the first only: a
// clsact filter, 0.15 ms. tcx, which is quicker for each packet, takes the kernel 10 ms and keeps everybody else
// from its devices meanwhile, so it comes a little later, one port after the other.

// settleAfter is how long a port stays with clsact, and how long no other may have come: containers that start are not to wait for those
// that run. settleBy bounds that.
const (
	settleAfter = 2 * time.Second
	settleBy    = 30 * time.Second
)

// freshPorts is how many ports may wait. Those beyond stay with clsact until the next start.
const freshPorts = 4096

// freshPort is one that was attached by clsact.
type freshPort struct {
	name  string
	since time.Time
}

// due is when the port goes to tcx, as others come.
func (p freshPort) due(newest time.Time) time.Time {
	due, last := newest.Add(settleAfter), p.since.Add(settleBy)
	if last.Before(due) {
		return last
	}
	return due
}

// settler moves fresh ports to tcx until it is stopped.
type settler struct {
	ports chan freshPort
	newer atomic.Int64 // when the newest was attached, in Unix nanoseconds
	stop  context.CancelFunc
	done  chan struct{}
}

func (d *Datapath) startSettling() {
	ctx, stop := context.WithCancel(context.Background())
	d.settler = &settler{ports: make(chan freshPort, freshPorts), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(d.settler.done)
		for {
			select {
			case <-ctx.Done():
				return
			case p := <-d.settler.ports:
				for wait := d.settler.wait(p); wait > 0; wait = d.settler.wait(p) {
					select {
					case <-ctx.Done():
						return
					case <-time.After(wait):
					}
				}
				if err := d.settle(p.name); err != nil {
					d.opts.Log.Warn("a port stays with clsact, which costs each packet a little more", "port", p.name, "error", err)
				}
			}
		}
	}()
}

// wait is how long the port has to wait still.
func (s *settler) wait(p freshPort) time.Duration {
	return time.Until(p.due(time.Unix(0, s.newer.Load())))
}

func (s *settler) add(port string) {
	now := time.Now()
	s.newer.Store(now.UnixNano())
	select {
	case s.ports <- freshPort{port, now}:
	default:
	}
}

func (s *settler) close() {
	s.stop()
	<-s.done
}

// settle moves a port from clsact to tcx, without a gap. One that is gone is fine.
func (d *Datapath) settle(port string) error {
	defer d.names.lock(port)()
	have, attached := d.attachment(port)
	if !attached || have.mode != AttachClsact {
		return nil
	}
	index, there, err := d.dev.index(port)
	if err != nil || !there || index != have.ifindex {
		return err
	}
	now := attachment{AttachTCX, hookPort, index}
	if err := d.attach.attach(now, d.objects.FromContainer); err != nil {
		if _, there, again := d.dev.index(port); again == nil && !there {
			return nil // it went just now
		}
		return err
	}
	d.setAttachment(port, now)
	return d.attach.remove(have)
}

func (d *Datapath) attachment(port string) (attachment, bool) {
	d.portsMu.Lock()
	defer d.portsMu.Unlock()
	a, ok := d.ports[port]
	return a, ok
}

func (d *Datapath) setAttachment(port string, a attachment) {
	d.portsMu.Lock()
	defer d.portsMu.Unlock()
	d.ports[port] = a
}
