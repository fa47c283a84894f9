// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store/memory"
)

// try writes what may be refused.
func (s server) try(plural, key string, in any) error {
	s.Helper()
	_, err := s.client.Put(s.Context(), api.ObjectPath(plural, key), in, nil)
	return err
}

// drop deletes what may be in the way.
func (s server) drop(plural, key string) error {
	s.Helper()
	_, err := s.client.Delete(s.Context(), api.ObjectPath(plural, key))
	return err
}

// must stops the test where something that has to go well does not.
func (s server) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s server) group(name, pool string) error {
	s.Helper()
	return s.try(api.EndpointGroups, "default:"+name, api.EndpointGroup{NetworkName: "net", IPPool: pool})
}

// join attaches an endpoint of a group to default:net and tells its address.
func (s server) join(id, group, addr string) (string, error) {
	s.Helper()
	e := api.Endpoint{TenantName: "default", NetworkName: "net", GroupName: group, HomingHost: "n1"}
	if addr != "" {
		e.IPv4Address = netip.MustParseAddr(addr)
	}
	var out api.Endpoint
	_, err := s.client.Put(s.Context(), api.ObjectPath(api.Endpoints, id), e, &out)
	return out.IPv4Address.String(), err
}

func (s server) groupOper(name string) api.EndpointGroupOper {
	s.Helper()
	var out api.EndpointGroupInspect
	s.must(s.client.Get(s.Context(), api.InspectPath(api.EndpointGroups, "default:"+name), &out))
	return out.Oper
}

// accounts checks the two texts of default:net.
func (s server) accounts(allocated, available string) {
	s.Helper()
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != allocated || oper.AvailableIPAddresses != available {
		s.Errorf("the network has allocated %q and available %q; want %q and %q", oper.AllocatedIPAddresses, oper.AvailableIPAddresses, allocated, available)
	}
}

func (s server) groupAccounts(name, allocated, available string) {
	s.Helper()
	if oper := s.groupOper(name); oper.AllocatedIPAddresses != allocated || oper.AvailableIPAddresses != available {
		s.Errorf("group %s has allocated %q and available %q; want %q and %q", name, oper.AllocatedIPAddresses, oper.AvailableIPAddresses, allocated, available)
	}
}

func TestGroupIsCheckedAgainstWhatThereIs(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.group("web", ""))
	for _, row := range []struct {
		key   string
		g     api.EndpointGroup
		kind  error
		field string
		words []string
	}{
		{"red:g", api.EndpointGroup{NetworkName: "net"}, model.ErrNotFound, "tenantName", []string{"red"}},
		{"default:g", api.EndpointGroup{NetworkName: "none"}, model.ErrNotFound, "networkName", []string{"none"}},
		{"default:g", api.EndpointGroup{}, model.ErrInvalid, "networkName", []string{"empty"}},
		{"default:g_", api.EndpointGroup{NetworkName: "net"}, model.ErrInvalid, "groupName", []string{"g_"}},
		{"g", api.EndpointGroup{NetworkName: "net"}, model.ErrInvalid, "key", []string{"tenant:group"}},
		{"default:net", api.EndpointGroup{NetworkName: "net"}, model.ErrExists, "groupName", []string{"Network net conflicts with the endpointGroup name"}},
		{"default:g", api.EndpointGroup{NetworkName: "net", Policies: []string{"p", "q"}}, model.ErrNotFound, "policies", []string{"Policy not found", "q"}},
		{"default:g", api.EndpointGroup{NetworkName: "net", NetProfile: "np"}, model.ErrNotFound, "netProfile", []string{"netprofile not found", "np"}},
		{"default:g", api.EndpointGroup{NetworkName: "net", ExtContractsGrps: []string{"c"}}, model.ErrNotFound, "extContractsGrps", []string{"External contracts group c not found"}},
		{"default:web", api.EndpointGroup{NetworkName: "other"}, model.ErrExists, "networkName", []string{"Cannot change network association after epg is created."}},
		{"default:web", api.EndpointGroup{NetworkName: "net", IPPool: "10.1.1.1-10.1.1.9"}, model.ErrExists, "ipPool", []string{"Cannot change IP pool after epg is created."}},
		{"default:web", api.EndpointGroup{NetworkName: "net", CfgdTag: "x"}, model.ErrExists, "cfgdTag", []string{"x"}},
		{"default:web", api.EndpointGroup{NetworkName: "net", Policies: []string{"q"}}, model.ErrNotFound, "policies", []string{"Policy not found"}},
	} {
		refused(t, s.try(api.EndpointGroups, row.key, row.g), row.kind, row.field, row.words...)
	}
	refused(t, s.try(api.Networks, "default:web", api.Network{Subnet: "10.2.1.0/24"}), model.ErrExists, "networkName", "EndpointGroup web conflicts with the network name")
}

func TestGroupsPoliciesAreReplaced(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	for _, p := range []string{"p", "q"} {
		s.must(s.try(api.Policies, "default:"+p, api.Policy{}))
	}
	path := api.ObjectPath(api.EndpointGroups, "default:web")
	put := func(policies ...string) int64 {
		t.Helper()
		return s.put(path, api.EndpointGroup{NetworkName: "net", Policies: policies})
	}
	put("p")
	refused(t, s.drop(api.Policies, "default:p"), model.ErrInUse, "policyName", "Policy is being used", "web")
	changed := put("q")
	if again := put("q"); again != changed {
		t.Errorf("the same again is revision %d after %d", again, changed)
	}
	s.must(s.drop(api.Policies, "default:p"))
	put()
	var g api.EndpointGroup
	s.must(s.client.Get(t.Context(), path, &g))
	if len(g.Policies) != 0 || len(g.LinkSets) != 0 {
		t.Errorf("policies that were left out are still there: %+v", g)
	}
}

func TestLinksGoBothWays(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.try(api.EndpointGroups, "default:web", api.EndpointGroup{NetworkName: "net", Policies: []string{"p"}}))
	s.must(s.try(api.Rules, "default:p:1", api.Rule{Direction: "in", Action: "deny", FromEndpointGroup: "web"}))
	var objects struct {
		tenant  api.Tenant
		network api.Network
		group   api.EndpointGroup
		policy  api.Policy
		rule    api.Rule
	}
	for path, into := range map[string]any{
		api.ObjectPath(api.Tenants, "default"): &objects.tenant, api.ObjectPath(api.Networks, "default:net"): &objects.network,
		api.ObjectPath(api.EndpointGroups, "default:web"): &objects.group, api.ObjectPath(api.Policies, "default:p"): &objects.policy,
		api.ObjectPath(api.Rules, "default:p:1"): &objects.rule,
	} {
		s.must(s.client.Get(t.Context(), path, into))
	}
	for _, row := range []struct {
		from string
		sets api.LinkSets
		name string
		want api.Link
	}{
		{"tenant", objects.tenant.LinkSets, "Networks", api.Link{Type: "network", Key: "default:net"}},
		{"tenant", objects.tenant.LinkSets, "EndpointGroups", api.Link{Type: "endpointGroup", Key: "default:web"}},
		{"tenant", objects.tenant.LinkSets, "Policies", api.Link{Type: "policy", Key: "default:p"}},
		{"network", objects.network.LinkSets, "EndpointGroups", api.Link{Type: "endpointGroup", Key: "default:web"}},
		{"group", objects.group.LinkSets, "Policies", api.Link{Type: "policy", Key: "default:p"}},
		{"group", objects.group.LinkSets, "MatchRules", api.Link{Type: "rule", Key: "default:p:1"}},
		{"policy", objects.policy.LinkSets, "EndpointGroups", api.Link{Type: "endpointGroup", Key: "default:web"}},
		{"policy", objects.policy.LinkSets, "Rules", api.Link{Type: "rule", Key: "default:p:1"}},
		{"rule", objects.rule.LinkSets, "Policies", api.Link{Type: "policy", Key: "default:p"}},
	} {
		if got := row.sets[row.name][row.want.Key]; got != row.want {
			t.Errorf("%s: %s has %+v, want %+v", row.from, row.name, row.sets[row.name], row.want)
		}
	}
	for _, row := range []struct {
		from  string
		links api.Links
		name  string
		want  api.Link
	}{
		{"network", objects.network.Links, "Tenant", api.Link{Type: "tenant", Key: "default"}},
		{"group", objects.group.Links, "Tenant", api.Link{Type: "tenant", Key: "default"}},
		{"group", objects.group.Links, "Network", api.Link{Type: "network", Key: "default:net"}},
		{"policy", objects.policy.Links, "Tenant", api.Link{Type: "tenant", Key: "default"}},
		{"rule", objects.rule.Links, "MatchEndpointGroup", api.Link{Type: "endpointGroup", Key: "default:web"}},
	} {
		if row.links[row.name] != row.want {
			t.Errorf("%s: %s is %+v, want %+v", row.from, row.name, row.links[row.name], row.want)
		}
	}
}

// As the original's TestEndpointGroupIPPoolCreateDelete.
func TestGroupsPoolIsAPartOfItsNetworks(t *testing.T) {
	t.Parallel()
	s := onNet(t) // 10.1.1.0/24, gateway .254
	s.node("n1", "192.168.2.10")
	s.must(s.try(api.Networks, "default:six", api.Network{IPv6Subnet: "2001:db8::/64"}))
	s.must(s.try(api.Networks, "default:range", api.Network{Subnet: "10.2.1.10-10.2.1.20/24"}))
	if _, err := s.attach("e", "n1", "10.1.1.200"); err != nil {
		t.Fatal(err)
	}
	s.must(s.group("taken", "10.1.1.40-10.1.1.49"))
	for _, row := range []struct {
		network, pool string
		kind          error
		word          string
	}{
		{"net", "10.1.1.0-10.1.1.20", model.ErrInvalid, "bad ip-pool"},
		{"net", "10.1.1.250-10.1.1.255", model.ErrInvalid, "must be a subset of network 10.1.1.0/24"},
		{"net", "10.1.1.110-10.1.1.320", model.ErrInvalid, "10.1.1.320"},
		{"net", "10.1.1.110-10.1.2.20", model.ErrInvalid, "must be a subset"},
		{"net", "10.1.2.1-10.1.2.20", model.ErrInvalid, "must be a subset"},
		{"net", "10.1.0.1-10.1.2.20", model.ErrInvalid, "must be a subset"},
		{"net", "10.1.1.0/28", model.ErrInvalid, "10.1.1.0/28"},
		{"net", "10.1.1.20-10.1.1.10", model.ErrInvalid, "before"},
		{"net", "2001:db8::1-2001:db8::9", model.ErrInvalid, "ipv6 address pool is not supported for Endpoint Groups"},
		{"net", "10.1.1.250-10.1.1.254", model.ErrExists, "ip address 10.1.1.254 is not available"},
		{"net", "10.1.1.190-10.1.1.210", model.ErrExists, "ip address 10.1.1.200 is not available"},
		{"net", "10.1.1.30-10.1.1.40", model.ErrExists, "ip address 10.1.1.40 is not available"},
		{"net", "10.1.1.49", model.ErrExists, "default:taken"},
		{"six", "10.1.1.1-10.1.1.9", model.ErrInvalid, "invalid ip-pool"},
		{"range", "10.2.1.5-10.2.1.15", model.ErrInvalid, "which gives 10.2.1.10-10.2.1.20"},
	} {
		err := s.try(api.EndpointGroups, "default:g", api.EndpointGroup{NetworkName: row.network, IPPool: row.pool})
		refused(t, err, row.kind, "ipPool", row.word)
	}
	s.accounts("10.1.1.40-10.1.1.49, 10.1.1.200, 10.1.1.254", "10.1.1.1-10.1.1.39, 10.1.1.50-10.1.1.199, 10.1.1.201-10.1.1.253")
	s.must(s.try(api.EndpointGroups, "default:g", api.EndpointGroup{NetworkName: "range", IPPool: "10.2.1.10-10.2.1.20"}))
	refused(t, s.group("taken", ""), model.ErrExists, "ipPool", "Cannot change IP pool")
	s.must(s.drop(api.EndpointGroups, "default:taken"))
	s.accounts("10.1.1.200, 10.1.1.254", "10.1.1.1-10.1.1.199, 10.1.1.201-10.1.1.253")
}

func TestAddressesOfGroupsAreAccountedExactly(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.group("low", "10.1.1.1-10.1.1.3"))
	s.must(s.group("one", "10.1.1.9"))
	s.must(s.group("free", ""))
	for _, row := range []struct{ id, group, asked, want string }{
		{"l1", "low", "", "10.1.1.1"}, {"f1", "free", "", "10.1.1.4"}, {"n1", "", "", "10.1.1.5"}, {"l3", "low", "10.1.1.3", "10.1.1.3"},
		{"l2", "low", "", "10.1.1.2"}, {"o1", "one", "", "10.1.1.9"}, {"f2", "free", "10.1.1.8", "10.1.1.8"}, {"n2", "", "", "10.1.1.6"},
		{"n3", "", "", "10.1.1.7"}, {"n4", "", "", "10.1.1.10"},
	} {
		if got, err := s.join(row.id, row.group, row.asked); err != nil || got != row.want {
			t.Errorf("%s in group %q: %s, %v; want %s", row.id, row.group, got, err, row.want)
		}
	}
	for _, group := range []string{"low", "one"} {
		_, err := s.join("x", group, "")
		refused(t, err, model.ErrInUse, "ipv4Address", "auto allocation failed - address exhaustion in pool", group)
	}
	for _, row := range []struct {
		group, asked string
		kind         error
		word         string
	}{
		{"low", "10.1.1.20", model.ErrInvalid, "outside the ipPool 10.1.1.1-10.1.1.3"}, {"low", "10.1.1.9", model.ErrInvalid, "outside"},
		{"low", "10.1.1.1", model.ErrExists, "in use"}, {"free", "10.1.1.1", model.ErrExists, "ipPool 10.1.1.1-10.1.1.3 of group default:low"},
		{"", "10.1.1.9", model.ErrExists, "group default:one"},
	} {
		_, err := s.join("x", row.group, row.asked)
		refused(t, err, row.kind, "ipv4Address", row.word)
	}
	s.accounts("10.1.1.1-10.1.1.10, 10.1.1.254", "10.1.1.11-10.1.1.253")
	if oper := s.inspect("default:net"); oper.AllocatedAddressesCount != 10 {
		t.Errorf("%d addresses were given, want 10", oper.AllocatedAddressesCount)
	}
	s.groupAccounts("low", "10.1.1.1-10.1.1.3", "")
	s.groupAccounts("one", "10.1.1.9", "")
	s.groupAccounts("free", "10.1.1.4, 10.1.1.8", "10.1.1.11-10.1.1.253")
	if oper := s.groupOper("low"); oper.NumEndpoints != 3 || oper.PktTag != 1 || oper.ExternalPktTag != 1 || oper.GroupTag != "low.default" ||
		oper.Endpoints[0].EndpointGroupKey != "low:default" || oper.Endpoints[0].EndpointGroupID != 1 {
		t.Errorf("group low is %+v", oper)
	}

	s.must(s.drop(api.Endpoints, "l2"))
	s.groupAccounts("low", "10.1.1.1, 10.1.1.3", "10.1.1.2")
	s.accounts("10.1.1.1-10.1.1.10, 10.1.1.254", "10.1.1.11-10.1.1.253")
	if got, err := s.join("l4", "low", ""); err != nil || got != "10.1.1.2" {
		t.Errorf("an address of the pool that came free is not given again: %s, %v", got, err)
	}
	for _, id := range []string{"l1", "l3", "l4"} {
		s.must(s.drop(api.Endpoints, id))
	}
	s.must(s.drop(api.EndpointGroups, "default:low"))
	if got, err := s.join("n5", "", ""); err != nil || got != "10.1.1.1" {
		t.Errorf("the pool of a deleted group is not given: %s, %v", got, err)
	}
}

func TestSmallSubnetsAreAccountedExactly(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for subnet, available := range map[string]string{
		"10.1.1.0/27": "10.1.1.1-10.1.1.30", "10.1.1.0/28": "10.1.1.1-10.1.1.14", "10.1.1.0/29": "10.1.1.1-10.1.1.6", "10.1.1.0/30": "10.1.1.1-10.1.1.2", "10.1.1.0/31": "",
		"10.1.1.10-10.1.1.20/24": "10.1.1.10-10.1.1.20",
	} {
		s.network("default:net", subnet, "")
		s.accounts("", available)
		s.must(s.group("g", ""))
		s.groupAccounts("g", "", available)
		s.must(s.drop(api.EndpointGroups, "default:g"))
		if available != "" {
			s.must(s.group("g", available))
			s.accounts(available, "")
			s.groupAccounts("g", "", available)
			s.must(s.drop(api.EndpointGroups, "default:g"))
		}
		s.must(s.drop(api.Networks, "default:net"))
	}
}

func TestGroupOfAnIPv6NetworkTellsItsAddresses(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.must(s.try(api.Networks, "default:net", api.Network{IPv6Subnet: "2001:db8::/125"}))
	s.must(s.group("g", ""))
	_, err := s.join("e", "g", "")
	s.must(err)
	s.groupAccounts("g", "2001:db8::1", "2001:db8::2-2001:db8::7")
}

func TestAddressIsHeldFromTheGroupsPool(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.group("web", "10.1.1.50-10.1.1.59"))
	s.must(s.try(api.Networks, "default:other", api.Network{Subnet: "10.2.1.0/24"}))
	hold := func(network, group, addr string) (string, error) {
		req := api.AddressRequest{Node: "n1", GroupName: group}
		if addr != "" {
			req.IPAddress = netip.MustParseAddr(addr)
		}
		var out api.Address
		_, err := s.client.Post(t.Context(), api.AddressesPath(network), req, &out)
		return out.IPAddress.String(), err
	}
	a, err := hold("default:net", "web", "")
	if err != nil || a != "10.1.1.50" {
		t.Fatalf("held: %s, %v", a, err)
	}
	if got, err := s.join("e", "web", a); err != nil || got != a {
		t.Errorf("the endpoint of the held address: %s, %v", got, err)
	}
	_, err = hold("default:net", "", "10.1.1.55")
	refused(t, err, model.ErrExists, "ipAddress", "default:web")
	_, err = hold("default:net", "web", "10.1.1.5")
	refused(t, err, model.ErrInvalid, "ipAddress", "outside")
	_, err = hold("default:net", "none", "")
	refused(t, err, model.ErrNotFound, "groupName", "default:none")
	_, err = hold("default:other", "web", "")
	refused(t, err, model.ErrInvalid, "groupName", "default:net")
}

func TestEndpointOfAnUnknownGroupLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	_, err := s.join("e", "none", "")
	refused(t, err, model.ErrNotFound, "groupName", "default:none", "netctl group ls")
	s.accounts("10.1.1.254", "10.1.1.1-10.1.1.253")
	s.must(s.group("web", ""))
	if _, err := s.join("e", "web", ""); err != nil {
		t.Fatal(err)
	}
	_, err = s.join("e", "", "")
	refused(t, err, model.ErrExists, "groupName", `"web"`)
}

func TestGroupStaysWhileItIsNamed(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.group("web", ""))
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.try(api.Rules, "default:p:7", api.Rule{Direction: "in", Action: "deny", FromEndpointGroup: "web"}))
	if _, err := s.join("e", "web", ""); err != nil {
		t.Fatal(err)
	}
	refused(t, s.drop(api.EndpointGroups, "default:web"), model.ErrInUse, "groupName", "EPG web has active endpoints", "node n1")
	s.must(s.drop(api.Endpoints, "e"))
	refused(t, s.drop(api.EndpointGroups, "default:web"), model.ErrInUse, "groupName", "rule 7 of policy p")
	s.must(s.drop(api.Rules, "default:p:7"))
	s.must(s.drop(api.EndpointGroups, "default:web"))
	if status, body, _ := s.raw("DELETE", api.ObjectPath(api.EndpointGroups, "default:web"), ""); status != 404 {
		t.Errorf("deleted again: %d %s", status, body)
	}
}

func TestGroupNumbersAreTheLowestFreeAndOutliveMasters(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	number := func(s server, name string) int {
		t.Helper()
		if _, err := s.join("e-"+name, name, ""); err != nil {
			t.Fatal(err)
		}
		return s.groupOper(name).Endpoints[0].EndpointGroupID
	}
	for i, name := range []string{"a", "b", "c"} {
		s.must(s.group(name, ""))
		if n := number(s, name); n != i+1 {
			t.Errorf("group %s has number %d, want %d", name, n, i+1)
		}
	}
	s.must(s.drop(api.Endpoints, "e-b"))
	s.must(s.drop(api.EndpointGroups, "default:b"))
	s.stop()
	s = serve(t, mem, master.Options{})
	for i, name := range []string{"x", "y"} {
		s.must(s.group(name, ""))
		if n, want := number(s, name), []int{2, 4}[i]; n != want {
			t.Errorf("group %s has number %d, want %d", name, n, want)
		}
	}
}

// Whichever comes first: no address of a pool is another's, and no number is given twice.
func TestPoolAndAddressesAreNeverGivenTwice(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	masters := []server{serve(t, mem, master.Options{}), serve(t, mem, master.Options{})}
	s := masters[0]
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	for round := range 20 {
		var all sync.WaitGroup
		errs := make([]error, 6)
		addrs := make([]string, 6)
		all.Go(func() { errs[0] = masters[1].group("pool", "10.1.1.2-10.1.1.4") })
		for i := 1; i < 6; i++ {
			all.Go(func() { addrs[i], errs[i] = masters[i%2].join(fmt.Sprint("e", i), "", "") })
		}
		all.Wait()
		for i, err := range errs {
			if err != nil && (i > 0 || !errors.Is(err, model.ErrExists)) {
				t.Fatalf("round %d: %d: %v", round, i, err)
			}
			if in := strings.Contains("10.1.1.2 10.1.1.3 10.1.1.4", addrs[i]); i > 0 && errs[0] == nil && in {
				t.Fatalf("round %d: endpoint %d has %s of the pool", round, i, addrs[i])
			}
		}
		for i := 1; i < 6; i++ {
			s.must(s.drop(api.Endpoints, fmt.Sprint("e", i)))
		}
		if errs[0] == nil {
			s.must(s.drop(api.EndpointGroups, "default:pool"))
		}
	}
}
