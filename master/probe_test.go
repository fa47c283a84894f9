// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func TestProbedPodsOfANodeHaveAddressesThatNobodyElseHasThere(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	for _, tenant := range []string{"blue", "green"} {
		s.put(api.ObjectPath(api.Tenants, tenant), api.Tenant{TenantName: tenant})
		s.network(tenant+":net", "10.1.1.0/24", "10.1.1.254")
	}
	attach := func(id, tenant, node string, probed bool) string {
		t.Helper()
		e := api.Endpoint{EndpointID: id, TenantName: tenant, NetworkName: "net", HomingHost: node}
		if probed {
			e.Spec = &model.Spec{Probed: []uint16{80}}
		}
		var got api.Endpoint
		if _, err := s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, id), e, &got); err != nil {
			t.Fatal(err)
		}
		return got.IPv4Address.String()
	}
	for _, row := range []struct {
		id, tenant, node string
		probed           bool
		want             string
	}{
		{"d1", "default", "n1", true, "10.1.1.1"},
		{"b1", "blue", "n1", false, "10.1.1.1"},   // nobody asks it
		{"b2", "blue", "n1", true, "10.1.1.2"},    // the next in any case
		{"g1", "green", "n2", true, "10.1.1.2"},   // not the default tenant's, wherever that is; another node's is none of its
		{"g2", "green", "n1", true, "10.1.1.3"},   // nor that of one that is probed on its node
		{"d2", "default", "n2", true, "10.1.1.4"}, // nodes reach it by host access, so nobody's who is probed
		{"d3", "default", "n2", false, "10.1.1.5"},
		{"b3", "blue", "n2", false, "10.1.1.3"},
	} {
		if got := attach(row.id, row.tenant, row.node, row.probed); got != row.want {
			t.Errorf("%s has %s, want %s", row.id, got, row.want)
		}
	}
	if a, err := s.hold("n1", ""); err != nil || a != "10.1.1.6" {
		t.Errorf("an address that Docker asks for is %s, %v", a, err)
	}
}

func TestAProbedPodGetsAnAddressThoughAllAreAnothersToo(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.put(api.ObjectPath(api.Tenants, "blue"), api.Tenant{TenantName: "blue"})
	s.network("blue:net", "10.1.1.0/30", "")
	for _, id := range []string{"d1", "d2"} {
		if _, err := s.attach(id, "n1", ""); err != nil {
			t.Fatal(err)
		}
	}
	e := api.Endpoint{EndpointID: "b1", TenantName: "blue", NetworkName: "net", HomingHost: "n1", Spec: &model.Spec{Probed: []uint16{80}}}
	var got api.Endpoint
	if _, err := s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, "b1"), e, &got); err != nil || got.IPv4Address.String() != "10.1.1.1" {
		t.Errorf("it has %s, %v", got.IPv4Address, err)
	}
}
