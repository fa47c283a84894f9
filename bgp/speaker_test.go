// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

func pool(subnet string) model.Pool {
	p, err := model.ParsePool(subnet, "", netip.MustParsePrefix(subnet).Addr().Is6())
	if err != nil {
		panic(err)
	}
	return p
}

func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// fabric is a World with a routed network of both families and some that are not routed.
func fabric(more ...model.Object) model.World {
	objects := append([]model.Object{
		model.Tenant{Name: "default", Number: 1}, model.Tenant{Name: "blue", Number: 2},
		model.Network{Tenant: "default", Name: "net", Type: model.NetworkData, Encap: model.EncapVLAN, Tag: 10, IPv4: pool("20.1.0.0/16"), IPv6: pool("2001:db8:20::/64")},
		model.Network{Tenant: "default", Name: "tunnel", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 11, IPv4: pool("10.1.0.0/16")},
		model.Network{Tenant: "default", Name: "inside", Type: model.NetworkData, Encap: model.EncapVLAN, Tag: 12, IPv4: pool("10.2.0.0/16"), Internal: true},
		model.Network{Tenant: "blue", Name: "net", Type: model.NetworkData, Encap: model.EncapVLAN, Tag: 13, IPv4: pool("20.1.0.0/16")},
		model.Node{Name: "n1", VTEP: addr("192.168.2.10")}, model.Node{Name: "n2", VTEP: addr("192.168.2.11")},
	}, more...)
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: objects})
}

func endpoint(id, tenant, network, node, v4, v6 string) model.Endpoint {
	return model.Endpoint{ID: id, Tenant: tenant, Network: network, Node: node, IPv4: addr(v4), IPv6: addr(v6)}
}

func speaks(node, routerIP string) model.BGP {
	return model.BGP{Node: node, RouterIP: netip.MustParsePrefix(routerIP), AS: 65001, Neighbors: []model.Neighbor{{Addr: netip.MustParsePrefix(routerIP).Addr().Next(), AS: 500}}}
}

func TestNodeAnnouncesItsEndpointsInRoutedNetworks(t *testing.T) {
	t.Parallel()
	endpoints := []model.Object{
		endpoint("a", "default", "net", "n1", "20.1.0.2", "2001:db8:20::2"), endpoint("b", "default", "net", "n1", "20.1.0.1", ""),
		endpoint("other-node", "default", "net", "n2", "20.1.0.3", ""), endpoint("tunnelled", "default", "tunnel", "n1", "10.1.0.1", ""),
		endpoint("inside", "default", "inside", "n1", "10.2.0.1", ""), endpoint("of-blue", "blue", "net", "n1", "20.1.0.9", ""),
		endpoint("nowhere", "default", "gone", "n1", "30.1.0.9", ""),
	}
	dual := speaks("n1", "50.1.1.1/24")
	dual.RouterIP6 = netip.MustParsePrefix("2001:db8::1/64")
	subnets := dual
	subnets.Announce = model.AnnounceSubnets
	bridge := model.DefaultGlobal()
	bridge.ForwardMode = model.ForwardBridge
	for name, row := range map[string]struct {
		more []model.Object
		want string
		idle bool
	}{
		"IPv4":          {[]model.Object{speaks("n1", "50.1.1.1/24")}, "[20.1.0.1/32 20.1.0.2/32]", false},
		"IPv6":          {[]model.Object{speaks("n1", "2001:db8::1/64")}, "[2001:db8:20::2/128]", false},
		"both":          {[]model.Object{dual}, "[20.1.0.1/32 20.1.0.2/32 2001:db8:20::2/128]", false},
		"their subnets": {[]model.Object{subnets}, "[20.1.0.0/16 2001:db8:20::/64]", false},
		"in bridge":     {[]model.Object{dual, bridge}, "[]", true},
	} {
		s, ok := For(fabric(append(row.more, endpoints...)...), "n1")
		if got := fmt.Sprint(s.Announced); !ok || got != row.want || (s.Idle != "") != row.idle {
			t.Errorf("%s: announced is %s, idle %q; want %s", name, got, s.Idle, row.want)
		}
	}
	if s, ok := For(fabric(append(endpoints, dual)...), "n2"); ok {
		t.Errorf("a node that should not speak says %+v", s)
	}
}

func TestSpeakerHasWhatIsLeftOutOfTheIntent(t *testing.T) {
	t.Parallel()
	b := speaks("n1", "50.1.1.1/24")
	if s, _ := For(fabric(b), "n1"); s.Hold != 90 || s.Keepalive != 30 || s.ID != addr("50.1.1.1") {
		t.Errorf("the defaults are %+v", s)
	}
	b.HoldTime = 3
	if s, _ := For(fabric(b), "n1"); s.Hold != 3 || s.Keepalive != 1 {
		t.Errorf("hold time 3 gives %+v", s)
	}
	// An identifier has four bytes, whatever the node's addresses.
	if s, _ := For(fabric(speaks("n1", "2001:db8::1/64")), "n1"); s.ID != addr("192.168.2.10") {
		t.Errorf("the identifier is %s", s.ID)
	}
	first, _ := For(fabric(speaks("n3", "2001:db8::1/64")), "n3")
	second, _ := For(fabric(speaks("n3", "2001:db8::3/64")), "n3")
	if !first.ID.Is4() || first.ID.IsUnspecified() || first.ID == second.ID {
		t.Errorf("identifiers of nodes without IPv4 are %s and %s", first.ID, second.ID)
	}
}

func TestLearntPathsBecomeRoutes(t *testing.T) {
	t.Parallel()
	own := []netip.Prefix{netip.MustParsePrefix("50.1.1.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	link := []netdev.Route{
		{Prefix: netip.MustParsePrefix("50.1.1.0/24"), Device: "eth2"}, {Prefix: netip.MustParsePrefix("2001:db8::/64"), Device: "eth2"},
	}
	via := func(prefix string, hops ...string) netdev.Route {
		r := netdev.Route{Prefix: netip.MustParsePrefix(prefix), Device: "eth2"}
		for _, h := range hops {
			r.Via = append(r.Via, addr(h))
		}
		return r
	}
	told := func(prefix, nextHop, from string) path {
		return path{netip.MustParsePrefix(prefix), addr(nextHop), addr(from)}
	}
	for name, row := range map[string]struct {
		learnt []path
		want   []netdev.Route
	}{
		"nothing":                 {nil, nil},
		"the default route":       {[]path{told("0.0.0.0/0", "50.1.1.2", "50.1.1.2")}, []netdev.Route{via("0.0.0.0/0", "50.1.1.2")}},
		"another node's endpoint": {[]path{told("20.1.0.3/32", "50.1.1.9", "50.1.1.2")}, []netdev.Route{via("20.1.0.3/32", "50.1.1.9")}},
		"a next hop further on":   {[]path{told("60.1.1.0/24", "70.1.1.1", "50.1.1.2")}, []netdev.Route{via("60.1.1.0/24", "50.1.1.2")}},
		"two routers alike": {
			[]path{told("60.1.1.0/24", "50.1.1.3", "50.1.1.3"), told("60.1.1.0/24", "50.1.1.2", "50.1.1.2"), told("60.1.1.0/24", "50.1.1.2", "50.1.1.3")},
			[]netdev.Route{via("60.1.1.0/24", "50.1.1.2", "50.1.1.3")},
		},
		"IPv6":                          {[]path{told("::/0", "2001:db8::2", "2001:db8::2")}, []netdev.Route{via("::/0", "2001:db8::2")}},
		"the node itself":               {[]path{told("60.1.1.0/24", "50.1.1.1", "50.1.1.2")}, nil},
		"the router's own subnet":       {[]path{told("50.1.1.0/24", "50.1.1.2", "50.1.1.2")}, nil},
		"a next hop of another family":  {[]path{told("60.1.1.0/24", "2001:db8::2", "2001:db8::2")}, nil},
		"a next hop that is no address": {[]path{told("60.1.1.0/24", "", "2001:db8::2")}, nil},
	} {
		want := append(slices.Clone(row.want), link...)
		slices.SortFunc(want, func(a, b netdev.Route) int { return a.Prefix.Compare(b.Prefix) })
		if got := routes(own, "eth2", row.learnt); !slices.EqualFunc(got, want, netdev.Route.Equal) {
			t.Errorf("%s gives %v; want %v", name, got, want)
		}
	}
}

func TestRecordComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/run"
	if _, there, err := loadRecord(dir); there || err != nil {
		t.Fatalf("a record is there before one was written: %v", err)
	}
	r := record{Given: []given{{"eth2", netip.MustParsePrefix("50.1.1.1/24")}}}
	for range 2 {
		if err := r.save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got, there, err := loadRecord(dir); !there || err != nil || !slices.Equal(got.Given, r.Given) {
		t.Fatalf("%+v comes back, %v", got, err)
	}
	for range 2 {
		if err := removeRecord(dir); err != nil {
			t.Fatal(err)
		}
	}
}
