// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
)

// pool reads a subnet and its gateway.
func pool(t *testing.T, subnet, gateway string) model.Pool {
	t.Helper()
	p, err := model.ParsePool(subnet, gateway, false)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func network(t *testing.T, tenant, name string, tag uint32, subnet, gateway string) model.Network {
	return model.Network{Tenant: tenant, Name: name, Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: tag, IPv4: pool(t, subnet, gateway)}
}

func endpoint(id, tenant, network, node, port, addr string) model.Endpoint {
	a := netip.MustParseAddr(addr)
	return model.Endpoint{ID: id, Tenant: tenant, Network: network, Node: node, Port: port, IPv4: a, MAC: model.MACOf(a)}
}

func node(name, vtep string) model.Node {
	return model.Node{Name: name, VTEP: netip.MustParseAddr(vtep), VXLANPort: 4789}
}

// twoTenants is two nodes with two tenants whose subnets are equal, and a second network of one.
func twoTenants(t *testing.T) []model.Object {
	return []model.Object{
		model.Tenant{Name: "default", Number: 1}, model.Tenant{Name: "blue", Number: 2},
		node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		network(t, "default", "net", 1, "10.1.2.0/24", ""), network(t, "blue", "net", 2, "10.1.2.0/24", "10.1.2.254"),
		network(t, "default", "db", 3, "10.1.9.0/24", "10.1.9.1"),
		endpoint("e1", "default", "net", "n1", "vvport1", "10.1.2.1"), endpoint("e2", "default", "net", "n2", "vvport1", "10.1.2.2"),
		endpoint("e3", "blue", "net", "n1", "vvport2", "10.1.2.1"), endpoint("e4", "default", "db", "n1", "vvport3", "10.1.9.2"),
	}
}

const twoTenantsOnNode1 = `node n1 at revision 7
network 1: tenant 1
network 2: tenant 2
network 3: tenant 1
peer 192.168.2.11: n2
endpoint 1/10.1.2.1: network 1, 02:02:0a:01:02:01, port vvport1
endpoint 1/10.1.2.2: network 1, 02:02:0a:01:02:02, vtep 192.168.2.11
endpoint 1/10.1.9.2: network 3, 02:02:0a:01:09:02, port vvport3
endpoint 2/10.1.2.1: network 2, 02:02:0a:01:02:01, port vvport2
port vvport1: tenant 1, network 1, 02:02:0a:01:02:01, 10.1.2.1, route 10.1.9.0/24
port vvport2: tenant 2, network 2, 02:02:0a:01:02:01, 10.1.2.1, gateway 10.1.2.254, outside 172.19.0.2
port vvport3: tenant 1, network 3, 02:02:0a:01:09:02, 10.1.9.2, gateway 10.1.9.1, outside 172.19.0.3
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
subnet 1/10.1.9.0/24
subnet 2/10.1.2.0/24
`

func TestTenantsWithEqualSubnetsStayApart(t *testing.T) {
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: twoTenants(t)})
	if got := For(w, "n1").String(); got != twoTenantsOnNode1 {
		t.Errorf("got:\n%s\nwant:\n%s", got, twoTenantsOnNode1)
	}
}

// The tables are a function of the World's content, not of the order in which it came about.
func TestTablesDoNotDependOnTheOrderOfChanges(t *testing.T) {
	objects := twoTenants(t)
	for range 20 {
		rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
		w := model.World{}
		for i, o := range objects {
			w = w.With(model.Change{Revision: int64(i), Put: []model.Object{o, o}}) // doubled
		}
		stray := endpoint("stray", "blue", "net", "n2", "vvport9", "10.1.2.77")
		w = w.With(model.Change{Revision: 100, Put: []model.Object{stray}})
		w = w.With(model.Change{Revision: 7, Delete: []model.Ref{model.RefOf(stray)}})
		if got := For(w, "n1").String(); got != twoTenantsOnNode1 {
			t.Fatalf("order %v: got:\n%s", objects, got)
		}
	}
}

func TestBridgeModeLeavesOnlyTheOwnNetwork(t *testing.T) {
	g := model.DefaultGlobal()
	g.ForwardMode = model.ForwardBridge
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: append(twoTenants(t), g)})
	for _, p := range For(w, "n1").Ports {
		if !p.Bridged || len(p.Routes) != 0 {
			t.Errorf("port %s is not bridged", p)
		}
	}
}

func TestInternalNetworkIsReachedByNoOther(t *testing.T) {
	objects := twoTenants(t)
	for i, o := range objects {
		if n, ok := o.(model.Network); ok && n.Name == "db" {
			n.Internal = true
			objects[i] = n
		}
	}
	tables := For(model.World{}.With(model.Change{Reset: true, Put: objects}), "n1")
	for _, p := range tables.Ports {
		if p.Name == "vvport1" && len(p.Routes) != 0 {
			t.Errorf("a route leads to an internal network: %s", p)
		}
		if p.Name == "vvport3" && !p.Bridged {
			t.Errorf("an internal network's port is routed: %s", p)
		}
	}
}

func TestDanglingReferencesReachNobodyAndAreNoted(t *testing.T) {
	objects := slices.DeleteFunc(twoTenants(t), func(o model.Object) bool {
		return o.Kind() == model.KindNetwork && o.Key() == "blue:net" || o.Kind() == model.KindNode && o.Key() == "n2"
	})
	tables := For(model.World{}.With(model.Change{Reset: true, Put: objects}), "n1")
	for _, e := range tables.Endpoints {
		if e.Tenant == 2 || e.VTEP.IsValid() {
			t.Errorf("dangling endpoint is reachable: %s", e)
		}
	}
	var noted []string
	for _, n := range tables.Notes {
		noted = append(noted, n.Object.Key)
	}
	if want := []string{"e2", "e3"}; !slices.Equal(noted, want) {
		t.Errorf("notes about %v, want %v", noted, want)
	}
}
