// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// podOf gives an endpoint the labels of a pod in namespace ns.
func podOf(e model.Endpoint, name string) model.Endpoint {
	e.Runtime = model.RuntimeCNI
	return labelled(e, model.LabelPodNamespace+"=ns", model.LabelPodName+"="+name)
}

// clusterShop is twoTenants with a service of Kubernetes at 10.96.0.7:80. Pods of default are p1 (e1 on n1) and p4 (e4 on n1), of the other tenant p3
// (e3), which has the address of e1. One more is on a machine of nobody's.
func clusterShop(t *testing.T, edit func(*model.ClusterService, *model.EndpointSlice)) model.World {
	s := model.ClusterService{
		Namespace: "ns", Name: "shop", ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.7")},
		Ports: []model.ClusterPort{{Name: "http", Protocol: "TCP", Port: 80, Node: 30080}, {Name: "dns", Protocol: "UDP", Port: 53}},
	}
	slice := model.EndpointSlice{Namespace: "ns", Name: "shop-1", Service: "shop", Ports: []model.SlicePort{{Name: "http", Protocol: "TCP", Port: 8080}}}
	var out []model.Object
	for _, o := range twoTenants(t) {
		if e, ok := o.(model.Endpoint); ok && (e.ID == "e1" || e.ID == "e3" || e.ID == "e4") {
			name := "p" + e.ID[1:]
			slice.Endpoints = append(slice.Endpoints, model.SliceAddress{Addr: e.IPv4, Pod: name, Ready: true, Serving: true, Node: e.Node})
			o = podOf(e, name)
		}
		out = append(out, o)
	}
	slice.Endpoints = append(slice.Endpoints, model.SliceAddress{Addr: netip.MustParseAddr("203.0.113.9"), Ready: true, Serving: true})
	edit(&s, &slice)
	return worldOf(append(out, s, slice)...)
}

// chosen are those who get new connections to a port of an address, as tenant sees them: ids of endpoints, or addresses, with ports. The second
// are all whose connections go on.
func chosen(tables Tables, tenant uint32, protocol uint8, at string) (now, all []string) {
	to := netip.MustParseAddrPort(at)
	for _, s := range tables.Services {
		if s.Tenant != tenant || s.Addr != to.Addr() || s.Port != to.Port() || s.Protocol != protocol {
			continue
		}
		for _, p := range tables.Providers {
			if p.Service != s.Number || p.Tenant != 0 && p.Tenant != tenant {
				continue
			}
			who := p.Endpoint
			if who == "" {
				who = p.Addr.String()
			}
			who = fmt.Sprintf("%s:%d", who, p.Port)
			all = append(all, who)
			if slices.Contains(s.Slots, p.Number) {
				now = append(now, who)
			}
		}
		slices.Sort(now)
		slices.Sort(all)
		return now, all
	}
	return []string{"no such service"}, nil
}

func TestServiceOfKubernetesHasThePodsOfItsClientsTenantAndWhoIsOutside(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(*model.ClusterService, *model.EndpointSlice) {})
	for _, node := range []string{"n1", "n2"} {
		tables := For(w, node)
		for tenant, want := range map[uint32]string{1: "[203.0.113.9:8080 e1:8080 e4:8080]", 2: "[203.0.113.9:8080 e3:8080]"} {
			here := slices.ContainsFunc(tables.Ports, func(p Port) bool { return p.Tenant == tenant })
			if !here {
				want = "[no such service]"
			}
			if got, _ := chosen(tables, tenant, 6, "10.96.0.7:80"); fmt.Sprint(got) != want {
				t.Errorf("on %s tenant %d gets %v, want %s", node, tenant, got, want)
			}
			if got, _ := chosen(tables, tenant, 17, "10.96.0.7:53"); here && len(got) != 0 {
				t.Errorf("on %s tenant %d gets %v at a port that no slice has", node, tenant, got)
			}
		}
		if fmt.Sprint(tables.Foreign) != "[foreign provider 203.0.113.9]" {
			t.Errorf("on %s: %v", node, tables.Foreign)
		}
		for _, e := range tables.Endpoints {
			if e.Addr.String() == "10.96.0.7" && (!e.Virtual || e.Network != 0) {
				t.Errorf("%s", e)
			}
		}
	}
}

func TestAffinityOfKubernetesHasItsTimeAndThatOfContivHasNoEnd(t *testing.T) {
	t.Parallel()
	for _, seconds := range []int{0, 60} {
		tables := For(clusterShop(t, func(s *model.ClusterService, _ *model.EndpointSlice) { s.Affinity = seconds }), "n1")
		for _, s := range tables.Services {
			if int(s.Affinity) != seconds {
				t.Errorf("with a time of %d s: %s", seconds, s)
			}
		}
		for _, e := range tables.Entrances {
			if int(e.Affinity) != seconds {
				t.Errorf("with a time of %d s: %s", seconds, e)
			}
		}
		if len(tables.Services) == 0 || len(tables.Entrances) == 0 {
			t.Errorf("%d services and %d entrances", len(tables.Services), len(tables.Entrances))
		}
	}
	objects := shop(t)
	own := objects[0].(model.Service)
	own.Affinity = true
	for _, s := range For(worldOf(append(objects[1:], own)...), "n1").Services {
		if s.Affinity != Endless {
			t.Errorf("%s", s)
		}
	}
}

func TestServiceOfKubernetesChoosesByReadiness(t *testing.T) {
	t.Parallel()
	on := func(s *model.EndpointSlice, pod string) *model.SliceAddress {
		return &s.Endpoints[slices.IndexFunc(s.Endpoints, func(a model.SliceAddress) bool { return a.Pod == pod })]
	}
	alone := func(s *model.EndpointSlice) {
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(a model.SliceAddress) bool { return a.Pod == "" })
	}
	for name, c := range map[string]struct {
		edit      func(*model.ClusterService, *model.EndpointSlice)
		now, goOn string
	}{
		"one is not ready": {func(_ *model.ClusterService, s *model.EndpointSlice) { alone(s); on(s, "p1").Ready = false },
			"[e4:8080]", "[e1:8080 e4:8080]"},
		"one ends": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			alone(s)
			p := on(s, "p1")
			p.Ready, p.Terminating = false, true
		}, "[e4:8080]", "[e1:8080 e4:8080]"},
		"all end and one still serves": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			alone(s)
			for _, pod := range []string{"p1", "p4"} {
				p := on(s, pod)
				p.Ready, p.Terminating, p.Serving = false, true, pod == "p4"
			}
		}, "[e4:8080]", "[e1:8080 e4:8080]"},
		"nobody is ready": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			alone(s)
			on(s, "p1").Ready, on(s, "p4").Ready = false, false
		}, "[]", "[e1:8080 e4:8080]"},
		"its pod is gone, and no machine outside has its address": {func(_ *model.ClusterService, s *model.EndpointSlice) { alone(s); on(s, "p1").Pod = "p0" },
			"[e4:8080]", "[e4:8080]"},
		"it is on the node's own network": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			s.Endpoints = []model.SliceAddress{{Addr: netip.MustParseAddr("192.0.2.77"), Pod: "on-host", Ready: true, Node: "n9"}}
		}, "[192.0.2.77:8080]", "[192.0.2.77:8080]"},
		"internal traffic is local": {func(c *model.ClusterService, s *model.EndpointSlice) { c.InternalLocal = true },
			"[e1:8080 e4:8080]", "[203.0.113.9:8080 e1:8080 e4:8080]"},
		"internal traffic is local, and there is nobody": {func(c *model.ClusterService, s *model.EndpointSlice) {
			c.InternalLocal = true
			s.Endpoints = slices.DeleteFunc(s.Endpoints, func(a model.SliceAddress) bool { return a.Pod != "" })
		}, "[]", "[203.0.113.9:8080]"},
		"an address that a container of the tenant has": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			s.Endpoints = []model.SliceAddress{{Addr: netip.MustParseAddr("10.1.2.2"), Ready: true}}
		}, "[10.1.2.2:8080]", "[10.1.2.2:8080]"},
		"an address that nobody has": {func(_ *model.ClusterService, s *model.EndpointSlice) {
			s.Endpoints = []model.SliceAddress{{Addr: netip.MustParseAddr("10.1.2.222"), Ready: true}}
		}, "[]", "[]"},
		"another port": {func(_ *model.ClusterService, s *model.EndpointSlice) { s.Ports[0].Name = "other" }, "[]", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, all := chosen(For(clusterShop(t, c.edit), "n1"), 1, 6, "10.96.0.7:80")
			if fmt.Sprint(now) != c.now || fmt.Sprint(all) != c.goOn {
				t.Errorf("%v get connections and those of %v go on, want %s and %s", now, all, c.now, c.goOn)
			}
		})
	}
}

func TestThoseMeantForTheNodeOrItsZoneAreChosen(t *testing.T) {
	t.Parallel()
	type hints struct{ nodes, zones []string }
	zone := func(z ...string) hints { return hints{zones: z} }
	for name, c := range map[string]struct {
		zone           string
		e1, e4, beyond hints
		local          bool
		want           string
	}{
		"one of the zone":              {"a", zone("a"), zone("b"), zone("b", "c"), false, "[e1:8080]"},
		"one of two zones":             {"c", zone("a"), zone("b"), zone("b", "c"), false, "[203.0.113.9:8080]"},
		"nobody of the zone":           {"d", zone("a"), zone("b"), zone("b", "c"), false, "[203.0.113.9:8080 e1:8080 e4:8080]"},
		"no zone":                      {"", zone("a"), zone("b"), zone("b", ""), false, "[203.0.113.9:8080 e1:8080 e4:8080]"},
		"one without hints":            {"a", zone("a"), zone("b"), zone(), false, "[203.0.113.9:8080 e1:8080 e4:8080]"},
		"one of the node":              {"b", hints{[]string{"n1"}, []string{"a"}}, hints{[]string{"n2"}, []string{"b"}}, hints{[]string{"n3"}, []string{"c"}}, false, "[e1:8080]"},
		"nobody of the node":           {"b", hints{[]string{"n4"}, []string{"a"}}, hints{[]string{"n2"}, []string{"b"}}, hints{[]string{"n3"}, []string{"c"}}, false, "[e4:8080]"},
		"one without hints of nodes":   {"b", hints{[]string{"n1"}, []string{"a"}}, zone("b"), zone("c"), false, "[e4:8080]"},
		"those of the node, by policy": {"b", zone("a"), zone("b"), zone("b"), true, "[e1:8080 e4:8080]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := clusterShop(t, func(s *model.ClusterService, slice *model.EndpointSlice) {
				s.InternalLocal = c.local
				for i, e := range slice.Endpoints {
					h := map[string]hints{"p1": c.e1, "p4": c.e4, "": c.beyond}[e.Pod]
					slice.Endpoints[i].ForNodes, slice.Endpoints[i].ForZones = h.nodes, h.zones
				}
			}).With(model.Change{Revision: 8, Put: []model.Object{model.ClusterNode{Name: "n1", Zone: c.zone}, model.ClusterNode{Name: "n2", Zone: "x"}}})
			if now, _ := chosen(For(w, "n1"), 1, 6, "10.96.0.7:80"); fmt.Sprint(now) != c.want {
				t.Errorf("%v get connections, want %s", now, c.want)
			}
		})
	}
}

func TestServicesThatAreSomebodyElsesToServeAreLeftAlone(t *testing.T) {
	t.Parallel()
	tables := For(clusterShop(t, func(s *model.ClusterService, _ *model.EndpointSlice) { s.Unproxied, s.HealthCheck = true, 31000 }), "n1")
	if len(tables.Services)+len(tables.Entrances)+len(tables.HealthChecks) > 0 {
		t.Errorf("services %v, entrances %v, health checks %v", tables.Services, tables.Entrances, tables.HealthChecks)
	}
}

func TestPortsOfSlicesMayDiffer(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(*model.ClusterService, *model.EndpointSlice) {})
	first, _ := w.EndpointSlices.Get("ns/shop-1")
	second := first
	second.Name, second.Ports = "shop-2", []model.SlicePort{{Name: "http", Protocol: "TCP", Port: 9090}, {Name: "dns", Protocol: "UDP", Port: 5353}}
	first.Endpoints, second.Endpoints = first.Endpoints[:1], first.Endpoints[1:]
	w = w.With(model.Change{Revision: 8, Put: []model.Object{first, second}})
	tables := For(w, "n1")
	now, _ := chosen(tables, 1, 6, "10.96.0.7:80")
	dns, _ := chosen(tables, 1, 17, "10.96.0.7:53")
	if len(now) != 3 || !slices.Contains(now, "203.0.113.9:9090") || !slices.ContainsFunc(now, func(s string) bool { return strings.HasSuffix(s, ":8080") }) {
		t.Errorf("port http leads to %v", now)
	}
	if len(dns) != 2 || !slices.Contains(dns, "203.0.113.9:5353") {
		t.Errorf("port dns leads to %v", dns)
	}
}

func TestAddressOfAServiceOfKubernetesThatATenantHasIsNotTakenFromIt(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(s *model.ClusterService, _ *model.EndpointSlice) {
		s.ClusterIPs = []netip.Addr{netip.MustParseAddr("10.1.2.250")} // a subnet of both
	})
	tables := For(w, "n1")
	if len(tables.Services) != 0 || !slices.ContainsFunc(tables.Notes, func(n Note) bool { return strings.Contains(n.Text, "which is in a network of tenant default") }) {
		t.Errorf("services are %v, notes %v", tables.Services, tables.Notes)
	}
}

func TestExternalAddressIsVirtualForTenantsThatProvideIt(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(s *model.ClusterService, slice *model.EndpointSlice) {
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("192.0.2.1")}
		s.LoadBalancers = []netip.Addr{netip.MustParseAddr("198.51.100.2")}
		slice.Endpoints = slices.DeleteFunc(slice.Endpoints, func(a model.SliceAddress) bool { return a.Pod == "p3" })
	})
	w = w.With(model.Change{Revision: 8, Put: []model.Object{model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}}})
	tables := For(w, "n1")
	var at []string
	for _, s := range tables.Services {
		if s.Protocol == 6 {
			at = append(at, fmt.Sprint(s.Tenant, " ", s.Addr))
		}
	}
	if got := strings.Join(at, ", "); !strings.Contains(got, "1 10.96.0.7, 1 198.51.100.1, 1 198.51.100.2") || strings.Contains(got, "192.0.2.1") || strings.Contains(got, "2 198") {
		t.Errorf("services are at %s", got)
	}
	s, _ := w.ClusterServices.Get("ns/shop")
	s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	tables = For(w.With(model.Change{Revision: 9, Put: []model.Object{s}}), "n1")
	if now, _ := chosen(tables, 1, 6, "198.51.100.2:80"); fmt.Sprint(now) != "[no such service]" {
		t.Errorf("a load balancer that is for some only is everybody's: %v", now)
	}
}

func TestMemoFollowsServicesOfKubernetes(t *testing.T) {
	t.Parallel()
	var m Memo
	w := clusterShop(t, func(*model.ClusterService, *model.EndpointSlice) {})
	m.For(w, "n1")
	slice, _ := w.EndpointSlices.Get("ns/shop-1")
	slice.Endpoints = slices.Clone(slice.Endpoints)[:1]
	hinted := slice
	hinted.Endpoints = slices.Clone(slice.Endpoints)
	hinted.Endpoints[0].ForZones = []string{"a"}
	for revision, change := range []model.Change{
		{Put: []model.Object{slice}}, {Put: []model.Object{hinted}}, {Put: []model.Object{model.ClusterNode{Name: "n1", Zone: "a"}}}, {Delete: []model.Ref{model.RefOf(slice)}},
		{Delete: []model.Ref{{Kind: model.KindClusterService, Key: "ns/shop"}}},
	} {
		change.Revision = int64(20 + revision)
		w = w.With(change)
		if got, want := m.For(w, "n1").String(), For(w, "n1").String(); got != want {
			t.Errorf("after %v:\n%s\nwant:\n%s", change, got, want)
		}
	}
}

// met are whom new connections of a client to a port of an address get: ids of endpoints, or addresses.
func met(tables Tables, tenant uint32, client, service string) string {
	var out []string
	for port := range uint16(2000) {
		who := "nobody"
		_, p, ok := tables.Choose(tenant, 6, netip.AddrPortFrom(netip.MustParseAddr(client), 1000+port), netip.MustParseAddrPort(service))
		if ok {
			who = cmp.Or(p.Endpoint, p.Addr.String())
		}
		if !slices.Contains(out, who) {
			out = append(out, who)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestServiceOfKubernetesHasThosePodsThatItsClientsNetworkReaches(t *testing.T) {
	t.Parallel()
	apart := func(n *model.Network) { n.Internal = true }
	for name, c := range map[string]struct {
		edit          func(w model.World) model.World
		net, db, blue string // whom clients there meet
		rows          int    // of port 80 in default
	}{
		"networks that reach each other": {func(w model.World) model.World { return w }, "203.0.113.9 e1 e4", "203.0.113.9 e1 e4", "203.0.113.9 e3", 1},
		"bridged": {func(w model.World) model.World {
			g := model.DefaultGlobal()
			g.ForwardMode = model.ForwardBridge
			return with(w, g)
		}, "203.0.113.9 e1", "203.0.113.9 e4", "203.0.113.9 e3", 3},
		"an internal one": {func(w model.World) model.World {
			n, _ := w.Networks.Get("default:db")
			apart(&n)
			return with(w, n)
		}, "203.0.113.9 e1", "203.0.113.9 e4", "203.0.113.9 e3", 3},
		"apart, and those who provide are outside": {func(w model.World) model.World {
			n, _ := w.Networks.Get("default:db")
			apart(&n)
			s, _ := w.EndpointSlices.Get("ns/shop-1")
			s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(a model.SliceAddress) bool { return a.Pod != "" })
			return with(w, n, s)
		}, "203.0.113.9", "203.0.113.9", "203.0.113.9", 1},
		"apart, and all that provide are in one": {func(w model.World) model.World {
			n, _ := w.Networks.Get("default:db")
			apart(&n)
			s, _ := w.EndpointSlices.Get("ns/shop-1")
			s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(a model.SliceAddress) bool { return a.Pod != "p4" })
			return with(w, n, s)
		}, "nobody", "e4", "nobody", 3},
		"an address that a container of another network has": {func(w model.World) model.World {
			n, _ := w.Networks.Get("default:db")
			apart(&n)
			s, _ := w.EndpointSlices.Get("ns/shop-1")
			s.Endpoints = []model.SliceAddress{{Addr: netip.MustParseAddr("10.1.2.2"), Ready: true}}
			return with(w, n, s)
		}, "e2", "nobody", "nobody", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tables := For(c.edit(clusterShop(t, func(*model.ClusterService, *model.EndpointSlice) {})), "n1")
			if got := met(tables, 1, "10.1.2.1", "10.96.0.7:80"); strings.ReplaceAll(got, "10.1.2.2", "e2") != c.net {
				t.Errorf("clients in net meet %s, want %s", got, c.net)
			}
			if got := met(tables, 1, "10.1.9.2", "10.96.0.7:80"); got != c.db {
				t.Errorf("clients in db meet %s, want %s", got, c.db)
			}
			if got := met(tables, 2, "10.1.2.1", "10.96.0.7:80"); got != c.blue {
				t.Errorf("clients of blue meet %s, want %s", got, c.blue)
			}
			rows := 0
			for _, s := range tables.Services {
				if s.Tenant == 1 && s.Port == 80 {
					rows++
				}
			}
			if rows != c.rows {
				t.Errorf("there are %d rows, want %d:\n%s", rows, c.rows, tables)
			}
		})
	}
}

// with is a World in which objects are others.
func with(w model.World, objects ...model.Object) model.World {
	return w.With(model.Change{Revision: w.Revision + 1, Put: objects})
}

func TestAddressOutsideHasServicesBesideWhatIsThere(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(s *model.ClusterService, _ *model.EndpointSlice) {
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	})
	beside := func(w model.World) string {
		var out []string
		for _, e := range For(w, "n1").Endpoints {
			if e.Virtual {
				out = append(out, fmt.Sprint(e.Tenant, " ", e.Addr, " ", e.Beside))
			}
		}
		return strings.Join(out, ", ")
	}
	if got := beside(w); got != "1 10.96.0.7 false, 1 198.51.100.1 true, 2 10.96.0.7 false, 2 198.51.100.1 true" {
		t.Errorf("virtual are %s", got)
	}
	// A network of the tenant that reaches no pod of the service goes on as if it were not there.
	n, _ := w.Networks.Get("default:db")
	n.Internal = true
	s, _ := w.EndpointSlices.Get("ns/shop-1")
	s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(a model.SliceAddress) bool { return a.Pod == "p4" })
	for _, row := range For(with(w, n, s), "n1").Services {
		if row.Tenant == 1 && row.Addr.String() == "198.51.100.1" && row.Network == 3 {
			t.Errorf("%s", row)
		}
	}
}

// Who may make services could else have what others send to the cluster's own.
func TestAddressOfAnotherServiceIsNotTakenFromIt(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(*model.ClusterService, *model.EndpointSlice) {})
	thief := model.ClusterService{
		Namespace: "aa", Name: "thief", ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.66")}, ExternalIPs: []netip.Addr{netip.MustParseAddr("10.96.0.7")},
		Ports: []model.ClusterPort{{Protocol: "TCP", Port: 80}, {Name: "more", Protocol: "TCP", Port: 81}},
	}
	slice, _ := w.EndpointSlices.Get("ns/shop-1")
	slice.Namespace, slice.Name, slice.Service = "aa", "thief-1", "thief"
	slice.Ports = []model.SlicePort{{Protocol: "TCP", Port: 6666}, {Name: "more", Protocol: "TCP", Port: 6666}}
	slice.Endpoints = []model.SliceAddress{{Addr: netip.MustParseAddr("10.1.9.9"), Pod: "evil", Ready: true, Node: "n1"}}
	evil := podOf(endpoint("evil", "default", "db", "n1", "vvport9", "10.1.9.9"), "evil")
	evil.Labels[model.LabelPodNamespace] = "aa"
	tables := For(with(w, thief, slice, evil), "n1")
	if got := met(tables, 1, "10.1.2.1", "10.96.0.7:80"); got != "203.0.113.9 e1 e4" {
		t.Errorf("clients of the service meet %s", got)
	}
	if got := met(tables, 1, "10.1.2.1", "10.96.0.7:81"); got != "evil" {
		t.Errorf("at a port of its own the other service has %s", got)
	}
	for _, e := range tables.Entrances {
		if e.Addr.String() == "10.96.0.7" && e.Port == 80 && e.Service != "ns/shop" {
			t.Errorf("the node's own meet %s", e)
		}
	}
}
