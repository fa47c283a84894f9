// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// fakeAgent is a node's agent, as a master sees it.
type fakeAgent struct {
	name   string
	counts api.NodeCounts
	served []api.ProviderCount
	flows  []api.Flow // that were there
	bgp    api.BGPOper
	route  api.NodeRoute // into whatever is asked about
	come   chan api.FlowLine
	hung   chan struct{} // not nil: nothing is answered before it is closed
	leave  chan struct{} // closed once: who follows is left alone

	mu    sync.Mutex
	asked []string // queries of flows
}

func (a *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if a.hung != nil {
		select {
		case <-a.hung:
		case <-r.Context().Done():
		}
		return
	}
	e := json.NewEncoder(w)
	if r.URL.Path == api.AgentCountsPath {
		e.Encode(a.counts)
		return
	}
	if r.URL.Path == api.AgentServicesPath {
		e.Encode(api.NodeServices{Node: a.name, Providers: a.served})
		return
	}
	if r.URL.Path == api.AgentBGPPath {
		e.Encode(api.NodeBGP{Node: a.counts.Node, Oper: a.bgp})
		return
	}
	if r.URL.Path == api.AgentRoutePath {
		a.mu.Lock()
		route := a.route
		a.mu.Unlock()
		route.Node = a.name
		e.Encode(route)
		return
	}
	a.mu.Lock()
	a.asked = append(a.asked, r.URL.RawQuery)
	a.mu.Unlock()
	q, err := api.FlowQueryOf(r.URL.Query())
	if err != nil || r.URL.Path != api.AgentFlowsPath {
		http.Error(w, "unexpected "+r.URL.String(), http.StatusBadRequest)
		return
	}
	if q.Last > 0 {
		for _, f := range a.flows {
			e.Encode(api.FlowLine{Flow: &f})
		}
	}
	e.Encode(api.FlowLine{})
	for q.Follow {
		w.(http.Flusher).Flush()
		select {
		case l := <-a.come:
			e.Encode(l)
		case <-a.leave:
			a.leave = nil
			return
		case <-r.Context().Done():
			return
		}
	}
}

// agent makes a node that is up and whose agent answers.
func (s server) agent(a *fakeAgent, last byte) *fakeAgent {
	s.Helper()
	a.counts.Node, a.come, a.leave = a.name, make(chan api.FlowLine, 10), make(chan struct{})
	h := httptest.NewServer(a)
	s.Cleanup(func() { h.CloseClientConnections(); h.Close() })
	at := netip.MustParseAddrPort(strings.TrimPrefix(h.URL, "http://"))
	s.put(api.ObjectPath(api.Nodes, a.name), api.Node{
		VtepIP: netip.AddrFrom4([4]byte{192, 0, 2, last}), CtrlIP: at.Addr(), StatusPort: at.Port(), VXLANPort: 4789,
	})
	if _, err := s.client.Post(s.Context(), api.AlivePath(a.name), nil, nil); err != nil {
		s.Fatal(err)
	}
	s.until("node "+a.name+" is seen to be up", func() bool {
		var n api.Node
		return s.client.Get(s.Context(), api.ObjectPath(api.Nodes, a.name), &n) == nil && n.State == api.NodeUp
	})
	return a
}

func (s server) silentAre(silent []api.Silent, want map[string]string) {
	s.Helper()
	if len(silent) != len(want) {
		s.Errorf("silent are %+v; want %v", silent, want)
	}
	for _, n := range silent {
		if word, ok := want[n.Node]; !ok || !strings.Contains(n.Error, word) {
			s.Errorf("silent is %+v; want %v", n, want)
		}
	}
}

func TestCountsOfAllNodesAreJoinedAndWhoIsSilentIsNamed(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	for _, id := range []string{"1", "2"} {
		s.must(s.try(api.Rules, "default:p:"+id, api.Rule{Direction: "in", Action: "deny", Priority: 1}))
	}
	s.agent(&fakeAgent{name: "b", counts: api.NodeCounts{
		Drops: []api.DropCount{{Node: "lied", Reason: "policy_in", Packets: 2}},
		Rules: []api.RuleCount{{Rule: "default:p:2", Packets: 5, Connections: 2, Audited: 1}, {Rule: "default:gone:1", Packets: 9}, {Rule: "networkpolicy x/deny ingress", Connections: 3}},
	}}, 11)
	s.agent(&fakeAgent{name: "a", counts: api.NodeCounts{
		Drops: []api.DropCount{{Reason: "spoofed_mac", Packets: 1}, {Reason: "policy_in", Group: "default:web", Packets: 3}},
		Rules: []api.RuleCount{{Rule: "default:p:2", Packets: 10, Connections: 1}},
	}}, 12)
	s.agent(&fakeAgent{name: "hangs", hung: make(chan struct{})}, 13)
	other := &fakeAgent{name: "another"}
	s.agent(other, 14)
	other.counts.Node = "somebody"
	s.node("older", "192.0.2.15")
	s.put(api.ObjectPath(api.Nodes, "down"), api.Node{VtepIP: netip.MustParseAddr("192.0.2.16"), VXLANPort: 4789, StatusPort: 1})

	silent := map[string]string{"hangs": "within 2s", "another": `"somebody" answers`, "older": "older", "down": "down"}
	for _, n := range s.nodesOfNet() {
		silent[n] = "older"
	}
	var drops api.Drops
	began := time.Now()
	s.must(s.client.Get(s.Context(), api.DropsPath, &drops))
	if took := time.Since(began); took < time.Second || took > 4*time.Second {
		t.Errorf("it took %v, with one node that hangs", took)
	}
	want := []api.DropCount{
		{Node: "a", Reason: "policy_in", Group: "default:web", Packets: 3}, {Node: "a", Reason: "spoofed_mac", Packets: 1}, {Node: "b", Reason: "policy_in", Packets: 2},
	}
	if !slices.Equal(drops.Drops, want) {
		t.Errorf("dropped are %+v", drops.Drops)
	}
	s.silentAre(drops.Silent, silent)

	var rules api.RuleCounts
	s.must(s.client.Get(s.Context(), api.RulesPath+"?tenant=default&policy=p", &rules))
	if want := []api.RuleCount{{Rule: "default:p:1"}, {Rule: "default:p:2", Packets: 15, Connections: 3, Audited: 1}}; !slices.Equal(rules.Rules, want) || rules.Nodes != 2 {
		t.Errorf("rules are %+v of %d nodes", rules.Rules, rules.Nodes)
	}
	s.silentAre(rules.Silent, silent)
	rules = api.RuleCounts{}
	s.must(s.client.Get(s.Context(), api.RulesPath, &rules))
	if len(rules.Rules) != 3 || rules.Rules[2] != (api.RuleCount{Rule: "networkpolicy x/deny ingress", Connections: 3}) {
		t.Errorf("all rules are %+v", rules.Rules)
	}
	rules = api.RuleCounts{}
	s.must(s.client.Get(s.Context(), api.RulesPath+"?policy=none", &rules))
	if len(rules.Rules) != 0 {
		t.Errorf("a policy that is not there has rules %+v", rules.Rules)
	}
	refused(t, s.client.Get(s.Context(), api.RulesPath+"?tenant=none", nil), model.ErrNotFound, "tenantName", "none")
}

func TestWhatAllNodesHadOfAServiceIsAddedUp(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "")
	s.node("n1", "192.0.2.20")
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), web)
	s.put(api.ObjectPath(api.ServiceLBs, "default:idle"), api.ServiceLB{NetworkName: "net", Selectors: []string{"app=none"}, Ports: web.Ports})
	for _, id := range []string{"p1", "p2"} {
		s.put(api.ObjectPath(api.Endpoints, id), api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1", ContainerName: "c-" + id, Stopping: id == "p2", Labels: map[string]string{"app": "web", "more": "x"}})
	}
	had := func(endpoint string, n uint64) api.ProviderCount {
		return api.ProviderCount{Service: "default:web", Endpoint: endpoint, Traffic: api.Traffic{Connections: n, Open: n + 1, PacketsIn: n + 2, BytesIn: n + 3, PacketsOut: n + 4, BytesOut: n + 5}}
	}
	s.agent(&fakeAgent{name: "a", served: []api.ProviderCount{had("p1", 10), had("gone", 1000)}}, 11)
	s.agent(&fakeAgent{name: "b", served: []api.ProviderCount{had("p1", 100)}}, 12)
	var got api.ObservedServices
	s.must(s.client.Get(s.Context(), api.ServicesPath+"?tenant=default&service=web", &got))
	if len(got.Services) != 1 || got.Nodes != 2 || len(got.Silent) != 1 || got.Silent[0].Node != "n1" {
		t.Fatalf("observed is %+v", got)
	}
	want := api.ObservedService{Service: "default:web", VIP: "10.1.1.1", Providers: []api.ObservedProvider{
		{Endpoint: "p1", Container: "c-p1", Node: "n1", IPv4: "10.1.1.3", State: api.ProviderHealthy,
			Traffic: api.Traffic{Connections: 110, Open: 112, PacketsIn: 114, BytesIn: 116, PacketsOut: 118, BytesOut: 120}},
		{Endpoint: "p2", Container: "c-p2", Node: "n1", IPv4: "10.1.1.4", State: api.ProviderStopping},
	}}
	if s := got.Services[0]; s.Service != want.Service || s.VIP != want.VIP || !slices.Equal(s.Providers, want.Providers) {
		t.Errorf("observed is\n%+v, not\n%+v", s, want)
	}
	got = api.ObservedServices{}
	s.must(s.client.Get(s.Context(), api.ServicesPath, &got))
	if len(got.Services) != 2 || got.Services[0].Service != "default:idle" || len(got.Services[0].Providers) != 0 {
		t.Errorf("observed is %+v", got.Services)
	}
	refused(t, s.client.Get(s.Context(), api.ServicesPath+"?tenant=none", nil), model.ErrNotFound, "tenantName", "none")
}

// nodesOfNet are those that onNet made.
func (s server) nodesOfNet() (names []string) {
	s.Helper()
	var nodes []api.Node
	s.must(s.client.Get(s.Context(), api.ListPath(api.Nodes), &nodes))
	for _, n := range nodes {
		if n.StatusPort == 0 && n.NodeName != "older" {
			names = append(names, n.NodeName)
		}
	}
	return names
}

// flowAt is a flow that its node saw so many seconds after some moment.
func flowAt(node string, seconds int) api.Flow {
	return api.Flow{Time: time.Unix(1700000000+int64(seconds), 0).UTC(), Node: node, Verdict: api.FlowDenied}
}

func TestFlowsOfAllNodesAreToldInTheOrderOfTimeThenAsTheyCome(t *testing.T) {
	t.Parallel()
	s := alone(t)
	a := s.agent(&fakeAgent{name: "a", flows: []api.Flow{flowAt("a", 1), flowAt("a", 4), flowAt("a", 5)}}, 11)
	b := s.agent(&fakeAgent{name: "b", flows: []api.Flow{flowAt("b", 2), flowAt("b", 3), flowAt("b", 6)}}, 12)
	s.agent(&fakeAgent{name: "hangs", hung: make(chan struct{})}, 13)

	q := api.FlowQuery{Tenant: "blue", Group: "web", Verdict: api.FlowDenied, Last: 4}
	var seen []string
	s.must(s.client.Flows(t.Context(), q, func(l api.FlowLine) error { seen = append(seen, said(l)); return nil }))
	if want := []string{"silent hangs", "b 3", "a 4", "a 5", "b 6", ""}; !slices.Equal(seen, want) {
		t.Errorf("told are %q, not %q", seen, want)
	}
	if asked, err := url.ParseQuery(a.asked[0]); err != nil || asked.Get("tenant") != "blue" || asked.Get("group") != "web" || asked.Get("verdict") != api.FlowDenied || asked.Get("last") != "4" {
		t.Errorf("the agent was asked %q", a.asked[0])
	}

	ctx, cancel := context.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- s.client.Flows(ctx, api.FlowQuery{Last: 1, Follow: true}, func(l api.FlowLine) error { told <- said(l); return nil })
	}()
	until := func(want ...string) {
		t.Helper()
		for i := 0; i < len(want); {
			select {
			case got := <-told:
				if got == "" && want[i] != "" {
					continue // a pulse
				}
				if got != want[i] {
					t.Fatalf("told is %q, not %q", got, want[i])
				}
				i++
			case <-ctx.Done():
				t.Fatalf("%q is not told", want[i])
			}
		}
	}
	until("silent hangs", "b 6", "")
	b.come <- api.FlowLine{Flow: new(flowAt("b", 9))}
	until("b 9")
	a.come <- api.FlowLine{Flow: new(flowAt("a", 8))} // as it comes: nobody waits for the past
	a.come <- api.FlowLine{Lost: &api.Lost{Node: "a", Flows: 3}}
	until("a 8", "lost a 3")
	// One that broke off goes on where it was. So does one that comes later: what it saw before anybody asked is not told.
	a.flows = append(a.flows, flowAt("a", 8), flowAt("a", 11))
	close(a.leave)
	until("silent a", "a 11")
	asked := api.Flow{Time: time.Now().Add(time.Hour), Node: "c"}
	c := s.agent(&fakeAgent{name: "c", flows: []api.Flow{flowAt("c", 7), asked}}, 14)
	until(said(api.FlowLine{Flow: &asked}))
	c.come <- api.FlowLine{Flow: new(flowAt("c", 10))}
	until("c 10")
	cancel()
	if err := <-ended; err == nil {
		t.Error("a stream that was broken off has ended well")
	}
	refused(t, s.client.Flows(t.Context(), api.FlowQuery{Verdict: "maybe"}, nil), model.ErrInvalid, "verdict", "maybe", api.FlowAudited)
}

func said(l api.FlowLine) string {
	switch {
	case l.Flow != nil:
		return fmt.Sprintf("%s %d", l.Flow.Node, l.Flow.Time.Unix()-1700000000)
	case l.Lost != nil:
		return fmt.Sprintf("lost %s %d", l.Lost.Node, l.Lost.Flows)
	case l.Silent != nil:
		return "silent " + l.Silent.Node
	}
	return ""
}

func TestTraceNamesWhatDecidesAndWhatWouldWithoutIt(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "")
	s.network("default:far", "10.1.2.0/24", "")
	s.must(s.try(api.Tenants, "red", api.Tenant{}))
	s.network("red:net", "10.1.1.0/24", "")
	s.node("one", "192.0.2.1")
	s.node("two", "192.0.2.2")
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.try(api.EndpointGroups, "default:web", api.EndpointGroup{NetworkName: "net"}))
	s.must(s.try(api.Rules, "default:p:1", api.Rule{Direction: "in", Protocol: "tcp", Action: "deny", Priority: 1}))
	s.must(s.try(api.Rules, "default:p:2", api.Rule{Direction: "in", Protocol: "tcp", Port: 8888, Action: "allow", Priority: 10, FromEndpointGroup: "web"}))
	s.must(s.try(api.EndpointGroups, "default:db", api.EndpointGroup{NetworkName: "net", Policies: []string{"p"}}))
	s.must(s.try(api.EndpointGroups, "default:idle", api.EndpointGroup{NetworkName: "net"}))
	for id, e := range map[string]api.Endpoint{
		"e-web": {TenantName: "default", NetworkName: "net", GroupName: "web", HomingHost: "one", ContainerName: "web", ContainerID: "cafe0123456789"},
		"e-db":  {TenantName: "default", NetworkName: "net", GroupName: "db", HomingHost: "two", ContainerName: "db", IPv4Address: netip.MustParseAddr("10.1.1.9")},
		"e-far": {TenantName: "default", NetworkName: "far", HomingHost: "two", ContainerName: "far"},
		"e-red": {TenantName: "red", NetworkName: "net", HomingHost: "two", ContainerName: "red", IPv4Address: netip.MustParseAddr("10.1.1.9")},
	} {
		e.IntfName = "vvport1"
		s.must(s.try(api.Endpoints, id, e))
	}
	for _, row := range []struct {
		from, to, proto, port            string
		verdict, rule, otherwise, orRule string
		why                              string
	}{
		{"web", "db", "tcp", "8888", "allow", "default:p:2", "deny", "default:p:1", ""},
		{"cafe01", "e-db", "tcp", "8888", "allow", "default:p:2", "deny", "default:p:1", ""},
		{"group:web", "10.1.1.9", "tcp", "8888", "allow", "default:p:2", "deny", "default:p:1", ""},
		{"web", "db", "tcp", "80", "deny", "default:p:1", "allow", "", ""},
		{"far", "group:db", "6", "8888", "deny", "default:p:1", "allow", "", ""},
		{"198.51.100.7", "db", "tcp", "8888", "deny", "default:p:1", "allow", "", ""},
		{"web", "db", "udp", "53", "allow", "", "", "", ""},
		{"web", "db", "icmp", "", "allow", "", "", "", ""},
		{"web", "red", "udp", "53", "deny", "", "", "", "tenants default and red have no path"},
		{"web", "2001:db8::1", "udp", "53", "deny", "", "", "", "one family"},
		{"web", "web", "udp", "53", "allow", "", "", "", "never leave it"},
		{"web", "10.1.2.77", "udp", "53", "deny", "", "", "", "no container has address 10.1.2.77"},
		{"web", "198.51.100.7", "udp", "53", "allow", "", "", "", "no container's address"},
	} {
		var got api.Trace
		q := url.Values{"from": {row.from}, "to": {row.to}, "proto": {row.proto}, "port": {row.port}}
		s.must(s.client.Get(s.Context(), api.TracePath+"?"+q.Encode(), &got))
		if got.Verdict != row.verdict || got.Rule != row.rule || got.Otherwise != row.otherwise || got.OtherwiseRule != row.orRule ||
			(row.why == "") != (got.Why == "") || !strings.Contains(got.Why, row.why) {
			t.Errorf("%v gives %+v", row, got)
		}
		if row.rule == "" {
			continue
		}
		at := got.Steps[len(got.Steps)-1]
		if at.Node != "two" || at.Group != "default:db" || at.Policy != "default:p" || at.Direction != "in" || at.Rule != row.rule || got.To.Container != "db" {
			t.Errorf("%v is decided at %+v, to %+v", row, at, got.To)
		}
	}
	for _, row := range []struct {
		query string
		kind  error
		field string
		words []string
	}{
		{"from=web&proto=tcp&port=1", model.ErrInvalid, "to", []string{"group:NAME"}},
		{"from=web&to=nobody&proto=tcp&port=1", model.ErrNotFound, "endpointID", []string{"nobody"}},
		{"from=e-&to=db&proto=tcp&port=1", model.ErrInvalid, "endpointID", []string{"e-far", "e-web"}},
		{"from=web&to=group:none&proto=tcp&port=1", model.ErrNotFound, "groupName", []string{"none"}},
		{"from=web&to=group:idle&proto=tcp&port=1", model.ErrNotFound, "to", []string{"no container"}},
		{"from=web&to=db&proto=tcp", model.ErrInvalid, "port", []string{"needed"}},
		{"from=web&to=db&proto=icmp&port=1", model.ErrInvalid, "port", []string{"no ports"}},
		{"from=web&to=db&proto=tcp&port=70000", model.ErrInvalid, "port", []string{"70000"}},
		{"from=web&to=db", model.ErrInvalid, "proto", []string{"tcp"}},
		{"from=web&to=db&proto=tcp&port=1&tenant=none", model.ErrNotFound, "tenantName", []string{"none"}},
	} {
		err := s.client.Get(s.Context(), api.TracePath+"?"+row.query, nil)
		if !errors.Is(err, row.kind) {
			t.Errorf("%s gives %v", row.query, err)
			continue
		}
		refused(t, err, row.kind, row.field, row.words...)
	}
}

func TestNoMoreThan64NodesAreAskedAtOnce(t *testing.T) {
	t.Parallel()
	s := alone(t)
	var mu sync.Mutex
	var once sync.Once
	asked, most := 0, 0
	full := make(chan struct{}) // closed when as many are asked as may be
	for i := range 70 {
		name := fmt.Sprint("n", i)
		h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked++
			if most = max(most, asked); most == 64 {
				once.Do(func() { close(full) })
			}
			mu.Unlock()
			select {
			case <-full:
			case <-r.Context().Done():
			}
			time.Sleep(10 * time.Millisecond) // for one more to come, if it may
			mu.Lock()
			asked--
			mu.Unlock()
			json.NewEncoder(w).Encode(api.NodeCounts{Node: name})
		}))
		t.Cleanup(h.Close)
		at := netip.MustParseAddrPort(strings.TrimPrefix(h.URL, "http://"))
		s.put(api.ObjectPath(api.Nodes, name), api.Node{VtepIP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), CtrlIP: at.Addr(), StatusPort: at.Port(), VXLANPort: 4789})
		if _, err := s.client.Post(s.Context(), api.AlivePath(name), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.until("all nodes are seen to be up", func() bool {
		var nodes []api.Node
		err := s.client.Get(s.Context(), api.ListPath(api.Nodes), &nodes)
		return err == nil && len(nodes) == 70 && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.State != api.NodeUp })
	})
	var rules api.RuleCounts
	s.must(s.client.Get(s.Context(), api.RulesPath, &rules))
	if most != 64 || rules.Nodes != 70 {
		t.Errorf("%d nodes were asked at once, and %d answered: %+v", most, rules.Nodes, rules.Silent)
	}
}
