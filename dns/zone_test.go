// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/model"
)

func endpoint(id, tenant, network, name, v4, v6 string, aliases ...string) model.Endpoint {
	e := model.Endpoint{ID: id, Tenant: tenant, Network: network, Name: name, Aliases: aliases}
	if v4 != "" {
		e.IPv4 = netip.MustParseAddr(v4)
	}
	if v6 != "" {
		e.IPv6 = netip.MustParseAddr(v6)
	}
	return e
}

func worldOf(forward string, endpoints ...model.Endpoint) model.World {
	g := model.DefaultGlobal()
	g.ForwardMode = forward
	c := model.Change{Revision: 1, Reset: true, Put: []model.Object{g}}
	for _, e := range endpoints {
		c.Put = append(c.Put, e)
	}
	return model.World{}.With(c)
}

// town has two tenants with equal subnets and equal names.
func town(forward string) model.World {
	return worldOf(forward,
		endpoint("c1", "default", "contiv-net", "contiv-c1", "10.1.1.1", "2001:db8:1::1", "web", "contiv-c1"),
		endpoint("c2", "default", "contiv-net", "contiv-c2", "10.1.1.2", "", "Web"),
		endpoint("c3", "default", "Back.End", "db", "10.2.1.1", "", "web"),
		endpoint("c4", "default", "Back.End", "contiv-c1", "10.2.1.2", ""),
		endpoint("c5", "default", "contiv-net", "dotted.name", "10.1.1.5", ""),
		endpoint("b1", "blue", "contiv-net", "contiv-c1", "10.1.1.1", ""),
		endpoint("b2", "blue", "blue-net", "secret", "10.3.1.1", ""),
	)
}

// ask gives the answers as text, without name and TTL, in order; "-" for a name that is not found.
func ask(t *testing.T, w model.World, asker, qtype, name string) string {
	t.Helper()
	var from []model.Endpoint
	for id := range strings.SplitSeq(asker, "+") {
		e, ok := w.Endpoints.Get(id)
		if !ok {
			t.Fatalf("no endpoint %s", id)
		}
		from = append(from, e)
	}
	rrs, found := ZonesOf(w).Answers(from, dns.Question{Name: name, Qtype: dns.StringToType[qtype], Qclass: dns.ClassINET})
	if !found {
		if len(rrs) > 0 {
			t.Errorf("%s %s: records for a name that is not found", qtype, name)
		}
		return "-"
	}
	var out []string
	for _, rr := range rrs {
		if rr.Header().Name != name || rr.Header().Ttl != TTL {
			t.Errorf("%s %s: answer is for %s with TTL %d", qtype, name, rr.Header().Name, rr.Header().Ttl)
		}
		f := strings.Fields(rr.String())
		out = append(out, f[len(f)-1])
	}
	return strings.Join(out, " ")
}

func TestNamesAreAnsweredForTheAskersNetworksAndTenant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, asker, qtype, name, want string }{
		{"routing", "c2", "A", "contiv-c1.", "10.1.1.1"},
		{"routing", "c2", "A", "CONTIV-c1.", "10.1.1.1"},
		{"routing", "c2", "AAAA", "contiv-c1.", "2001:db8:1::1"},
		{"routing", "c2", "ANY", "contiv-c1.", "10.1.1.1 2001:db8:1::1"},
		{"routing", "c1", "AAAA", "contiv-c2.", ""},
		{"routing", "c1", "MX", "contiv-c2.", ""},
		{"routing", "c1", "A", "web.", "10.1.1.1 10.1.1.2"},
		{"routing", "c1", "A", "dotted.name.", "10.1.1.5"},
		{"routing", "c1", "A", "nobody.", "-"},
		{"routing", "c1", "A", "example.com.", "-"},
		{"routing", "c1", "A", ".", "-"},
		// A bare name is looked for in one's own networks only.
		{"routing", "c1", "A", "db.", "-"},
		{"routing", "c1", "A", "db.back.end.", "10.2.1.1"},
		{"routing", "c3", "A", "dotted.name.contiv-net.", "10.1.1.5"},
		{"bridge", "c1", "A", "db.back.end.", "-"},
		{"bridge", "c1", "A", "contiv-c2.contiv-net.", "10.1.1.2"},
		// In both networks.
		{"bridge", "c1+c4", "A", "contiv-c1.", "10.1.1.1 10.2.1.2"},
		{"bridge", "c1+c4", "A", "db.", "10.2.1.1"},
		{"routing", "c1+c4", "A", "web.contiv-net.", "10.1.1.1 10.1.1.2"},
		{"bridge", "c1+c4", "A", "web.contiv-net.", "10.1.1.1 10.1.1.2"},
		// Another tenant's names do not exist.
		{"routing", "b1", "A", "contiv-c1.", "10.1.1.1"},
		{"routing", "b1", "AAAA", "contiv-c1.", ""},
		{"routing", "b1", "A", "contiv-c2.", "-"},
		{"routing", "c1", "A", "secret.blue-net.", "-"},
		{"routing", "b1", "A", "secret.blue-net.", "10.3.1.1"},
		// Backwards.
		{"routing", "c2", "PTR", "1.1.1.10.in-addr.arpa.", "contiv-c1.contiv-net."},
		{"routing", "c2", "PTR", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa.", "contiv-c1.contiv-net."},
		{"routing", "c2", "PTR", "1.1.2.10.in-addr.arpa.", "db.Back.End."},
		{"bridge", "c2", "PTR", "1.1.2.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "1.1.3.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "9.9.9.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "1.10.in-addr.arpa.", "-"},
		{"routing", "c2", "A", "1.1.1.10.in-addr.arpa.", ""},
	} {
		if got := ask(t, town(c.mode), c.asker, c.qtype, c.name); got != c.want {
			t.Errorf("%s, %s asks %s %s: got %q, want %q", c.mode, c.asker, c.qtype, c.name, got, c.want)
		}
	}
}

func TestNameOfAContainerThatIsGoneIsNotFound(t *testing.T) {
	t.Parallel()
	w := town("routing")
	if got := ask(t, w, "c1", "A", "contiv-c2."); got != "10.1.1.2" {
		t.Fatalf("before: %q", got)
	}
	later := w.With(model.Change{Revision: 2, Delete: []model.Ref{{Kind: model.KindEndpoint, Key: "c2"}}})
	if got := ask(t, later, "c1", "A", "contiv-c2."); got != "-" {
		t.Errorf("after: %q", got)
	}
}

func TestNamesThatNoQuestionCanHaveAreLeftOut(t *testing.T) {
	t.Parallel()
	w := worldOf("routing", endpoint("a", "default", "n", strings.Repeat("x", 64), "10.1.1.1", "", `a\b`, "", ".", "ok"))
	z := newZone(w.Endpoints, "default")
	if want := map[place][]netip.Addr{{"n", "ok"}: {netip.MustParseAddr("10.1.1.1")}}; !reflect.DeepEqual(z.names, want) {
		t.Errorf("got %v, want %v", z.names, want)
	}
	if got := ask(t, w, "a", "PTR", "1.1.1.10.in-addr.arpa."); got != "ok.n." {
		t.Errorf("PTR: %q", got)
	}
}

func TestIndexIsKeptWhileNoEndpointChanges(t *testing.T) {
	t.Parallel()
	var c zoneCache
	w := town("routing")
	first := c.of(w)
	w = w.With(model.Change{Revision: 2, Put: []model.Object{model.Alive{Node: "n1"}}})
	if c.of(w) != first {
		t.Error("a node's sign of life made a new index")
	}
	w = w.With(model.Change{Revision: 3, Put: []model.Object{endpoint("new", "default", "contiv-net", "new", "10.1.1.9", "")}})
	asker := []model.Endpoint{{Tenant: "default", Network: "contiv-net"}}
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, found := c.of(w).Answers(asker, dns.Question{Name: "new.", Qtype: dns.TypeA, Qclass: dns.ClassINET})
		if found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a new endpoint does not get into the index")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAnswersDoNotShareTheIndex(t *testing.T) {
	t.Parallel()
	w := town("bridge")
	z := ZonesOf(w)
	asker := []model.Endpoint{{Tenant: "default", Network: "contiv-net"}, {Tenant: "default", Network: "Back.End"}}
	q := dns.Question{Name: "web.", Qtype: dns.TypeA, Qclass: dns.ClassINET}
	before := slices.Clone(z.zone("default").names[place{"contiv-net", "web"}])
	for range 3 {
		if rrs, _ := z.Answers(asker, q); len(rrs) != 3 {
			t.Fatalf("%d records, want 3", len(rrs))
		}
	}
	if after := z.zone("default").names[place{"contiv-net", "web"}]; !slices.Equal(before, after) {
		t.Errorf("index was %v, is %v", before, after)
	}
}

func city(n int) model.World {
	c := model.Change{Revision: 1, Reset: true}
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		c.Put = append(c.Put, model.Endpoint{ID: fmt.Sprint(i), Tenant: "default", Network: "net", Name: fmt.Sprint("c", i), IPv4: a})
	}
	return model.World{}.With(c)
}

func BenchmarkIndexOf100kEndpoints(b *testing.B) {
	w := city(100_000)
	b.ReportAllocs()
	for b.Loop() {
		newZone(w.Endpoints, "default")
	}
}

func BenchmarkReplyAmong10kNames(b *testing.B) {
	w := city(10_000)
	asker, _ := w.Endpoints.Get("7")
	r := responder{zones: ZonesOf(w), asker: []model.Endpoint{asker}}
	m := new(dns.Msg).SetQuestion("c1234.", dns.TypeA)
	query, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.reply(query, udp) == nil {
			b.Fatal("no reply")
		}
	}
}
