// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/observe"
)

// blurred is a data path that gives the events of a channel, and then fails.
type blurred struct {
	events chan datapath.Event
	lost   uint64
}

var errBlurred = errors.New("it sees nothing any more")

func (b *blurred) Events(context.Context) iter.Seq2[datapath.Event, error] {
	return func(yield func(datapath.Event, error) bool) {
		for e := range b.events {
			if !yield(e, nil) {
				return
			}
		}
		yield(datapath.Event{}, errBlurred)
	}
}

func (b *blurred) EventsLost() (uint64, error)       { return b.lost, nil }
func (b *blurred) Drops() (map[string]uint64, error) { return map[string]uint64{"malformed": 3}, nil }

func (b *blurred) PortDrops() (map[datapath.PortDrop]uint64, error) {
	return map[datapath.PortDrop]uint64{{Port: "vvport1", Reason: "malformed"}: 2, {Reason: "malformed"}: 1}, nil
}

func (b *blurred) RuleCounts() (map[uint32]datapath.RuleCount, error) {
	return map[uint32]datapath.RuleCount{7: {Packets: 9, Allowed: 2, Denied: 3, Audited: 1}}, nil
}

func (b *blurred) ServiceCounts() ([]datapath.ServiceCount, error) {
	return []datapath.ServiceCount{{Service: 1, Provider: 2, Connections: 3, Open: 4, PacketsTo: 5, BytesTo: 6, PacketsFrom: 7, BytesFrom: 8}}, nil
}

func TestEventsThatCannotBeKeptAreCountedAsLostOnce(t *testing.T) {
	t.Parallel()
	b := &blurred{events: make(chan datapath.Event, maxUnread+10), lost: 100}
	s, err := newSeen(b, func() map[string]uint64 { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for range maxUnread + 3 {
		b.events <- datapath.Event{Kind: datapath.Refused, Rule: 7, Out: true}
	}
	close(b.events)
	b.lost += 5
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.listen(ctx) }()
	var events []observe.Event
	var lost uint64
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var more []observe.Event
		var n uint64
		more, n, err = s.Events()
		events, lost = append(events, more...), lost+n
		if err != nil || time.Now().After(late) {
			break
		}
	}
	if !errors.Is(err, errBlurred) || uint64(len(events))+lost != maxUnread+3+5 || lost < 5 {
		t.Errorf("%d events, %d lost, %v", len(events), lost, err)
	}
	if e := events[0]; e.Verdict != api.FlowDenied || e.Reason != observe.PolicyOut || e.Rule != 7 {
		t.Errorf("an event is %+v", e)
	}
	if _, n, _ := s.Events(); n != 0 {
		t.Errorf("%d are lost again", n)
	}
	select { // or netplugin would end, only because it does not see
	case err := <-ended:
		t.Errorf("listening has ended with %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDropsAndCountsAreTheDataPaths(t *testing.T) {
	t.Parallel()
	s, err := newSeen(&blurred{}, func() map[string]uint64 { return map[string]uint64{observe.VXLANForged: 0, observe.VXLANBorrowed: 4} })
	if err != nil {
		t.Fatal(err)
	}
	drops, err := s.Drops()
	slices.SortFunc(drops, func(a, b observe.Drop) int { return cmp.Compare(b.Packets, a.Packets) })
	if err != nil || !slices.Equal(drops, []observe.Drop{
		{Reason: "vxlan_borrowed", Packets: 4}, {Port: "vvport1", Reason: "malformed", Packets: 2}, {Reason: "malformed", Packets: 1},
	}) {
		t.Errorf("dropped are %+v (%v)", drops, err)
	}
	rules, err := s.Rules()
	if err != nil || len(rules) != 1 || rules[0] != (observe.Rule{Number: 7, Packets: 9, Connections: 5, Denied: 3, Audited: 1}) {
		t.Errorf("counted are %+v (%v)", rules, err)
	}
	services, err := s.Services()
	want := observe.Service{Service: 1, Provider: 2, Traffic: api.Traffic{Connections: 3, Open: 4, PacketsIn: 5, BytesIn: 6, PacketsOut: 7, BytesOut: 8}}
	if err != nil || len(services) != 1 || services[0] != want {
		t.Errorf("counted are %+v (%v)", services, err)
	}
}
