// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"time"

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
// it. Only one caller at a time may read. What is not read in time is lost, and counted by EventsLost.
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

func (d *Datapath) listen(ctx context.Context, take func(Event) bool) error {
	r, err := ringbuf.NewReader(d.objects.Events)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	if err := d.want(1); err != nil {
		return err
	}
	defer d.want(0) // where this fails, the ring fills and events are counted as lost
	for {
		record, err := r.Read()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		e, err := event(record.RawSample)
		if err != nil {
			return err
		}
		if !take(e) {
			return nil
		}
	}
}

func event(b []byte) (Event, error) {
	var raw contivEvent
	if err := binary.Read(bytes.NewReader(b), binary.NativeEndian, &raw); err != nil {
		return Event{}, fmt.Errorf("read an event of %d bytes: %w", len(b), err)
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return Event{}, fmt.Errorf("read the clock: %w", err)
	}
	end := func(address [16]byte, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
	}
	return Event{
		Time: time.Now().Add(time.Duration(int64(raw.Time) - now.Nano())), Kind: EventKind(raw.Kind), Tenant: raw.Tenant,
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
