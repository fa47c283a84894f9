// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/api"
)

// contact is when this master last knew that its World was the store's. A master that is cut off from the others' majority hears
// of no change, which looks like there being none: it may answer, but must not have agents believe that they are up to date.
type contact struct {
	at atomic.Pointer[time.Time]
}

// errCutOff ends watches, so that their agents go to another master.
var errCutOff = errors.New("this netmaster has not reached its store (etcd) for a while, so what it knows may be old; ask another, or try again later")

// ask is how often the store is asked.
const ask = time.Second

func (c *contact) made() {
	now := time.Now()
	c.at.Store(&now)
}

// keepContact asks until ctx ends.
func (m *Master) keepContact(ctx context.Context) {
	tick := time.NewTicker(ask)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asking, asked := context.WithTimeout(ctx, m.CutOff/2)
		if _, err := m.catchUp(asking); err == nil {
			m.contact.made()
		}
		asked()
	}
}

func (m *Master) cutOff() bool {
	at := m.contact.at.Load()
	return at != nil && time.Since(*at) > m.CutOff
}

// A master that was stopped, as by a paused virtual machine or by swapping, wakes with requests of clients that have long gone to another
// master. What they asked for then may be undone by now, and must not be done again: an object that was deleted would be back.
const (
	// longSleep is no more than clients wait for an answer.
	longSleep = api.LeastWait
	// drowsy is for how long writes are refused after a long sleep. What came before waits in the connections' buffers and
	// is read at once.
	drowsy = time.Second
)

// wake is when this master was last seen not to sleep, and when it last woke, in nanoseconds since 1970. It is wall-clock time, which
// passes while a machine sleeps.
type wake struct{ seen, woke atomic.Int64 }

// errDrowsy is a write that may be from before a sleep.
var errDrowsy = errors.New("this netmaster was stopped for a while and does not know yet which requests are old; try again in a moment")

// look notes that this master is awake at a time, and whether it slept until then.
func (w *wake) look(now time.Time) {
	if seen := w.seen.Swap(now.UnixNano()); seen != 0 && now.UnixNano()-seen > int64(longSleep) {
		w.woke.Store(now.UnixNano())
	}
}

// drowsy tells whether a request that is read now may be from before a sleep.
func (w *wake) drowsy(now time.Time) bool {
	w.look(now)
	since := now.UnixNano() - w.woke.Load()
	return since >= 0 && since < int64(drowsy)
}

// stayAwake looks until ctx ends.
func (m *Master) stayAwake(ctx context.Context) {
	tick := time.NewTicker(longSleep / 10)
	defer tick.Stop()
	for {
		m.wake.look(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
