// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

// datagrams is what the node's connection tracking has still to forget of services that have changed. It takes as long as that has connections, so
// nobody waits for it.
type datagrams struct {
	mu      sync.Mutex
	changed broadcast
	are     []netdev.Entrance // in force
	// were are those of UDP that have been in force since it was done last, with all who were targets then.
	were  map[netip.AddrPort]netdev.Entrance
	turn  int  // counts what came to be in force
	due   bool // something has, since it was done last
	known bool // before, were says all that may be stale. The last run may have been killed in its work, or somebody have removed the table
}

// begin says what the last run had in force.
func (d *datagrams) begin(are []netdev.Entrance) { d.are = are }

// follow says what is in force now. anew: it was loaded whole, in place of what nobody knows.
func (d *datagrams) follow(is []netdev.Entrance, anew bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.were == nil {
		d.were = map[netip.AddrPort]netdev.Entrance{}
	}
	for _, e := range d.are {
		if e.Protocol != unix.IPPROTO_UDP {
			continue
		}
		at := netip.AddrPortFrom(e.Addr, e.Port)
		if w, ok := d.were[at]; ok {
			e.Outer, e.Inner = joined(w.Outer, e.Outer), joined(w.Inner, e.Inner)
		}
		d.were[at] = e
	}
	d.are, d.due, d.known = is, true, d.known && !anew
	d.turn++
	d.changed.notify()
}

// joined are those that are in either, sorted as entrances have them.
func joined(a, b []netip.AddrPort) []netip.AddrPort {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}

// try has what is stale forgotten. What failed is still to be done.
func (d *datagrams) try(forget func(was, is []netdev.Entrance) error) error {
	d.mu.Lock()
	was, is, turn, due, known := slices.Collect(maps.Values(d.were)), d.are, d.turn, d.due, d.known
	d.mu.Unlock()
	if !due {
		return nil
	}
	err := forget(was, is)
	if !known {
		err = errors.Join(err, forget(nil, is))
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.turn == turn { // else the next turn sees to all of it
		d.were, d.due, d.known = nil, false, true
	}
	return nil
}

// datagramsRetry is the pause after connection tracking could not be told.
const datagramsRetry = 10 * time.Second

// datagramsLoop has datagrams go to who provides a service now.
func (a *Agent) datagramsLoop(ctx context.Context) error {
	d := &a.datagrams
	for told := false; ; {
		next := d.changed.next()
		var retry <-chan time.Time
		err := d.try(netdev.ForgetDatagrams)
		if err != nil {
			retry = time.After(datagramsRetry)
			if !told {
				a.Log.Warn("datagrams of some clients go on to who does not provide a service any more; it is tried again", "error", err)
			}
		}
		told = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-retry:
		}
	}
}
