// SPDX-License-Identifier: Apache-2.0

package mirror

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// row is an object of Kubernetes, and what becomes of it: nil for nothing, or words of the error.
type row struct {
	what, json string
	want       model.Object
	words      string
}

// translates checks rows of the kind that becomes like.
func translates(t *testing.T, rows []row, like model.Kind) {
	t.Helper()
	for _, r := range rows {
		for _, k := range kinds() {
			if k.becomes != like {
				continue
			}
			got, err := k.translate([]byte(r.json))
			switch {
			case r.words != "":
				for word := range strings.SplitSeq(r.words, "; ") {
					if err == nil || !strings.Contains(err.Error(), word) {
						t.Errorf("%s: %v, want %q", r.what, err, word)
					}
				}
				if !reflect.DeepEqual(got, r.want) {
					t.Errorf("%s: %+v, want %+v", r.what, got, r.want)
				}
			case err != nil || !reflect.DeepEqual(got, r.want):
				t.Errorf("%s: %+v, %v; want %+v", r.what, got, err, r.want)
			}
		}
	}
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, a := range texts {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestNamespaces(t *testing.T) {
	t.Parallel()
	translates(t, []row{
		{"labels", `{"metadata":{"name":"shop","labels":{"kubernetes.io/metadata.name":"shop"}},"status":{"phase":"Terminating"}}`,
			model.Namespace{Name: "shop", Labels: map[string]string{"kubernetes.io/metadata.name": "shop"}}, ""},
		{"what is no object", `7`, nil, "cannot be read"},
	}, model.KindNamespace)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	translates(t, []row{
		{"one in a zone", `{"metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"a","x":"y"}},"status":{"capacity":{"cpu":"2"}}}`, model.ClusterNode{Name: "n1", Zone: "a"}, ""},
		{"one of which no zone is known", `{"metadata":{"name":"n1"}}`, model.ClusterNode{Name: "n1"}, ""},
	}, model.KindClusterNode)
}

func TestServices(t *testing.T) {
	t.Parallel()
	const meta = `"metadata":{"namespace":"shop","name":"web"}`
	tcp := []model.ClusterPort{{Protocol: "TCP", Port: 80}}
	base := model.ClusterService{Namespace: "shop", Name: "web"}
	with := func(change func(*model.ClusterService)) model.ClusterService {
		s := base
		change(&s)
		return s
	}
	translates(t, []row{
		{"a plain one", `{` + meta + `,"spec":{"type":"ClusterIP","clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7"],"ports":[{"port":80}]}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs, s.Ports = addrs("10.96.0.7"), tcp }), ""},
		{"two families, and named ports of all protocols", `{` + meta + `,"spec":{"clusterIPs":["10.96.0.7","fd00::7"],"ports":[
			{"name":"dns","protocol":"UDP","port":53,"targetPort":"dns"},{"name":"sig","protocol":"SCTP","port":9}]}}`,
			with(func(s *model.ClusterService) {
				s.ClusterIPs = addrs("10.96.0.7", "fd00::7")
				s.Ports = []model.ClusterPort{{Name: "dns", Protocol: "UDP", Port: 53}, {Name: "sig", Protocol: "SCTP", Port: 9}}
			}), ""},
		{"one of an API server that knows one address", `{` + meta + `,"spec":{"clusterIP":"10.96.0.7"}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs = addrs("10.96.0.7") }), ""},
		{"headless", `{` + meta + `,"spec":{"clusterIP":"None","clusterIPs":["None"],"ports":[{"port":80}]}}`,
			with(func(s *model.ClusterService) { s.Ports = tcp }), ""},
		{"another name", `{` + meta + `,"spec":{"type":"ExternalName","externalName":"example.org","ports":[{"port":80}]}}`,
			with(func(s *model.ClusterService) { s.ExternalName = "example.org" }), ""},
		{"ports of nodes, and providers on the node alone", `{` + meta + `,"spec":{"type":"NodePort","clusterIPs":["10.96.0.7"],"internalTrafficPolicy":"Local",
			"externalTrafficPolicy":"Local","ports":[{"port":80,"nodePort":30080}]}}`,
			with(func(s *model.ClusterService) {
				s.ClusterIPs, s.Ports = addrs("10.96.0.7"), []model.ClusterPort{{Protocol: "TCP", Port: 80, Node: 30080}}
				s.InternalLocal, s.ExternalLocal = true, true
			}), ""},
		{"a load balancer", `{` + meta + `,"spec":{"type":"LoadBalancer","clusterIPs":["10.96.0.7"],"externalIPs":["192.0.2.9"],"loadBalancerSourceRanges":[" 198.51.100.7/24"],
			"externalTrafficPolicy":"Local","healthCheckNodePort":31000,"ports":[{"port":80,"nodePort":30080}]},
			"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1","ipMode":"VIP"},{"ip":"203.0.113.2","ipMode":"Proxy"},{"hostname":"lb.example.org"},{"ip":"203.0.113.3"}]}}}`,
			with(func(s *model.ClusterService) {
				s.ClusterIPs, s.ExternalIPs, s.LoadBalancers = addrs("10.96.0.7"), addrs("192.0.2.9"), addrs("203.0.113.1", "203.0.113.3")
				s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
				s.Ports = []model.ClusterPort{{Protocol: "TCP", Port: 80, Node: 30080}}
				s.ExternalLocal, s.HealthCheck = true, 31000
			}), ""},
		{"what was a load balancer", `{` + meta + `,"spec":{"type":"ClusterIP","clusterIPs":["10.96.0.7"],"loadBalancerSourceRanges":["198.51.100.0/24"],
			"externalTrafficPolicy":"Local"},"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs = addrs("10.96.0.7") }), ""},
		{"affinity, as long as Kubernetes' own", `{` + meta + `,"spec":{"clusterIPs":["10.96.0.7"],"sessionAffinity":"ClientIP"}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs, s.Affinity = addrs("10.96.0.7"), 10800 }), ""},
		{"affinity for a minute", `{` + meta + `,"spec":{"clusterIPs":["10.96.0.7"],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":60}}}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs, s.Affinity = addrs("10.96.0.7"), 60 }), ""},
		{"somebody else's to serve", `{"metadata":{"namespace":"shop","name":"web","labels":{"service.kubernetes.io/service-proxy-name":"x"}},"spec":{"clusterIPs":["10.96.0.7"]}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs, s.Unproxied = addrs("10.96.0.7"), true }), ""},
		{"nobody's to serve", `{"metadata":{"namespace":"shop","name":"web","labels":{"service.kubernetes.io/headless":""}},"spec":{"clusterIPs":["10.96.0.7"]}}`,
			with(func(s *model.ClusterService) { s.ClusterIPs, s.Unproxied = addrs("10.96.0.7"), true }), ""},
		{"an address that is none", `{` + meta + `,"spec":{"clusterIPs":["10.96.0"]}}`, nil, "spec.clusterIPs"},
		{"a zone", `{` + meta + `,"spec":{"externalIPs":["fe80::1%eth0"]}}`, nil, "spec.externalIPs"},
		{"a range that is none", `{` + meta + `,"spec":{"type":"LoadBalancer","loadBalancerSourceRanges":["10.0.0.0"]}}`, nil, "spec.loadBalancerSourceRanges"},
		{"a port that is none", `{` + meta + `,"spec":{"ports":[{"port":70000}]}}`, nil, "spec.ports.port"},
		{"a protocol that is none", `{` + meta + `,"spec":{"ports":[{"port":7,"protocol":"ICMP"}]}}`, nil, "spec.ports.protocol"},
	}, model.KindClusterService)
}

func TestEndpointSlices(t *testing.T) {
	t.Parallel()
	const meta = `"metadata":{"namespace":"shop","name":"web-x","labels":{"kubernetes.io/service-name":"web"}}`
	base := model.EndpointSlice{Namespace: "shop", Name: "web-x", Service: "web"}
	with := func(change func(*model.EndpointSlice)) model.EndpointSlice {
		s := base
		change(&s)
		return s
	}
	addr := netip.MustParseAddr("10.1.2.3")
	translates(t, []row{
		{"a pod, of whose conditions nothing is said", `{` + meta + `,"addressType":"IPv4","endpoints":[{"addresses":["10.1.2.3","10.1.2.4"],"nodeName":"n1","hostname":"web-0",
			"targetRef":{"kind":"Pod","namespace":"shop","name":"web-0"}}],"ports":[{"name":"http","port":8080}]}`,
			with(func(s *model.EndpointSlice) {
				s.Endpoints = []model.SliceAddress{{Addr: addr, Pod: "web-0", Node: "n1", Hostname: "web-0", Ready: true, Serving: true}}
				s.Ports = []model.SlicePort{{Name: "http", Protocol: "TCP", Port: 8080}}
			}), ""},
		{"one that ends", `{` + meta + `,"endpoints":[{"addresses":["10.1.2.3"],"conditions":{"ready":false,"serving":true,"terminating":true}}]}`,
			with(func(s *model.EndpointSlice) {
				s.Endpoints = []model.SliceAddress{{Addr: addr, Serving: true, Terminating: true}}
			}), ""},
		{"for whom it is meant", `{` + meta + `,"endpoints":[{"addresses":["10.1.2.3"],"zone":"c","hints":{"forZones":[{"name":"a"},{"name":"b"}],"forNodes":[{"name":"n1"}]}}]}`,
			with(func(s *model.EndpointSlice) {
				s.Endpoints = []model.SliceAddress{{Addr: addr, Ready: true, Serving: true, ForNodes: []string{"n1"}, ForZones: []string{"a", "b"}}}
			}), ""},
		{"a machine elsewhere, and a pod of another namespace", `{` + meta + `,"endpoints":[{"addresses":["10.1.2.3"],"targetRef":{"kind":"Node","name":"n1"}},
			{"addresses":["10.1.2.3"],"targetRef":{"kind":"Pod","namespace":"other","name":"p"}},{"addresses":[]}]}`,
			with(func(s *model.EndpointSlice) {
				s.Endpoints = []model.SliceAddress{{Addr: addr, Ready: true, Serving: true}, {Addr: addr, Ready: true, Serving: true}}
			}), ""},
		{"all ports", `{` + meta + `,"ports":[{"name":"all"}]}`, base, ""},
		{"of no service", `{"metadata":{"namespace":"shop","name":"web-x"},"endpoints":[{"addresses":["10.1.2.3"]}]}`, nil, ""},
		{"names in place of addresses", `{` + meta + `,"addressType":"FQDN","endpoints":[{"addresses":["example.org"]}]}`, nil, ""},
		{"an address that is none", `{` + meta + `,"endpoints":[{"addresses":["10.1.2"]}]}`, nil, "endpoints.addresses"},
		{"a port that is none", `{` + meta + `,"ports":[{"port":0}]}`, nil, "ports.port"},
	}, model.KindEndpointSlice)
}

// FuzzTranslations holds that whatever an API server says, an object that becomes one of ours comes out of the store as it went in, under its own name.
func FuzzTranslations(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"shop","labels":{"a":"b"}}}`,
		`{"metadata":{"namespace":"shop","name":"web"},"spec":{"type":"LoadBalancer","clusterIPs":["10.96.0.7","fd00::7"],"externalIPs":["::ffff:1.2.3.4"],
			"loadBalancerSourceRanges":["10.0.0.0/8"],"ports":[{"name":"a","port":80,"nodePort":30000}],"sessionAffinity":"ClientIP"},"status":{"loadBalancer":{"ingress":[{"ip":"1.2.3.4"}]}}}`,
		`{"metadata":{"namespace":"shop","name":"p"},"spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"NotIn","values":["b"]}]},"policyTypes":["Egress"],
			"egress":[{"to":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}},{"namespaceSelector":{}}],"ports":[{"port":"web"},{"port":1,"endPort":9}]}]}}`,
		`{"metadata":{"name":"c"},"spec":{"tier":"Admin","priority":7,"subject":{"namespaces":{}},"ingress":[{"action":"Deny","from":[{"pods":{"podSelector":{"matchLabels":{"a":"b"}}}}],
			"protocols":[{"tcp":{"destinationPort":{"range":{"start":10,"end":20}}}}]}],"egress":[{"action":"Pass","to":[{"networks":["::/0"]}]}]}}`,
		`{"metadata":{"namespace":"shop","name":"x","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv6","endpoints":[{"addresses":["fd00::1"]}],"ports":[{"port":1}]}`,
	} {
		for i := range kinds() {
			f.Add(i, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which int, b []byte) {
		all := kinds()
		k := all[uint(which)%uint(len(all))]
		s, err := k.hear(b, false)
		if err != nil || s.object == nil {
			return
		}
		if s.object.Key() != s.key || s.object.Kind() != k.becomes {
			t.Fatalf("%s becomes %s %s", s.key, s.object.Kind(), s.object.Key())
		}
		text, err := json.Marshal(s.object)
		if err != nil {
			t.Fatalf("%+v cannot be stored: %v", s.object, err)
		}
		again, err := model.Decode(k.becomes, text)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", text, err)
		}
		if other, err := json.Marshal(again); err != nil || string(other) != string(text) {
			t.Fatalf("%s comes out as %s, %v", text, other, err)
		}
	})
}
