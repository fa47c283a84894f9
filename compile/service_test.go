// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

func labelled(e model.Endpoint, labels ...string) model.Endpoint {
	e.Labels = map[string]string{}
	for _, l := range labels {
		k, v, _ := strings.Cut(l, "=")
		e.Labels[k] = v
	}
	return e
}

// shop is twoTenants with a service of default in net: e1 and e4 provide it, e4 from another network.
func shop(t *testing.T) []model.Object {
	out := []model.Object{model.Service{
		Tenant: "default", Name: "shop", Network: "net", Selectors: map[string]string{"app": "shop", "tier": "front"}, IPv4: netip.MustParseAddr("10.1.2.200"),
		Ports: []model.ServicePort{{Port: 80, Target: 8080, Protocol: "TCP"}, {Port: 9, Target: 9, Protocol: "SCTP"}},
	}}
	for _, o := range twoTenants(t) {
		if e, ok := o.(model.Endpoint); ok {
			switch e.ID {
			case "e1", "e3", "e4": // e3 is another tenant's
				o = labelled(e, "app=shop", "tier=front", "more=1")
			case "e2":
				o = labelled(e, "app=shop")
			}
		}
		out = append(out, o)
	}
	return out
}

func worldOf(objects ...model.Object) model.World {
	return model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects})
}

func providerIDs(t Tables) (out []string) {
	for _, p := range t.Providers {
		out = append(out, p.Endpoint)
	}
	slices.Sort(out)
	return out
}

func TestServiceHasTheTenantsEndpointsThatCarryAllItsSelectors(t *testing.T) {
	tables := For(worldOf(shop(t)...), "n2")
	if got := providerIDs(tables); !slices.Equal(got, []string{"e1", "e4"}) {
		t.Errorf("providers are %v, want e1 and e4", got)
	}
	if len(tables.Services) != 2 || tables.Services[0].Protocol != 6 || tables.Services[1].Protocol != 132 || tables.Services[0].Target != 8080 {
		t.Errorf("services are %v", tables.Services)
	}
	for _, e := range tables.Endpoints {
		if virtual, provides := e.Addr.String() == "10.1.2.200", e.Tenant == 1 && (e.Addr.String() == "10.1.2.1" || e.Addr.String() == "10.1.9.2"); e.Virtual != virtual || e.Provides != provides {
			t.Errorf("%s", e)
		}
	}
}

func TestServiceDoesNotDependOnTheOrderOfChanges(t *testing.T) {
	objects := shop(t)
	want := For(worldOf(objects...), "n1")
	for range 20 {
		rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		got := For(worldOf(objects...), "n1")
		if got.String() != want.String() || !slices.Equal(got.Services[0].Slots, want.Services[0].Slots) {
			t.Fatalf("order %v: got:\n%s\nwant:\n%s", objects, got, want)
		}
	}
}

func TestProviderThatFailsItsCheckOrStopsIsInNoSlotAndGoesOn(t *testing.T) {
	for _, ail := range []func(*model.Endpoint){
		func(e *model.Endpoint) { e.Unhealthy = []string{"default:shop"} },
		func(e *model.Endpoint) { e.Stopping = true },
	} {
		objects := shop(t)
		for i, o := range objects {
			switch o := o.(type) {
			case model.Endpoint:
				if o.ID == "e1" {
					ail(&o)
				}
				objects[i] = o
			case model.Service:
				o.Health = "tcp"
				objects[i] = o
			}
		}
		onlyOtherIsChosen(t, objects)
	}
}

func onlyOtherIsChosen(t *testing.T, objects []model.Object) {
	t.Helper()
	tables := For(worldOf(objects...), "n1")
	if got := providerIDs(tables); !slices.Equal(got, []string{"e1", "e4"}) {
		t.Errorf("providers are %v", got)
	}
	healthy := tables.Providers[slices.IndexFunc(tables.Providers, func(p Provider) bool { return p.Endpoint == "e4" })].Number
	for _, n := range tables.Services[0].Slots {
		if n != healthy {
			t.Fatalf("slot of %08x, want %08x alone", n, healthy)
		}
	}
}

func TestProvidersOnNodesOfWhichNothingIsHeardAreChosenLast(t *testing.T) {
	objects := shop(t)
	chosen := func(tables Tables) []string {
		var out []string
		for _, p := range tables.Providers {
			if slices.Contains(tables.Services[0].Slots, p.Number) {
				out = append(out, p.Endpoint)
			}
		}
		slices.Sort(out)
		return out
	}
	for i, o := range objects {
		if e, ok := o.(model.Endpoint); ok && e.ID == "e4" {
			e.Node = "n2"
			objects[i] = e
		}
	}
	var m Memo
	w := worldOf(objects...)
	if got := chosen(m.For(w, "n2")); !slices.Equal(got, []string{"e1", "e4"}) {
		t.Errorf("nothing is heard of any node: %v are chosen", got)
	}
	w = w.With(model.Change{Revision: 8, Put: []model.Object{model.Alive{Node: "n2"}}})
	if got := chosen(m.For(w, "n2")); !slices.Equal(got, []string{"e4"}) {
		t.Errorf("the other's node is heard: %v are chosen", got)
	}
	w = w.With(model.Change{Revision: 9, Put: []model.Object{model.Alive{Node: "n1"}}})
	if got := chosen(m.For(w, "n2")); !slices.Equal(got, []string{"e1", "e4"}) {
		t.Errorf("both nodes are heard: %v are chosen", got)
	}
}

func TestServiceOfAnIsolatedNetworkHasItsOwnProvidersAlone(t *testing.T) {
	g := model.DefaultGlobal()
	g.ForwardMode = model.ForwardBridge
	if got := providerIDs(For(worldOf(append(shop(t), g)...), "n1")); !slices.Equal(got, []string{"e1"}) {
		t.Errorf("providers are %v, want e1", got)
	}
}

func TestServiceOfAVLANHasItsOwnProvidersAloneUnlessItIsRouted(t *testing.T) {
	var objects []model.Object
	for _, o := range shop(t) {
		if n, ok := o.(model.Network); ok {
			n.Encap = model.EncapVLAN
			o = n
		}
		objects = append(objects, o)
	}
	for _, row := range []struct {
		more      []model.Object
		network   uint32
		providers []string
	}{{nil, VLAN | 1, []string{"e1"}}, {[]model.Object{model.BGP{Node: "n2"}}, Routed | 1, []string{"e1", "e4"}}} {
		tables := For(worldOf(append(row.more, objects...)...), "n1")
		at := slices.IndexFunc(tables.Endpoints, func(e Endpoint) bool { return e.Virtual })
		if got := providerIDs(tables); !slices.Equal(got, row.providers) || at < 0 || tables.Endpoints[at].Network != row.network {
			t.Errorf("providers are %v, want %v in network %#x; addresses are %v", got, row.providers, row.network, tables.Endpoints)
		}
	}
}

func TestWhatAServiceCannotCarryIsNoted(t *testing.T) {
	objects := shop(t)
	s := objects[0].(model.Service)
	s.Ports[1].Target = 10 // of SCTP
	taken, lost := s, s
	taken.Name, taken.IPv4 = "taken", netip.MustParseAddr("10.1.2.1")
	lost.Name, lost.Network = "lost", "gone"
	tables := For(worldOf(append(objects, s, taken, lost)...), "n1")
	if len(tables.Services) != 1 || len(tables.Notes) != 3 {
		t.Errorf("services %v, notes %v", tables.Services, tables.Notes)
	}
}

func TestSlotsAreSharedEvenlyAndMoveLittle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 2 + r.IntN(40)
		providers := make([]uint32, n)
		for i := range providers {
			providers[i] = hash32(fmt.Sprintf("default 10.%d.%d.%d", r.IntN(4), r.IntN(256), i))
		}
		slices.Sort(providers)
		before := maglev(providers)
		has := map[uint32]int{}
		for _, p := range before {
			has[p]++
		}
		for _, p := range providers {
			if has[p] < SlotCount/n || has[p] > SlotCount/n+1 {
				t.Fatalf("one of %d providers has %d slots", n, has[p])
			}
		}
		leaver := providers[r.IntN(n)]
		after := maglev(slices.DeleteFunc(slices.Clone(providers), func(p uint32) bool { return p == leaver }))
		moved := 0
		for i, p := range before {
			if p != leaver && after[i] != p {
				moved++
			}
		}
		if moved > SlotCount/8 {
			t.Errorf("when one of %d leaves, %d slots of others move", n, moved)
		}
	}
}

func TestChoiceIsOfTheServicesProvidersAndAffinityMakesItTheClients(t *testing.T) {
	objects := shop(t)
	for _, affinity := range []bool{false, true} {
		s := objects[0].(model.Service)
		s.Affinity = affinity
		tables := For(worldOf(append(objects[1:], s)...), "n1")
		met := map[string]int{}
		for port := range uint16(200) {
			_, p, ok := tables.Choose(1, 6, netip.AddrPortFrom(netip.MustParseAddr("10.1.2.2"), 1000+port), netip.MustParseAddrPort("10.1.2.200:80"))
			if !ok {
				t.Fatal("nobody is chosen")
			}
			met[p.Endpoint]++
		}
		if want := map[bool]int{false: 2, true: 1}[affinity]; len(met) != want {
			t.Errorf("affinity %t: 200 connections met %v", affinity, met)
		}
	}
	if _, _, ok := For(worldOf(objects...), "n1").Choose(2, 6, netip.MustParseAddrPort("10.1.2.2:1"), netip.MustParseAddrPort("10.1.2.200:80")); ok {
		t.Error("another tenant has the service")
	}
}

func TestMemoKeepsSlotsAndGivesTheSameTables(t *testing.T) {
	var m Memo
	w := worldOf(shop(t)...)
	first := m.For(w, "n1")
	e := endpoint("e9", "default", "net", "n2", "vvport9", "10.1.2.9")
	w = w.With(model.Change{Revision: 8, Put: []model.Object{e}})
	second := m.For(w, "n1")
	if &first.Services[0].Slots[0] != &second.Services[0].Slots[0] {
		t.Error("slots of the same providers are made anew")
	}
	if got, want := second.String(), For(w, "n1").String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	w = w.With(model.Change{Revision: 9, Put: []model.Object{labelled(e, "app=shop", "tier=front")}})
	if got := providerIDs(m.For(w, "n1")); !slices.Equal(got, []string{"e1", "e4", "e9"}) {
		t.Errorf("providers are %v", got)
	}
}

// manyServices is 10,000 services of 3 providers each, of 1,000 endpoints.
func manyServices(b *testing.B) model.World {
	subnet, err := model.ParsePool("10.0.0.0/8", "", false)
	if err != nil {
		b.Fatal(err)
	}
	put := []model.Object{
		model.Tenant{Name: "default", Number: 1}, node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		model.Network{Tenant: "default", Name: "net", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1, IPv4: subnet},
	}
	for i := range 10000 {
		put = append(put, model.Service{
			Tenant: "default", Name: fmt.Sprint("s", i), Network: "net", Selectors: map[string]string{fmt.Sprint("s", i): "1"},
			Ports: []model.ServicePort{{Port: 80, Target: 8080, Protocol: "TCP"}}, IPv4: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}),
		})
	}
	for i := range 1000 {
		e := endpoint(fmt.Sprint("e", i), "default", "net", "n"+fmt.Sprint(1+i%2), fmt.Sprint("vvport", i), netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String())
		e.Labels = map[string]string{}
		for k := range 30 {
			e.Labels[fmt.Sprint("s", (i*10+k*337)%10000)] = "1"
		}
		put = append(put, e)
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
}

func BenchmarkServices(b *testing.B) {
	w := manyServices(b)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			For(w, "n1")
		}
	})
	b.Run("again", func(b *testing.B) {
		var m Memo
		m.For(w, "n1")
		for i := 0; b.Loop(); i++ {
			w = w.With(model.Change{Revision: int64(i + 2), Put: []model.Object{endpoint("x", "default", "net", "n2", "vvport9", "10.200.0.1")}})
			m.For(w, "n1")
		}
	})
}
