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
			}}},
			`spec.ingress[0].from[0].ipBlock.cidr: "everywhere" is no range; from[1].ipBlock.except[0]: "some"; from[2]: it is neither; ` +
				`ports[0].protocol: "QUIC" is not; ports[1].port: 0 is no port; ports[2].endPort: 1000 comes before 2000; ports[3].port: a port has; ports[4].port: -1 is no port`},
		{"peers that can be meant in no way are nobody", `{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{},"policyTypes":["Egress"],"egress":[{"to":[
			{"podSelector":{"matchExpressions":[{"key":"a","operator":"In"}]}},{"podSelector":{"matchExpressions":[{"key":"a","operator":"NotIn"}]}},
			{"namespaceSelector":{"matchExpressions":[{"key":"a","operator":"Near","values":["b"]}]},"podSelector":{}},{"namespaceSelector":{"matchLabels":{"no key":"x"}}},
			{"namespaceSelector":{},"podSelector":{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}},
			{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16","192.0.2.0/24"]}},{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.0.0.0/8"]}},{"ipBlock":{"cidr":"::ffff:10.0.0.0/104"}},
			{"ipBlock":{"cidr":"010.0.0.0/8"}}]}]}}`,
			model.NetworkPolicy{Namespace: "shop", Name: "p", IsolatesEgress: true, Egress: []model.NetworkPolicyRule{{Peers: make([]model.NetworkPolicyPeer, 9)}}},
			`spec.egress[0].to[0].podSelector: ; to[1].podSelector: values; to[2].namespaceSelector: "Near" is not a valid; to[3].namespaceSelector: key; to[4].podSelector: values; ` +
				`to[5].ipBlock.except[1]: 192.0.2.0/24 is no part of 10.0.0.0/8; to[6].ipBlock.except[0]: 10.0.0.0/8 is no part; to[7].ipBlock.cidr; to[8].ipBlock.cidr`},
		{"one that selects in no way", `{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"In"}]}}}`, nil, "spec.podSelector: values"},
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
		{"a subject that is not known", `{"metadata":{"name":"c"},"spec":{"tier":"Admin","subject":{"nodes":{}}}}`, nil, "spec.subject: it is neither namespaces nor pods"},
		{"a subject that can be meant in no way", `{"metadata":{"name":"c"},"spec":{"tier":"Admin","subject":{"pods":{"podSelector":{"matchExpressions":[{"key":"a","operator":"Near"}]}}}}}`,
			nil, "spec.subject.pods.podSelector: "},
		{"a tier that is not known", `{"metadata":{"name":"c"},"spec":{"tier":"Third","subject":{"namespaces":{}}}}`, nil, `spec.tier: "Third" is not`},
		{"a priority that is no number", `{"metadata":{"name":"c"},"spec":{"tier":"Admin","priority":"7","subject":{"namespaces":{}}}}`, nil, "priority"},
		{"peers and protocols that are not known", `{"metadata":{"name":"c"},"spec":{"tier":"Baseline","subject":{"pods":{"namespaceSelector":{},"podSelector":{}}},
			"egress":[{"action":"Deny","to":[{"nodes":{}}]},{"action":"Accept","to":[{"networks":["x"]}]},{"action":"Pass","to":[{"namespaces":{}}],"protocols":[{"icmp":{}}]},
			{"action":"Pass","to":[{"namespaces":{}}],"protocols":[{"tcp":{"destinationPort":{"number":70000}}}]},
			{"action":"Deny","to":[{"namespaces":{"matchExpressions":[{"key":"a","operator":"In"}]}}]},{"action":"Deny","to":[{"pods":{"namespaceSelector":{"matchLabels":{"a":"no value"}}}}]},
			{"action":"Log","to":[{"namespaces":{}}]}]}}`,
			model.ClusterNetworkPolicy{Name: "c", Tier: model.TierBaseline, Egress: []model.ClusterNetworkPolicyRule{
				{Action: "Deny", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Accept", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Pass", Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{}}}, Ports: make([]model.PolicyPort, 1), Unknown: true},
				{Action: "Pass", Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{}}}, Ports: make([]model.PolicyPort, 1), Unknown: true},
				{Action: "Deny", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Deny", Peers: make([]model.ClusterNetworkPolicyPeer, 1), Unknown: true},
				{Action: "Log", Peers: []model.ClusterNetworkPolicyPeer{{Pods: &model.NamespacedPods{}}}, Unknown: true},
			}}, `spec.egress[0].to[0]: it is neither; egress[1].to[0].networks[0]: "x"; egress[2].protocols[0]: it is neither; egress[3].protocols[0].tcp.destinationPort: 70000; ` +
				`egress[4].to[0].namespaces: values; egress[5].to[0].pods.namespaceSelector: ; egress[6].action: "Log" is not`},
	}, model.KindClusterNetworkPolicy)
}
