// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// nodePlace is a node's endpoint in an infra network.
func nodePlace(network, node, addr string) model.Endpoint {
	e := endpoint(model.InfraEndpoint(network, node), model.DefaultTenant, network, node, model.InfraPort(network), addr)
	e.Runtime = model.RuntimeNode
	return e
}

func infraNetwork(t *testing.T, name string, tag uint32, subnet, gateway string) model.Network {
	n := network(t, model.DefaultTenant, name, tag, subnet, gateway)
	n.Type = model.NetworkInfra
	return n
}

// infraOnNode1 is what node n1 has in infra networks, when these objects are there besides those of two tenants.
func infraOnNode1(t *testing.T, more ...model.Object) Tables {
	t.Helper()
	return For(model.World{}.With(model.Change{Revision: 7, Reset: true, Put: append(twoTenants(t), more...)}), "n1")
}

func TestHostAccessHasRoutesToTheDefaultTenantsNetworksAndTheyToIt(t *testing.T) {
	t.Parallel()
	shut := network(t, "default", "shut", 7, "10.1.11.0/24", "")
	shut.Internal = true
	wire := network(t, "default", "wire", 8, "10.1.12.0/24", "")
	wire.Encap = model.EncapVLAN
	got := infraOnNode1(t,
		infraNetwork(t, model.HostAccess, 5, "132.1.1.0/24", "132.1.1.1"), nodePlace(model.HostAccess, "n1", "132.1.1.2"), nodePlace(model.HostAccess, "n2", "132.1.1.3"),
		infraNetwork(t, "storage", 6, "140.1.1.0/24", ""), nodePlace("storage", "n1", "140.1.1.1"), shut, wire)
	var lines []string
	for _, i := range got.Infra {
		lines = append(lines, i.String())
	}
	for _, p := range got.Ports {
		if p.Home || p.Name == "vvport1" {
			lines = append(lines, p.String())
		}
	}
	want := []string{
		"infra contivh1: port vvcontivh1, 02:02:84:01:01:02, 132.1.1.2/24, route 10.1.2.0/24 via 132.1.1.1, route 10.1.9.0/24 via 132.1.1.1",
		"infra storage: port vvstorage, 02:02:8c:01:01:01, 140.1.1.1/24",
		"port vvcontivh1: tenant 1, network 5, 02:02:84:01:01:02, 132.1.1.2, gateway 132.1.1.1, home",
		"port vvport1: tenant 1, network 1, 02:02:0a:01:02:01, 10.1.2.1, route 10.1.9.0/24, route 132.1.1.0/24",
		"port vvstorage: tenant 1, network 6, 02:02:8c:01:01:01, 140.1.1.1, home",
	}
	slices.Sort(lines)
	if !slices.Equal(lines, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestHostAccessInAVLANHasRoutesToOtherVLANsByItsGateway(t *testing.T) {
	t.Parallel()
	lan := network(t, "default", "lan", 8, "10.1.12.0/24", "10.1.12.254")
	lan.IPv6 = pool6(t, "2001:db8:12::/64")
	shut := network(t, "default", "shut", 7, "10.1.11.0/24", "")
	own := infraNetwork(t, model.HostAccess, 5, "132.1.1.0/24", "132.1.1.254")
	own.IPv6 = pool6(t, "2001:db8:5::/64")
	for _, n := range []*model.Network{&lan, &shut, &own} {
		n.Encap = model.EncapVLAN
	}
	shut.Internal = true
	place := nodePlace(model.HostAccess, "n1", "132.1.1.1")
	place.IPv6 = netip.MustParseAddr("2001:db8:5::1")
	got := infraOnNode1(t, own, place, lan, shut)
	// IPv6 has no gateway in this network, and VXLAN networks are not on the wire.
	if want := "infra contivh1: port vvcontivh1, 02:02:84:01:01:01, 132.1.1.1/24, 2001:db8:5::1/64, route 10.1.12.0/24 via 132.1.1.254"; len(got.Infra) != 1 || got.Infra[0].String() != want {
		t.Errorf("infra is %v, want %s", got.Infra, want)
	}
}

func TestHostAccessHasNoRoutesWhereForwardingIsBridged(t *testing.T) {
	t.Parallel()
	g := model.DefaultGlobal()
	g.ForwardMode = model.ForwardBridge
	got := infraOnNode1(t, g, infraNetwork(t, model.HostAccess, 5, "132.1.1.0/24", ""), nodePlace(model.HostAccess, "n1", "132.1.1.1"))
	if len(got.Infra) != 1 || len(got.Infra[0].Routes) > 0 {
		t.Errorf("infra is %v", got.Infra)
	}
}

func TestNodesHaveNoRouteToASubnetThatHasANodesAddress(t *testing.T) {
	t.Parallel()
	got := infraOnNode1(t, network(t, "default", "clash", 7, "192.168.2.0/28", ""),
		infraNetwork(t, model.HostAccess, 5, "132.1.1.0/24", ""), nodePlace(model.HostAccess, "n1", "132.1.1.1"))
	if slices.ContainsFunc(got.Infra[0].Routes, func(r NodeRoute) bool { return r.Prefix == netip.MustParsePrefix("192.168.2.0/28") }) {
		t.Errorf("the routes are %v", got.Infra[0].Routes)
	}
	if !slices.ContainsFunc(got.Notes, func(n Note) bool {
		return strings.Contains(n.Text, "192.168.2.0/28") && strings.Contains(n.Text, "192.168.2.10")
	}) {
		t.Errorf("notes are %v", got.Notes)
	}
}

func pool6(t *testing.T, subnet string) model.Pool {
	t.Helper()
	p, err := model.ParsePool(subnet, "", true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNodesHaveNoAddressInASubnetThatHasANodesAddress(t *testing.T) {
	t.Parallel()
	n3 := node("n3", "192.168.3.10")
	n3.Ctrl = netip.MustParseAddr("192.168.4.10")
	for subnet, taken := range map[string]string{"192.168.3.0/24": "192.168.3.10", "192.168.4.0/24": "192.168.4.10", "192.168.0.0/16": "192.168.2.10"} {
		p := netip.MustParsePrefix(subnet)
		home, own := infraNetwork(t, model.HostAccess, 5, subnet, ""), p.Addr().Next()
		place := nodePlace(model.HostAccess, "n1", own.String())
		got := infraOnNode1(t, n3, home, place)
		if len(got.Infra) != 1 || len(got.Infra[0].Addrs) > 0 || len(got.Infra[0].Routes) > 0 { // the device stays, and is guarded
			t.Errorf("with %s, infra is %v", subnet, got.Infra)
		}
		if !slices.ContainsFunc(got.Notes, func(n Note) bool {
			return strings.Contains(n.Text, subnet) && strings.Contains(n.Text, model.HostAccess) && strings.Contains(n.Text, taken)
		}) {
			t.Errorf("with %s, notes are %v", subnet, got.Notes)
		}
		// Its other family goes on.
		home.IPv6 = pool6(t, "2001:db8:5::/64")
		place.IPv6 = netip.MustParseAddr("2001:db8:5::1")
		both := network(t, "default", "both", 6, "10.1.8.0/24", "")
		both.IPv6 = pool6(t, "2001:db8:8::/64")
		got = infraOnNode1(t, n3, home, place, both)
		if want := []netip.Prefix{netip.MustParsePrefix("2001:db8:5::1/64")}; len(got.Infra) != 1 || !slices.Equal(got.Infra[0].Addrs, want) {
			t.Errorf("with %s, infra is %v", subnet, got.Infra)
		} else if want := []NodeRoute{{Prefix: netip.MustParsePrefix("2001:db8:8::/64")}}; !slices.Equal(got.Infra[0].Routes, want) {
			t.Errorf("with %s, the routes are %v", subnet, got.Infra[0].Routes)
		}
	}
}
