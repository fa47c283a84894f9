// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
)

// seer is a master that answers with what a test says nodes have seen.
type seer struct {
	*master
	answers map[string]any // by path
	queries chan string
	lines   chan api.FlowLine // of the stream of flows; closed at its end
}

func newSeer(t *testing.T) (*seer, string) {
	t.Helper()
	m, _ := newMaster(t)
	s := &seer{master: m, answers: map[string]any{}, queries: make(chan string, 100), lines: make(chan api.FlowLine, 100)}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, h.URL
}

func (s *seer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, api.Root+"observe/") {
		s.master.ServeHTTP(w, r)
		return
	}
	s.queries <- r.URL.Query().Encode()
	if r.URL.Path != api.FlowsPath {
		answer, ok := s.answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = api.Error{Text: "nothing is served here"}
		}
		json.NewEncoder(w).Encode(answer)
		return
	}
	for {
		w.(http.Flusher).Flush()
		select {
		case l, ok := <-s.lines:
			if !ok {
				return
			}
			json.NewEncoder(w).Encode(l)
		case <-r.Context().Done():
			return
		}
	}
}

// tells checks what a run printed.
func (o outcome) tells(t *testing.T, exit int, stdout string, stderr ...string) {
	t.Helper()
	if o.exit != exit || stdout != "" && o.stdout != stdout {
		t.Errorf("exit %d, printed is\n%s\nnot\n%s\n%s", o.exit, o.stdout, stdout, o.stderr)
	}
	for _, text := range stderr {
		if !strings.Contains(o.stderr, text) {
			t.Errorf("standard error %q does not say %q", o.stderr, text)
		}
	}
}

func TestDropsAreShownByNodeReasonAndGroup(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	s.answers[api.DropsPath] = api.Drops{
		Drops: []api.DropCount{
			{Node: "node1", Reason: "policy_in", Network: "default:web", Group: "default:db", Packets: 12}, {Node: "node2", Reason: "unknown_peer", Packets: 1},
		},
		Silent: []api.Silent{{Node: "node3", Error: "it is down"}},
	}
	netctl(t, url, "drops").tells(t, 0, `Node   Reason        Network      Group       Packets
----   ------        -------      -----       -------
node1  policy_in     default:web  default:db  12
node2  unknown_peer                           1
`, "node node3 is not in this: it is down")
	var got api.Drops
	if o := netctl(t, url, "drops -o json"); json.Unmarshal([]byte(o.stdout), &got) != nil || len(got.Drops) != 2 || got.Silent[0].Node != "node3" {
		t.Errorf("printed is %s", o.stdout)
	}
}

func flowLines() []api.FlowLine {
	at := time.Date(2026, 11, 21, 12, 0, 0, 5e6, time.FixedZone("", 3600))
	web := api.FlowEnd{Address: netip.MustParseAddr("10.1.2.3"), Port: 40000, Container: "web", Node: "node1"}
	db := api.FlowEnd{Address: netip.MustParseAddr("10.1.2.4"), Port: 80, Container: "db1", Group: "db", Node: "node2"}
	return []api.FlowLine{
		{Silent: &api.Silent{Node: "node3", Error: "it is down"}},
		{Flow: &api.Flow{Time: at, Node: "node2", Verdict: api.FlowDenied, Tenant: "default", Protocol: "tcp", Rule: "default:p:1", Reason: "policy_in", From: web, To: db}},
		{},
		{Lost: &api.Lost{Node: "node1", Flows: 7, Why: "the reader was too slow"}},
		{Flow: &api.Flow{Time: at, Node: "n", Verdict: api.FlowAllowed, Tenant: "default", Protocol: "icmp", From: api.FlowEnd{Address: netip.MustParseAddr("2001:db8::1")}, To: db}},
	}
}

const flowTable = `Time                      Node   Verdict  Protocol  From                To                    Rule
----                      ----   -------  --------  ----                --                    ----
2026-11-21T11:00:00.005Z  node2  denied   tcp       web 10.1.2.3:40000  db1 (db) 10.1.2.4:80  default:p:1
2026-11-21T11:00:00.005Z  n      allowed  icmp      2001:db8::1         db1 (db) 10.1.2.4:80
`

func TestFlowsHaveTheNamesOfTheirEndsAndMissingOnesAreTold(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	for _, l := range flowLines() {
		s.lines <- l
	}
	close(s.lines)
	netctl(t, url, "flows -t default --group db --verdict denied --last 5").tells(t, 0, flowTable, "node node3 is not in this: it is down", "7 flows of node node1", "too slow")
	if q := <-s.queries; q != "group=db&last=5&tenant=default&verdict=denied" {
		t.Errorf("the master was asked %q", q)
	}
	o := netctl(t, url, "flows -o json") // the lines are gone, and there is nothing to print
	o.tells(t, 0, "")
	netctl(t, url, "flows").tells(t, 0, "Time  Node  Verdict  Protocol  From  To  Rule\n----  ----  -------  --------  ----  --  ----\n")
	netctl(t, url, "flows --verdict maybe").tells(t, ExitUsage, "", "allowed, denied or audited")
}

func TestFlowsAreALineOfJSONEach(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	for _, l := range flowLines() {
		s.lines <- l
	}
	close(s.lines)
	o := netctl(t, url, "flows -o json")
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	var f api.Flow
	if len(lines) != 2 || json.Unmarshal([]byte(lines[0]), &f) != nil || f.Rule != "default:p:1" || f.To.Group != "db" {
		t.Errorf("printed is %s", o.stdout)
	}
}

// signalled is standard output that tells when it has a text.
type signalled struct {
	bytes.Buffer
	text string
	has  chan struct{}
}

func (s *signalled) Write(b []byte) (int, error) {
	n, err := s.Buffer.Write(b)
	if s.has != nil && strings.Contains(s.String(), s.text) {
		close(s.has)
		s.has = nil
	}
	return n, err
}

func TestFollowedFlowsComeAtOnceUntilTheUserHasSeenEnough(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	for _, l := range flowLines() {
		s.lines <- l
	}
	ctx, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	seen := make(chan struct{})
	stdout := &signalled{text: "icmp", has: seen}
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		ended <- Run(ctx, []string{"flows", "-f", "-n", "0"}, Env{Stdout: stdout, Stderr: &stderr, Getenv: func(name string) string { return map[string]string{"NETMASTER": url}[name] }})
	}()
	select {
	case <-seen:
	case exit := <-ended:
		t.Fatalf("it ended with %d: %s", exit, stderr.String())
	}
	enough()
	if exit := <-ended; exit != 0 || stdout.String() != flowTable {
		t.Errorf("exit %d: %s%s", exit, stdout.String(), stderr.String())
	}
	if q := <-s.queries; q != "follow=true&last=0" {
		t.Errorf("the master was asked %q", q)
	}
	// A master that goes away is no end that the user wanted.
	close(s.lines)
	netctl(t, url, "flows -f").tells(t, ExitRefused, "", "ended the stream")
}

func TestTraceSaysWhatDecidesAndWhatWouldOtherwise(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	web := api.FlowEnd{Address: netip.MustParseAddr("10.1.2.3"), Container: "web", Group: "web", Node: "node1"}
	db := api.FlowEnd{Address: netip.MustParseAddr("10.1.2.4"), Port: 80, Container: "db1", Group: "db", Node: "node2"}
	s.answers[api.TracePath] = api.Trace{
		Tenant: "default", Verdict: "allow", Protocol: "tcp", From: web, To: db, Rule: "default:p:2", Otherwise: "deny", OtherwiseRule: "default:p:1",
		Steps: []api.TraceStep{
			{Direction: "out", Node: "node1", Group: "default:web", Verdict: "allow", Audited: "default:try:1"},
			{Direction: "in", Node: "node2", Group: "default:db", Policy: "default:p", Verdict: "allow", Rule: "default:p:2"},
		},
	}
	netctl(t, url, "policy trace --from web -to db1 -port 80").tells(t, 0, `allow by rule default:p:2: tcp from web (web) 10.1.2.3 on node1 to db1 (db) 10.1.2.4:80 on node2
without that rule: deny by rule default:p:1
Direction  Node   Group        Policy     Verdict  Rule          Audited
---------  ----   -----        ------     -------  ----          -------
out        node1  default:web             allow    none matches  default:try:1
in         node2  default:db   default:p  allow    default:p:2
`)
	if q := <-s.queries; q != "from=web&port=80&proto=tcp&tenant=default&to=db1" {
		t.Errorf("the master was asked %q", q)
	}
	s.answers[api.TracePath] = api.Trace{Verdict: "deny", Protocol: "icmp", From: web, To: db, Why: "tenants default and red have no path between them"}
	netctl(t, url, "policy trace --from web --to red --proto icmp -t red").tells(t, 0,
		"deny: icmp from web (web) 10.1.2.3 on node1 to db1 (db) 10.1.2.4:80 on node2\nbecause tenants default and red have no path between them\n")
	netctl(t, url, "policy trace --from web").tells(t, ExitUsage, "", "--from and --to are required", "netctl policy trace --from web1")
}

func TestRulesHaveTheirCountsWhereNodesTell(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	s.put(t, api.Policies, "default:p", api.Policy{Key: "default:p", TenantName: "default", PolicyName: "p"})
	s.put(t, api.Rules, "default:p:1", api.Rule{Key: "default:p:1", TenantName: "default", PolicyName: "p", RuleID: "1", Direction: "in", Protocol: "tcp", Action: "deny", Priority: 1})
	s.put(t, api.Rules, "default:p:2", api.Rule{Key: "default:p:2", TenantName: "default", PolicyName: "p", RuleID: "2", Direction: "out", Action: "allow", Priority: 10})
	const without = `Incoming Rules:
Rule  Priority  From EndpointGroup  From Network  From IpAddress  To IpAddress  Protocol  Port  Action
----  --------  ------------------  ------------  ---------       ------------  --------  ----  ------
1     1                                                                         tcp       0     deny
Outgoing Rules:
Rule  Priority  To EndpointGroup  To Network  To IpAddress  Protocol  Port  Action
----  --------  ----------------  ----------  ---------     --------  ----  ------
2     10                                                              0     allow
`
	netctl(t, url, "policy rule-ls p").tells(t, 0, without) // an older master
	silent := []api.Silent{{Node: "node3", Error: "it is down"}}
	s.answers[api.RulesPath] = api.RuleCounts{Rules: []api.RuleCount{{Rule: "default:p:1"}}, Silent: silent}
	if o := netctl(t, url, "policy rule-ls p"); o.stdout != without || o.stderr != "" {
		t.Errorf("no node answers: %s%s", o.stdout, o.stderr)
	}
	counts := []api.RuleCount{{Rule: "default:p:1", Packets: 1200, Connections: 3}, {Rule: "default:p:2"}}
	s.answers[api.RulesPath] = api.RuleCounts{Rules: counts, Nodes: 1, Silent: silent}
	netctl(t, url, "policy rule-ls p").tells(t, 0, `Incoming Rules:
Rule  Priority  From EndpointGroup  From Network  From IpAddress  To IpAddress  Protocol  Port  Action  Packets  Connections
----  --------  ------------------  ------------  ---------       ------------  --------  ----  ------  -------  -----------
1     1                                                                         tcp       0     deny    1200     3
Outgoing Rules:
Rule  Priority  To EndpointGroup  To Network  To IpAddress  Protocol  Port  Action  Packets  Connections
----  --------  ----------------  ----------  ---------     --------  ----  ------  -------  -----------
2     10                                                              0     allow   0        0
`, "node node3 is not in this")
	var rules []struct {
		RuleID string
		Counts struct{ Packets, Connections uint64 }
	}
	o := netctl(t, url, "policy rule-ls p --json")
	if err := json.Unmarshal([]byte(o.stdout), &rules); err != nil || len(rules) != 2 || rules[0].RuleID != "1" || rules[0].Counts.Packets != 1200 || rules[0].Counts.Connections != 3 {
		t.Errorf("printed is %s (%v)", o.stdout, err)
	}
	counts[1].Audited = 9
	if o := netctl(t, url, "policy rule-ls p"); !strings.Contains(o.stdout, "Connections  Audited\n") || !strings.Contains(o.stdout, "0            9\n") {
		t.Errorf("printed is %s", o.stdout)
	}
	netctl(t, url, "policy rule-ls p -q").tells(t, 0, "1\n2\n")
}

func TestServicesHaveTheirProvidersWhereTheMasterTells(t *testing.T) {
	t.Parallel()
	s, url := newSeer(t)
	s.put(t, api.Tenants, "default", api.Tenant{TenantName: "default"})
	s.put(t, api.ServiceLBs, "default:web", api.ServiceLB{Key: "default:web", TenantName: "default", ServiceName: "web", NetworkName: "net", Selectors: []string{"app=web"}, Ports: []string{"80:8080:TCP"}})
	netctl(t, url, "service ls").tells(t, 0, `ServiceName  Tenant    Network  Selectors
---------    --------  -------  -------
web          default   net      [app=web]
`) // an older master
	netctl(t, url, "service provider-ls web").tells(t, ExitRefused, "", "older")
	s.answers[api.ServicesPath] = api.ObservedServices{
		Services: []api.ObservedService{{Service: "default:web", VIP: "10.1.2.9", Providers: []api.ObservedProvider{
			{Endpoint: "0123456789abcdef", Container: "c1", Node: "node1", IPv4: "10.1.2.1", State: api.ProviderHealthy,
				Traffic: api.Traffic{Connections: 3, Open: 1, PacketsIn: 10, BytesIn: 1000, PacketsOut: 20, BytesOut: 2000}},
			{Endpoint: "e2", Node: "node2", IPv6: "2001:db8::1", State: api.ProviderUnhealthy, Traffic: api.Traffic{Connections: 4}},
		}}},
		Silent: []api.Silent{{Node: "node3", Error: "it is down"}},
	}
	netctl(t, url, "service ls").tells(t, 0, `ServiceName  Tenant    Network  Selectors  VIP       Ports        Providers  Connections  Packets  Bytes
---------    --------  -------  -------    ---       -----        ---------  -----------  -------  -----
web          default   net      [app=web]  10.1.2.9  80:8080:TCP  1/2        7            30       3000
`, "node node3 is not in this")
	netctl(t, url, "service provider-ls web").tells(t, 0, `Endpoint      Container  Node   IP           State      Connections  Open  PacketsIn  BytesIn  PacketsOut  BytesOut
--------      ---------  ----   --           -----      -----------  ----  ---------  -------  ----------  --------
0123456789ab  c1         node1  10.1.2.1     healthy    3            1     10         1000     20          2000
e2                       node2  2001:db8::1  unhealthy  4            0     0          0        0           0
`, "node node3 is not in this")
	netctl(t, url, "service provider-ls web -q").tells(t, 0, "c1\ne2\n")
	for len(s.queries) > 0 {
		<-s.queries
	}
	netctl(t, url, "service ls -q").tells(t, 0, "web\n")
	if len(s.queries) > 0 {
		t.Error("nodes are asked for names alone")
	}
	var list []struct {
		ServiceName string
		Observed    api.ObservedService
	}
	o := netctl(t, url, "service ls -o json")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || len(list) != 1 || list[0].ServiceName != "web" || len(list[0].Observed.Providers) != 2 {
		t.Errorf("printed is %s (%v)", o.stdout, err)
	}
}
