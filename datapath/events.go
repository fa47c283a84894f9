// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// EventKind is what happened.
type EventKind uint8

// What happens to connections of endpoints that have rules.
const (
	Opened  = EventKind(contivEventKindEVENT_OPENED)
	Refused = EventKind(contivEventKindEVENT_REFUSED)
	Audited = EventKind(contivEventKindEVENT_AUDITED) // it passed, but a rule of an audited policy would have refused it
)

func (k EventKind) String() string {
	switch k {
	case Opened:
		return "opened"
	case Refused:
		return "refused"
	case Audited:
		return "audited"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is the first packet of a connection, or of what would have been one.
type Event struct {
	Time        time.Time
	Kind        EventKind
	Tenant      uint32
	Source      netip.AddrPort // port 0: the protocol has none
	Destination netip.AddrPort
	Protocol    uint8
	Rule        uint32 // compile.Rule's number of the one that decided; 0: none
	Out         bool   // it decided about what the source sends, not about what the destination receives
}

// ErrListening says that somebody reads events already.
var ErrListening = errors.New("somebody reads events already: one reader gives them on to the others")

// Events gives what happens from now on, until ctx ends or the caller breaks off; then connections cost nothing for
// it. Events come in bursts, up to 50 ms late. Only one caller at a time may read. What is not read in time is lost, and counted by EventsLost.
func (d *Datapath) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if !d.listening.TryLock() {
			yield(Event{}, ErrListening)
			return
		}
		defer d.listening.Unlock()
		if err := d.listen(ctx, func(e Event) bool { return yield(e, nil) }); err != nil {
			yield(Event{}, err)
		}
	}
}

// drainEvery is how often the ring is read. Writing to it wakes nobody, as that would cost each connection more than all the
// rest of telling; it has room for what happens meanwhile at 70,000 connections a second.
const drainEvery = 50 * time.Millisecond

func (d *Datapath) listen(ctx context.Context, take func(Event) bool) error {
	r, err := ringbuf.NewReader(d.objects.Events)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer r.Close()
	r.SetDeadline(time.Unix(1, 0)) // long past: give what is there, and do not wait
	if err := d.want(1); err != nil {
		return err
	}
	defer d.want(0) // where this fails, the ring fills and events are counted as lost
	tick := time.NewTicker(drainEvery)
	defer tick.Stop()
	var record ringbuf.Record // its memory is used for all of them
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		more, err := drain(r, &record, take)
		if err != nil || !more {
			return err
		}
	}
}

// drain gives what is in the ring, at most as much as it holds: who writes faster than is read here would keep it for ever. more is
// false when take wants no more.
func drain(r *ringbuf.Reader, record *ringbuf.Record, take func(Event) bool) (more bool, err error) {
	epoch, err := clockEpoch()
	if err != nil {
		return false, err
	}
	for range r.BufferSize() / eventSize {
		if err := r.ReadInto(record); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return true, nil
			}
			return false, fmt.Errorf("read an event: %w", err)
		}
		e, err := event(record.RawSample, epoch)
		if err != nil {
			return false, err
		}
		if !take(e) {
			return false, nil
		}
	}
	return true, nil
}

// clockEpoch is when the clock by which events are told began.
func clockEpoch() (time.Time, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Time{}, fmt.Errorf("read the clock: %w", err)
	}
	return time.Now().Add(-time.Duration(now.Nano())), nil
}

const eventSize = int(unsafe.Sizeof(contivEvent{}))

// event reads a struct event, as the compiler lays out both: binary.Read takes longer than all else here.
func event(b []byte, epoch time.Time) (Event, error) {
	if len(b) != eventSize {
		return Event{}, fmt.Errorf("an event has %d bytes, not %d", len(b), eventSize)
	}
	var raw contivEvent
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&raw)), eventSize), b)
	end := func(address [16]byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
	}
	return Event{
		Time: epoch.Add(time.Duration(raw.Time)), Kind: EventKind(raw.Kind), Tenant: raw.Tenant,
		Source: end(raw.Source, raw.SourcePort), Destination: end(raw.Destination, raw.DestinationPort),
		Protocol: raw.Proto, Rule: raw.Rule, Out: raw.Out != 0,
	}, nil
}

// want turns events on and off. The count of lost ones stays.
func (d *Datapath) want(on uint32) error {
	var l contivListener
	if err := d.objects.Listening.Lookup(uint32(0), &l); err != nil {
		return fmt.Errorf("ask for events: %w", err)
	}
	l.Wanted = on
	if err := d.objects.Listening.Put(uint32(0), l); err != nil {
		return fmt.Errorf("ask for events: %w", err)
	}
	return nil
}

// EventsLost counts the events for which there was no room, since the maps were made.
func (d *Datapath) EventsLost() (uint64, error) {
	var l contivListener
	if err := d.objects.Listening.Lookup(uint32(0), &l); err != nil {
		return 0, fmt.Errorf("read how many events were lost: %w", err)
	}
	return l.Lost, nil
}
