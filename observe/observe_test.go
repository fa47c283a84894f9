// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

// recorded is a data path that has seen what a test says.
type recorded struct {
	mu     sync.Mutex
	drops  []Drop
	rules  []Rule
	served []Service
	events []Event
	lost   uint64
}

func (r *recorded) Drops() ([]Drop, error)       { return r.drops, nil }
func (r *recorded) Rules() ([]Rule, error)       { return r.rules, nil }
func (r *recorded) Services() ([]Service, error) { return r.served, nil }

func (r *recorded) Events() ([]Event, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, lost := r.events, r.lost
	r.events, r.lost = nil, 0
	return events, lost, nil
}

func (r *recorded) see(lost uint64, events ...Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.lost = append(r.events, events...), r.lost+lost
}

// twins is a World in which tenants blue and red have the same addresses: web at 10.1.0.2 on one, db at .3 on two.
func twins(t *testing.T) model.World {
	t.Helper()
	c := model.Change{Revision: 7, Reset: true}
	for i, name := range []string{"one", "two"} {
		c.Put = append(c.Put, model.Node{Name: name, VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), VXLANPort: 4789})
	}
	for i, tenant := range []string{"blue", "red"} {
		n := model.Network{Tenant: tenant, Name: "net", Encap: model.EncapVXLAN, Tag: uint32(i + 1)}
		n.IPv4.Prefix = netip.MustParsePrefix("10.1.0.0/16")
		c.Put = append(c.Put, model.Tenant{Name: tenant, Number: uint32(i + 1)}, n,
			model.Policy{Tenant: tenant, Name: "p"},
			model.Rule{Tenant: tenant, Policy: "p", ID: "1", Direction: model.In, Action: model.Deny, Priority: 1, Protocol: "tcp"},
			model.Group{Tenant: tenant, Name: "db", Network: "net", Number: uint32(i + 1), Policies: []string{"p"}})
		for j, e := range []model.Endpoint{{Name: "web", Node: "one"}, {Name: "db", Group: "db", Node: "two"}} {
			e.ID, e.Tenant, e.Network, e.Port = tenant+e.Name, tenant, "net", fmt.Sprintf("vvport%d%d", i, j)
			e.IPv4 = netip.AddrFrom4([4]byte{10, 1, 0, byte(j + 2)})
			e.MAC = model.MACOf(e.IPv4)
			c.Put = append(c.Put, e, model.Address{Network: n.Key(), Addr: e.IPv4, Owner: e.ID})
		}
	}
	return model.World{}.With(c)
}

// watched runs an observer of what is recorded on node two, and serves it.
func watched(t *testing.T, r *recorded) (*Observer, string) {
	t.Helper()
	world := twins(t)
	tables := compile.For(world, "two")
	o := New(Options{
		Node: "two", Source: r, Log: slog.New(slog.DiscardHandler),
		Names:   func() (model.World, compile.Tables) { return world, tables },
		Applied: func() int64 { return 7 },
		Route: func(into netip.Prefix) (netip.Prefix, string, bool, error) {
			to := netip.MustParsePrefix("172.20.4.0/24")
			return to, "device eth1", to.Overlaps(into), nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	s := httptest.NewServer(o.Handler())
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return o, s.URL
}

// follow reads lines until the test ends; those without anything are given too.
func follow(t *testing.T, url string, q api.FlowQuery) <-chan api.FlowLine {
	t.Helper()
	resp, err := http.Get(url + api.AgentFlowsPath + "?" + q.Values().Encode())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %s", resp.Status, b)
	}
	out := make(chan api.FlowLine, 10000)
	go func() {
		defer close(out)
		_ = api.ReadFlowLines(resp.Body, func(l api.FlowLine) error { out <- l; return nil }) // broken off by the test's end
	}()
	return out
}

func next(t *testing.T, lines <-chan api.FlowLine) api.FlowLine {
	t.Helper()
	select {
	case l, ok := <-lines:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return l
	case <-time.After(patience):
		t.Fatal("no line comes")
	}
	return api.FlowLine{}
}

// toDB is a connection from web to db that the rule with that number decided.
func toDB(tenant uint32, verdict string, rule uint32) Event {
	return Event{
		Time: time.Unix(1700000000, 0), Tenant: tenant, From: netip.MustParseAddrPort("10.1.0.2:40000"), To: netip.MustParseAddrPort("10.1.0.3:80"),
		Protocol: model.ProtocolTCP, Verdict: verdict, Rule: rule, Reason: "policy_in",
	}
}

// ruleNumber is that of red's rule, the only one that node two holds of red.
func ruleNumber(t *testing.T, o *Observer, key string) uint32 {
	t.Helper()
	_, tables := o.Names()
	for _, r := range tables.Rules {
		if r.Key == key {
			return r.Number
		}
	}
	t.Fatalf("the tables have no rule %s", key)
	return 0
}

func TestFlowIsToldWithTheNamesOfBothEndsAndOfItsRule(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	o, url := watched(t, r)
	lines := follow(t, url, api.FlowQuery{Follow: true})
	if l := next(t, lines); l != (api.FlowLine{}) {
		t.Fatalf("the first line is %+v, though nothing was there", l)
	}
	r.see(0, toDB(2, api.FlowDenied, ruleNumber(t, o, "red:p:1")))
	want := api.Flow{
		Time: time.Unix(1700000000, 0).UTC(), Node: "two", Verdict: api.FlowDenied, Tenant: "red", Protocol: "tcp", Rule: "red:p:1", Reason: "policy_in",
		From: api.FlowEnd{Address: netip.MustParseAddr("10.1.0.2"), Port: 40000, Container: "web", Endpoint: "redweb", Network: "net", Node: "one"},
		To:   api.FlowEnd{Address: netip.MustParseAddr("10.1.0.3"), Port: 80, Container: "db", Endpoint: "reddb", Network: "net", Group: "db", Node: "two"},
	}
	if l := next(t, lines); l.Flow == nil || *l.Flow != want {
		t.Errorf("told is\n%+v, not\n%+v", l.Flow, want)
	}
}

func TestWhatHasNoNameIsToldByItsAddress(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	_, url := watched(t, r)
	lines := follow(t, url, api.FlowQuery{Follow: true})
	next(t, lines)
	e := toDB(1, api.FlowAllowed, 12345) // of no rule
	e.From, e.Protocol, e.Reason = netip.MustParseAddrPort("[::ffff:198.51.100.7]:8"), model.ProtocolICMP, ""
	r.see(0, e)
	l := next(t, lines)
	if l.Flow == nil || l.Flow.From != (api.FlowEnd{Address: netip.MustParseAddr("198.51.100.7")}) || l.Flow.Rule != api.RemovedRule || l.Flow.Protocol != "icmp" {
		t.Errorf("told is %+v", l.Flow)
	}
}

func TestFlowsAreChosenByTenantGroupAndVerdictBeforeTheyAreCounted(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	o, url := watched(t, r)
	for range 5 {
		r.see(0, toDB(1, api.FlowDenied, 0), toDB(2, api.FlowAllowed, 0), toDB(2, api.FlowDenied, 0))
	}
	deadline := time.Now().Add(patience)
	for ; time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if lines, _ := o.ring.last(api.FlowQuery{}); len(lines) == 15 {
			break
		}
	}
	for _, c := range []struct {
		q    api.FlowQuery
		want int
	}{
		{api.FlowQuery{}, 15}, {api.FlowQuery{Last: 4}, 4}, {api.FlowQuery{Tenant: "red"}, 10}, {api.FlowQuery{Tenant: "red", Verdict: api.FlowDenied, Last: 3}, 3},
		{api.FlowQuery{Group: "db", Verdict: api.FlowAllowed}, 5}, {api.FlowQuery{Group: "web"}, 0}, {api.FlowQuery{Last: -1}, 0},
	} {
		n := 0
		for l := range follow(t, url, c.q) {
			if l.Flow != nil && c.q.Chooses(*l.Flow) {
				n++
			}
		}
		if n != c.want {
			t.Errorf("%+v gives %d flows, not %d", c.q, n, c.want)
		}
	}
}

func TestEventsThatTheDataPathLostAreCountedAndTold(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	o, url := watched(t, r)
	lines := follow(t, url, api.FlowQuery{Follow: true, Tenant: "red"})
	next(t, lines)
	r.see(9, toDB(2, api.FlowAllowed, 0))
	if l := next(t, lines); l.Lost == nil || l.Lost.Flows != 9 || l.Lost.Node != "two" {
		t.Errorf("told is %+v", l)
	}
	if l := next(t, lines); l.Flow == nil {
		t.Errorf("told is %+v", l)
	}
	if c, err := o.Counts(); err != nil || c.LostFlows != 9 {
		t.Errorf("counted are %d lost flows (%v)", c.LostFlows, err)
	}
}

func TestSlowReaderMissesLinesAndIsToldHowMany(t *testing.T) {
	t.Parallel()
	r := newRing(10)
	var lines []api.FlowLine
	for i := range 25 {
		lines = append(lines, api.FlowLine{Flow: &api.Flow{Node: fmt.Sprint(i)}})
	}
	r.add(lines)
	got, missed, to, _ := r.from(3, 4)
	if missed != 12 || len(got) != 4 || got[0].Flow.Node != "15" || to != 19 {
		t.Errorf("got %d lines from %s on, %d missed, to %d", len(got), got[0].Flow.Node, missed, to)
	}
	told := chosenOf(api.FlowQuery{Verdict: api.FlowDenied}, got, missed, "two")
	if len(told) != 1 || told[0].Lost == nil || told[0].Lost.Flows != 12 {
		t.Errorf("told is %+v", told)
	}
	_, _, _, moved := r.from(25, 4)
	r.add(lines[:1])
	select {
	case <-moved:
	case <-time.After(patience):
		t.Error("who waits is not told of a new line")
	}
}

func TestCountsHaveTheNamesOfRulesAndOfWhoSent(t *testing.T) {
	t.Parallel()
	r := &recorded{drops: []Drop{
		{Port: "vvport01", Reason: "spoofed_mac", Packets: 2}, {Port: "vvport01", Reason: "policy_in", Packets: 1}, {Reason: "policy_in", Packets: 4},
		{Port: "vvport9", Reason: "policy_in", Packets: 3}, {Port: "vvport11", Reason: "malformed"},
	}}
	o, url := watched(t, r)
	r.rules = []Rule{{Number: ruleNumber(t, o, "blue:p:1"), Packets: 8, Connections: 3, Denied: 5, Audited: 1}, {Number: 12345, Packets: 1}}
	resp, err := http.Get(url + api.AgentCountsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got api.NodeCounts
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := api.NodeCounts{
		Node: "two", Revision: 7,
		Drops: []api.DropCount{
			{Node: "two", Reason: "policy_in", Packets: 3},
			{Node: "two", Reason: "policy_in", Network: "blue:net", Group: "blue:db", Packets: 5},
			{Node: "two", Reason: "spoofed_mac", Network: "blue:net", Group: "blue:db", Packets: 2},
		},
		Rules: []api.RuleCount{{Rule: "blue:p:1", Packets: 8, Connections: 3, Audited: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counted is\n%+v, not\n%+v", got, want)
	}
}

func TestCountsOfServicesHaveTheNamesOfProviders(t *testing.T) {
	t.Parallel()
	tables := compile.Tables{
		Services: []compile.Service{{Key: "blue:web", Number: 1, Port: 80}, {Key: "blue:web", Number: 1, Port: 443}, {Key: "red:web", Number: 2}},
		// The first endpoint has two addresses, so the data path has it twice.
		Providers: []compile.Provider{{Service: 1, Number: 7, Endpoint: "e1"}, {Service: 1, Number: 8, Endpoint: "e1"}, {Service: 1, Number: 9, Endpoint: "e2"}, {Service: 2, Number: 7, Endpoint: "e3"}},
	}
	count := func(service, provider uint32, n uint64) Service {
		return Service{Service: service, Provider: provider, Traffic: api.Traffic{Connections: n, PacketsOut: 2 * n}}
	}
	n := naming{tables: tables}
	got := n.providers([]Service{count(2, 7, 1), count(1, 9, 10), count(1, 7, 100), count(1, 8, 1000), count(3, 7, 5), count(2, 9, 5)})
	want := []api.ProviderCount{
		{Service: "blue:web", Endpoint: "e1", Traffic: api.Traffic{Connections: 1100, PacketsOut: 2200}},
		{Service: "blue:web", Endpoint: "e2", Traffic: api.Traffic{Connections: 10, PacketsOut: 20}},
		{Service: "red:web", Endpoint: "e3", Traffic: api.Traffic{Connections: 1, PacketsOut: 2}},
	}
	if !slices.Equal(got, want) {
		t.Errorf("counted is\n%+v, not\n%+v", got, want)
	}
}

// A rule that several groups have denies for the group whose container it was, which the port says.
func TestDropsOfASharedPolicyAreToldOfTheGroupWhoseTheyWere(t *testing.T) {
	t.Parallel()
	world := twins(t).With(model.Change{Revision: 8, Put: []model.Object{
		model.Group{Tenant: "blue", Name: "too", Network: "net", Number: 9, Policies: []string{"p"}},
	}})
	n := naming{world: world, tables: compile.For(world, "two")}
	at := slices.IndexFunc(n.tables.Rules, func(r compile.Rule) bool { return r.Key == "blue:p:1" })
	got := n.drops("two", []Drop{{Port: "vvport01", Reason: PolicyIn, Packets: 3}, {Reason: PolicyIn, Packets: 1}}, []Rule{{Number: n.tables.Rules[at].Number, Denied: 4}})
	want := []api.DropCount{{Node: "two", Reason: PolicyIn, Packets: 1}, {Node: "two", Reason: PolicyIn, Network: "blue:net", Group: "blue:db", Packets: 3}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReaderCanChangeNothingAndTakesNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	_, url := watched(t, &recorded{})
	for method, want := range map[string]int{http.MethodGet: http.StatusBadRequest, http.MethodPost: http.StatusBadRequest, http.MethodDelete: http.StatusMethodNotAllowed} {
		var body io.Reader
		if method != http.MethodDelete {
			body = strings.NewReader("anything")
		}
		req, err := http.NewRequest(method, url+api.AgentCountsPath, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %s, not %d", method, resp.Status, want)
		}
	}
	for range maxFollowers {
		next(t, follow(t, url, api.FlowQuery{Follow: true}))
	}
	resp, err := http.Get(url + api.AgentFlowsPath + "?follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one follower too many gets %s", resp.Status)
	}
	next(t, follow(t, url, api.FlowQuery{}))
}

func TestReaderThatStallsHoldsUpNobodyAndLosesNothingUntold(t *testing.T) {
	t.Parallel()
	o, url := watched(t, &recorded{})
	resp, err := http.Get(url + api.AgentFlowsPath + "?last=0&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// Far more than what lies between the two in the kernel.
	const batches, each = 200, 500
	began := time.Now()
	for range batches {
		o.keep(naming{}, make([]Event, each), 0)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("the node took %s to see what nobody reads", took)
	}
	told, lost := 0, 0
	enough := errors.New("all is accounted for")
	err = api.ReadFlowLines(resp.Body, func(l api.FlowLine) error {
		switch {
		case l.Flow != nil:
			told++
		case l.Lost != nil:
			lost += int(l.Lost.Flows)
		}
		if told+lost == batches*each {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || lost == 0 {
		t.Errorf("of %d flows %d were told and %d lost: %v", batches*each, told, lost, err)
	}
}

func TestRouteOfTheNodeIntoAPrefixIsTold(t *testing.T) {
	t.Parallel()
	_, url := watched(t, &recorded{})
	for into, want := range map[string]api.NodeRoute{
		"172.20.7.0/16": {Node: "two", To: "172.20.4.0/24", Device: "device eth1"},
		"172.21.0.0/16": {Node: "two"},
	} {
		resp, err := http.Get(url + api.AgentRoutePath + "?into=" + into)
		if err != nil {
			t.Fatal(err)
		}
		var got api.NodeRoute
		err = json.NewDecoder(resp.Body).Decode(&got)
		resp.Body.Close()
		if err != nil || got != want {
			t.Errorf("into %s leads %+v, %v; want %+v", into, got, err, want)
		}
	}
	resp, err := http.Get(url + api.AgentRoutePath + "?into=everywhere")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "172.19.0.0/16") {
		t.Errorf("what is no prefix is answered %s: %s", resp.Status, b)
	}
}
