// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"fmt"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

// place has a node take its place in an infra network.
func (s server) place(network, node string) (api.Endpoint, error) {
	id := model.InfraEndpoint(network, node)
	var out api.Endpoint
	_, err := s.client.Put(s.Context(), api.ObjectPath(api.Endpoints, id), api.Endpoint{
		TenantName: model.DefaultTenant, NetworkName: network, HomingHost: node, IntfName: model.InfraPort(network), Runtime: model.RuntimeNode,
	}, &out)
	return out, err
}

func (s server) infra(name, subnet, gateway string) {
	s.Helper()
	s.put(api.ObjectPath(api.Networks, "default:"+name), api.Network{NwType: model.NetworkInfra, Subnet: subnet, Gateway: gateway})
}

func TestNodesHaveTheLowestAddressesOfAnInfraNetworkAndKeepThem(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{})
	s.infra("contivh1", "132.1.1.0/24", "132.1.1.1")
	for i, want := range []string{"132.1.1.2", "132.1.1.3"} {
		name := fmt.Sprint("n", i+1)
		s.node(name, fmt.Sprint("192.168.2.", 10+i))
		for range 2 { // asked again by an agent that did not hear the answer
			if e, err := s.place("contivh1", name); err != nil || e.IPv4Address.String() != want || e.MACAddress != model.MACOf(e.IPv4Address) {
				t.Errorf("%s: %+v, %v; want %s", name, e, err, want)
			}
		}
	}
	s.must(s.drop(api.Nodes, "n1"))
	if got := s.inspect("default:contivh1").AllocatedIPAddresses; got != "132.1.1.1, 132.1.1.3" {
		t.Errorf("after a node went: %s", got)
	}
}

func TestInfraNetworksAreForNodesAloneAndOthersForContainers(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.infra("contivh1", "132.1.1.0/24", "")
	place := api.Endpoint{TenantName: "default", NetworkName: "contivh1", HomingHost: "n1", IntfName: "vvcontivh1", Runtime: model.RuntimeNode}
	for name, row := range map[string]struct {
		id     string
		change func(*api.Endpoint)
		field  string
	}{
		"a container":              {"e", func(e *api.Endpoint) { e.Runtime = "cni" }, "networkName"},
		"a node under another id":  {"e", func(*api.Endpoint) {}, "endpointID"},
		"another node's id":        {"contivh1@n2", func(*api.Endpoint) {}, "endpointID"},
		"a container in its place": {"contivh1@n1", func(e *api.Endpoint) { e.NetworkName, e.Runtime = "net", "cni" }, "endpointID"},
		"a node among containers":  {"contivh1@n1", func(e *api.Endpoint) { e.NetworkName = "net" }, "runtime"},
		"a port of containers":     {"contivh1@n1", func(e *api.Endpoint) { e.IntfName = "vvport1" }, "intfName"},
		"a node in a group":        {"contivh1@n1", func(e *api.Endpoint) { e.GroupName = "g" }, "groupName"},
	} {
		e := place
		row.change(&e)
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, row.id), e, nil)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		refused(t, err, model.ErrInvalid, row.field)
	}
	if _, err := s.place("contivh1", "n1"); err != nil {
		t.Fatal(err)
	}
	place.Runtime = "cni"
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, "contivh1@n1"), place, nil)
	refused(t, err, model.ErrInvalid, "networkName") // also of a place that is there
	s.must(s.try(api.Tenants, "blue", api.Tenant{}))
	err = s.try(api.Networks, "blue:contivh1", api.Network{NwType: model.NetworkInfra, Subnet: "132.1.1.0/24"})
	refused(t, err, model.ErrInvalid, "nwType", "default")
	err = s.try(api.EndpointGroups, "default:db", api.EndpointGroup{NetworkName: "contivh1"})
	refused(t, err, model.ErrInvalid, "networkName", "contivh1")
}

func TestInfraNetworkWithNodesAddressesInItIsRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{})
	s.node("n1", "192.168.2.10")
	err := s.try(api.Networks, "default:contivh1", api.Network{NwType: model.NetworkInfra, Subnet: "192.168.2.0/24"})
	refused(t, err, model.ErrInvalid, "subnet", "192.168.2.10", "n1")
	s.infra("contivh1", "192.168.3.0/24", "")
	s.put(api.ObjectPath(api.Networks, "default:web"), api.Network{Subnet: "192.168.2.0/24"}) // of containers, who do not share the nodes' routes
}

// However many nodes there are, it is one transaction.
func TestInfraNetworkGoesWithItsNodesPlaces(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{})
	s.infra("contivh1", "132.1.0.0/16", "132.1.0.1")
	s.infra("contivh10", "140.1.0.0/16", "")
	for i := range store.MaxOps {
		name := fmt.Sprint("n", i)
		s.node(name, fmt.Sprintf("192.168.2.%d", i+1))
		for _, network := range []string{"contivh1", "contivh10"} {
			if _, err := s.place(network, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.must(s.drop(api.Networks, "default:contivh1"))
	var left []api.Endpoint
	if err := s.client.Get(t.Context(), api.ListPath(api.Endpoints), &left); err != nil || len(left) != store.MaxOps {
		t.Errorf("%d endpoints are left, %v; want those of the other network", len(left), err)
	}
	s.infra("contivh1", "132.1.0.0/16", "132.1.0.1")
	if e, err := s.place("contivh1", "n7"); err != nil || e.IPv4Address.String() != "132.1.0.2" {
		t.Errorf("in the network made anew: %+v, %v", e, err)
	}
}
