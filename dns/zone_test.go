// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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

func worldOf(forward string, objects ...model.Object) model.World {
	g := model.DefaultGlobal()
	g.ForwardMode = forward
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: append([]model.Object{g}, objects...)})
}

// next is w with other objects and without the endpoints of these ids.
func next(w model.World, gone []string, objects ...model.Object) model.World {
	c := model.Change{Revision: w.Revision + 1, Put: objects}
	for _, id := range gone {
		c.Delete = append(c.Delete, model.Ref{Kind: model.KindEndpoint, Key: id})
	}
	return w.With(c)
}

func grouped(e model.Endpoint, group string) model.Endpoint {
	e.Group = group
	return e
}

func service(tenant, network, name, v4, v6 string, ports ...string) model.Service {
	s := model.Service{Tenant: tenant, Network: network, Name: name, Selectors: map[string]string{"app": "x"}}
	e := endpoint("", "", "", "", v4, v6)
	s.IPv4, s.IPv6 = e.IPv4, e.IPv6
	for _, text := range ports {
		p, err := model.ParseServicePort(text)
		if err != nil {
			panic(err)
		}
		s.Ports = append(s.Ports, p)
	}
	return s
}

// town has two tenants with equal subnets and equal names.
func town(forward string) model.World {
	return worldOf(forward,
		endpoint("c1", "default", "contiv-net", "contiv-c1", "10.1.1.1", "2001:db8:1::1", "web", "contiv-c1", "0123456789ab"),
		endpoint("c2", "default", "contiv-net", "contiv-c2", "10.1.1.2", "", "Web"),
		endpoint("c3", "default", "Back.End", "db", "10.2.1.1", "", "web"),
		endpoint("c4", "default", "Back.End", "contiv-c1", "10.2.1.2", ""),
		endpoint("c5", "default", "contiv-net", "dotted.name", "10.1.1.5", ""),
		grouped(endpoint("g1", "default", "contiv-net", "app-1", "10.1.1.11", "2001:db8:1::11"), "App"),
		grouped(endpoint("g2", "default", "contiv-net", "app-2", "10.1.1.12", "2001:db8:1::12"), "App"),
		grouped(endpoint("g3", "default", "contiv-net", "vip", "10.1.1.13", ""), "vip"),
		endpoint("c6", "default", "contiv-net", "app", "10.1.1.6", ""),
		endpoint("c7", "default", "Back.End", "vip", "10.2.1.7", ""),
		model.Group{Tenant: "default", Network: "contiv-net", Name: "App"},
		model.Group{Tenant: "default", Network: "contiv-net", Name: "empty"},
		model.Group{Tenant: "default", Network: "contiv-net", Name: "vip"},
		service("default", "contiv-net", "VIP", "10.1.1.100", "2001:db8:1::100", "80:8080:TCP", "53:53:UDP"),
		endpoint("b1", "blue", "contiv-net", "contiv-c1", "10.1.1.1", ""),
		endpoint("b2", "blue", "blue-net", "secret", "10.3.1.1", ""),
		service("blue", "blue-net", "hidden", "10.3.1.100", "", "80:8080:TCP"),
	)
}

// resolve asks an index, with the first record first.
func resolve(x *index, asker []string, qtype, name string, turn uint32) (r records, found bool) {
	q := question{
		Question: dns.Question{Name: name, Qtype: dns.StringToType[qtype], Qclass: dns.ClassINET},
		name:     canonical(name), turn: turn, most: 1000,
	}
	_, backwards := reverse(q.name)
	x.ask(asker, backwards, func(v view) { r, found = v.answer(q) })
	return r, found
}

func steady(w model.World) *index { return newIndex(func() model.World { return w }, ClusterDomain) }

// ask gives the answers as text, without name and TTL, sorted; "-" for a name that is not found.
func ask(t *testing.T, x *index, asker, qtype, name string) string {
	t.Helper()
	r, found := resolve(x, strings.Split(asker, "+"), qtype, name, 0)
	if !found {
		if len(r.answer)+len(r.extra) > 0 {
			t.Errorf("%s %s: records for a name that is not found", qtype, name)
		}
		return "-"
	}
	var out []string
	for _, rr := range r.answer {
		if rr.Header().Name != name || rr.Header().Ttl != TTL {
			t.Errorf("%s %s: answer is for %s with TTL %d", qtype, name, rr.Header().Name, rr.Header().Ttl)
		}
		f := strings.Fields(rr.String())[4:]
		out = append(out, strings.Join(f, "/"))
	}
	slices.Sort(out)
	for _, rr := range r.extra {
		f := strings.Fields(rr.String())
		out = append(out, "+"+f[0]+f[4])
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
		{"routing", "c2", "A", "0123456789AB.", "10.1.1.1"}, // Docker's short id
		// Groups: all members, before a container of that name, in all of the tenant.
		{"routing", "c1", "A", "app.", "10.1.1.11 10.1.1.12"},
		{"routing", "c1", "AAAA", "APP.contiv-net.", "2001:db8:1::11 2001:db8:1::12"},
		{"bridge", "c1", "A", "app.", "10.1.1.11 10.1.1.12"},
		{"routing", "c3", "A", "app.", "10.1.1.11 10.1.1.12"},
		{"routing", "c3", "A", "app.contiv-net.", "10.1.1.11 10.1.1.12"},
		{"bridge", "c3", "A", "app.", "-"},
		{"bridge", "c3", "A", "app.contiv-net.", "-"},
		{"routing", "c1", "A", "app-2.", "10.1.1.12"},
		{"routing", "c1", "A", "empty.", ""},
		{"routing", "b1", "A", "empty.", "-"},
		{"routing", "b1", "A", "app.contiv-net.", "-"},
		// Services: before groups, in all of the tenant, but after what the asker's own networks have.
		{"routing", "c1", "A", "vip.", "10.1.1.100"},
		{"routing", "c1", "ANY", "vip.contiv-net.", "10.1.1.100 2001:db8:1::100"},
		{"routing", "c3", "A", "vip.", "10.2.1.7"},
		{"routing", "c3", "A", "vip.contiv-net.", "10.1.1.100"},
		{"bridge", "c3", "A", "vip.contiv-net.", "-"},
		{"routing", "b1", "A", "vip.contiv-net.", "-"},
		{"routing", "b1", "A", "hidden.", "10.3.1.100"},
		{"routing", "c1", "A", "hidden.", "-"},
		{"routing", "c1", "SRV", "_80._tcp.vip.", "0/0/80/VIP.contiv-net. +VIP.contiv-net.10.1.1.100 +VIP.contiv-net.2001:db8:1::100"},
		{"routing", "c1", "SRV", "_53._UDP.vip.contiv-net.", "0/0/53/VIP.contiv-net. +VIP.contiv-net.10.1.1.100 +VIP.contiv-net.2001:db8:1::100"},
		{"routing", "c1", "SRV", "vip.", "0/0/53/VIP.contiv-net. 0/0/80/VIP.contiv-net. +VIP.contiv-net.10.1.1.100 +VIP.contiv-net.2001:db8:1::100"},
		{"routing", "c1", "SRV", "_80._udp.vip.", ""},
		{"routing", "c1", "SRV", "_80._tcp.app.", ""}, // a group has no ports
		{"routing", "c1", "SRV", "_80._tcp.nobody.", "-"},
		{"routing", "c1", "SRV", "_http._tcp.example.com.", "-"},
		{"routing", "b1", "SRV", "_80._tcp.vip.contiv-net.", "-"},
		// Backwards.
		{"routing", "c1", "PTR", "100.1.1.10.in-addr.arpa.", "VIP.contiv-net."},
		{"routing", "c2", "PTR", "1.1.1.10.in-addr.arpa.", "contiv-c1.contiv-net."},
		{"routing", "c2", "PTR", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa.", "contiv-c1.contiv-net."},
		{"routing", "c2", "PTR", "1.1.2.10.in-addr.arpa.", "db.Back.End."},
		{"bridge", "c2", "PTR", "1.1.2.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "1.1.3.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "9.9.9.10.in-addr.arpa.", "-"},
		{"routing", "c2", "PTR", "1.10.in-addr.arpa.", "-"},
		{"routing", "c2", "A", "1.1.1.10.in-addr.arpa.", ""},
	} {
		if got := ask(t, steady(town(c.mode)), c.asker, c.qtype, c.name); got != c.want {
			t.Errorf("%s, %s asks %s %s: got %q, want %q", c.mode, c.asker, c.qtype, c.name, got, c.want)
		}
	}
}

func TestNamesThatNoQuestionCanHaveAreLeftOut(t *testing.T) {
	t.Parallel()
	x := steady(worldOf("routing", endpoint("a", "default", "n", strings.Repeat("x", 64), "10.1.1.1", "", `a\b`, "", ".", "ok")))
	if got := ask(t, x, "a", "PTR", "1.1.1.10.in-addr.arpa."); got != "ok.n." {
		t.Errorf("PTR: %q", got)
	}
	want := map[string][]set{"ok": {{network: "n", rank: ofContainer, objects: 1, addrs: []netip.Addr{netip.MustParseAddr("10.1.1.1")}}}}
	if got := x.zones["default"].names; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAddressesTakeTurnsAndAreAsManyAsAreOfUse(t *testing.T) {
	t.Parallel()
	x := steady(town("routing"))
	first := map[string]int{}
	for turn := range uint32(4) { // each of two has an IPv6 address too
		r, _ := resolve(x, []string{"c1"}, "A", "app.", turn)
		if len(r.answer) != 2 {
			t.Fatalf("turn %d: %v", turn, r.answer)
		}
		first[r.answer[0].(*dns.A).A.String()]++
	}
	if len(first) != 2 || first["10.1.1.11"] != 2 {
		t.Errorf("first in four turns: %v", first)
	}
	q := question{Question: dns.Question{Name: "app.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, name: "app", most: 1}
	x.ask([]string{"c1"}, false, func(v view) {
		if r, _ := v.answer(q); len(r.answer) != 1 {
			t.Errorf("want one of two: %v", r.answer)
		}
	})
}

// An unhealthy container leaves the answers of names that others have too. Where all are, or the name is its own, it stays: a name
// without an address would say that there is nobody.
func TestUnhealthyAreGivenOnlyWhereAllAre(t *testing.T) {
	t.Parallel()
	member := func(id, addr string, ailing bool) model.Endpoint {
		e := endpoint(id, "default", "n", id, addr, "", "all")
		e.Group = "web"
		if ailing {
			e.Unhealthy = []string{"default:shop"}
		}
		return e
	}
	w := worldOf("routing", member("a", "10.1.1.1", false), member("b", "10.1.1.2", false), member("c", "10.1.1.3", false))
	x := newIndex(func() model.World { return w }, ClusterDomain)
	change := func(objects ...model.Object) { w = w.With(model.Change{Revision: w.Revision + 1, Put: objects}) }
	asks := func(name, want string) {
		t.Helper()
		if got := ask(t, x, "a", "A", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	asks("web.", "10.1.1.1 10.1.1.2 10.1.1.3")
	change(member("b", "10.1.1.2", true))
	asks("web.", "10.1.1.1 10.1.1.3")
	asks("all.", "10.1.1.1 10.1.1.3")
	asks("b.", "10.1.1.2")
	stopping := member("a", "10.1.1.1", false)
	stopping.Stopping = true
	change(stopping)
	asks("web.", "10.1.1.3")
	change(member("c", "10.1.1.3", true))
	asks("web.", "10.1.1.1 10.1.1.2 10.1.1.3")
	change(member("b", "10.1.1.2", false))
	asks("web.", "10.1.1.2")
	w = w.With(model.Change{Revision: w.Revision + 1, Delete: []model.Ref{{Kind: model.KindEndpoint, Key: "b"}, {Kind: model.KindEndpoint, Key: "c"}}})
	asks("web.", "10.1.1.1")
}

// simplify makes a zone comparable: its lists have no order.
func simplify(z *zone) map[string]string {
	out := map[string]string{}
	for name, sets := range z.names {
		var all []string
		for _, s := range sets {
			slices.SortFunc(s.addrs, netip.Addr.Compare)
			slices.SortFunc(s.ailing, netip.Addr.Compare)
			all = append(all, fmt.Sprint(s.network, s.rank, s.objects, s.addrs, s.ailing))
		}
		slices.Sort(all)
		out[name] = strings.Join(all, " ")
	}
	for a, owners := range z.owners {
		var all []string
		for _, o := range owners {
			all = append(all, o.name)
		}
		slices.Sort(all)
		out[a.String()] = strings.Join(all, " ")
	}
	for name, list := range z.services {
		slices.SortFunc(list, func(a, b model.Service) int { return strings.Compare(a.Name, b.Name) })
		out["service "+name] = fmt.Sprint(list)
	}
	return out
}

// However a World came about, its names are those of an index that is made of it alone.
func TestIndexThatFollowedIsAsOneThatIsNew(t *testing.T) {
	t.Parallel()
	w := town("routing")
	x := newIndex(func() model.World { return w }, ClusterDomain)
	ask(t, x, "c1", "PTR", "1.1.1.10.in-addr.arpa.")
	ask(t, x, "b1", "A", "secret.")
	pick := func(of ...string) string { return of[rand.IntN(len(of))] }
	some := func() model.Object {
		tenant, network, name := pick("default", "default", "blue"), pick("a", "b"), pick("x", "X", "y", "z", "w", "")
		v4, v6 := fmt.Sprint("10.0.0.", rand.IntN(20)), pick("", "2001:db8::1", "2001:db8::2")
		switch rand.IntN(5) {
		case 0:
			return model.Group{Tenant: tenant, Network: network, Name: pick("x", "web", "Web")}
		case 1:
			return service(tenant, network, pick("x", "web", "Web"), v4, v6, "80:80:TCP")
		}
		e := endpoint(fmt.Sprint("e", rand.IntN(30)), tenant, network, name, v4, v6, pick("x", "y", "web"), pick("x", "y", "Y"))
		e.Group = pick("", "web", "x")
		e.Stopping = rand.IntN(3) == 0
		return e
	}
	for i := range 2000 {
		c := model.Change{Revision: w.Revision + 1, Reset: i == 1000}
		for range rand.IntN(4) {
			o := some()
			if rand.IntN(3) == 0 {
				c.Delete = append(c.Delete, model.RefOf(o))
			} else {
				c.Put = append(c.Put, o)
			}
		}
		if c.Reset {
			c.Put = w.Whole().Put
		}
		w = w.With(c)
		// Asked at each World, or a few later.
		if rand.IntN(3) > 0 {
			continue
		}
		x.refresh()
		for _, tenant := range []string{"default", "blue"} {
			old := x.zones[tenant]
			if old == nil { // thrown away after the reset
				x.prepare(tenant, true)
				continue
			}
			fresh := newIndex(func() model.World { return w }, ClusterDomain)
			fresh.prepare(tenant, old.owners != nil)
			if got, want := simplify(old), simplify(fresh.zones[tenant]); !maps.Equal(got, want) {
				t.Fatalf("step %d, tenant %s:\ngot  %v\nwant %v", i, tenant, got, want)
			}
		}
	}
}

func TestNamesAreThoseOfTheNewestWorld(t *testing.T) {
	t.Parallel()
	w := town("routing")
	x := newIndex(func() model.World { return w }, ClusterDomain)
	for _, c := range []struct {
		gone []string
		put  []model.Object
		want string
	}{
		{nil, nil, "10.1.1.2"},
		{[]string{"c2"}, nil, "-"},
		{nil, []model.Object{endpoint("new", "default", "contiv-net", "contiv-c2", "10.1.1.9", "")}, "10.1.1.9"},
		{nil, []model.Object{endpoint("new", "default", "contiv-net", "renamed", "10.1.1.9", "")}, "-"},
		{nil, []model.Object{endpoint("new", "blue", "contiv-net", "contiv-c2", "10.1.1.9", "")}, "-"},
	} {
		w = next(w, c.gone, c.put...)
		if got := ask(t, x, "c1", "A", "contiv-c2."); got != c.want {
			t.Errorf("after %v, %v: %q, want %q", c.gone, c.put, got, c.want)
		}
	}
}

func TestQuestionsAndChangesAtOnceAgree(t *testing.T) {
	t.Parallel()
	var world atomic.Pointer[model.World]
	w := town("routing")
	world.Store(&w)
	x := newIndex(func() model.World { return *world.Load() }, ClusterDomain)
	done := make(chan struct{})
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				before := world.Load().Revision
				r, found := resolve(x, []string{"c1"}, "A", "counter.", 0)
				after := world.Load().Revision
				if !found {
					if before > 1 {
						t.Error("the name was lost")
					}
					continue
				}
				if at := int64(r.answer[0].(*dns.A).A.To4()[3]); at < before || at > after {
					t.Errorf("answer of World %d between %d and %d", at, before, after)
				}
			}
		})
	}
	for range 200 {
		w = next(w, nil, endpoint("counter", "default", "contiv-net", "counter", fmt.Sprint("10.9.9.", w.Revision+1), ""))
		now := w
		world.Store(&now)
	}
	close(done)
	running.Wait()
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
		steady(w).prepare("default", false)
	}
}

func BenchmarkAnswerAfterOneOf100kEndpointsChanged(b *testing.B) {
	w := city(100_000)
	x := newIndex(func() model.World { return w }, ClusterDomain)
	resolve(x, []string{"7"}, "A", "c1.", 0)
	other := next(w, nil, model.Endpoint{ID: "8", Tenant: "default", Network: "net", Name: "moved", IPv4: netip.MustParseAddr("10.9.9.9")})
	b.ReportAllocs()
	for b.Loop() {
		w, other = other, w
		if _, found := resolve(x, []string{"7"}, "A", "c1.", 0); !found {
			b.Fatal("not found")
		}
	}
}

func BenchmarkReplyAmong10kNames(b *testing.B) {
	r := responder{names: steady(city(10_000)), asker: []string{"7"}}
	m := new(dns.Msg).SetQuestion("c1234.", dns.TypeA)
	query, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.says(query, udp) == nil {
			b.Fatal("no reply")
		}
	}
}
