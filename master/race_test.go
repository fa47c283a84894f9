// SPDX-License-Identifier: Apache-2.0

package master_test

import (
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

// One master puts what refers to an object while another deletes that object: one of the two is refused, so nothing is
// ever left that refers to nothing.
func TestNothingIsDeletedUnderWhatRefersToIt(t *testing.T) {
	t.Parallel()
	type ref struct {
		plural, key string
		object      any
	}
	tenant := ref{api.Tenants, "blue", api.Tenant{}}
	network := ref{api.Networks, "blue:net", api.Network{Subnet: "10.1.1.0/24"}}
	policy := ref{api.Policies, "blue:p", api.Policy{}}
	group := ref{api.EndpointGroups, "blue:web", api.EndpointGroup{NetworkName: "net"}}
	under := ref{api.EndpointGroups, "blue:web", api.EndpointGroup{NetworkName: "net", Policies: []string{"p"}}}
	rule := func(r api.Rule) ref {
		r.Action = "deny"
		return ref{api.Rules, "blue:p:1", r}
	}
	fromGroup := rule(api.Rule{Direction: "in", FromEndpointGroup: "web"})
	toNetwork := rule(api.Rule{Direction: "out", ToNetwork: "net"})
	netprofile := ref{api.Netprofiles, "blue:q", api.Netprofile{DSCP: 1}}
	limited := ref{api.EndpointGroups, "blue:web", api.EndpointGroup{NetworkName: "net", NetProfile: "q"}}
	contracts := ref{api.ExtContractsGroups, "blue:c", api.ExtContractsGroup{ContractsType: "provided", Contracts: []string{"x"}}}
	bound := ref{api.EndpointGroups, "blue:web", api.EndpointGroup{NetworkName: "net", ExtContractsGrps: []string{"c"}}}
	profile := ref{api.AppProfiles, "blue:a", api.AppProfile{}}
	profiled := ref{api.AppProfiles, "blue:a", api.AppProfile{EndpointGroups: []string{"web"}}}
	service := ref{api.ServiceLBs, "blue:s", web}
	endpoint := ref{api.Endpoints, "e", api.Endpoint{TenantName: "blue", NetworkName: "net", GroupName: "web", HomingHost: "n1"}}
	for name, row := range map[string]struct {
		there      []ref // before, the one that is deleted last
		put        ref
		goesWithIt bool // what is put may have gone with what was deleted
	}{
		"a tenant under a policy":      {[]ref{tenant}, policy, false},
		"a tenant under a network":     {[]ref{tenant}, network, false},
		"a tenant under a netprofile":  {[]ref{tenant}, netprofile, false},
		"a tenant under contracts":     {[]ref{tenant}, contracts, false},
		"a tenant under a profile":     {[]ref{tenant}, profile, false},
		"a network under a service":    {[]ref{tenant, network}, service, false},
		"a netprofile under a group":   {[]ref{tenant, network, netprofile}, limited, false},
		"contracts under a group":      {[]ref{tenant, network, contracts}, bound, false},
		"a group under an app profile": {[]ref{tenant, network, group}, profiled, false},
		"a network under a group":      {[]ref{tenant, network}, group, false},
		"a network under a rule":       {[]ref{tenant, policy, network}, toNetwork, false},
		"a policy under a group":       {[]ref{tenant, network, policy}, under, false},
		"a policy under its rule":      {[]ref{tenant, policy}, rule(api.Rule{Direction: "in"}), true},
		"a group under a rule":         {[]ref{tenant, network, policy, group}, fromGroup, false},
		"a group under an endpoint":    {[]ref{tenant, network, group}, endpoint, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := memory.New()
			a, b := serve(t, mem, master.Options{}), serve(t, mem, master.Options{})
			a.node("n1", "192.168.2.10")
			for round := range 20 {
				for _, r := range row.there {
					a.must(a.try(r.plural, r.key, r.object))
				}
				last := row.there[len(row.there)-1]
				var both sync.WaitGroup
				var put, deleted error
				both.Go(func() { put = a.try(row.put.plural, row.put.key, row.put.object) })
				both.Go(func() { deleted = b.drop(last.plural, last.key) })
				both.Wait()
				fine := (put == nil) != (deleted == nil) || row.goesWithIt && put == nil && deleted == nil
				if !fine || put != nil && !errors.Is(put, model.ErrNotFound) || deleted != nil && !errors.Is(deleted, model.ErrInUse) {
					t.Fatalf("round %d: put: %v; deleted: %v", round, put, deleted)
				}
				if row.goesWithIt && put == nil {
					a.until("what was deleted took "+row.put.key+" with it", func() bool {
						return errors.Is(a.client.Get(t.Context(), api.ObjectPath(row.put.plural, row.put.key), nil), model.ErrNotFound)
					})
				}
				a.must(a.drop(row.put.plural, row.put.key))
				for _, r := range slices.Backward(row.there) {
					a.must(a.drop(r.plural, r.key))
				}
			}
		})
	}
}

// Two masters are asked at once for what cannot both be.
func TestOfTwoThatExcludeEachOtherOneIsRefused(t *testing.T) {
	t.Parallel()
	type ask struct {
		plural, key string
		object      any
	}
	net := func(name, subnet string) ask {
		return ask{api.Networks, "default:" + name, api.Network{Subnet: subnet}}
	}
	pool := func(name, addrs string) ask {
		return ask{api.EndpointGroups, "default:" + name, api.EndpointGroup{NetworkName: "there", IPPool: addrs}}
	}
	service := func(name, addr string) ask {
		s := web
		s.NetworkName, s.IPAddress = "there", addr
		return ask{api.ServiceLBs, "default:" + name, s}
	}
	bgp := func(node string) ask {
		return ask{api.BGPs, node, api.BGP{RouterIP: "50.1.1.2/24", AS: "65002", Neighbor: "50.1.1.1", NeighborAS: "65001"}}
	}
	tagged := func(name, subnet string) ask {
		return ask{api.Networks, "default:" + name, api.Network{Subnet: subnet, PktTag: 7, Encap: "vlan"}}
	}
	vlans := ask{api.Globals, "global", api.Global{Name: "global", Vlans: "100-200"}}
	for name, row := range map[string][2]ask{
		"networks of one name":        {net("n", "10.2.1.0/24"), net("n", "10.3.1.0/24")},
		"networks that overlap":       {net("n", "10.2.1.0/24"), net("m", "10.2.1.128/25")},
		"networks of one tag":         {tagged("n", "10.2.1.0/24"), tagged("m", "10.3.1.0/24")},
		"a network and a group":       {net("n", "10.2.1.0/24"), pool("n", "")},
		"a network and another range": {tagged("n", "10.2.1.0/24"), vlans},
		"pools that overlap":          {pool("a", "10.1.1.10-10.1.1.20"), pool("b", "10.1.1.20-10.1.1.30")},
		"a pool and a service in it":  {pool("a", "10.1.1.10-10.1.1.20"), service("s", "10.1.1.15")},
		"services of one address":     {service("s", "10.1.1.15"), service("r", "10.1.1.15")},
		"nodes of one router address": {bgp("n1"), bgp("n2")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := memory.New()
			a, b := serve(t, mem, master.Options{}), serve(t, mem, master.Options{})
			a.network("default:there", "10.1.1.0/24", "")
			for round := range 20 {
				var both sync.WaitGroup
				var first, second error
				both.Go(func() { first = a.try(row[0].plural, row[0].key, row[0].object) })
				both.Go(func() { second = b.try(row[1].plural, row[1].key, row[1].object) })
				both.Wait()
				if (first == nil) == (second == nil) {
					t.Fatalf("round %d: %v and %v", round, first, second)
				}
				for _, r := range row {
					if r.plural == api.Globals {
						a.must(a.try(r.plural, r.key, api.Global{Name: "global", Vlans: "1-4094"}))
						continue
					}
					a.must(a.drop(r.plural, r.key))
				}
			}
		})
	}
}

func TestGroupNumbersAreGivenOnce(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	masters := []server{serve(t, mem, master.Options{}), serve(t, mem, master.Options{}), serve(t, mem, master.Options{})}
	s := masters[0]
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	const groups = 24
	var all sync.WaitGroup
	for i := range groups {
		all.Go(func() {
			m := masters[i%len(masters)]
			if err := m.group(fmt.Sprint("g", i), ""); err != nil {
				t.Error(err)
			}
			if _, err := m.join(fmt.Sprint("e", i), fmt.Sprint("g", i), ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var in api.TenantInspect
	for range 1000 { // what others have written comes here a moment later
		in = api.TenantInspect{}
		s.must(s.client.Get(t.Context(), api.InspectPath(api.Tenants, "default"), &in))
		if len(in.Oper.Endpoints) == groups {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	var numbers []int
	for _, e := range in.Oper.Endpoints {
		numbers = append(numbers, e.EndpointGroupID)
	}
	slices.Sort(numbers)
	if len(numbers) != groups || numbers[0] != 1 || numbers[groups-1] != groups || len(slices.Compact(numbers)) != groups {
		t.Errorf("numbers are %v", numbers)
	}
}
