// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"time"
)

// A port is attached in two steps where the kernel has tcx. Whoever starts a container waits for the first only: a
// clsact filter, 0.15 ms. tcx, which is quicker for each packet, takes the kernel 10 ms and keeps everybody else
// from its devices meanwhile, so it comes a little later, one port after the other.

// settleAfter is how long a port stays with clsact.
const settleAfter = 2 * time.Second

// freshPorts is how many ports may wait. Those beyond stay with clsact until the next start.
const freshPorts = 4096

// freshPort is one that was attached by clsact.
type freshPort struct {
	name string
	due  time.Time
}

// settler moves fresh ports to tcx until it is stopped.
type settler struct {
	ports chan freshPort
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
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(p.due)):
				}
				if err := d.settle(p.name); err != nil {
					d.opts.Log.Warn("a port stays with clsact, which costs each packet a little more", "port", p.name, "error", err)
				}
			}
		}
	}()
}

func (s *settler) add(port string) {
	select {
	case s.ports <- freshPort{port, time.Now().Add(settleAfter)}:
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
