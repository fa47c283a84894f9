// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// The names that the original refused, of every noun here.
func TestIllegalNamesAreRefused(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.must(s.try(api.Policies, "default:p", api.Policy{}))
	for _, name := range []string{
		"bad_name", "bad|name", `bad\name`, "bad#name", "bad@name", "bad!name", "bad~name", "bad*name", "bad^name", "bad/name", "-bad", "bad-", ".bad", "bad.", "bad name", "böse",
		strings.Repeat("x", 65),
	} {
		refused(t, s.try(api.Tenants, name, api.Tenant{}), model.ErrInvalid, "tenantName", "tenantName")
		refused(t, s.try(api.Tenants, "t", api.Tenant{DefaultNetwork: name}), model.ErrInvalid, "defaultNetwork", "defaultNetwork")
		refused(t, s.try(api.Networks, "default:"+name, api.Network{Subnet: "10.9.1.0/24"}), model.ErrInvalid, "networkName", "networkName")
		refused(t, s.try(api.EndpointGroups, "default:"+name, api.EndpointGroup{NetworkName: "net"}), model.ErrInvalid, "groupName", "groupName")
		refused(t, s.try(api.Rules, "default:p:"+name, api.Rule{Direction: "in", Action: "deny"}), model.ErrInvalid, "ruleId", "ruleId")
		refused(t, s.try(api.Rules, "default:p:1", api.Rule{Direction: "in", Action: "deny", FromEndpointGroup: name}), model.ErrInvalid, "fromEndpointGroup", "fromEndpointGroup")
		if strings.Contains(name, "_") { // in a policy's name it is fine: the tutorials have prod_web
			name = "_" + name
		}
		refused(t, s.try(api.EndpointGroups, "default:g", api.EndpointGroup{NetworkName: "net", Policies: []string{name}}), model.ErrInvalid, "policies", "policies")
		refused(t, s.try(api.Policies, "default:"+name, api.Policy{}), model.ErrInvalid, "policyName", "policyName")
	}
	for _, name := range []string{"a", "A1", "a-b", "a.b", "1", strings.Repeat("x", 64)} {
		s.must(s.try(api.Tenants, name, api.Tenant{}))
		s.must(s.try(api.Networks, name+":"+name, api.Network{Subnet: "10.9.1.0/24"}))
	}
	for _, name := range []string{"prod_web", "a__b"} {
		s.must(s.try(api.Policies, "default:"+name, api.Policy{}))
	}
}

func TestNoRangeGivesTheGatewayOfAnother(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		first, second api.Network
		field         string // "": both may be
	}{
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24", Gateway: "10.1.1.40"}, api.Network{Subnet: "10.1.1.30-10.1.1.40/24"}, "subnet"},
		{api.Network{Subnet: "10.1.1.30-10.1.1.40/24"}, api.Network{Subnet: "10.1.1.10-10.1.1.20/24", Gateway: "10.1.1.40"}, "gateway"},
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24", Gateway: "10.1.1.40"}, api.Network{Subnet: "10.1.1.30-10.1.1.40/24", Gateway: "10.1.1.40"}, ""},
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24", Gateway: "10.1.1.254"}, api.Network{Subnet: "10.1.1.30-10.1.1.40/24", Gateway: "10.1.1.253"}, ""},
		{api.Network{IPv6Subnet: "2001:db8::10-2001:db8::20/64", IPv6Gateway: "2001:db8::30"}, api.Network{IPv6Subnet: "2001:db8::30-2001:db8::40/64"}, "ipv6Subnet"},
	} {
		s := alone(t)
		s.must(s.try(api.Networks, "default:a", row.first))
		switch err := s.try(api.Networks, "default:b", row.second); {
		case row.field != "":
			refused(t, err, model.ErrExists, row.field, "gateway")
		case err != nil:
			t.Errorf("%+v beside %+v: %v", row.second, row.first, err)
		}
	}
}

// As the original's TestOverlappingSubnets, with IPv6 and ranges alike.
func TestSubnetsOverlapWithinATenantOnly(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		first, second api.Network
		field         string // "": both may be
	}{
		{api.Network{Subnet: "10.1.1.0/24"}, api.Network{Subnet: "10.1.1.0/24"}, "subnet"},
		{api.Network{Subnet: "10.1.1.0/24"}, api.Network{Subnet: "10.1.1.128/26"}, "subnet"},
		{api.Network{Subnet: "10.1.1.0/24"}, api.Network{Subnet: "10.0.0.0/8"}, "subnet"},
		{api.Network{Subnet: "10.1.1.0/24"}, api.Network{Subnet: "10.1.2.0/24"}, ""},
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24"}, api.Network{Subnet: "10.1.1.21-10.1.1.30/24"}, ""},
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24"}, api.Network{Subnet: "10.1.1.20-10.1.1.30/24"}, "subnet"},
		{api.Network{Subnet: "10.1.1.10-10.1.1.20/24"}, api.Network{Subnet: "10.1.1.0/24"}, "subnet"},
		{api.Network{IPv6Subnet: "2001:db8::/64"}, api.Network{IPv6Subnet: "2001:db8::/80"}, "ipv6Subnet"},
		{api.Network{IPv6Subnet: "2001:db8::/64"}, api.Network{IPv6Subnet: "2001:db8:0:1::/64"}, ""},
		{api.Network{IPv6Subnet: "2001:db8::10-2001:db8::20/64"}, api.Network{IPv6Subnet: "2001:db8::21-2001:db8::30/64"}, ""},
		{api.Network{IPv6Subnet: "2001:db8::10-2001:db8::20/64"}, api.Network{IPv6Subnet: "2001:db8::15/64"}, "ipv6Subnet"},
		{api.Network{Subnet: "10.1.1.0/24", IPv6Subnet: "2001:db8::/64"}, api.Network{Subnet: "10.1.2.0/24", IPv6Subnet: "2001:db8::/64"}, "ipv6Subnet"},
	} {
		s := alone(t)
		s.must(s.try(api.Tenants, "blue", api.Tenant{}))
		s.must(s.try(api.Networks, "default:a", row.first))
		s.must(s.try(api.Networks, "blue:a", row.second))
		err := s.try(api.Networks, "default:b", row.second)
		if row.field == "" {
			if err != nil {
				t.Errorf("%s%s beside %s%s: %v", row.second.Subnet, row.second.IPv6Subnet, row.first.Subnet, row.first.IPv6Subnet, err)
			}
			continue
		}
		refused(t, err, model.ErrExists, row.field, "network a conflicts with subnet")
	}
}
