// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	all := &model.Selector{}
	web := &model.Selector{Labels: map[string]string{"app": "web"}}
	translates(t, []row{
		{"default deny", `{"metadata":{"namespace":"shop","name":"deny"},"spec":{"podSelector":{}}}`,
			model.NetworkPolicy{Namespace: "shop", Name: "deny", IsolatesIngress: true}, ""},
		{"no types, with egress", `{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{},"egress":[{}]}}`,
			model.NetworkPolicy{Namespace: "shop", Name: "p", IsolatesIngress: true, IsolatesEgress: true, Egress: []model.NetworkPolicyRule{{}}}, ""},
		{"egress alone", `{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{},"policyTypes":["Egress"]}}`,
			model.NetworkPolicy{Namespace: "shop", Name: "p", IsolatesEgress: true}, ""},
		{"all of it", `{"metadata":{"namespace":"shop","name":"p"},"spec":{
			"podSelector":{"matchLabels":{"app":"db"},"matchExpressions":[{"key":"tier","operator":"NotIn","values":["x","y"]}]},"policyTypes":["Ingress"],
			"ingress":[{"from":[{"podSelector":{"matchLabels":{"app":"web"}}},{"namespaceSelector":{}},{"namespaceSelector":{},"podSelector":{"matchLabels":{"app":"web"}}},
				{"ipBlock":{"cidr":"10.1.2.3/8","except":["10.1.0.0/16"]}}],
				"ports":[{"port":80},{"protocol":"UDP","port":"dns"},{"protocol":"SCTP"},{"port":1000,"endPort":2000}]}]}}`,
			model.NetworkPolicy{
				Namespace: "shop", Name: "p", IsolatesIngress: true,
				Pods: model.Selector{Labels: map[string]string{"app": "db"}, Requirements: []model.Requirement{{Key: "tier", Operator: "NotIn", Values: []string{"x", "y"}}}},
				Ingress: []model.NetworkPolicyRule{{
					Peers: []model.NetworkPolicyPeer{
						{Pods: web}, {Namespaces: all}, {Namespaces: all, Pods: web},
						{Block: &model.IPBlock{CIDR: netip.MustParsePrefix("10.0.0.0/8"), Except: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}},
					},
					Ports: []model.PolicyPort{{Protocol: "TCP", Port: 80}, {Protocol: "UDP", Name: "dns"}, {Protocol: "SCTP"}, {Protocol: "TCP", Port: 1000, End: 2000}},
				}},
			}, ""},
		{"what this version does not know allows nothing", `{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{},"ingress":[
			{"from":[{"ipBlock":{"cidr":"everywhere"}},{"ipBlock":{"cidr":"::/0","except":["some"]}},{"fqdn":"x.y"}],
			"ports":[{"protocol":"QUIC","port":1},{"port":0},{"port":2000,"endPort":1000},{"port":""},{"port":-1}]}]}}`,
			model.NetworkPolicy{Namespace: "shop", Name: "p", IsolatesIngress: true, Ingress: []model.NetworkPolicyRule{{
				Peers: make([]model.NetworkPolicyPeer, 3), Ports: make([]model.PolicyPort, 5),
			}}}, ""},
	}, model.KindNetworkPolicy)
}

func TestClusterNetworkPolicies(t *testing.T) {
	t.Parallel()
	web := model.Selector{Labels: map[string]string{"app": "web"}}
	translates(t, []row{
		{"all of it", `{"metadata":{"name":"c"},"spec":{"tier":"Admin","priority":7,"subject":{"namespaces":{"matchLabels":{"app":"web"}}},
			"ingress":[{"name":"n","action":"Accept","from":[{"namespaces":{}},{"pods":{"namespaceSelector":{},"podSelector":{"matchLabels":{"app":"web"}}}}]}],
			"egress":[{"action":"Pass","to":[{"networks":["10.0.0.0/8","::/0"]}],
				"protocols":[{"tcp":{"destinationPort":{"number":80}}},{"udp":{"destinationPort":{"range":{"start":10,"end":20}}}},{"sctp":{}},{"destinationNamedPort":"http"}]}]}}`,
			model.ClusterNetworkPolicy{
				Name: "c", Tier: model.TierAdmin, Priority: 7, Subject: model.NamespacedPods{Namespaces: web},
				Ingress: []model.ClusterNetworkPolicyRule{{Name: "n", Action: "Accept", Peers: []model.ClusterNetworkPolicyPeer{
					{Pods: &model.NamespacedPods{}}, {Pods: &model.NamespacedPods{Pods: web}},
				}}},
				Egress: []model.ClusterNetworkPolicyRule{{
					Action: "Pass", Peers: []model.ClusterNetworkPolicyPeer{{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")}}},
					Ports: []model.PolicyPort{{Protocol: "TCP", Port: 80}, {Protocol: "UDP", Port: 10, End: 20}, {Protocol: "SCTP"}, {Name: "http"}},
				}},
			}, ""},
		{"a subject that is not known", `{"metadata":{"name":"c"},"spec":{"tier":"Admin","subject":{"nodes":{}}}}`, nil, ""},
		{"peers and protocols that are not known", `{"metadata":{"name":"c"},"spec":{"tier":"Baseline","subject":{"pods":{"namespaceSelector":{},"podSelector":{}}},
			"egress":[{"action":"Deny","to":[{"nodes":{}}]},{"action":"Accept","to":[{"networks":["x"]}]},{"action":"Pass","to":[{"namespaces":{}}],"protocols":[{"icmp":{}}]},
			{"action":"Pass","to":[{"namespaces":{}}],"protocols":[{"tcp":{"destinationPort":{"number":70000}}}]}]}}`,
			model.ClusterNetworkPolicy{Name: "c", Tier: model.TierBaseline, Egress: []model.ClusterNetworkPolicyRule{
				{Action: "Deny", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Accept", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Pass", Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{}}}, Ports: make([]model.PolicyPort, 1), Unknown: true},
				{Action: "Pass", Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{}}}, Ports: []model.PolicyPort{{Protocol: "TCP"}}, Unknown: true},
			}}, ""},
	}, model.KindClusterNetworkPolicy)
}
