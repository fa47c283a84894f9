// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"fmt"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func TestRuleIsChecked(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.group("web", ""))
	in := func(r api.Rule) api.Rule { r.Direction, r.Action = "in", "allow"; return r }
	out := func(r api.Rule) api.Rule { r.Direction, r.Action = "out", "allow"; return r }
	for _, row := range []struct {
		key   string
		r     api.Rule
		kind  error
		field string
		word  string
	}{
		{"default:p:1", in(api.Rule{ToEndpointGroup: "web"}), model.ErrInvalid, "direction", "can not specify 'to' parameters in incoming rule"},
		{"default:p:1", in(api.Rule{ToNetwork: "net"}), model.ErrInvalid, "direction", "can not specify 'to' parameters in incoming rule"},
		{"default:p:1", in(api.Rule{FromNetwork: "net", FromIPAddress: "10.1.1.5"}), model.ErrInvalid, "fromIpAddress", "can not specify both from network and from ip address"},
		{"default:p:1", in(api.Rule{FromNetwork: "net", FromEndpointGroup: "web"}), model.ErrInvalid, "fromNetwork", "can not specify both from network and from EndpointGroup"},
		{"default:p:1", out(api.Rule{FromEndpointGroup: "web"}), model.ErrInvalid, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"default:p:1", out(api.Rule{FromNetwork: "net"}), model.ErrInvalid, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"default:p:1", out(api.Rule{FromIPAddress: "10.1.1.5"}), model.ErrInvalid, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"default:p:1", out(api.Rule{ToNetwork: "net", ToIPAddress: "10.1.1.5"}), model.ErrInvalid, "toIpAddress", "can not specify both to-network and to-ip address"},
		{"default:p:1", out(api.Rule{ToNetwork: "net", ToEndpointGroup: "web"}), model.ErrInvalid, "toNetwork", "can not specify both to-network and to-EndpointGroup"},
		{"default:p:1", api.Rule{Direction: "both", Action: "allow"}, model.ErrInvalid, "direction", "invalid direction for the rule"},
		{"default:p:1", api.Rule{Direction: "in", Action: "log"}, model.ErrInvalid, "action", "log"},
		{"default:p:1", in(api.Rule{Priority: 101}), model.ErrInvalid, "priority", "101"},
		{"default:p:1", in(api.Rule{Protocol: "igmp"}), model.ErrInvalid, "protocol", "igmp"},
		{"default:p:1", in(api.Rule{Protocol: "icmp", Port: 80}), model.ErrInvalid, "port", "80"},
		{"default:p:1", in(api.Rule{FromIPAddress: "10.1.1.500"}), model.ErrInvalid, "fromIpAddress", "10.1.1.500"},
		{"default:p:1_", in(api.Rule{}), model.ErrInvalid, "ruleId", "1_"},
		{"default:p", in(api.Rule{}), model.ErrInvalid, "key", "tenant:policy:rule"},
		{"default:q:1", in(api.Rule{}), model.ErrNotFound, "policyName", "Policy not found"},
		{"red:p:1", in(api.Rule{}), model.ErrNotFound, "policyName", "Policy not found"},
		{"default:p:1", in(api.Rule{FromEndpointGroup: "none"}), model.ErrNotFound, "fromEndpointGroup", "endpoint group not found"},
		{"default:p:1", out(api.Rule{ToEndpointGroup: "none"}), model.ErrNotFound, "toEndpointGroup", "endpoint group not found"},
		{"default:p:1", in(api.Rule{FromNetwork: "none"}), model.ErrNotFound, "fromNetwork", "from Network not found"},
		{"default:p:1", out(api.Rule{ToNetwork: "none"}), model.ErrNotFound, "toNetwork", "to Network not found"},
	} {
		refused(t, s.try(api.Rules, row.key, row.r), row.kind, row.field, row.word)
	}
	for i, r := range []api.Rule{
		in(api.Rule{}), in(api.Rule{Protocol: "tcp", Port: 80, Priority: 100}), in(api.Rule{Protocol: "112"}),
		in(api.Rule{FromEndpointGroup: "web", FromIPAddress: "10.1.1.5"}), in(api.Rule{ToIPAddress: "10.1.1.0/28"}), in(api.Rule{FromIPAddress: "2001:db8::/32"}),
		out(api.Rule{ToEndpointGroup: "web"}), out(api.Rule{ToNetwork: "net"}),
	} {
		if err := s.try(api.Rules, fmt.Sprint("default:p:r", i), r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	var list []api.Rule
	if s.must(s.client.Get(t.Context(), api.ListPath(api.Rules), &list)); len(list) != 8 || list[0].RuleID != "r0" || list[0].Priority != 1 {
		t.Errorf("rules are %+v", list)
	}
}

func TestRuleCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	r := api.Rule{Direction: "in", Action: "deny", Protocol: "tcp", Port: 80}
	path := api.ObjectPath(api.Rules, "default:p:1")
	first := s.put(path, r)
	if again := s.put(path, r); again != first {
		t.Errorf("the same again is revision %d after %d", again, first)
	}
	r.Port = 81
	refused(t, s.try(api.Rules, "default:p:1", r), model.ErrExists, "ruleId", "can not update a rule after its created", "netctl policy rule-rm")
	s.must(s.drop(api.Rules, "default:p:1"))
	if status, body, _ := s.raw("DELETE", path, ""); status != 404 {
		t.Errorf("deleted again: %d %s", status, body)
	}
	s.put(path, r)
}

func TestPolicyTakesItsRulesWithIt(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, p := range []string{"p", "p2"} {
		s.must(s.try(api.Policies, "default:"+p, api.Policy{}))
		s.must(s.try(api.Rules, "default:"+p+":1", api.Rule{Direction: "in", Action: "deny"}))
	}
	refused(t, s.try(api.Policies, "red:p", api.Policy{}), model.ErrNotFound, "tenantName", "red")
	s.must(s.drop(api.Policies, "default:p"))
	var list []api.Rule
	if s.must(s.client.Get(t.Context(), api.ListPath(api.Rules), &list)); len(list) != 1 || list[0].PolicyName != "p2" {
		t.Errorf("rules are %+v", list)
	}
}

func TestPolicyTellsWhereItTakesEffect(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	for i, g := range []string{"a", "b", "c"} {
		group := api.EndpointGroup{NetworkName: "net", Policies: []string{"p"}}
		if g == "c" {
			group.Policies = nil
		}
		s.must(s.try(api.EndpointGroups, "default:"+g, group))
		for j := range i + 1 {
			if _, err := s.join(fmt.Sprint(g, j), g, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got api.PolicyInspect
	s.must(s.client.Get(t.Context(), api.InspectPath(api.Policies, "default:p"), &got))
	if got.Oper.NumEndpoints != 3 || len(got.Oper.Endpoints) != 3 || got.Oper.Endpoints[0].EndpointID != "a0" {
		t.Errorf("got %+v", got.Oper)
	}
	audited := true
	s.put(api.ObjectPath(api.Policies, "default:p"), api.Policy{Audit: &audited})
	s.put(api.ObjectPath(api.Policies, "default:p"), api.Policy{}) // as a v1 client writes it, which knows no audit
	s.must(s.client.Get(t.Context(), api.InspectPath(api.Policies, "default:p"), &got))
	if !*got.Config.Audit {
		t.Error("the policy does not audit any more")
	}
}

func TestNetworkStaysWhileItIsNamed(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.group("web", ""))
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	s.must(s.try(api.Rules, "default:p:1", api.Rule{Direction: "out", Action: "deny", ToNetwork: "net"}))
	refused(t, s.drop(api.Networks, "default:net"), model.ErrInUse, "networkName", "cannot delete net has 1 endpoint group (web)")
	s.must(s.drop(api.EndpointGroups, "default:web"))
	refused(t, s.drop(api.Networks, "default:net"), model.ErrInUse, "networkName", "rule 1 of policy p")
	s.must(s.drop(api.Policies, "default:p"))
	s.must(s.drop(api.Networks, "default:net"))
}

func TestTenantSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.must(s.try(api.Tenants, "blue", api.Tenant{}))
	s.network("blue:net", "10.1.1.0/24", "")
	s.must(s.try(api.Policies, "blue:p", api.Policy{}))
	s.must(s.try(api.EndpointGroups, "blue:web", api.EndpointGroup{NetworkName: "net", Policies: []string{"p"}}))
	var got api.TenantInspect
	s.must(s.client.Get(t.Context(), api.InspectPath(api.Tenants, "blue"), &got))
	if o := got.Oper; o.TotalNetworks != 1 || o.TotalEPGs != 1 || o.TotalPolicies != 1 || len(o.Networks) != 1 || len(o.EndpointGroups) != 1 || len(o.Policies) != 1 {
		t.Errorf("the tenant is %+v", o)
	}
	for _, row := range []struct{ plural, key, text string }{
		{api.EndpointGroups, "blue:web", "cannot delete blue has 1 endpoint group (web)"},
		{api.Policies, "blue:p", "cannot delete blue has 1 policy (p)"},
		{api.Networks, "blue:net", "cannot delete blue has 1 network (net)"},
	} {
		refused(t, s.drop(api.Tenants, "blue"), model.ErrInUse, "tenantName", row.text, "netctl", "-t blue")
		s.must(s.drop(row.plural, row.key))
	}
	s.must(s.drop(api.Tenants, "blue"))
}
