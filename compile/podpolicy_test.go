// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// podAddrs are who is there: pods x/a, x/b and y/a, the Docker container d, the nodes in contivh1, a machine outside.
var podAddrs = map[string]string{
	"x/a": "10.1.1.1", "x/b": "10.1.1.2", "y/a": "10.1.1.3", "d": "10.1.1.4", "n1": "10.9.0.1", "n2": "10.9.0.2", "outside": "8.8.8.8", "n1's own": "192.168.2.10",
}

// withPods is a World with pods: x/a and y/a on n1, x/b on n2, all in the group g, with policies.
func withPods(t *testing.T, policies ...model.Object) model.World {
	put := []model.Object{
		model.Tenant{Name: "default", Number: 1}, node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		network(t, "default", "net", 1, "10.1.1.0/24", ""), model.Network{
			Tenant: "default", Name: model.HostAccess, Type: model.NetworkInfra, Encap: model.EncapVXLAN, Tag: 2, IPv4: model.Pool{Prefix: netip.MustParsePrefix("10.9.0.0/24")},
		},
		model.Namespace{Name: "x", Labels: map[string]string{"team": "x", "kubernetes.io/metadata.name": "x"}},
		model.Namespace{Name: "y", Labels: map[string]string{"team": "y", "kubernetes.io/metadata.name": "y"}},
		model.Policy{Tenant: "default", Name: "p"}, model.Group{Tenant: "default", Name: "g", Network: "net", Number: 1, Policies: []string{"p"}},
	}
	at := 0
	pod := func(name, on, app string, port uint16) {
		at++
		e := inGroup("g", endpoint(name, "default", "net", on, fmt.Sprint("vvport", at), podAddrs[name]))
		namespace, own, _ := strings.Cut(name, "/")
		e.Runtime = model.RuntimeCNI
		e.Labels = map[string]string{model.LabelPodNamespace: namespace, model.LabelPodName: own, model.LabelPodUID: name, model.LabelCNIConfig: "k8s"}
		maps.Copy(e.Labels, map[string]string{"app": app})
		e.Spec = e.Spec.WithPorts([]model.NamedPort{{Name: "http", Protocol: "TCP", Port: port}}, e.Probed())
		put = append(put, e)
	}
	pod("x/a", "n1", "a", 8080)
	pod("x/b", "n2", "b", 8080)
	pod("y/a", "n1", "a", 9090)
	put = append(put, endpoint("d", "default", "net", "n2", "vvport9", podAddrs["d"]))
	for _, n := range []string{"n1", "n2"} {
		e := endpoint(model.InfraEndpoint(model.HostAccess, n), "default", model.HostAccess, n, model.InfraPort(model.HostAccess), podAddrs[n])
		e.Runtime = model.RuntimeNode
		put = append(put, e)
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: append(put, policies...)})
}

// What Kubernetes' documentation says of each kind of policy, case by case.
func TestPoliciesOfKubernetesMeanWhatTheySay(t *testing.T) {
	app := func(value string) *model.Selector { return &model.Selector{Labels: map[string]string{"app": value}} }
	team := func(value string) *model.Selector { return &model.Selector{Labels: map[string]string{"team": value}} }
	all := &model.Selector{}
	prefix := netip.MustParsePrefix
	in := func(name string, rules ...model.NetworkPolicyRule) model.NetworkPolicy {
		return model.NetworkPolicy{Namespace: "x", Name: name, IsolatesIngress: true, Ingress: rules}
	}
	out := func(name string, rules ...model.NetworkPolicyRule) model.NetworkPolicy {
		return model.NetworkPolicy{Namespace: "x", Name: name, IsolatesEgress: true, Egress: rules}
	}
	from := func(peers ...model.NetworkPolicyPeer) model.NetworkPolicyRule {
		return model.NetworkPolicyRule{Peers: peers}
	}
	at := func(ports ...model.PolicyPort) model.NetworkPolicyRule { return model.NetworkPolicyRule{Ports: ports} }
	cluster := func(name, tier string, priority int, rules ...model.ClusterNetworkPolicyRule) model.ClusterNetworkPolicy {
		return model.ClusterNetworkPolicy{Name: name, Tier: tier, Priority: priority, Ingress: rules}
	}
	does := func(action string, namespaces *model.Selector, ports ...model.PolicyPort) model.ClusterNetworkPolicyRule {
		return model.ClusterNetworkPolicyRule{Action: action, Ports: ports, Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{Namespaces: *namespaces}}}}
	}
	group := func(action string, priority int, port uint16) model.Rule {
		return model.Rule{Tenant: "default", Policy: "p", ID: "1", Direction: model.In, Action: action, Priority: priority, Protocol: "tcp", Port: port}
	}
	const deny, deny2 = "networkpolicy x/deny ingress", "networkpolicy x/deny egress"
	for _, c := range []struct {
		what     string
		policies []model.Object
		// from, to, port and the rule that decides, which denies where it has - before it; "" for none. Port 0: a ping.
		asked []string
	}{
		{"nothing", nil, []string{"y/a x/b 80 "}},
		{"default deny of what comes in", []model.Object{in("deny")}, []string{
			"y/a x/b 80 -" + deny, "x/a x/b 80 -" + deny, "d x/a 80 -" + deny, "outside x/a 80 -" + deny, "x/a x/b 0 -" + deny, "x/a y/a 80 ", "x/a outside 80 ",
		}},
		{"default deny of what is sent", []model.Object{out("deny")}, []string{"x/a y/a 80 -" + deny2, "x/b outside 0 -" + deny2, "y/a x/a 80 "}},
		{"the pod's own node comes to it, others do not", []model.Object{in("deny")}, []string{
			"n1 x/a 80 node n1", "n2 x/b 80 node n2", "n2 x/a 80 -" + deny, "n1's own x/a 80 -" + deny,
		}},
		{"everybody", []model.Object{in("deny"), in("open", model.NetworkPolicyRule{})}, []string{"y/a x/b 80 networkpolicy x/open ingress[0]", "outside x/a 0 networkpolicy x/open ingress[0]"}},
		{"pods of the namespace", []model.Object{in("deny", from(model.NetworkPolicyPeer{Pods: app("a")}))}, []string{
			"x/a x/b 80 " + deny + "[0]", "y/a x/b 80 -" + deny, "d x/b 80 -" + deny,
		}},
		{"pods of a namespace", []model.Object{in("deny", from(model.NetworkPolicyPeer{Namespaces: team("y")}))}, []string{"y/a x/b 80 " + deny + "[0]", "x/a x/b 80 -" + deny}},
		{"pods of any namespace, of whom no container is one", []model.Object{in("deny", from(model.NetworkPolicyPeer{Namespaces: all}))}, []string{
			"y/a x/b 80 " + deny + "[0]", "x/a x/b 80 " + deny + "[0]", "d x/b 80 -" + deny,
		}},
		{"some pods of some namespaces", []model.Object{in("deny", from(model.NetworkPolicyPeer{Namespaces: team("x"), Pods: app("b")}))}, []string{
			"x/b x/a 80 " + deny + "[0]", "y/a x/a 80 -" + deny, "x/a x/b 80 -" + deny,
		}},
		{"pods, or those of a namespace", []model.Object{in("deny", from(model.NetworkPolicyPeer{Namespaces: team("y")}, model.NetworkPolicyPeer{Pods: app("b")}))}, []string{
			"x/b x/a 80 " + deny + "[0]", "y/a x/a 80 " + deny + "[0]", "x/a x/b 80 -" + deny,
		}},
		{"expressions", []model.Object{in("deny", from(model.NetworkPolicyPeer{Namespaces: all, Pods: &model.Selector{Requirements: []model.Requirement{
			{Key: "app", Operator: model.SelectNotIn, Values: []string{"b"}}, {Key: "gone", Operator: model.SelectMissing}, {Key: model.LabelPodName, Operator: model.SelectMissing},
		}}}))}, []string{"x/a x/b 80 " + deny + "[0]", "x/b x/a 80 -" + deny}},
		{"a block less exceptions, whoever is in it", []model.Object{in("deny", from(model.NetworkPolicyPeer{Block: &model.IPBlock{
			CIDR: prefix("10.1.1.0/24"), Except: []netip.Prefix{prefix("10.1.1.1/32"), prefix("10.1.1.4/31")},
		}}))}, []string{"y/a x/b 80 " + deny + "[0]", "x/a x/b 80 -" + deny, "d x/b 80 -" + deny, "outside x/b 80 -" + deny}},
		{"an address that one block has and another excepts", []model.Object{
			in("deny", from(model.NetworkPolicyPeer{Block: &model.IPBlock{CIDR: prefix("0.0.0.0/0"), Except: []netip.Prefix{prefix("8.0.0.0/8")}}})),
			in("more", from(model.NetworkPolicyPeer{Block: &model.IPBlock{CIDR: prefix("8.8.8.8/32")}})),
		}, []string{"outside x/b 80 networkpolicy x/more ingress[0]", "d x/b 80 " + deny + "[0]"}},
		{"ports", []model.Object{in("deny", at(model.PolicyPort{Protocol: "TCP", Port: 80}, model.PolicyPort{Protocol: "UDP"}))}, []string{
			"d x/b 80 " + deny + "[0]", "d x/b 81 -" + deny, "d x/b 0 -" + deny,
		}},
		{"a range of ports, with one that has its own rule", []model.Object{
			in("deny", at(model.PolicyPort{Protocol: "TCP", Port: 1000, End: 2000}), model.NetworkPolicyRule{
				Peers: []model.NetworkPolicyPeer{{Pods: app("a")}}, Ports: []model.PolicyPort{{Protocol: "TCP", Port: 1500, End: 3000}},
			}),
		}, []string{
			"d x/b 999 -" + deny, "d x/b 1000 " + deny + "[0]", "d x/b 1500 " + deny + "[0]", "d x/b 2000 " + deny + "[0]", "d x/b 2001 -" + deny,
			"x/a x/b 1499 " + deny + "[0]", "x/a x/b 1500 " + deny + "[0]", "x/a x/b 2001 " + deny + "[1]", "x/a x/b 3000 " + deny + "[1]", "x/a x/b 3001 -" + deny,
		}},
		{"a port by the receiver's name for it", []model.Object{in("deny", at(model.PolicyPort{Protocol: "TCP", Name: "http"}))}, []string{
			"d x/b 8080 " + deny + "[0]", "d x/b 9090 -" + deny,
		}},
		{"a port by each receiver's name for it", []model.Object{out("deny", at(model.PolicyPort{Protocol: "TCP", Name: "http"}))}, []string{
			"x/a x/b 8080 " + deny2 + "[0]", "x/a x/b 9090 -" + deny2, "x/a y/a 9090 " + deny2 + "[0]", "x/a y/a 8080 -" + deny2, "x/a d 8080 -" + deny2,
		}},
		{"a name that nobody has, and a peer that nobody is", []model.Object{in("deny", at(model.PolicyPort{Protocol: "TCP", Name: "gone"}), from(model.NetworkPolicyPeer{}))}, []string{"d x/b 8080 -" + deny}},
		{"both ends must allow", []model.Object{in("deny", from(model.NetworkPolicyPeer{Pods: app("a")})), out("stop")}, []string{"x/a x/b 80 -networkpolicy x/stop egress"}},
		{"groups' rules come before", []model.Object{in("deny"), group(model.Allow, 1, 80)}, []string{"d x/b 80 default:p:1", "d x/b 81 -" + deny}},
		{"and deny what NetworkPolicies allow", []model.Object{in("open", model.NetworkPolicyRule{}), group(model.Deny, 1, 80)}, []string{"d x/b 80 -default:p:1", "d x/b 81 networkpolicy x/open ingress[0]"}},
		{"the Admin tier comes first", []model.Object{
			cluster("c", model.TierAdmin, 1, does(model.ActionAccept, team("y")), does(model.ActionDeny, team("x"))), in("deny"), group(model.Deny, 100, 0),
		}, []string{
			"y/a x/b 80 clusternetworkpolicy c ingress[0]", "x/a x/b 80 -clusternetworkpolicy c ingress[1]", "d x/b 80 -default:p:1", "d x/b 0 -" + deny, "n2 x/b 80 node n2",
		}},
		{"the lowest priority number, then the name, then the place", []model.Object{
			cluster("b", model.TierAdmin, 5, does(model.ActionDeny, team("y"))), cluster("a", model.TierAdmin, 5, does(model.ActionAccept, all)),
			cluster("z", model.TierAdmin, 4, does(model.ActionDeny, team("x")), does(model.ActionAccept, team("x"))),
		}, []string{"y/a x/b 80 clusternetworkpolicy a ingress[0]", "x/a x/b 80 -clusternetworkpolicy z ingress[0]"}},
		{"what passes leaves its tier", []model.Object{
			cluster("a", model.TierAdmin, 1, does(model.ActionPass, team("y"), model.PolicyPort{Protocol: "TCP", Port: 80, End: 90})), cluster("b", model.TierAdmin, 2, does(model.ActionDeny, all)),
			in("deny", at(model.PolicyPort{Protocol: "TCP", Port: 80})),
		}, []string{"y/a x/b 80 " + deny + "[0]", "y/a x/b 81 -" + deny, "y/a x/b 91 -clusternetworkpolicy b ingress[0]", "x/a x/b 80 -clusternetworkpolicy b ingress[0]", "d x/b 80 " + deny + "[0]"}},
		{"the Baseline tier comes last", []model.Object{cluster("c", model.TierBaseline, 1, does(model.ActionDeny, all)), in("open", model.NetworkPolicyRule{})}, []string{
			"x/a x/b 80 networkpolicy x/open ingress[0]", "x/a y/a 80 -clusternetworkpolicy c ingress[0]", "d y/a 80 ",
		}},
		{"what passes in the Baseline tier is allowed", []model.Object{
			cluster("a", model.TierBaseline, 1, does(model.ActionPass, team("x"))), cluster("b", model.TierBaseline, 2, does(model.ActionDeny, all)),
		}, []string{"x/a y/a 80 ", "y/a x/a 80 -clusternetworkpolicy b ingress[0]"}},
		{"what is not known opens nothing", []model.Object{cluster("a", model.TierAdmin, 1,
			model.ClusterNetworkPolicyRule{Action: model.ActionAccept, Unknown: true}, model.ClusterNetworkPolicyRule{Action: model.ActionPass, Unknown: true},
		)}, []string{"d x/b 80 -clusternetworkpolicy a ingress[1]"}},
		{"networks", []model.Object{model.ClusterNetworkPolicy{Name: "c", Tier: model.TierAdmin, Egress: []model.ClusterNetworkPolicyRule{{
			Action: model.ActionDeny, Peers: []model.ClusterNetworkPolicyPeer{{Networks: []netip.Prefix{prefix("8.0.0.0/8"), prefix("10.1.1.3/32")}}},
		}}}}, []string{"x/a outside 80 -clusternetworkpolicy c egress[0]", "x/a y/a 80 -clusternetworkpolicy c egress[0]", "x/a x/b 80 ", "d outside 80 "}},
	} {
		w := withPods(t, c.policies...)
		tables := map[string]Tables{"n1": For(w, "n1"), "n2": For(w, "n2")}
		for _, line := range c.asked {
			line, own := strings.CutPrefix(line, "n1's own ")
			if own {
				line = "n1's_own " + line
			}
			words := strings.SplitN(line, " ", 4)
			q := Question{Tenant: "default", From: netip.MustParseAddr(podAddrs[strings.ReplaceAll(words[0], "_", " ")]), To: netip.MustParseAddr(podAddrs[words[1]]), Protocol: model.ProtocolTCP}
			if _, err := fmt.Sscan(words[2], &q.Port); err != nil {
				t.Fatal(err)
			}
			if q.Port == 0 {
				q.Protocol = model.ProtocolICMP
			}
			want, denied := strings.CutPrefix(words[3], "-")
			d := Trace(w, q)
			if s, _ := d.Decisive(); d.Allow == denied || s.Rule != want {
				t.Errorf("%s: %s: %t by %q", c.what, line, d.Allow, s.Rule)
			}
			if got := told(folded(w, tables, q)); got != told(d) {
				t.Errorf("%s: %s: the tables say %s, the intent %s", c.what, line, got, told(d))
			}
		}
	}
}

// A pod that is like others says nothing new, so nothing is folded again.
func TestOneMorePodFoldsNothingAgain(t *testing.T) {
	w := withPods(t, model.NetworkPolicy{Namespace: "x", Name: "p", IsolatesIngress: true, Ingress: []model.NetworkPolicyRule{{Peers: []model.NetworkPolicyPeer{
		{Pods: &model.Selector{Labels: map[string]string{"app": "a"}}},
	}}}})
	var m Memo
	m.For(w, "n1")
	turn := m.turn
	more, _ := w.Endpoints.Get("x/a")
	more.ID, more.IPv4, more.Port = "x/a2", netip.MustParseAddr("10.1.1.77"), "vvport77"
	w = w.With(model.Change{Revision: 2, Put: []model.Object{more}})
	if got, want := m.For(w, "n1").String(), For(w, "n1").String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, f := range m.folded {
		if f.turn != turn {
			t.Error("a role was folded again")
		}
	}
}
