// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

func addrsOf(texts ...string) (out []netip.Addr) {
	for _, a := range texts {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// podOf is an endpoint of a pod.
func podOf(id, tenant, namespace, name, v4 string) model.Endpoint {
	e := endpoint(id, tenant, "contiv-net", name, v4, "")
	e.Runtime = model.RuntimeCNI
	e.Labels = map[string]string{model.LabelPodNamespace: namespace, model.LabelPodName: name}
	return e
}

// sliceOf is some providers of a service of the namespace shop.
func sliceOf(name, service string, ports []model.SlicePort, endpoints ...model.SliceAddress) model.EndpointSlice {
	return model.EndpointSlice{Namespace: "shop", Name: name, Service: service, Ports: ports, Endpoints: endpoints}
}

// mall is two tenants with equal addresses, and a Kubernetes.
func mall() model.World {
	at := func(addr, pod, host string) model.SliceAddress {
		return model.SliceAddress{Addr: netip.MustParseAddr(addr), Pod: pod, Hostname: host, Ready: true, Serving: true}
	}
	sick := at("10.1.1.9", "db-9", "db-9")
	sick.Ready = false
	pg := []model.SlicePort{{Name: "pg", Protocol: "TCP", Port: 5432}}
	return worldOf("routing",
		model.Namespace{Name: "default"}, model.Namespace{Name: "shop"}, model.Namespace{Name: "empty"},
		model.ClusterService{Namespace: "default", Name: "kubernetes", ClusterIPs: addrsOf("10.96.0.1"), Ports: []model.ClusterPort{{Name: "https", Protocol: "TCP", Port: 443}}},
		model.ClusterService{Namespace: "shop", Name: "web", ClusterIPs: addrsOf("10.96.0.7", "fd00::7"), Ports: []model.ClusterPort{
			{Name: "http", Protocol: "TCP", Port: 80}, {Name: "quic", Protocol: "UDP", Port: 443}, {Protocol: "TCP", Port: 9}}},
		model.ClusterService{Namespace: "shop", Name: "plain", ClusterIPs: addrsOf("10.96.0.8"), Ports: []model.ClusterPort{{Protocol: "TCP", Port: 80}}},
		model.ClusterService{Namespace: "shop", Name: "db", Ports: []model.ClusterPort{{Name: "pg", Protocol: "TCP", Port: 5432}}},
		model.ClusterService{Namespace: "shop", Name: "nobody"},
		model.ClusterService{Namespace: "shop", Name: "alias", ExternalName: "Web.shop.svc.cluster.local."},
		model.ClusterService{Namespace: "shop", Name: "away", ExternalName: "example.org"},
		model.ClusterService{Namespace: "shop", Name: "lost", ExternalName: "none.shop.svc.cluster.local"},
		model.ClusterService{Namespace: "shop", Name: "ring", ExternalName: "ring.shop.svc.cluster.local"},
		sliceOf("web-a", "web", []model.SlicePort{{Name: "http", Protocol: "TCP", Port: 8080}}, at("10.1.1.1", "web-0", "web-0")),
		sliceOf("db-a", "db", pg, at("10.1.1.3", "db-0", "db-0"), at("10.1.1.4", "db-1", ""), sick),
		sliceOf("db-b", "db", pg, at("10.1.1.4", "db-1", ""), at("10.1.1.3", "blue-0", "blue-0"), at("192.168.2.10", "on-host", ""), at("2001:db8::5", "", "far")),
		podOf("p0", "default", "shop", "db-0", "10.1.1.3"), podOf("p1", "default", "shop", "db-1", "10.1.1.4"),
		podOf("b0", "blue", "shop", "blue-0", "10.1.1.3"), podOf("w0", "default", "shop", "web-0", "10.1.1.1"),
		endpoint("c1", "default", "contiv-net", "contiv-c1", "10.1.1.20", ""), endpoint("b1", "blue", "contiv-net", "contiv-b1", "10.1.1.20", ""),
	)
}

// nothing is what a name gets that does not exist.
const nothing = "NXDOMAIN"

func askCluster(t *testing.T, x *index, asker, qtype, name string) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, dns.StringToType[qtype])
	return askKnowing(t, x, asker, q, outer{})
}

// askKnowing asks with what is known of a name that is not ours.
func askKnowing(t *testing.T, x *index, asker string, q *dns.Msg, o outer) string {
	t.Helper()
	b, wanted := responder{names: x, asker: []string{asker}, outer: o}.reply(pack(t, q), tcp)
	if wanted != "" {
		return "wanted: " + wanted
	}
	if b == nil {
		return "-"
	}
	name, qtype := q.Question[0].Name, dns.TypeToString[q.Question[0].Qtype]
	m := unpack(t, b)
	if m.Rcode == dns.RcodeServerFailure {
		return "SERVFAIL"
	}
	if soa := len(m.Ns) == 1 && m.Ns[0].Header().Rrtype == dns.TypeSOA && m.Ns[0].Header().Name == "cluster.local."; soa != (len(m.Answer) == 0 || m.Rcode == dns.RcodeNameError && o.name == "") {
		t.Errorf("%s %s: %v", qtype, name, m)
	}
	if m.Rcode == dns.RcodeNameError {
		if len(m.Answer) > 0 {
			return m.Answer[0].(*dns.CNAME).Target + " " + nothing
		}
		return nothing
	}
	var out []string
	for _, rr := range m.Answer {
		out = append(out, rr.String()[len(rr.Header().String()):])
	}
	slices.Sort(out)
	for _, rr := range m.Extra {
		out = append(out, "+"+rr.Header().Name+rr.String()[len(rr.Header().String()):])
	}
	return fmt.Sprint(out)
}

func TestNamesOfKubernetesAreAnsweredAsItsSpecificationSays(t *testing.T) {
	t.Parallel()
	x := steady(mall())
	for _, c := range []struct{ asker, qtype, name, want string }{
		{"c1", "A", "kubernetes.default.svc.cluster.local.", "[10.96.0.1]"},
		{"b1", "A", "Kubernetes.Default.SVC.cluster.local.", "[10.96.0.1]"},
		{"c1", "AAAA", "kubernetes.default.svc.cluster.local.", "[]"},
		{"c1", "A", "web.shop.svc.cluster.local.", "[10.96.0.7]"},
		{"c1", "AAAA", "web.shop.svc.cluster.local.", "[fd00::7]"},
		{"c1", "ANY", "web.shop.svc.cluster.local.", "[10.96.0.7 fd00::7]"},
		{"c1", "MX", "web.shop.svc.cluster.local.", "[]"},
		{"c1", "PTR", "7.0.96.10.in-addr.arpa.", "[web.shop.svc.cluster.local.]"},
		{"b1", "PTR", "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", "[web.shop.svc.cluster.local.]"},
		{"c1", "PTR", "9.9.96.10.in-addr.arpa.", "-"},
		{"c1", "SRV", "_http._tcp.web.shop.svc.cluster.local.", "[0 1 80 web.shop.svc.cluster.local. +web.shop.svc.cluster.local.10.96.0.7 +web.shop.svc.cluster.local.fd00::7]"},
		{"c1", "A", "_http._tcp.web.shop.svc.cluster.local.", "[]"},
		{"c1", "SRV", "_http._udp.web.shop.svc.cluster.local.", nothing},
		{"c1", "SRV", "_80._tcp.web.shop.svc.cluster.local.", nothing},
		{"c1", "SRV", "_x._tcp.plain.shop.svc.cluster.local.", nothing},
		{"c1", "SRV", "plain.shop.svc.cluster.local.", "[]"},

		// Headless: who asks is told of those in its own tenant, and of what is no pod of ours; who is not ready is not told of.
		{"c1", "A", "db.shop.svc.cluster.local.", "[10.1.1.3 10.1.1.4 192.168.2.10]"},
		{"b1", "A", "db.shop.svc.cluster.local.", "[10.1.1.3 192.168.2.10]"},
		{"c1", "AAAA", "db.shop.svc.cluster.local.", "[2001:db8::5]"},
		{"c1", "A", "db-0.db.shop.svc.cluster.local.", "[10.1.1.3]"},
		{"b1", "A", "db-0.db.shop.svc.cluster.local.", nothing},
		{"b1", "A", "blue-0.db.shop.svc.cluster.local.", "[10.1.1.3]"},
		{"c1", "A", "db-9.db.shop.svc.cluster.local.", nothing},
		{"c1", "A", "10-1-1-4.db.shop.svc.cluster.local.", "[10.1.1.4]"},
		{"c1", "A", "far.db.shop.svc.cluster.local.", "[]"},
		{"c1", "A", "web-0.web.shop.svc.cluster.local.", nothing},
		{"b1", "SRV", "_pg._tcp.db.shop.svc.cluster.local.", "[0 1 5432 192-168-2-10.db.shop.svc.cluster.local. 0 1 5432 blue-0.db.shop.svc.cluster.local. 0 1 5432 far.db.shop.svc.cluster.local." +
			" +blue-0.db.shop.svc.cluster.local.10.1.1.3 +192-168-2-10.db.shop.svc.cluster.local.192.168.2.10 +far.db.shop.svc.cluster.local.2001:db8::5]"},
		{"c1", "PTR", "3.1.1.10.in-addr.arpa.", "[db-0.contiv-net. db-0.db.shop.svc.cluster.local.]"},
		{"b1", "PTR", "3.1.1.10.in-addr.arpa.", "[blue-0.contiv-net. blue-0.db.shop.svc.cluster.local.]"},
		{"c1", "A", "nobody.shop.svc.cluster.local.", "[]"},

		{"c1", "A", "alias.shop.svc.cluster.local.", "[10.96.0.7 web.shop.svc.cluster.local.]"},
		{"c1", "CNAME", "away.shop.svc.cluster.local.", "[example.org.]"},
		{"c1", "A", "away.shop.svc.cluster.local.", "wanted: example.org"},
		{"c1", "MX", "away.shop.svc.cluster.local.", "[example.org.]"},
		{"c1", "A", "lost.shop.svc.cluster.local.", "none.shop.svc.cluster.local. " + nothing},
		{"c1", "A", "ring.shop.svc.cluster.local.", "SERVFAIL"},
		{"c1", "A", "x.alias.shop.svc.cluster.local.", nothing},

		{"c1", "A", "10-1-1-3.shop.pod.cluster.local.", "[10.1.1.3]"},
		{"c1", "AAAA", "2001-db8--1.shop.pod.cluster.local.", "[2001:db8::1]"},
		{"c1", "A", "10-1-1-3.none.pod.cluster.local.", nothing},
		{"c1", "A", "10-1-1.shop.pod.cluster.local.", nothing},
		{"c1", "TXT", "dns-version.cluster.local.", `["1.1.0"]`},
		{"c1", "A", "shop.svc.cluster.local.", "[]"},
		{"c1", "A", "svc.cluster.local.", "[]"},
		{"c1", "A", "cluster.local.", "[]"},
		{"c1", "A", "none.svc.cluster.local.", nothing},
		{"c1", "A", "none.shop.svc.cluster.local.", nothing},
		{"c1", "A", "a.b.c.web.shop.svc.cluster.local.", nothing},

		// As a pod with ndots:5 looks for a container, and for somebody else.
		{"c1", "A", "contiv-c1.default.svc.cluster.local.", nothing},
		{"c1", "A", "contiv-c1.svc.cluster.local.", nothing},
		{"c1", "A", "contiv-c1.cluster.local.", nothing},
		{"c1", "A", "contiv-c1.", "[10.1.1.20]"},
		{"c1", "A", "example.org.", "-"},
		{"c1", "A", "notcluster.local.", "-"},
	} {
		if got := askCluster(t, x, c.asker, c.qtype, c.name); got != c.want {
			t.Errorf("%s asks for %s %s: got %s, want %s", c.asker, c.qtype, c.name, got, c.want)
		}
	}
}

func TestServiceThatStandsForANameOutsideIsAnsweredWithWhatWasFoundOfThat(t *testing.T) {
	t.Parallel()
	x := steady(mall())
	for _, c := range []struct {
		what, qtype, want string
		known             outer
	}{
		{"its addresses", "A", "[192.0.2.1 example.org.]", outer{name: "example.org", addrs: addrsOf("192.0.2.1", "2001:db8::9")}},
		{"those of the other family", "AAAA", "[2001:db8::9 example.org.]", outer{name: "example.org", addrs: addrsOf("::ffff:192.0.2.1", "2001:db8::9")}},
		{"IPv4 in the form of IPv6", "A", "[192.0.2.1 example.org.]", outer{name: "example.org", addrs: addrsOf("::ffff:192.0.2.1")}},
		{"that it has no addresses", "A", "[example.org.]", outer{name: "example.org"}},
		{"that it has none of the family", "AAAA", "[example.org.]", outer{name: "example.org", addrs: addrsOf("192.0.2.1")}},
		{"that nobody could say", "A", "SERVFAIL", outer{name: "example.org", failed: true}},
		{"another name", "A", "wanted: example.org", outer{name: "example.net", addrs: addrsOf("192.0.2.1")}},
	} {
		q := new(dns.Msg).SetQuestion("away.shop.svc.cluster.local.", dns.StringToType[c.qtype])
		if got := askKnowing(t, x, "b1", q, c.known); got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, got, c.want)
		}
	}
}

func TestNamesOfAnotherDomainAreKubernetesWhereItHasThatDomain(t *testing.T) {
	t.Parallel()
	w := mall()
	x := newIndex(func() model.World { return w }, "k8s.example.")
	if got := ask(t, x, "c1", "A", "web.shop.svc.k8s.example."); got != "10.96.0.7" {
		t.Errorf("got %s", got)
	}
	if got := ask(t, x, "c1", "A", "web.shop.svc.cluster.local."); got != "-" {
		t.Errorf("got %s", got)
	}
}

func TestNamesOfKubernetesAreSomebodyElsesWhereNoneIsKnown(t *testing.T) {
	t.Parallel()
	w := mall()
	x := newIndex(func() model.World { return w }, ClusterDomain)
	ask(t, x, "c1", "A", "web.shop.svc.cluster.local.")
	c := model.Change{Revision: w.Revision + 1}
	for n := range w.Namespaces.All() {
		c.Delete = append(c.Delete, model.Ref{Kind: model.KindNamespace, Key: n})
	}
	w = w.With(c)
	for _, name := range []string{"web.shop.svc.cluster.local.", "none.shop.svc.cluster.local.", "cluster.local."} {
		if got := ask(t, x, "c1", "A", name); got != "-" {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// sorted is a map whose lists may be in any order.
func sorted[K comparable](m map[K][]string) map[K]string {
	out := map[K]string{}
	for k, list := range m {
		list = slices.Sorted(slices.Values(list))
		out[k] = fmt.Sprint(list)
	}
	return out
}

// However a World came about, its names of Kubernetes are those of an index that is made of it alone.
func TestClusterThatFollowedIsAsOneThatIsNew(t *testing.T) {
	t.Parallel()
	w := mall()
	x := newIndex(func() model.World { return w }, ClusterDomain)
	ask(t, x, "c1", "A", "web.shop.svc.cluster.local.")
	pick := func(of ...string) string { return of[rand.IntN(len(of))] }
	some := func() model.Object {
		switch rand.IntN(4) {
		case 0:
			return model.ClusterService{Namespace: pick("shop", "default"), Name: pick("web", "db", "x"), ClusterIPs: addrsOf(fmt.Sprint("10.96.0.", rand.IntN(9)))[:rand.IntN(2)]}
		case 1:
			s := sliceOf(pick("a", "b", "c"), pick("web", "db"), nil)
			for range rand.IntN(3) {
				s.Endpoints = append(s.Endpoints, model.SliceAddress{Addr: netip.MustParseAddr(fmt.Sprint("10.1.1.", rand.IntN(9))), Hostname: pick("", "h"), Ready: true})
			}
			return s
		case 2:
			return podOf(fmt.Sprint("e", rand.IntN(9)), pick("default", "blue"), "shop", pick("p", "q"), "10.1.1.1")
		}
		return model.Namespace{Name: pick("shop", "other")}
	}
	for i := range 1000 {
		c := model.Change{Revision: w.Revision + 1, Reset: i == 500}
		for range rand.IntN(4) {
			if o := some(); rand.IntN(3) == 0 {
				c.Delete = append(c.Delete, model.RefOf(o))
			} else {
				c.Put = append(c.Put, o)
			}
		}
		if c.Reset {
			c.Put = w.Whole().Put
		}
		w = w.With(c)
		if rand.IntN(3) > 0 {
			continue
		}
		ask(t, x, "c1", "A", "web.shop.svc.cluster.local.")
		fresh := clusterOf(tablesOf(w))
		if got, want := sorted(x.cluster.parts), sorted(fresh.parts); !maps.Equal(got, want) {
			t.Fatalf("step %d: slices %v, want %v", i, got, want)
		}
		if got, want := sorted(x.cluster.tenants), sorted(fresh.tenants); !maps.Equal(got, want) {
			t.Fatalf("step %d: tenants %v, want %v", i, got, want)
		}
		if got, want := sorted(x.cluster.owners), sorted(fresh.owners); !maps.Equal(got, want) {
			t.Fatalf("step %d: owners %v, want %v", i, got, want)
		}
	}
}

// FuzzNamesInTheCluster holds that every name in the cluster's domain gets an answer, which exists or does not, but for one outside of it.
func FuzzNamesInTheCluster(f *testing.F) {
	for _, name := range []string{"", "svc.", "shop.svc.", "db.shop.svc.", "_pg._tcp.db.shop.svc.", "10-1-1-4.db.shop.svc.", "10-1-1-3.shop.pod.", "away.shop.svc.", "..", "_._.db.shop.svc."} {
		f.Add(name, uint16(dns.TypeA))
		f.Add(name, uint16(dns.TypeSRV))
		f.Add(name, uint16(dns.TypeANY))
	}
	x := steady(mall())
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		q := new(dns.Msg).SetQuestion(name+"cluster.local.", qtype)
		query, err := q.Pack()
		if err != nil {
			return
		}
		if q.Unpack(query) != nil {
			return
		}
		_, in := view{cluster: x.cluster, domain: x.domain}.inside(canonical(q.Question[0].Name))
		b, wanted := responder{names: x, asker: []string{"c1"}}.reply(query, tcp)
		if b == nil {
			if in && wanted == "" {
				t.Fatalf("%q %d gets no reply", name, qtype)
			}
			return
		}
		m := unpack(t, b)
		if m.Rcode == dns.RcodeServerFailure || len(m.Answer) == 0 && len(m.Ns) == 0 {
			t.Fatalf("%q %d: %v", name, qtype, m)
		}
	})
}

func BenchmarkNameOfAService(b *testing.B) {
	x := steady(mall())
	q := new(dns.Msg).SetQuestion("web.shop.svc.cluster.local.", dns.TypeA)
	query, err := q.Pack()
	if err != nil {
		b.Fatal(err)
	}
	r := responder{names: x, asker: []string{"c1"}}
	for b.Loop() {
		if r.says(query, udp) == nil {
			b.Fatal("no reply")
		}
	}
}

// A slice may still have a pod whose endpoint is gone, and its address is another tenant's pod's by then.
func TestPodsWithoutEndpointAreToldToNobodyWhereNetworksAre(t *testing.T) {
	t.Parallel()
	w := next(mall(), []string{"p0", "p1"}, model.Network{Tenant: "default", Name: "contiv-net", IPv4: model.Pool{Prefix: netip.MustParsePrefix("10.1.1.0/24")}})
	for _, asker := range []string{"c1", "b1"} {
		if got := askCluster(t, steady(w), asker, "A", "db-0.db.shop.svc.cluster.local."); got != nothing {
			t.Errorf("%s is told of a pod that nobody has: %s", asker, got)
		}
		if got := askCluster(t, steady(w), asker, "A", "db.shop.svc.cluster.local."); !strings.Contains(got, "192.168.2.10") || strings.Contains(got, "10.1.1.4") {
			t.Errorf("%s is told %s of a service with a pod that nobody has, and one in a node's own network", asker, got)
		}
	}
}

func TestNamesGoOnUntilKubernetesHasToldOfItsServices(t *testing.T) {
	t.Parallel()
	w := worldOf("routing", model.Namespace{Name: "default"}, endpoint("c1", "default", "contiv-net", "contiv-c1", "10.1.1.20", ""))
	if got := askCluster(t, steady(w), "c1", "A", "web.shop.svc.cluster.local."); got != "-" {
		t.Errorf("a name that may be told of later gets %s", got)
	}
}
