// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

func exampleTables() compile.Tables {
	a := netip.MustParseAddr
	return compile.Tables{
		Revision: 7, Node: "n1",
		Networks: []compile.Network{{Number: 1, Tenant: 1}, {Number: 2, Tenant: 2, Bridged: true}},
		Peers:    []compile.Peer{{Name: "n2", VTEP: a("192.168.2.11")}},
		Ports: []compile.Port{{
			Name: "vvport1", Endpoint: "e1", Tenant: 1, Network: 1, IPv4: a("10.1.1.1"), IPv6: a("fd01::a"), MAC: model.MACOf(a("10.1.1.1")),
			Gateway4: a("10.1.1.254"), Gateway6: a("fd01::1"), Routes: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")},
		}, {Name: "vvport2", Endpoint: "e2", Tenant: 2, Network: 2, IPv4: a("10.1.1.1"), MAC: model.MACOf(a("10.1.1.1")), Bridged: true}},
		Endpoints: []compile.Endpoint{
			{Tenant: 1, Addr: a("10.1.1.1"), Network: 1, MAC: model.MACOf(a("10.1.1.1")), Port: "vvport1"},
			{Tenant: 1, Addr: a("10.1.1.2"), Network: 1, MAC: model.MACOf(a("10.1.1.2")), VTEP: a("192.168.2.11")},
			{Tenant: 1, Addr: a("fd01::a"), Network: 1, MAC: model.MACOf(a("10.1.1.1")), Port: "vvport1"},
			{Tenant: 2, Addr: a("10.1.1.1"), Network: 2, MAC: model.MACOf(a("10.1.1.1")), Port: "vvport2"},
		},
	}
}

func exampleRows(t compile.Tables) rows {
	return encode(t, map[string]uint32{"vvport1": 17, "vvport2": 18},
		map[netip.Addr]contivPeer{netip.MustParseAddr("192.168.2.11"): {Ifindex: 2, NextHop: netip.MustParseAddr("192.168.2.11").As16()}})
}

func TestTablesSurviveTheKernelsForm(t *testing.T) {
	t.Parallel()
	want := exampleTables()
	got := decode(exampleRows(want), func(i uint32) (string, bool) {
		return map[uint32]string{17: "vvport1", 18: "vvport2"}[i], i == 17 || i == 18
	})
	if d := Differences(want, got); len(d) != 0 {
		t.Errorf("differences:\n%s", strings.Join(d, "\n"))
	}
}

func TestEqualAddressesOfTwoTenantsHaveTheirOwnKeys(t *testing.T) {
	t.Parallel()
	r := exampleRows(exampleTables())
	at := func(tenant uint32, address string) contivEndpoint {
		for _, e := range r.endpoints {
			if e.key == (contivEndpointKey{Tenant: tenant, Address: netip.MustParseAddr(address).As16()}) {
				return e.value
			}
		}
		t.Fatalf("nobody of tenant %d is at %s", tenant, address)
		return contivEndpoint{}
	}
	red, blue := at(1, "10.1.1.1"), at(2, "10.1.1.1")
	if red.Ifindex != 17 || blue.Ifindex != 18 {
		t.Errorf("red is at %d and blue at %d, want 17 and 18", red.Ifindex, blue.Ifindex)
	}
	if remote := at(1, "10.1.1.2"); remote.Ifindex != 0 || remote.Vtep != netip.MustParseAddr("192.168.2.11").As16() {
		t.Errorf("the endpoint of another node is %+v", remote)
	}
}

func TestWhatHasNoDeviceIsLeftOut(t *testing.T) {
	t.Parallel()
	tables := exampleTables()
	r := encode(tables, map[string]uint32{"vvport2": 18}, nil)
	if len(r.ports) != 1 || len(r.endpoints) != 2 || len(r.peers) != 1 {
		t.Errorf("got %d ports, %d endpoints and %d peers, want 1, 2 and 1", len(r.ports), len(r.endpoints), len(r.peers))
	}
}

func TestDifferencesNameWhatLacksWhatIsTooMuchAndWhatDiffers(t *testing.T) {
	t.Parallel()
	want, held := exampleTables(), exampleTables()
	held.Networks[1].Bridged = false
	held.Peers = nil
	held.Endpoints = append(slices.Clone(held.Endpoints), compile.Endpoint{Tenant: 9, Addr: netip.MustParseAddr("10.9.9.9"), Port: "vvport9"})
	held.Ports[0].Endpoint, held.Ports[0].Routes = "", nil // not in the kernel, so no difference
	got := Differences(want, held)
	lines := []string{
		"the kernel holds endpoint 9/10.9.9.9: network 0, 00:00:00:00:00:00, port vvport9, which should not be",
		"the kernel holds network 2: tenant 2, which should be network 2: tenant 2, bridged",
		"the kernel lacks peer 192.168.2.11: ",
	}
	if !slices.Equal(got, lines) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

func TestOnlyReplacedAndRemovedRowsInvalidateDecisions(t *testing.T) {
	t.Parallel()
	held := map[int]string{1: "a", 2: "b"}
	for name, x := range map[string]struct {
		want    map[int]string
		put     int
		gone    int
		changed bool
	}{
		"same":     {map[int]string{1: "a", 2: "b"}, 0, 0, false},
		"added":    {map[int]string{1: "a", 2: "b", 3: "c"}, 1, 0, false},
		"replaced": {map[int]string{1: "a", 2: "c"}, 1, 0, true},
		"removed":  {map[int]string{1: "a"}, 0, 1, true},
	} {
		for _, d := range []difference[int, string]{
			differenceOf(held, x.want), differenceOfTables(tableOf(held, cmp.Compare), tableOf(x.want, cmp.Compare), cmp.Compare[int]),
		} {
			if len(d.keys) != x.put || len(d.values) != x.put || len(d.gone) != x.gone || d.changed != x.changed {
				t.Errorf("%s: %+v", name, d)
			}
		}
	}
}

func tableOf[K, V comparable](rows map[K]V, compare func(a, b K) int) table[K, V] {
	var out table[K, V]
	for k, v := range rows {
		out = append(out, row[K, V]{k, v})
	}
	return out.sorted(compare)
}

// Rows in order and rows in maps come to the same difference.
func TestDifferencesOfTablesAreThoseOfMaps(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	some := func() map[int]string {
		out := map[int]string{}
		for range random.IntN(12) {
			out[random.IntN(12)] = string(rune('a' + random.IntN(3)))
		}
		return out
	}
	for range 2000 {
		held, want := some(), some()
		one, other := differenceOf(held, want), differenceOfTables(tableOf(held, cmp.Compare), tableOf(want, cmp.Compare), cmp.Compare[int])
		put := func(d difference[int, string]) map[int]string {
			out := maps.Clone(held)
			for _, k := range d.gone {
				delete(out, k)
			}
			for i, k := range d.keys {
				out[k] = d.values[i]
			}
			return out
		}
		if !maps.Equal(put(other), want) || len(other.keys) != len(one.keys) || len(other.gone) != len(one.gone) || other.changed != one.changed {
			t.Fatalf("from %v to %v: %+v, of maps %+v", held, want, other, one)
		}
	}
}

// Or what begins in between would find no service.
func TestRowsOfNetworksAreWrittenBeforeWhatSendsToThem(t *testing.T) {
	t.Parallel()
	tables := compile.Tables{Networks: []compile.Network{{Number: 3, Tenant: 1}, {Number: 4, Tenant: 1}}}
	for port := range uint16(100) {
		s := compile.Service{Tenant: 1, Addr: netip.MustParseAddr("10.96.0.7"), Protocol: unix.IPPROTO_TCP, Port: port}
		tables.Services = append(tables.Services, s)
		for s.Network, s.Number = 3, 7; s.Network < 5; s.Network++ {
			tables.Services = append(tables.Services, s)
		}
	}
	p := planFor(encode(compile.Tables{}, nil, nil), encode(tables, nil, nil))
	if len(p.services.keys) != 300 || len(p.services.values) != 300 {
		t.Fatalf("%d rows are written", len(p.services.keys))
	}
	for i, k := range p.services.keys {
		asks := k.Tenant&scopeNetwork == 0
		if asks != (i >= 200) || asks != (p.services.values[i].Number == 0) {
			t.Fatalf("row %d is %+v: %+v", i, k, p.services.values[i])
		}
	}
}

func TestDropReasonsHaveNames(t *testing.T) {
	t.Parallel()
	b, err := blueprintFor(settings{vtep: netip.MustParseAddr("192.168.2.10"), port: 4789})
	must(t, err)
	reasons, err := dropReasons(b.spec)
	must(t, err)
	if len(reasons) < 20 || reasons[5] != "spoofed_mac" || slices.Contains(reasons, "") || slices.Contains(reasons, "reasons") {
		t.Errorf("drop reasons are %q", reasons)
	}
	if drops := b.spec.Maps[contivMapDrops]; int(drops.MaxEntries) != len(reasons) {
		t.Errorf("there are %d reasons and %d counters", len(reasons), drops.MaxEntries)
	}
}

func TestMapsOfAnotherLayoutHaveAnotherName(t *testing.T) {
	t.Parallel()
	s := settings{vtep: netip.MustParseAddr("192.168.2.10"), port: 4789}
	name := func(s settings) string {
		b, err := blueprintFor(s)
		must(t, err)
		return b.abi
	}
	first := name(s)
	s.port, s.vtep = 8472, netip.MustParseAddr("fd00:2::10")
	if name(s) != first {
		t.Error("settings that are not in the maps change their name")
	}
	s.flows4 = 1000
	if name(s) == first {
		t.Error("maps of another size have the same name")
	}
}

func TestHeldIsWhatWasApplied(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto,
		net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"), net4(t, "blue", "web", 2, "10.1.1.0/24", ""))
	a := n1.start("red:web", "10.1.1.1", "fd01::a")
	n1.start("blue:web", "10.1.1.1")
	n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	same := func() {
		t.Helper()
		for _, n := range c.nodes {
			held, err := n.dp.Held()
			must(t, err)
			if d := Differences(n.tables(), held); len(d) != 0 {
				t.Errorf("node %s:\n%s", n.name, strings.Join(d, "\n"))
			}
		}
	}
	same()
	c.remove(a.endpoint)
	c.apply()
	same()
	// What somebody else writes is seen, and mended by applying the same revision again.
	must(t, n1.dp.objects.Networks.Delete(uint32(2)))
	must(t, n1.dp.objects.Networks.Put(uint32(99), contivNetwork{Tenant: 5}))
	c.apply()
	same()
}

func TestEpochRisesOnlyWhenADecisionMayChange(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	n.start("red:web", "10.1.1.1")
	c.apply()
	epoch := func() (e uint32) {
		t.Helper()
		must(t, n.dp.objects.Epoch.Lookup(uint32(0), &e))
		return e
	}
	first := epoch()
	b := n.start("red:web", "10.1.1.2")
	c.put(net4(t, "red", "db", 2, "10.1.2.0/24", ""))
	c.apply()
	if epoch() != first {
		t.Error("added rows invalidate every flow")
	}
	c.remove(b.endpoint)
	c.apply()
	if epoch() == first {
		t.Error("a removed endpoint's flows go on")
	}
}

func TestManyEndpointsAreAppliedInBatches(t *testing.T) {
	t.Parallel()
	_, n := oneNode(t, AttachAuto)
	const many = 20000
	tables := compile.Tables{Revision: 1, Peers: []compile.Peer{{Name: "n2", VTEP: netip.MustParseAddr("192.168.2.11")}}}
	tables.Networks = []compile.Network{{Number: 1, Tenant: 1}}
	addr := netip.MustParseAddr("10.0.0.1")
	for range many {
		tables.Endpoints = append(tables.Endpoints, compile.Endpoint{Tenant: 1, Addr: addr, Network: 1, MAC: model.MACOf(addr), VTEP: tables.Peers[0].VTEP})
		addr = addr.Next()
	}
	must(t, n.dp.Apply(tables))
	held, err := n.dp.Held()
	must(t, err)
	if d := Differences(tables, held); len(d) != 0 {
		t.Errorf("%d differences, the first: %s", len(d), d[0])
	}
	tables.Revision, tables.Endpoints = 2, tables.Endpoints[:many/2]
	must(t, n.dp.Apply(tables))
	held, err = n.dp.Held()
	must(t, err)
	if len(held.Endpoints) != many/2 {
		t.Errorf("%d endpoints are held, want %d", len(held.Endpoints), many/2)
	}
}
