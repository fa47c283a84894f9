// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// tutorial is the policy chapter of the tutorial: contiv-db in group db on n1, contiv-web in no group on n2.
func tutorial(t *testing.T, more ...model.Object) model.World {
	put := []model.Object{
		model.Tenant{Name: "default", Number: 1}, node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		network(t, "default", "contiv-net", 1, "10.1.2.0/24", ""),
		model.Policy{Tenant: "default", Name: "db-policy"},
		model.Rule{Tenant: "default", Policy: "db-policy", ID: "1", Direction: model.In, Action: model.Deny, Priority: 1, Protocol: "tcp"},
		model.Rule{Tenant: "default", Policy: "db-policy", ID: "2", Direction: model.In, Action: model.Allow, Priority: 10, Protocol: "tcp", Port: 8888},
		model.Group{Tenant: "default", Name: "db", Network: "contiv-net", Number: 1, Policies: []string{"db-policy"}},
		inGroup("db", endpoint("contiv-db", "default", "contiv-net", "n1", "vvport1", "10.1.2.7")),
		endpoint("contiv-web", "default", "contiv-net", "n2", "vvport1", "10.1.2.8"),
	}
	return model.World{}.With(model.Change{Revision: 7, Reset: true, Put: append(put, more...)})
}

func inGroup(group string, e model.Endpoint) model.Endpoint {
	e.Group = group
	return e
}

func TestTablesOfTheTutorialsPolicy(t *testing.T) {
	for _, test := range []struct {
		name string
		node string
		more []model.Object
		want string
	}{{
		"the node of the group's container has the rules", "n1", nil, `node n1 at revision 7
network 1: tenant 1
peer 192.168.2.11: n2
endpoint 1/10.1.2.7: network 1, 02:02:0a:01:02:07, port vvport1
endpoint 1/10.1.2.8: network 1, 02:02:0a:01:02:08, vtep 192.168.2.11
port vvport1: tenant 1, network 1, 02:02:0a:01:02:07, 10.1.2.7, in role 5462d857
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
verdict 5462d857 protocol 6: deny by 3193370e, priority 1
verdict 5462d857 protocol 6 port 8888: allow by 3093357b, priority 10
rule 3093357b: default:db-policy:2, in group default:db
rule 3193370e: default:db-policy:1, in group default:db
`}, {
		"another node has none", "n2", nil, `node n2 at revision 7
network 1: tenant 1
peer 192.168.2.10: n1
endpoint 1/10.1.2.7: network 1, 02:02:0a:01:02:07, vtep 192.168.2.10
endpoint 1/10.1.2.8: network 1, 02:02:0a:01:02:08, port vvport1
port vvport1: tenant 1, network 1, 02:02:0a:01:02:08, 10.1.2.8
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
`}, {
		"a subnet and a group that a rule names make classes, and an audited policy decides nothing", "n1", []model.Object{
			model.Rule{Tenant: "default", Policy: "db-policy", ID: "3", Direction: model.In, Action: model.Allow, Priority: 10, Protocol: "icmp", From: netip.MustParsePrefix("10.1.2.8/29")},
			model.Policy{Tenant: "default", Name: "watch", Audit: true},
			model.Rule{Tenant: "default", Policy: "watch", ID: "1", Direction: model.Out, Action: model.Deny, Priority: 1, ToGroup: "db"},
			model.Group{Tenant: "default", Name: "db", Network: "contiv-net", Number: 1, Policies: []string{"watch", "db-policy"}},
		}, `node n1 at revision 7
network 1: tenant 1
peer 192.168.2.11: n2
endpoint 1/10.1.2.7: network 1, 02:02:0a:01:02:07, port vvport1, class 5627523b
endpoint 1/10.1.2.8: network 1, 02:02:0a:01:02:08, vtep 192.168.2.11, class 64884b92
port vvport1: tenant 1, network 1, 02:02:0a:01:02:07, 10.1.2.7, in role eb1be6fd, out role 80416a03
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
prefix 1/10.1.2.8/29: class 64884b92
verdict 80416a03 class 5627523b: no rule, audited deny by 1dce3eea, priority 1
verdict eb1be6fd protocol 6: deny by 3193370e, priority 1
verdict eb1be6fd protocol 6 port 8888: allow by 3093357b, priority 10
verdict eb1be6fd class 64884b92 protocol 1: allow by 2f9333e8, priority 10
verdict eb1be6fd class 64884b92 protocol 58: allow by 2f9333e8, priority 10
rule 1dce3eea: default:watch:1, in group default:db
rule 2f9333e8: default:db-policy:3, in group default:db
rule 3093357b: default:db-policy:2, in group default:db
rule 3193370e: default:db-policy:1, in group default:db
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := For(tutorial(t, test.more...), test.node).String(); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

// A case is one rule in group a of a network of both families, beside a deny of everything at priority 1, and packets that
// it lets in (or out) and packets that it does not.
func TestEachFieldOfARuleInBothDirectionsAndFamilies(t *testing.T) {
	type packet struct {
		peer     string
		protocol uint8
		port     uint16
	}
	const tcp, udp, sctp, icmp, icmpv6, ospf = 6, 17, 132, 1, 58, 89
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		name    string
		rule    model.Rule // From is for the peer; it becomes To in the direction out
		yes, no []packet
		onlyIn  bool
	}{
		{name: "nothing but an action", rule: model.Rule{}, yes: []packet{{"b", tcp, 80}, {"b", udp, 0}, {"b", ospf, 0}, {"outside", icmp, 0}, {"far", tcp, 1}}},
		{name: "protocol tcp", rule: model.Rule{Protocol: "tcp"}, yes: []packet{{"b", tcp, 80}, {"outside", tcp, 0}}, no: []packet{{"b", udp, 80}, {"b", icmp, 0}}},
		{name: "protocol udp", rule: model.Rule{Protocol: "udp"}, yes: []packet{{"b", udp, 80}}, no: []packet{{"b", tcp, 80}}},
		{name: "protocol sctp", rule: model.Rule{Protocol: "sctp"}, yes: []packet{{"b", sctp, 80}}, no: []packet{{"b", tcp, 80}}},
		{name: "protocol icmp means that of both families", rule: model.Rule{Protocol: "icmp"}, yes: []packet{{"b", icmp, 0}, {"b", icmpv6, 0}}, no: []packet{{"b", tcp, 80}}},
		{name: "protocol 1 means only that one", rule: model.Rule{Protocol: "1"}, yes: []packet{{"b", icmp, 0}}, no: []packet{{"b", icmpv6, 0}}},
		{name: "protocol by number", rule: model.Rule{Protocol: "89"}, yes: []packet{{"b", ospf, 0}}, no: []packet{{"b", tcp, 80}}},
		{name: "port", rule: model.Rule{Protocol: "tcp", Port: 80}, yes: []packet{{"b", tcp, 80}, {"outside", tcp, 80}}, no: []packet{{"b", tcp, 81}, {"b", tcp, 0}, {"b", udp, 80}}},
		{name: "port of a protocol by number", rule: model.Rule{Protocol: "132", Port: 80}, yes: []packet{{"b", sctp, 80}}, no: []packet{{"b", sctp, 81}}},
		{name: "group", rule: model.Rule{FromGroup: "b"}, yes: []packet{{"b", tcp, 80}}, no: []packet{{"a2", tcp, 80}, {"far", tcp, 80}, {"outside", tcp, 80}}},
		{name: "own group", rule: model.Rule{FromGroup: "a"}, yes: []packet{{"a2", tcp, 80}}, no: []packet{{"b", tcp, 80}}},
		{name: "group of another network", rule: model.Rule{FromGroup: "far"}, yes: []packet{{"far", tcp, 80}}, no: []packet{{"b", tcp, 80}, {"plain", tcp, 80}}},
		{name: "network", rule: model.Rule{FromNetwork: "db"}, yes: []packet{{"far", tcp, 80}, {"db-stranger", tcp, 80}}, no: []packet{{"b", tcp, 80}, {"outside", tcp, 80}}},
		{name: "own network", rule: model.Rule{FromNetwork: "net"}, yes: []packet{{"b", tcp, 80}, {"plain", tcp, 80}}, no: []packet{{"far", tcp, 80}}},
		{name: "address of an endpoint", rule: model.Rule{From: prefix("10.1.0.2/32")}, yes: []packet{{"b", tcp, 80}}, no: []packet{{"a2", tcp, 80}, {"outside", tcp, 80}}},
		{name: "subnet outside", rule: model.Rule{From: prefix("8.8.0.0/16")}, yes: []packet{{"outside", tcp, 80}}, no: []packet{{"b", tcp, 80}}},
		{name: "everything of one family", rule: model.Rule{From: prefix("0.0.0.0/0")}, yes: []packet{{"b", tcp, 80}, {"outside", tcp, 80}}},
		{name: "subnet, protocol and port", rule: model.Rule{From: prefix("10.1.0.0/16"), Protocol: "tcp", Port: 80}, yes: []packet{{"b", tcp, 80}, {"far", tcp, 80}}, no: []packet{{"b", tcp, 81}, {"outside", tcp, 80}}},
		{name: "group and subnet", rule: model.Rule{FromGroup: "b", From: prefix("10.1.0.2/32")}, yes: []packet{{"b", tcp, 80}}, no: []packet{{"b2", tcp, 80}, {"a2", tcp, 80}}},
		{name: "own address", onlyIn: true, rule: model.Rule{To: prefix("10.1.0.1/32")}, yes: []packet{{"b", tcp, 80}, {"outside", tcp, 80}}},
		{name: "another's address", onlyIn: true, rule: model.Rule{To: prefix("10.1.0.2/32")}, no: []packet{{"b", tcp, 80}, {"outside", tcp, 80}}},
		{name: "own address and group", onlyIn: true, rule: model.Rule{To: prefix("10.1.0.1/32"), FromGroup: "b"}, yes: []packet{{"b", tcp, 80}}, no: []packet{{"a2", tcp, 80}}},
	} {
		for _, direction := range []string{model.In, model.Out} {
			if test.onlyIn && direction == model.Out {
				continue
			}
			for _, v6 := range []bool{false, true} {
				r := sixth(test.rule, v6)
				r.Tenant, r.Policy, r.ID, r.Direction, r.Action, r.Priority = "red", "p", "asked", direction, model.Allow, 2
				if direction == model.Out {
					r.ToGroup, r.ToNetwork, r.To = r.FromGroup, r.FromNetwork, r.From
					r.FromGroup, r.FromNetwork, r.From = "", "", netip.Prefix{}
				}
				if err := r.Check(); err != nil {
					t.Fatalf("%s: %v", test.name, err)
				}
				w := caseWorld(t, r)
				tables := map[string]Tables{"n1": For(w, "n1"), "n2": For(w, "n2")}
				ask := func(p packet, allow bool) {
					q := Question{Tenant: "red", From: caseAddress(p.peer, v6), To: caseAddress("a", v6), Protocol: p.protocol, Port: p.port}
					if direction == model.Out {
						q.From, q.To = q.To, q.From
					}
					if got := Trace(w, q); got.Allow != allow {
						t.Errorf("%s, %s: the intent says %v of %+v", test.name, direction, got.Allow, q)
					}
					if got := folded(w, tables, q); got.Allow != allow {
						t.Errorf("%s, %s: the tables say %v of %+v\n%s", test.name, direction, got.Allow, q, tables["n1"])
					}
					q.Tenant = "blue" // has the same addresses and no rules
					if got := folded(w, tables, q); !got.Allow || len(got.Steps) != 0 {
						t.Errorf("%s, %s: the rule reaches another tenant: %+v", test.name, direction, q)
					}
				}
				for _, p := range test.yes {
					ask(p, true)
				}
				for _, p := range test.no {
					ask(p, false)
				}
			}
		}
	}
}

// caseAddress is where the packets of a case come from: every name has an address of each family.
func caseAddress(name string, v6 bool) netip.Addr {
	a := map[string]string{
		"a": "10.1.0.1", "b": "10.1.0.2", "b2": "10.1.0.3", "a2": "10.1.0.4", "plain": "10.1.0.5",
		"far": "10.1.1.1", "db-stranger": "10.1.1.99", "outside": "8.8.8.8",
	}[name]
	return sixthAddr(netip.MustParseAddr(a), v6)
}

// sixthAddr is the IPv6 address that stands for an IPv4 one, with the same nesting: 2001:db8:: and the four bytes.
func sixthAddr(a netip.Addr, v6 bool) netip.Addr {
	if !v6 {
		return a
	}
	b := a.As4()
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, b[0], b[1], b[2], b[3]})
}

func sixth(r model.Rule, v6 bool) model.Rule {
	for _, p := range []*netip.Prefix{&r.From, &r.To} {
		if !v6 || !p.IsValid() {
			continue
		}
		bits := p.Bits() + 32
		switch {
		case p.Bits() == 0:
			bits = 0
		case p.IsSingleIP():
			bits = 128
		}
		*p = netip.PrefixFrom(sixthAddr(p.Addr(), true), bits).Masked()
	}
	return r
}

func caseWorld(t *testing.T, r model.Rule) model.World {
	put := []model.Object{
		model.Tenant{Name: "red", Number: 1}, model.Tenant{Name: "blue", Number: 2}, node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		model.Policy{Tenant: "red", Name: "p"}, r,
		model.Rule{Tenant: "red", Policy: "p", ID: "rest", Direction: r.Direction, Action: model.Deny, Priority: 1},
		model.Group{Tenant: "red", Name: "a", Network: "net", Policies: []string{"p"}},
		model.Group{Tenant: "red", Name: "b", Network: "net"}, model.Group{Tenant: "red", Name: "far", Network: "db"},
	}
	for i, tenant := range []string{"red", "blue"} {
		for j, name := range []string{"net", "db"} {
			n := network(t, tenant, name, uint32(10*i+j+1), fmt.Sprintf("10.1.%d.0/24", j), "")
			n.IPv6.Prefix = netip.PrefixFrom(sixthAddr(n.IPv4.Subnet().Addr(), true), 56)
			put = append(put, n)
		}
		for j, name := range []string{"a", "b", "b2", "a2", "plain", "far"} {
			network, group := "net", name[:1]
			switch name {
			case "far":
				network, group = "db", name
			case "plain":
				group = ""
			}
			e := endpoint(tenant+"-"+name, tenant, network, []string{"n1", "n1", "n2"}[j%3], fmt.Sprintf("vvport%d", 10*i+j), caseAddress(name, false).String())
			e.IPv6 = caseAddress(name, true)
			if tenant == "red" {
				e.Group = group
			}
			put = append(put, e)
		}
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
}

func TestPriorityThenDenyThenPrecisionThenKeyDecides(t *testing.T) {
	rule := func(policy, id string, priority int, action, from string) model.Rule {
		return model.Rule{Tenant: "default", Policy: policy, ID: id, Direction: model.In, Action: action, Priority: priority, Protocol: "tcp", Port: 80, FromNetwork: from}
	}
	q := Question{Tenant: "default", From: netip.MustParseAddr("10.1.2.8"), To: netip.MustParseAddr("10.1.2.7"), Protocol: 6, Port: 80}
	for _, test := range []struct {
		name    string
		rules   []model.Object
		decides string
		without string
	}{
		{"the higher priority", []model.Object{rule("db-policy", "low", 5, model.Deny, ""), rule("db-policy", "high", 6, model.Allow, "")}, "high", "low"},
		{"the higher priority, though less precise", []model.Object{rule("db-policy", "low", 5, model.Deny, "contiv-net"), rule("db-policy", "high", 6, model.Allow, "")}, "high", "low"},
		{"deny of two alike", []model.Object{rule("db-policy", "a", 5, model.Allow, ""), rule("db-policy", "b", 5, model.Deny, "")}, "b", "a"},
		{"deny of two alike, though less precise", []model.Object{rule("db-policy", "a", 5, model.Allow, "contiv-net"), rule("db-policy", "b", 5, model.Deny, "")}, "b", "a"},
		{"the one that names its peer", []model.Object{rule("db-policy", "a", 5, model.Deny, ""), rule("db-policy", "b", 5, model.Deny, "contiv-net")}, "b", "a"},
		{"the lower key", []model.Object{rule("db-policy", "b", 5, model.Deny, ""), rule("db-policy", "a", 5, model.Deny, "")}, "a", "b"},
	} {
		w := tutorial(t, test.rules...)
		d := Trace(w, q)
		if s, _ := d.Decisive(); s.Rule != "default:db-policy:"+test.decides {
			t.Errorf("%s: %s decides", test.name, s.Rule)
		}
		if s, _ := d.Without.Decisive(); s.Rule != "default:db-policy:"+test.without {
			t.Errorf("%s: without it %s decides", test.name, s.Rule)
		}
		if got := told(folded(w, map[string]Tables{"n1": For(w, "n1")}, q)); got != told(d) {
			t.Errorf("%s: the tables say %s, the intent %s", test.name, got, told(d))
		}
	}
}

func TestTraceNamesRulePolicyGroupAndNode(t *testing.T) {
	w := tutorial(t)
	web, _ := w.Endpoints.Get("contiv-web")
	db, _ := w.Endpoints.Get("contiv-db")
	q, ok := QuestionOf(web, db, model.ProtocolTCP, 8888)
	if !ok {
		t.Fatal("no question")
	}
	d := Trace(w, q)
	s, _ := d.Decisive()
	want := Step{Endpoint: "contiv-db", Group: "default:db", Node: "n1", Direction: model.In, Allow: true, Rule: "default:db-policy:2", Policy: "default:db-policy"}
	if s != want || !d.Allow || d.Unreachable != "" {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if d.Without == nil || d.Without.Allow {
		t.Errorf("without rule 2 it is %+v, want rule 1 to deny", d.Without)
	}
	if back := Trace(w, Question{Tenant: "default", From: q.To, To: q.From, Protocol: 6, Port: 8888}); !back.Allow || back.Without != nil {
		t.Errorf("what the group sends meets a rule: %+v", back)
	}
}

func TestTraceSaysWhenNoPathJoinsTheNetworks(t *testing.T) {
	other := network(t, "default", "inner", 2, "10.1.3.0/24", "")
	other.Internal = true
	w := tutorial(t, other, endpoint("e", "default", "inner", "n1", "vvport9", "10.1.3.1"))
	d := Trace(w, Question{Tenant: "default", From: netip.MustParseAddr("10.1.3.1"), To: netip.MustParseAddr("10.1.2.8"), Protocol: 6, Port: 1})
	if !d.Allow || !strings.Contains(d.Unreachable, "internal") {
		t.Errorf("got %+v", d)
	}
}

// An audited policy decides nothing; it tells of what it would deny, all audited policies and the enforced ones taken together.
func TestAuditedPolicyOnlyTells(t *testing.T) {
	rule := func(policy, id string, priority int, action string) model.Rule {
		return model.Rule{Tenant: "default", Policy: policy, ID: id, Direction: model.In, Action: action, Priority: priority, Protocol: "udp"}
	}
	group := model.Group{Tenant: "default", Name: "db", Network: "contiv-net", Policies: []string{"db-policy", "watch"}}
	q := Question{Tenant: "default", From: netip.MustParseAddr("10.1.2.8"), To: netip.MustParseAddr("10.1.2.7"), Protocol: 17, Port: 53}
	for _, test := range []struct {
		name  string
		rules []model.Object
		allow bool
		audit string
	}{
		{"a deny is told and passes", []model.Object{rule("watch", "d", 1, model.Deny)}, true, "d"},
		{"an allow does not open what is denied", []model.Object{rule("db-policy", "d", 1, model.Deny), rule("watch", "a", 9, model.Allow)}, false, ""},
		{"an audited allow outranks an audited deny", []model.Object{rule("watch", "a", 9, model.Allow), rule("watch", "d", 1, model.Deny)}, true, ""},
		{"an enforced allow outranks it", []model.Object{rule("db-policy", "a", 9, model.Allow), rule("watch", "d", 1, model.Deny)}, true, ""},
		{"it wins a tie with an enforced allow", []model.Object{rule("db-policy", "a", 9, model.Allow), rule("watch", "d", 9, model.Deny)}, true, "d"},
		{"nothing is told of what is denied anyway", []model.Object{rule("db-policy", "d", 1, model.Deny), rule("watch", "d", 9, model.Deny)}, false, ""},
	} {
		w := tutorial(t, append(test.rules, group, model.Policy{Tenant: "default", Name: "watch", Audit: true})...)
		d := Trace(w, q)
		var audit string
		if len(d.Audits()) > 0 {
			audit = strings.TrimPrefix(d.Audits()[0], "default:watch:")
		}
		if d.Allow != test.allow || audit != test.audit {
			t.Errorf("%s: allow %v, audit %q", test.name, d.Allow, audit)
		}
		if got := told(folded(w, map[string]Tables{"n1": For(w, "n1")}, q)); got != told(d) {
			t.Errorf("%s: the tables say %s, the intent %s", test.name, got, told(d))
		}
	}
}

func TestDanglingPolicyReferencesMatchNobodyAndAreNoted(t *testing.T) {
	deny := func(policy, id string, r model.Rule) model.Rule {
		r.Tenant, r.Policy, r.ID, r.Direction, r.Action, r.Priority = "default", policy, id, model.In, model.Deny, 100
		return r
	}
	w := tutorial(t,
		deny("db-policy", "group", model.Rule{FromGroup: "gone"}), deny("db-policy", "network", model.Rule{FromNetwork: "gone"}),
		deny("gone", "policy", model.Rule{}), deny("db-policy", "protocol", model.Rule{Protocol: "quic"}),
		model.Group{Tenant: "default", Name: "db", Network: "contiv-net", Policies: []string{"db-policy", "gone"}},
		inGroup("gone", endpoint("stray", "default", "contiv-net", "n1", "vvport3", "10.1.2.9")))
	tables := For(w, "n1")
	var noted []string
	for _, n := range tables.Notes {
		noted = append(noted, n.Object.Key)
	}
	want := []string{"stray", "default:db", "default:db-policy:group", "default:db-policy:network", "default:db-policy:protocol", "default:gone:policy"}
	if !slices.Equal(noted, want) {
		t.Errorf("notes about %v, want %v", noted, want)
	}
	if len(tables.Verdicts) != 2 || len(tables.Prefixes) != 0 {
		t.Errorf("what matches nobody is in the tables:\n%s", tables)
	}
}

func TestRecheckIsCarried(t *testing.T) {
	g := model.DefaultGlobal()
	g.Established = model.EstablishedRecheck
	if For(tutorial(t), "n1").Recheck || !For(tutorial(t, g), "n1").Recheck {
		t.Error("the setting is not what the tables say")
	}
}

// One rule changes the rows of the one role that it is in, and nothing of other endpoints.
func TestOneMoreRuleChangesFewRows(t *testing.T) {
	w := manyRules(t)
	more := oneOfMany(7, 3)
	more.ID, more.Port = "more", 99
	before, after := For(w, "n1"), For(w.With(model.Change{Revision: 2, Put: []model.Object{more}}), "n1")
	if n := differing(before.Verdicts, after.Verdicts); n == 0 || n > 2*51 {
		t.Errorf("%d of %d verdicts differ", n, len(after.Verdicts))
	}
	if n := differing(before.Ports, after.Ports); n != 2*25 {
		t.Errorf("%d rows of ports differ, the group has 25 of them here", n)
	}
	if n := differing(before.Endpoints, after.Endpoints) + differing(before.Prefixes, after.Prefixes); n != 0 {
		t.Errorf("%d rows of endpoints and prefixes differ", n)
	}
	if n := differing(before.Rules, after.Rules); n != 1 {
		t.Errorf("%d rules differ", n)
	}
}

// differing counts the rows that only one of the two has.
func differing[R fmt.Stringer](a, b []R) int {
	seen := map[string]int{}
	for _, r := range a {
		seen[r.String()]++
	}
	for _, r := range b {
		seen[r.String()]--
	}
	n := 0
	for _, count := range seen {
		n += max(count, -count)
	}
	return n
}

// Two texts with the same hash are told apart, the same way in whatever order they come; others keep their numbers.
func TestCollidingNumbersAreResolvedAlikeInAnyOrder(t *testing.T) {
	a, b := "costarring", "liquid" // a known collision of FNV-1a in 32 bits
	if hash32(a) != hash32(b) {
		t.Fatal("they do not collide")
	}
	one, two, alone := numbers([]string{a, "x", b}), numbers([]string{b, a, "x"}), numbers([]string{"x"})
	if one[0] != two[1] || one[2] != two[0] || one[1] != two[2] || one[1] != alone[0] || one[0] == one[2] {
		t.Errorf("got %v and %v, alone %v", one, two, alone)
	}
	if slices.Contains(one, 0) {
		t.Error("a number is 0")
	}
}

// The table and the rule 3 of docs/policy.md.
func TestTheExampleOfTheDocumentation(t *testing.T) {
	more := []model.Object{
		inGroup("db", endpoint("other-db", "default", "contiv-net", "n2", "vvport2", "10.1.2.9")),
		model.Group{Tenant: "default", Name: "web", Network: "contiv-net", Number: 2},
		inGroup("web", endpoint("in-web", "default", "contiv-net", "n1", "vvport3", "10.1.2.10")),
	}
	third := model.Rule{Tenant: "default", Policy: "db-policy", ID: "3", Direction: model.In, Action: model.Allow, Priority: 10, Protocol: "tcp", FromGroup: "web"}
	before, after := tutorial(t, more...), tutorial(t, append(more, third)...)
	const db, web, otherDB, inWeb, outside = "10.1.2.7", "10.1.2.8", "10.1.2.9", "10.1.2.10", "192.168.2.10"
	for _, test := range []struct {
		world    model.World
		from, to string
		protocol uint8
		port     uint16
		allow    bool
		by       string
	}{
		{before, web, db, 6, 8888, true, "2"},
		{before, web, db, 6, 8889, false, "1"},
		{before, web, db, 1, 0, true, ""},
		{before, db, web, 6, 8889, true, ""},
		{before, otherDB, db, 6, 8889, false, "1"},
		{before, outside, db, 6, 8889, false, "1"},
		{before, inWeb, db, 6, 8889, false, "1"},
		{after, inWeb, db, 6, 8889, true, "3"},
		{after, web, db, 6, 8889, false, "1"},
		{after, web, db, 6, 8888, true, "2"},
	} {
		q := Question{Tenant: "default", From: netip.MustParseAddr(test.from), To: netip.MustParseAddr(test.to), Protocol: test.protocol, Port: test.port}
		d := Trace(test.world, q)
		s, _ := d.Decisive()
		if d.Allow != test.allow || strings.TrimPrefix(s.Rule, "default:db-policy:") != test.by {
			t.Errorf("%+v: allow %v by %q, want %v by %q", q, d.Allow, s.Rule, test.allow, test.by)
		}
		if got := told(folded(test.world, map[string]Tables{"n1": For(test.world, "n1"), "n2": For(test.world, "n2")}, q)); got != told(d) {
			t.Errorf("%+v: the tables say %s, the intent %s", q, got, told(d))
		}
	}
}

// What holds for two endpoints alike is in the kernel once.
func TestGroupsWithTheSamePoliciesShareTheirRows(t *testing.T) {
	out := model.Rule{Tenant: "default", Policy: "more", ID: "1", Direction: model.In, Action: model.Allow, Priority: 3}
	w := tutorial(t, out, model.Policy{Tenant: "default", Name: "more"},
		model.Group{Tenant: "default", Name: "db", Network: "contiv-net", Policies: []string{"db-policy", "more"}},
		model.Group{Tenant: "default", Name: "too", Network: "contiv-net", Policies: []string{"more", "db-policy"}},
		inGroup("too", endpoint("e", "default", "contiv-net", "n1", "vvport2", "10.1.2.9")))
	tables := For(w, "n1")
	if a, b := tables.Ports[0].InRole, tables.Ports[1].InRole; a == 0 || a != b {
		t.Errorf("roles %08x and %08x", a, b)
	}
	if len(tables.Rules) == 0 || tables.Rules[0].Group != "" {
		t.Errorf("a rule that decides in two groups names one: %v", tables.Rules)
	}
	// The deny of every TCP port is behind the allow of everything, and so needs no row.
	var rows []string
	for _, v := range tables.Verdicts {
		rows = append(rows, fmt.Sprintf("%d/%d %v", v.Protocol, v.Port, v.Allow))
	}
	if want := []string{"-1/0 true", "6/8888 true"}; !slices.Equal(rows, want) {
		t.Errorf("rows %v, want %v", rows, want)
	}
}
