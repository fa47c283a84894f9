// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

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
	endpoint := ref{api.Endpoints, "e", api.Endpoint{TenantName: "blue", NetworkName: "net", GroupName: "web", HomingHost: "n1"}}
	for name, row := range map[string]struct {
		there      []ref // before, the one that is deleted last
		put        ref
		goesWithIt bool // what is put may have gone with what was deleted
	}{
		"a tenant under a policy":   {[]ref{tenant}, policy, false},
		"a tenant under a network":  {[]ref{tenant}, network, false},
		"a network under a group":   {[]ref{tenant, network}, group, false},
		"a network under a rule":    {[]ref{tenant, policy, network}, toNetwork, false},
		"a policy under a group":    {[]ref{tenant, network, policy}, under, false},
		"a policy under its rule":   {[]ref{tenant, policy}, rule(api.Rule{Direction: "in"}), true},
		"a group under a rule":      {[]ref{tenant, network, policy, group}, fromGroup, false},
		"a group under an endpoint": {[]ref{tenant, network, group}, endpoint, false},
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
	s.must(s.client.Get(t.Context(), api.InspectPath(api.Tenants, "default"), &in))
	var numbers []int
	for _, e := range in.Oper.Endpoints {
		numbers = append(numbers, e.EndpointGroupID)
	}
	slices.Sort(numbers)
	if len(numbers) != groups || numbers[0] != 1 || numbers[groups-1] != groups || len(slices.Compact(numbers)) != groups {
		t.Errorf("numbers are %v", numbers)
	}
}
