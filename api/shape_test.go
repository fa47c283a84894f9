// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// A shape's way: its JSON, what it asks for, and how that is shown.
type roundTrip struct {
	name string
	seed string // a full one
	// through reads JSON as a client sends it and gives what is shown of it; asked is nil where it is refused.
	through func(b []byte) (asked, shown any, err error)
}

func roundTripOf[S interface{ Model() (M, error) }, M any](name string, shownAs func(M) S, seed string) roundTrip {
	return roundTrip{name, seed, func(b []byte) (any, any, error) {
		var s S
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&s); err != nil {
			return nil, nil, err
		}
		m, err := s.Model()
		if err != nil {
			return nil, nil, err
		}
		return m, shownAs(m), nil
	}}
}

var roundTrips = []roundTrip{
	roundTripOf("tenant", TenantOf, `{"tenantName":"blue","defaultNetwork":"n"}`),
	roundTripOf("network", NetworkOf, `{"tenantName":"default","networkName":"n","nwType":"infra","encap":"vlan","pktTag":7,"subnet":"10.1.1.10-10.1.1.20/24","gateway":"10.1.1.1","ipv6Subnet":"2001:db8::/64","ipv6Gateway":"2001:db8::1","cfgdTag":"x","reserved":["10.1.1.12"],"internal":true,"origin":"docker"}`),
	roundTripOf("endpointGroup", EndpointGroupOf, `{"tenantName":"blue","groupName":"web","networkName":"n","policies":["p","q"],"netProfile":"slow","ipPool":"10.1.1.10-10.1.1.20","cfgdTag":"x","extContractsGrps":["c"]}`),
	roundTripOf("policy", PolicyOf, `{"tenantName":"blue","policyName":"p","audit":true}`),
	roundTripOf("rule in", RuleOf, `{"tenantName":"blue","policyName":"p","ruleId":"1","direction":"in","priority":10,"action":"deny","protocol":"tcp","port":80,"fromEndpointGroup":"g","fromIpAddress":"10.1.1.0/24","toIpAddress":"10.1.1.5"}`),
	roundTripOf("rule out", RuleOf, `{"tenantName":"blue","policyName":"p","ruleId":"2","direction":"out","action":"allow","protocol":"ICMP","toNetwork":"n"}`),
	roundTripOf("netprofile", NetprofileOf, `{"tenantName":"blue","profileName":"slow","bandwidth":"10 mbps","ingressBandwidth":"20 mbps","burst":80,"DSCP":10}`),
	roundTripOf("serviceLB", ServiceLBOf, `{"tenantName":"blue","serviceName":"web","networkName":"n","ipAddress":"10.1.1.9","selectors":["tier=front","app=web"],"ports":["80:8080:tcp","53:53:UDP"],"affinity":true,"healthCheck":"http:/ready"}`),
	roundTripOf("Bgp", BGPOf, `{"hostname":"host1","routerip":"50.1.1.1/24","as":"65535.1","neighbor":"50.1.1.2","neighbor-as":"500","routerip6":"2001:db8::1/64","more-neighbors":[{"neighbor":"2001:db8::2","neighbor-as":"500"}],"password":"s3cret","hold-time":9,"keepalive":3,"announce":"subnets"}`),
	roundTripOf("appProfile", AppProfileOf, `{"tenantName":"blue","appProfileName":"shop","endpointGroups":["web","db"]}`),
	roundTripOf("extContractsGroup", ExtContractsGroupOf, `{"tenantName":"blue","contractsGroupName":"c","contractsType":"provided","contracts":["uni/tn-common/brc-x"]}`),
	roundTripOf("aciGw", ACIGatewayOf, `{"name":"aciGw","pathBindings":"topology/pod-1/paths-101/pathep-[eth1/14]","nodeBindings":"topology/pod-1/node-101","physicalDomain":"d","enforcePolicies":"no","includeCommonTenant":"yes"}`),
	roundTripOf("endpoint", EndpointOf, `{"endpointID":"e","tenantName":"blue","networkName":"n","groupName":"web","homingHost":"h","intfName":"vvport1","ipv4Address":"10.1.1.2","ipv6Address":"2001:db8::2","macAddress":"02:02:0a:01:01:02","runtime":"docker","containerID":"c","containerName":"n","aliases":["a"],"labels":{"k":"v"},"unhealthy":["blue:web"],"stopping":true}`),
	roundTripOf("node", NodeOf, `{"nodeName":"h","vtepIP":"192.168.2.10","ctrlIP":"192.168.2.11","vxlanPort":4789,"mtu":1500,"version":"1"}`),
}

// unchanged sends what is shown back as a client does that GETs, edits and PUTs.
func (r roundTrip) unchanged(t *testing.T, b []byte) {
	t.Helper()
	asked, shown, err := r.through(b)
	if err != nil {
		return
	}
	text, err := json.Marshal(shown)
	if err != nil {
		t.Fatalf("%s %s cannot be shown: %v", r.name, b, err)
	}
	again, shownAgain, err := r.through(text)
	if err != nil || !same(again, asked) {
		t.Fatalf("%s %s asks for %+v and is shown as %s, which asks for %+v (%v)", r.name, b, asked, text, again, err)
	}
	if twice, err := json.Marshal(shownAgain); err != nil || !bytes.Equal(twice, text) {
		t.Fatalf("%s is shown as %s, then as %s (%v)", r.name, text, twice, err)
	}
}

// same tells whether two objects are the same in the store: an empty list there is none.
func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func TestShapesComeBackFromTheModelAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, r := range roundTrips {
		if _, _, err := r.through([]byte(r.seed)); err != nil {
			t.Errorf("%s: %v", r.name, err)
		}
		r.unchanged(t, []byte(r.seed))
	}
}

// v1's clients send the whole object back, links and key included.
func TestEveryFieldOfTheSeedsIsShown(t *testing.T) {
	t.Parallel()
	for _, r := range roundTrips {
		_, shown, err := r.through([]byte(r.seed))
		if err != nil {
			t.Fatal(err)
		}
		v := reflect.ValueOf(shown)
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			given := strings.Contains(r.seed, `"`+name+`"`)
			if given && v.Field(i).IsZero() {
				t.Errorf("%s: %s is lost", r.name, name)
			}
		}
	}
}

func FuzzShapes(f *testing.F) {
	for i, r := range roundTrips {
		f.Add(uint8(i), []byte(r.seed))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		roundTrips[int(which)%len(roundTrips)].unchanged(t, b)
	})
}

func FuzzAS(f *testing.F) {
	for _, seed := range []string{"", "65001", "65535.1", "0", "0.0", "4294967295", "4294967296", "1.65536"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		as, err := parseAS("as", text)
		if err != nil {
			var refusal *model.Error
			if !errors.As(err, &refusal) || refusal.Field != "as" {
				t.Fatalf("%q is refused with %v", text, err)
			}
			return
		}
		if again, err := parseAS("as", asText(as)); err != nil || again != as || (as == 0) != (text == "") {
			t.Fatalf("%q is read as %d, and that as %d (%v)", text, as, again, err)
		}
	})
}

func TestAutonomousSystemsHaveFourBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint32{"": 0, "1": 1, "65001": 65001, "4294967295": 4294967295, "0.1": 1, "1.0": 65536, "65535.65535": 4294967295} {
		if got, err := parseAS("as", text); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
		}
	}
	for _, bad := range []string{"0", "0.0", "-1", "4294967296", "65536.1", "1.65536", "1.2.3", "AS65001", "65001 ", "x", "1.", ".1", "1e3"} {
		if got, err := parseAS("neighbor-as", bad); err == nil || !strings.Contains(err.Error(), "neighbor-as") {
			t.Errorf("%q is taken for %d: %v", bad, got, err)
		}
	}
}

// What is wrong in a shape alone is refused by the JSON name of the field.
func TestShapesRefuseByField(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		shape, body, field string
	}{
		{"network", `{"tenantName":"t","networkName":"n","subnet":"10.1.1.0"}`, "subnet"},
		{"network", `{"tenantName":"t","networkName":"n","subnet":"10.1.1.0/24","gateway":"10.1.1.255"}`, "gateway"},
		{"network", `{"tenantName":"t","networkName":"n","subnet":"10.1.1.0/24","gateway":"10.1.1.0"}`, "gateway"},
		{"network", `{"tenantName":"t","networkName":"n","ipv6Subnet":"2001:db8::/64","ipv6Gateway":"2001:db9::1"}`, "ipv6Gateway"},
		{"network", `{"tenantName":"t","networkName":"n","subnet":"10.1.1.0/24","origin":"me"}`, "origin"},
		{"endpointGroup", `{"tenantName":"t","groupName":"g","networkName":"n","ipPool":"10.1.1.0/24"}`, "ipPool"},
		{"endpointGroup", `{"tenantName":"t","groupName":"g"}`, "networkName"},
		{"rule in", `{"tenantName":"t","policyName":"p","ruleId":"1","direction":"in","action":"allow","fromIpAddress":"10.1.1"}`, "fromIpAddress"},
		{"rule in", `{"tenantName":"t","policyName":"p","ruleId":"1","direction":"in","action":"allow","toIpAddress":"10.1.1"}`, "toIpAddress"},
		{"rule in", `{"tenantName":"t","policyName":"p","ruleId":"1","direction":"in","action":"allow","priority":-1}`, "priority"},
		{"serviceLB", `{"tenantName":"t","serviceName":"s","networkName":"n","selectors":["a"],"ports":["80:80:TCP"]}`, "selectors"},
		{"serviceLB", `{"tenantName":"t","serviceName":"s","networkName":"n","selectors":["a=b","a=c"],"ports":["80:80:TCP"]}`, "selectors"},
		{"serviceLB", `{"tenantName":"t","serviceName":"s","networkName":"n","selectors":["a=b"],"ports":["80:80:TCP","81"]}`, "ports"},
		{"serviceLB", `{"tenantName":"t","serviceName":"s","networkName":"n","selectors":["a=b"],"ports":["80:80:TCP"],"ipAddress":"10.1.1"}`, "ipAddress"},
		{"serviceLB", `{"tenantName":"t","serviceName":"s","networkName":"n","selectors":["a=b"],"ports":["80:80:TCP"],"healthCheck":"https"}`, "healthCheck"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1"}`, "routerip"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"x"}`, "as"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24"}`, "as"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","neighbor":"50.1.1.2","neighbor-as":"-1"}`, "neighbor-as"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","neighbor":"router","neighbor-as":"1"}`, "neighbor"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","more-neighbors":[{"neighbor":"50.1.1.2"}]}`, "more-neighbors"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","more-neighbors":[{}]}`, "more-neighbors"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","more-neighbors":[{"neighbor":"router","neighbor-as":"2"}]}`, "more-neighbors"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","more-neighbors":[{"neighbor":"50.1.1.2","neighbor-as":"x"}]}`, "more-neighbors"},
		{"Bgp", `{"hostname":"h","routerip":"50.1.1.1/24","as":"1","routerip6":"2001:db8::1"}`, "routerip6"},
		{"aciGw", `{"enforcePolicies":"maybe"}`, "enforcePolicies"},
	} {
		for _, r := range roundTrips {
			if r.name != row.shape {
				continue
			}
			_, _, err := r.through([]byte(row.body))
			var refusal *model.Error
			if !errors.As(err, &refusal) || refusal.Field != row.field || !errors.Is(err, model.ErrInvalid) {
				t.Errorf("%s: %v, want a refusal of %s", row.body, err, row.field)
			}
		}
	}
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	t.Parallel()
	n, err := Network{TenantName: "t", NetworkName: "n", Subnet: "10.1.1.0/24"}.Model()
	if err != nil || n.Type != model.NetworkData || n.Encap != model.EncapVXLAN {
		t.Errorf("network %+v, %v", n, err)
	}
	r, err := Rule{TenantName: "t", PolicyName: "p", RuleID: "1", Direction: "in", Action: "allow"}.Model()
	if err != nil || r.Priority != 1 {
		t.Errorf("rule %+v, %v", r, err)
	}
	g, err := ACIGateway{}.Model()
	if err != nil || g.EnforcePolicies != "yes" || g.IncludeCommonTenant != "no" {
		t.Errorf("gateway %+v, %v", g, err)
	}
}
