// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"iter"
	"maps"
	"sync"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/observe"
)

// firewallDrops counts what the node's netfilter has dropped for us, by reason. Where that cannot be asked it has dropped nothing, and the
// doctor says why.
func firewallDrops() map[string]uint64 {
	chains, _ := netdev.FirewallDrops()
	return map[string]uint64{
		observe.VXLANForged: chains["forged"], observe.VXLANBorrowed: chains["borrowed"], observe.OutsideDenied: chains["passing"] + chains["entering"],
	}
}

// maxUnread is how many events are kept between two readings: as many as are kept at all.
const maxUnread = api.MaxLastFlows

// eyes are what a datapath.Datapath sees with.
type eyes interface {
	Events(context.Context) iter.Seq2[datapath.Event, error]
	EventsLost() (uint64, error)
	Drops() (map[string]uint64, error)
	PortDrops() (map[datapath.PortDrop]uint64, error)
	RuleCounts() (map[uint32]datapath.RuleCount, error)
	ServiceCounts() ([]datapath.ServiceCount, error)
}

// seen is what the data path has seen, in the words of package observe.
type seen struct {
	path   eyes
	others func() map[string]uint64 // what others of this node have dropped, by reason

	mu     sync.Mutex
	unread []observe.Event
	over   uint64 // events that were not kept
	lost   uint64 // those that the data path had lost at the last reading
	failed error
}

// newSeen begins with nothing lost: what was before is nobody's.
func newSeen(path eyes, others func() map[string]uint64) (*seen, error) {
	lost, err := path.EventsLost()
	return &seen{path: path, others: others, lost: lost}, err
}

// listen takes events out of the data path's ring until ctx ends. Where it cannot, connections are not told, and all else goes on.
func (s *seen) listen(ctx context.Context) error {
	for e, err := range s.path.Events(ctx) {
		s.mu.Lock()
		switch {
		case err != nil:
			s.failed = err
		case len(s.unread) >= maxUnread:
			s.over++
		default:
			s.unread = append(s.unread, eventOf(e))
		}
		s.mu.Unlock()
	}
	<-ctx.Done() // a part that ends would end the others
	return nil
}

func eventOf(e datapath.Event) observe.Event {
	out := observe.Event{Time: e.Time, Tenant: e.Tenant, From: e.Source, To: e.Destination, Protocol: e.Protocol, Rule: e.Rule, Verdict: api.FlowAllowed}
	switch e.Kind {
	case datapath.Audited:
		out.Verdict = api.FlowAudited
	case datapath.Refused:
		out.Verdict, out.Reason = api.FlowDenied, observe.PolicyIn
		if e.Out {
			out.Reason = observe.PolicyOut
		}
	}
	return out
}

func (s *seen) Events() (events []observe.Event, lost uint64, err error) {
	now, err := s.path.EventsLost()
	s.mu.Lock()
	defer s.mu.Unlock()
	events, lost = s.unread, s.over
	s.unread, s.over = nil, 0
	if err != nil {
		return events, lost, err
	}
	lost, s.lost = lost+now-s.lost, now
	return events, lost, s.failed
}

func (s *seen) Drops() ([]observe.Drop, error) {
	ports, err := s.path.PortDrops() // read first, so that none has more than there are
	if err != nil {
		return nil, err
	}
	counts, err := s.path.Drops()
	if err != nil {
		return nil, err
	}
	maps.Copy(counts, s.others())
	out := make([]observe.Drop, 0, len(counts)+len(ports))
	for d, packets := range ports {
		if d.Port == "" {
			continue
		}
		packets = min(packets, counts[d.Reason])
		counts[d.Reason] -= packets
		out = append(out, observe.Drop{Port: d.Port, Reason: d.Reason, Packets: packets})
	}
	for reason, packets := range counts { // that no port of today sent
		if packets > 0 {
			out = append(out, observe.Drop{Reason: reason, Packets: packets})
		}
	}
	return out, nil
}

func (s *seen) Rules() ([]observe.Rule, error) {
	counts, err := s.path.RuleCounts()
	out := make([]observe.Rule, 0, len(counts))
	for number, c := range counts {
		out = append(out, observe.Rule{Number: number, Packets: c.Packets, Connections: c.Allowed + c.Denied, Denied: c.Denied, Audited: c.Audited})
	}
	return out, err
}

func (s *seen) Services() ([]observe.Service, error) {
	counts, err := s.path.ServiceCounts()
	out := make([]observe.Service, 0, len(counts))
	for _, c := range counts {
		out = append(out, observe.Service{Service: c.Service, Provider: c.Provider, Traffic: api.Traffic{
			Connections: c.Connections, Open: c.Open, PacketsIn: c.PacketsTo, BytesIn: c.BytesTo, PacketsOut: c.PacketsFrom, BytesOut: c.BytesFrom,
		}})
	}
	return out, err
}
