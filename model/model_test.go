// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestNamesFollowTheGrammar(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "web-1", "a.b", "0", strings.Repeat("x", 64)} {
		if err := CheckName("networkName", good, 64); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", "a-", "a_b", "a:b", "a/b", "a b", "a|b", "é", ".", "a..b", strings.Repeat("x", 65)} {
		if err := CheckName("networkName", bad, 64); err == nil || !strings.Contains(err.Error(), "networkName") {
			t.Errorf("%q is allowed, or its refusal does not name the field: %v", bad, err)
		}
	}
}

func TestMACIsMadeOfTheAddress(t *testing.T) {
	t.Parallel()
	if got := MACOf(netip.MustParseAddr("10.1.2.3")).String(); got != "02:02:0a:01:02:03" {
		t.Error(got)
	}
	if got := MACOf(netip.MustParseAddr("2001:db8::a:b")).String(); got != "02:06:00:0a:00:0b" {
		t.Error(got)
	}
	for _, bad := range []string{"", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:02:0a", "zz"} {
		if _, err := ParseMAC(bad); err == nil {
			t.Errorf("%q is taken for a unicast MAC", bad)
		}
	}
}

func TestTagRangesAreChecked(t *testing.T) {
	t.Parallel()
	if l, h, err := TagRange("vlans", "10-20", MaxVLAN); l != 10 || h != 20 || err != nil {
		t.Error(l, h, err)
	}
	for _, bad := range []string{"1-5000", "0-4094", "1", "1?2", "abcd", "20-10", "", "1-2-3", "999999999-1"} {
		if _, _, err := TagRange("vlans", bad, MaxVLAN); err == nil {
			t.Errorf("%q is allowed", bad)
		}
	}
}

// Every object survives the store, and a World the way over the wire.
func TestObjectsAreDecodedAsTheyWereEncoded(t *testing.T) {
	t.Parallel()
	pool, err := ParsePool("10.1.1.10-10.1.1.20/24", "10.1.1.1", false)
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("10.1.1.10")
	objects := []Object{
		DefaultGlobal(), Tenant{Name: "blue", Number: 2},
		Network{Tenant: "blue", Name: "n", Type: NetworkData, Encap: EncapVXLAN, Tag: 7, IPv4: pool, Reserved: []netip.Addr{addr}},
		Address{Network: "blue:n", Addr: addr, Owner: "e"},
		Endpoint{ID: "e", Tenant: "blue", Network: "n", Node: "h", Port: "vvport1", IPv4: addr, MAC: MACOf(addr), Aliases: []string{"a"}, Labels: map[string]string{"k": "v"}},
		Node{Name: "h", VTEP: addr, VXLANPort: 4789}, Alive{Node: "h"}, Known{Node: "h"},
	}
	for _, o := range objects {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if !Knows(o.Kind()) {
			t.Errorf("%s is not known", o.Kind())
		}
		back, err := Decode(o.Kind(), b)
		if err != nil || !reflect.DeepEqual(back, o) {
			t.Errorf("%s: %+v comes back as %+v, %v", b, o, back, err)
		}
	}
	w := World{}.With(Change{Revision: 5, Put: objects})
	if got := (World{}).With(w.Whole()); !reflect.DeepEqual(got.Whole(), w.Whole()) || len(w.Whole().Put) != len(objects) {
		t.Errorf("a World comes back as %+v", got.Whole())
	}
}

// A table does what a map does, and older tables stay as they were.
func TestTableIsAnImmutableMap(t *testing.T) {
	t.Parallel()
	type version struct {
		table Table[Tenant]
		want  map[string]uint32
	}
	var versions []version
	table, want := Table[Tenant]{}, map[string]uint32{}
	for i := range uint32(4000) {
		next := table
		e := edit[Tenant]{t: &next}
		for range 1 + rand.IntN(8) {
			k := fmt.Sprint("k", rand.IntN(8000)) // of 4096 places
			if rand.IntN(3) == 0 {
				e.remove(k)
				delete(want, k)
			} else {
				e.put(Tenant{Name: k, Number: i})
				want[k] = i
			}
		}
		table = next
		if i%100 == 0 {
			versions = append(versions, version{table, maps.Clone(want)})
		}
	}
	for _, v := range append(versions, version{table, want}) {
		got := map[string]uint32{}
		for k, tenant := range v.table.All() {
			got[k] = tenant.Number
		}
		if !maps.Equal(got, v.want) || v.table.Len() != len(v.want) {
			t.Fatalf("table has %d objects, want %d", len(got), len(v.want))
		}
		var sorted []Tenant
		for _, k := range slices.Sorted(maps.Keys(v.want)) {
			sorted = append(sorted, Tenant{Name: k, Number: v.want[k]})
		}
		if got := slices.Collect(v.table.Sorted()); !slices.Equal(got, sorted) {
			t.Fatal("Sorted is not in the order of keys")
		}
	}
}

func TestEndpointsAreChecked(t *testing.T) {
	t.Parallel()
	good := Endpoint{ID: "e", Tenant: "default", Network: "n", Node: "h", IPv4: netip.MustParseAddr("10.1.1.1")}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Endpoint){
		"id": func(e *Endpoint) { e.ID = "" }, "tenant": func(e *Endpoint) { e.Tenant = "a/b" }, "network": func(e *Endpoint) { e.Network = "" },
		"node": func(e *Endpoint) { e.Node = "" }, "v4": func(e *Endpoint) { e.IPv4 = netip.MustParseAddr("::1") },
		"v6": func(e *Endpoint) { e.IPv6 = netip.MustParseAddr("10.1.1.1") },
	} {
		e := good
		spoil(&e)
		if e.Check() == nil {
			t.Errorf("an endpoint with a bad %s is allowed", name)
		}
	}
}

func BenchmarkWorldWithOneEndpointMore(b *testing.B) {
	w := World{}
	var c Change
	for i := range 100_000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		id := fmt.Sprintf("endpoint-%06d", i)
		c.Put = append(c.Put, Endpoint{ID: id, IPv4: a}, Address{Network: "default:n", Addr: a, Owner: id})
	}
	w = w.With(c)
	for i := 0; b.Loop(); i++ {
		w = w.With(Change{Revision: int64(i), Put: []Object{Endpoint{ID: fmt.Sprintf("more-%d", i%1000)}}})
	}
}
