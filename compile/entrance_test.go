// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
)

// entranceAt is what the node's stack does at an address and port: from outside, and from inside.
func entranceAt(t *testing.T, tables Tables, protocol uint8, at string) Entrance {
	t.Helper()
	to := netip.MustParseAddrPort(at)
	i := slices.IndexFunc(tables.Entrances, func(e Entrance) bool {
		return e.Addr == to.Addr() && e.Port == to.Port() && e.Protocol == protocol
	})
	if i < 0 {
		t.Fatalf("nothing is met at %s: %v", at, tables.Entrances)
	}
	return tables.Entrances[i]
}

func TestNodeReachesPodsOfItsOwnByPrivateAddressesAndOthersByHostAccess(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(s *model.ClusterService, slice *model.EndpointSlice) {
		s.ExternalIPs = []netip.Addr{netip.MustParseAddr("198.51.100.1")}
	})
	e2, _ := w.Endpoints.Get("e2")
	slice, _ := w.EndpointSlices.Get("ns/shop-1")
	slice.Endpoints = append(slices.Clone(slice.Endpoints), model.SliceAddress{Addr: e2.IPv4, Pod: "p2", Ready: true, Node: "n2"})
	w = w.With(model.Change{Revision: 8, Put: []model.Object{podOf(e2, "p2"), slice}})
	// e1 is in a network without a gateway, e2 is elsewhere, and nodes have no place in the tenant; e3 is another tenant's.
	const ways = "[172.19.0.2:8080 172.19.0.3:8080 203.0.113.9:8080]"
	for _, at := range []string{"10.96.0.7:80", "198.51.100.1:80", "0.0.0.0:30080"} {
		if e := entranceAt(t, For(w, "n1"), 6, at); fmt.Sprint(e.Outer) != ways || fmt.Sprint(e.Inner) != ways {
			t.Errorf("%s, want %s", e, ways)
		}
	}
	infra := model.Network{Tenant: "default", Name: model.HostAccess, Type: model.NetworkInfra, Encap: model.EncapVXLAN, Tag: 9}
	infra.IPv4, _ = model.ParsePool("132.1.1.0/24", "132.1.1.1", false)
	home := endpoint("h1", "default", model.HostAccess, "n1", model.InfraPort(model.HostAccess), "132.1.1.2")
	home.Runtime = model.RuntimeNode
	w = w.With(model.Change{Revision: 9, Put: []model.Object{infra, home}})
	const all = "[10.1.2.1:8080 10.1.2.2:8080 172.19.0.2:8080 172.19.0.3:8080 203.0.113.9:8080]"
	tables := For(w, "n1")
	if e := entranceAt(t, tables, 6, "0.0.0.0:30080"); fmt.Sprint(e.Outer) != all {
		t.Errorf("%s, want %s", e, all)
	}
	if fmt.Sprint(tables.Machines) != "[machine 203.0.113.9:8080/6]" {
		t.Errorf("%v", tables.Machines)
	}
	if e := entranceAt(t, tables, 17, "10.96.0.7:53"); len(e.Inner) != 0 || e.Elsewhere {
		t.Errorf("a port that nobody provides: %s", e)
	}
}

func TestExternalTrafficStaysOnItsNodeWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(s *model.ClusterService, slice *model.EndpointSlice) {
		s.ExternalLocal, s.HealthCheck, s.Affinity = true, 31000, 10800
		s.LoadBalancers, s.SourceRanges = []netip.Addr{netip.MustParseAddr("198.51.100.2")}, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	})
	here, there := For(w, "n1"), For(w, "n2")
	if e := entranceAt(t, here, 6, "0.0.0.0:30080"); fmt.Sprint(e.Outer) != "[172.19.0.2:8080 172.19.0.3:8080]" || len(e.Inner) != 3 || e.Affinity != 10800 {
		t.Error(e)
	}
	// The node's own connections go to the other's node port, which shows its pods who asks.
	for _, at := range []string{"0.0.0.0:30080", "198.51.100.2:80"} {
		if e := entranceAt(t, there, 6, at); len(e.Outer) != 0 || fmt.Sprint(e.Inner) != "[192.168.2.10:30080 203.0.113.9:8080]" || !e.Elsewhere {
			t.Error(e)
		}
	}
	if !slices.Contains(there.Machines, Machine{netip.MustParseAddr("192.168.2.10"), 6, 30080}) {
		t.Errorf("a node that hands on is asked under addresses to which it has no way: %v", there.Machines)
	}
	flat := w
	for _, key := range []string{model.NetworkKey("blue", "net"), model.NetworkKey("default", "db")} {
		n, _ := w.Networks.Get(key)
		n.IPv4.Gateway = netip.Addr{}
		flat = flat.With(model.Change{Revision: flat.Revision + 1, Put: []model.Object{n}})
	}
	if e := entranceAt(t, For(flat, "n2"), 6, "0.0.0.0:30080"); fmt.Sprint(e.Inner) != "[203.0.113.9:8080]" {
		t.Errorf("a node hands on to pods that it cannot reach: %s", e)
	}
	if e := entranceAt(t, here, 6, "198.51.100.2:80"); fmt.Sprint(e.Sources) != "[192.0.2.0/24]" {
		t.Error(e)
	}
	if e := entranceAt(t, there, 6, "10.96.0.7:80"); len(e.Outer) == 0 || e.Elsewhere {
		t.Errorf("a cluster IP is everybody's: %s", e)
	}
	if fmt.Sprint(here.Machines) != "[machine 192.168.2.10:31000/6 machine 203.0.113.9:8080/6]" {
		t.Errorf("containers do not reach the node's health check: %v", here.Machines)
	}
	if h := fmt.Sprint(here.HealthChecks, there.HealthChecks); h != "[health check 31000 of service ns/shop: 3 here] [health check 31000 of service ns/shop: 0 here]" {
		t.Error(h)
	}
}

func TestContainersComeByALoadBalancerUnderTheirOwnAddresses(t *testing.T) {
	t.Parallel()
	// e4 is at 10.1.9.2 in default, which provides it, behind 172.19.0.3; e3 at 10.1.2.1 in the other tenant, behind 172.19.0.2.
	for ranges, want := range map[string]string{"192.0.2.0/24": "[]", "10.1.9.0/24": "[172.19.0.3/32]", "10.0.0.0/8": "[172.19.0.3/32]", "10.1.2.0/24": "[]", "::/1": "[]"} {
		w := clusterShop(t, func(s *model.ClusterService, slice *model.EndpointSlice) {
			s.LoadBalancers, s.SourceRanges = []netip.Addr{netip.MustParseAddr("198.51.100.2")}, []netip.Prefix{netip.MustParsePrefix(ranges)}
			slice.Endpoints = slices.DeleteFunc(slice.Endpoints, func(a model.SliceAddress) bool { return a.Pod == "p3" })
		})
		if e := entranceAt(t, For(w, "n1"), 6, "198.51.100.2:80"); fmt.Sprint(e.Insiders) != want {
			t.Errorf("%s let in %s, want %s", ranges, e.Insiders, want)
		}
	}
}

func TestSourcesOfOneFamilyDoNotCloseTheOther(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("2001:db8::2")
	for _, c := range []struct {
		ranges     []string
		of4, of6   string
		virtual    string // for pods of the service's tenant: where sources are asked for, the node's stack does
		whatItSays string
	}{
		{nil, "[]", "[]", "[198.51.100.2 2001:db8::2]", "no range"},
		{[]string{"192.0.2.0/24"}, "[192.0.2.0/24]", "[]", "[2001:db8::2]", "of IPv4 alone"},
		{[]string{"2001:db8:1::/48"}, "[]", "[2001:db8:1::/48]", "[198.51.100.2]", "of IPv6 alone"},
		{[]string{"192.0.2.0/24", "2001:db8:1::/48"}, "[192.0.2.0/24]", "[2001:db8:1::/48]", "[]", "of both"},
		{[]string{"192.0.2.0/24", "0.0.0.0/0", "2001:db8:1::/48"}, "[]", "[2001:db8:1::/48]", "[198.51.100.2]", "all of IPv4"},
	} {
		s := model.ClusterService{LoadBalancers: []netip.Addr{v4, v6}}
		for _, r := range c.ranges {
			s.SourceRanges = append(s.SourceRanges, netip.MustParsePrefix(r))
		}
		var met []netip.Addr
		for _, a := range addresses(s) {
			met = append(met, a.Addr)
		}
		if fmt.Sprint(sources(s, v4)) != c.of4 || fmt.Sprint(sources(s, v6)) != c.of6 || fmt.Sprint(met) != c.virtual {
			t.Errorf("%s: %v, %v and %v, want %s, %s and %s", c.whatItSays, sources(s, v4), sources(s, v6), met, c.of4, c.of6, c.virtual)
		}
	}
}

func TestNodeMeetsThoseMeantForItsZone(t *testing.T) {
	t.Parallel()
	w := clusterShop(t, func(_ *model.ClusterService, slice *model.EndpointSlice) {
		for i, e := range slice.Endpoints {
			slice.Endpoints[i].ForZones = []string{map[bool]string{true: "a", false: "b"}[e.Pod == ""]}
		}
	}).With(model.Change{Revision: 8, Put: []model.Object{model.ClusterNode{Name: "n1", Zone: "a"}}})
	if e := entranceAt(t, For(w, "n1"), 6, "0.0.0.0:30080"); fmt.Sprint(e.Outer) != "[203.0.113.9:8080]" || fmt.Sprint(e.Inner) != "[203.0.113.9:8080]" {
		t.Error(e)
	}
}
