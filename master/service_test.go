// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store/memory"
)

var web = api.ServiceLB{NetworkName: "net", Selectors: []string{"app=web"}, Ports: []string{"80:8080:TCP"}}

// service reads a service's Oper.
func (s server) service(key string) api.ServiceLBOper {
	s.Helper()
	var out api.ServiceLBInspect
	if err := s.client.Get(s.Context(), api.InspectPath(api.ServiceLBs, key), &out); err != nil {
		s.Fatal(err)
	}
	return out.Oper
}

func TestServiceHasAnAddressOfEachFamily(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.1.1.0/24", Gateway: "10.1.1.1", IPv6Subnet: "2001:db8::/64"})
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), web)
	preferred := web
	preferred.IPAddress = "10.1.1.100"
	s.put(api.ObjectPath(api.ServiceLBs, "default:preferred"), preferred)
	if a, b := s.service("default:web"), s.service("default:preferred"); a.ServiceVip != "10.1.1.2" || a.ServiceVipV6 != "2001:db8::1" ||
		b.ServiceVip != "10.1.1.100" || b.ServiceVipV6 != "2001:db8::2" {
		t.Errorf("addresses are %+v and %+v", a, b)
	}
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "10.1.1.1-10.1.1.2, 10.1.1.100" || oper.NumEndpoints != 0 {
		t.Errorf("the network has %+v", oper)
	}
	for field, other := range map[string]api.ServiceLB{
		"ipAddress":   {NetworkName: "net", Selectors: web.Selectors, Ports: web.Ports, IPAddress: "10.1.1.100"},
		"networkName": {NetworkName: "none", Selectors: web.Selectors, Ports: web.Ports},
	} {
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.ServiceLBs, "default:other"), other, nil)
		kind, word := model.ErrExists, "in use by service default:preferred"
		if field == "networkName" {
			kind, word = model.ErrNotFound, "default:none"
		}
		refused(t, err, kind, field, word)
	}
}

func TestServiceOfAVLANHasAnAddressThere(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.Networks, "default:net"), api.Network{Encap: model.EncapVLAN, PktTag: 5, Subnet: "10.1.1.0/24"})
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), web)
	if got := s.service("default:web"); got.ServiceVip != "10.1.1.1" {
		t.Errorf("it has %+v", got)
	}
}

func TestServiceKeepsItsAddressUntilItIsDeleted(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	s.network("default:other", "10.2.1.0/24", "")
	path := api.ObjectPath(api.ServiceLBs, "default:web")
	first := s.put(path, web)
	if again := s.put(path, web); again != first {
		t.Errorf("the same again is revision %d after %d", again, first)
	}
	changed := web
	changed.Ports = []string{"443:8443:tcp"}
	s.put(path, changed)
	if vip := s.service("default:web").ServiceVip; vip != "10.1.1.1" {
		t.Errorf("after an update its address is %s", vip)
	}
	moved := web
	moved.NetworkName = "other"
	_, err := s.client.Put(t.Context(), path, moved, nil)
	refused(t, err, model.ErrExists, "networkName", "cannot be changed to other")
	moved = web
	moved.IPAddress = "10.1.1.9"
	_, err = s.client.Put(t.Context(), path, moved, nil)
	refused(t, err, model.ErrExists, "ipAddress", "10.1.1.1", "cannot be changed to 10.1.1.9")
	_, err = s.attach("e", "n1", "10.1.1.1")
	refused(t, err, model.ErrExists, "ipv4Address", "service default:web")
	_, err = s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net"))
	refused(t, err, model.ErrInUse, "networkName", "cannot delete net has 1 service (")
	if _, err := s.client.Delete(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "" {
		t.Errorf("its address outlived it: %+v", oper)
	}
	if _, err := s.attach("e", "n1", "10.1.1.1"); err != nil {
		t.Error(err)
	}
}

func TestWhatAClientOfV1LeavesOutOfAServiceStays(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "")
	path := api.ObjectPath(api.ServiceLBs, "default:web")
	get := func() (affinity bool, health string) {
		t.Helper()
		var out api.ServiceLB
		if err := s.client.Get(t.Context(), path, &out); err != nil {
			t.Fatal(err)
		}
		return *out.Affinity, *out.HealthCheck
	}
	s.put(path, web)
	if affinity, health := get(); affinity || health != "" {
		t.Errorf("at first it has affinity %v and health check %q", affinity, health)
	}
	yes, no, check, none := true, false, "http:/ready", ""
	full := web
	full.Affinity, full.HealthCheck = &yes, &check
	s.put(path, full)
	s.put(path, web)
	if affinity, health := get(); !affinity || health != check {
		t.Errorf("after an update without them it has affinity %v and health check %q", affinity, health)
	}
	udp := web
	udp.Ports = []string{"53:53:UDP"}
	_, err := s.client.Put(t.Context(), path, udp, nil)
	refused(t, err, model.ErrInvalid, "healthCheck", "port of TCP") // the one that it has
	full.Affinity, full.HealthCheck = &no, &none
	s.put(path, full)
	if affinity, health := get(); affinity || health != "" {
		t.Errorf("taken away, they are %v and %q", affinity, health)
	}
}

func TestInspectionTellsHowProvidersAre(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	s.put(api.ObjectPath(api.Networks, "default:apart"), api.Network{Encap: model.EncapVXLAN, Subnet: "10.1.2.0/24", Internal: true})
	check := "tcp"
	checked := web
	checked.HealthCheck = &check
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), checked)
	for id, e := range map[string]api.Endpoint{
		"a": {}, "b": {Unhealthy: []string{"default:web"}}, "c": {Unhealthy: []string{"default:web"}, Stopping: true}, "d": {Unhealthy: []string{"default:other"}}, "e": {NetworkName: "apart"},
	} {
		e.TenantName, e.NetworkName, e.HomingHost, e.Labels = "default", cmp.Or(e.NetworkName, "net"), "n1", map[string]string{"app": "web"}
		path := api.ObjectPath(api.Endpoints, id)
		if first, again := s.put(path, e), s.put(path, e); first != again {
			t.Errorf("the same again is revision %d after %d", again, first)
		}
	}
	states := func() (out []string) {
		for _, p := range s.service("default:web").Providers {
			out = append(out, p.EndpointID+" "+p.ProviderState)
		}
		return out
	}
	if got, want := states(), []string{"a healthy", "b unhealthy", "c stopping", "d healthy", "e unreachable"}; !slices.Equal(got, want) {
		t.Errorf("providers are %q, not %q", got, want)
	}
	mem.Advance((model.AliveSeconds + 1) * time.Second)
	s.until("its node is silent", func() bool {
		return slices.Equal(states(), []string{"a away", "b unhealthy", "c stopping", "d away", "e unreachable"})
	})
}

// As v1's TestServiceProviderUpdate: whether the providers or the service come first means nothing.
func TestProvidersAreTheTenantsEndpointsWithAllLabels(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.tenant("blue")
	s.network("default:net", "10.1.1.0/24", "")
	s.network("default:far", "10.2.1.0/24", "")
	s.network("blue:net", "10.1.1.0/24", "")
	container := func(id, tenant, network string, labels map[string]string) {
		t.Helper()
		s.put(api.ObjectPath(api.Endpoints, id), api.Endpoint{TenantName: tenant, NetworkName: network, HomingHost: "n1", Labels: labels})
	}
	front := map[string]string{"app": "web", "tier": "front"}
	container("before", "default", "net", front)
	two := web
	two.Selectors = []string{"app=web", "tier=front"}
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), two)
	container("elsewhere", "default", "far", map[string]string{"app": "web", "tier": "front", "more": "x"})
	container("half", "default", "net", map[string]string{"app": "web"})
	container("stranger", "blue", "net", front)
	providers := func() (ids []string) {
		oper := s.service("default:web")
		for _, e := range oper.Providers {
			ids = append(ids, e.EndpointID)
		}
		if oper.NumProviders != len(ids) {
			t.Errorf("%d providers are listed as %v", oper.NumProviders, ids)
		}
		return ids
	}
	if got := providers(); !slices.Equal(got, []string{"before", "elsewhere"}) {
		t.Errorf("providers are %v", got)
	}
	s.put(api.ObjectPath(api.ServiceLBs, "default:web"), web)
	if got := providers(); !slices.Equal(got, []string{"before", "elsewhere", "half"}) {
		t.Errorf("with one selector providers are %v", got)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, "before")); err != nil {
		t.Fatal(err)
	}
	if got := providers(); !slices.Equal(got, []string{"elsewhere", "half"}) {
		t.Errorf("after one was removed providers are %v", got)
	}
}

// Services and containers that come at once at two masters have different addresses, and all go when they go.
func TestAddressesOfServicesAreGivenOnce(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	masters := []server{serve(t, mem, master.Options{}), serve(t, mem, master.Options{})}
	masters[0].node("n1", "192.168.2.10")
	masters[0].network("default:net", "10.1.1.0/27", "") // 30 addresses, as many as there will be
	var all sync.WaitGroup
	for i := range 15 {
		all.Go(func() {
			if _, err := masters[i%2].attach(fmt.Sprint("e", i), "n1", ""); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := masters[i%2].client.Put(t.Context(), api.ObjectPath(api.ServiceLBs, fmt.Sprint("default:s", i)), web, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	s := masters[0]
	s.tenant("last") // so this master has seen all that the other did
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "10.1.1.1-10.1.1.30" || oper.AvailableIPAddresses != "" {
		t.Errorf("the network has %+v", oper)
	}
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.ServiceLBs, "default:more"), web, nil)
	refused(t, err, model.ErrInUse, "ipAddress", "no address is free")
	seen := map[string]bool{}
	for i := range 15 {
		vip := s.service(fmt.Sprint("default:s", i)).ServiceVip
		if seen[vip] {
			t.Errorf("%s is given twice", vip)
		}
		seen[vip] = true
		if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.ServiceLBs, fmt.Sprint("default:s", i))); err != nil {
			t.Error(err)
		}
	}
	if oper := s.inspect("default:net"); oper.AllocatedAddressesCount != 15 {
		t.Errorf("without services the network has %+v", oper)
	}
}

// Whichever comes first: nothing is left that names what has gone.
func TestNothingIsDeletedUnderWhoNamesIt(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, row := range []struct {
		gone, names string // paths
		prepare     func()
		user        any
	}{
		{api.ObjectPath(api.Networks, "default:net"), api.ObjectPath(api.ServiceLBs, "default:web"), func() { s.network("default:net", "10.1.1.0/24", "") }, web},
		{api.ObjectPath(api.Netprofiles, "default:slow"), api.ObjectPath(api.EndpointGroups, "default:limited"), func() {
			s.network("default:net2", "10.2.1.0/24", "")
			s.put(api.ObjectPath(api.Netprofiles, "default:slow"), api.Netprofile{Bandwidth: "10 mbps"})
		}, api.EndpointGroup{NetworkName: "net2", NetProfile: "slow"}},
		{api.ObjectPath(api.ExtContractsGroups, "default:c"), api.ObjectPath(api.EndpointGroups, "default:contracted"), func() {
			s.network("default:net3", "10.3.1.0/24", "")
			s.put(api.ObjectPath(api.ExtContractsGroups, "default:c"), api.ExtContractsGroup{ContractsType: "provided", Contracts: []string{"x"}})
		}, api.EndpointGroup{NetworkName: "net3", ExtContractsGrps: []string{"c"}}},
		{api.ObjectPath(api.EndpointGroups, "default:g"), api.ObjectPath(api.AppProfiles, "default:shop"), func() {
			s.network("default:net4", "10.4.1.0/24", "")
			s.put(api.ObjectPath(api.EndpointGroups, "default:g"), api.EndpointGroup{NetworkName: "net4"})
		}, api.AppProfile{EndpointGroups: []string{"g"}}},
		{api.ObjectPath(api.Tenants, "red"), api.ObjectPath(api.Netprofiles, "red:slow"), func() { s.tenant("red") }, api.Netprofile{}},
		{api.ObjectPath(api.Tenants, "red"), api.ObjectPath(api.AppProfiles, "red:shop"), func() { s.tenant("red") }, api.AppProfile{}},
		{api.ObjectPath(api.Tenants, "red"), api.ObjectPath(api.ExtContractsGroups, "red:c"), func() { s.tenant("red") }, api.ExtContractsGroup{ContractsType: "consumed", Contracts: []string{"x"}}},
	} {
		for round := range 10 {
			row.prepare()
			var both sync.WaitGroup
			var put, deleted error
			both.Go(func() { _, put = s.client.Put(t.Context(), row.names, row.user, nil) })
			both.Go(func() { _, deleted = s.client.Delete(t.Context(), row.gone) })
			both.Wait()
			if (put == nil) == (deleted == nil) {
				t.Fatalf("%s, round %d: put: %v; deleted: %v", row.names, round, put, deleted)
			}
			if put != nil && !errors.Is(put, model.ErrNotFound) || deleted != nil && !errors.Is(deleted, model.ErrInUse) {
				t.Fatalf("%s, round %d: put: %v; deleted: %v", row.names, round, put, deleted)
			}
			for _, path := range []string{row.names, row.gone} {
				if _, err := s.client.Delete(t.Context(), path); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
