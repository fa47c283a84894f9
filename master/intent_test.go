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
	"github.com/contivnet/contiv/model"
)

func TestTenantWithNetworksStays(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.Tenants, "blue"), api.Tenant{})
	s.network("blue:net", "10.1.1.0/24", "")
	_, err := s.client.Delete(t.Context(), api.ObjectPath(api.Tenants, "blue"))
	refused(t, err, model.ErrInUse, "tenantName", "cannot delete blue has 1 network", "netctl net rm")
	_, err = s.client.Delete(t.Context(), api.ObjectPath(api.Tenants, "default"))
	refused(t, err, model.ErrInvalid, "tenantName", "default")
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "blue:net")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Tenants, "blue")); err != nil {
		t.Fatal(err)
	}
	refused(t, s.client.Get(t.Context(), api.ObjectPath(api.Tenants, "blue"), nil), model.ErrNotFound, "tenantName", "blue")
}

func TestTenantCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.Tenants, "blue"), api.Tenant{DefaultNetwork: "a"})
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.Tenants, "blue"), api.Tenant{DefaultNetwork: "b"}, nil)
	refused(t, err, model.ErrExists, "defaultNetwork", `"a"`)
}

func TestTenantInspectionCounts(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	for i := range 3 {
		if _, err := s.attach(fmt.Sprint("e", i), "n1", ""); err != nil {
			t.Fatal(err)
		}
	}
	var got api.TenantInspect
	if err := s.client.Get(t.Context(), api.InspectPath(api.Tenants, "default"), &got); err != nil {
		t.Fatal(err)
	}
	if got.Oper.TotalNetworks != 1 || got.Oper.TotalEndpoints != 3 || len(got.Oper.Endpoints) != 3 || got.Config.LinkSets["Networks"]["default:net"].Type != "network" {
		t.Errorf("got %+v", got)
	}
}

func TestNetworkIsCheckedAgainstTheOthers(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.Tenants, "blue"), api.Tenant{})
	s.put(api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.1.1.0/24", IPv6Subnet: "2001:db8:1::/64", PktTag: 100})
	s.network("default:low", "10.2.1.10-10.2.1.20/24", "")
	for _, row := range []struct {
		key   string
		n     api.Network
		kind  error // nil: accepted
		field string
		words []string
	}{
		{"default:x", api.Network{Subnet: "10.1.1.128/25"}, model.ErrExists, "subnet", []string{"network net conflicts with subnet", "10.1.1.128/25"}},
		{"default:x", api.Network{Subnet: "10.1.0.0/16"}, model.ErrExists, "subnet", []string{"conflicts"}},
		{"default:x", api.Network{Subnet: "10.9.1.0/24", IPv6Subnet: "2001:db8:1::/80"}, model.ErrExists, "ipv6Subnet", []string{"conflicts with subnetv6"}},
		{"default:x", api.Network{Subnet: "10.2.1.20-10.2.1.30/24"}, model.ErrExists, "subnet", []string{"network low conflicts"}},
		{"default:high", api.Network{Subnet: "10.2.1.21-10.2.1.30/24"}, nil, "", nil},
		{"blue:net", api.Network{Subnet: "10.1.1.0/24"}, nil, "", nil},
		{"red:net", api.Network{Subnet: "10.1.1.0/24"}, model.ErrNotFound, "tenantName", []string{"red"}},
		{"default:x", api.Network{Subnet: "10.3.1.0/24", PktTag: 100}, model.ErrExists, "pktTag", []string{"100", "default:net"}},
		{"default:x", api.Network{Subnet: "10.3.1.0/24", PktTag: 20000}, model.ErrInvalid, "pktTag", []string{"1-10000"}},
		{"default:x", api.Network{Subnet: "10.3.1.0/24", PktTag: 5000, Encap: "vlan"}, model.ErrInvalid, "pktTag", []string{"1-4094"}},
		{"default:vlan", api.Network{Subnet: "10.3.1.0/24", PktTag: 100, Encap: "vlan"}, nil, "", nil},
		{"default:x", api.Network{Subnet: "10.4.1.0/32"}, model.ErrInvalid, "subnet", []string{"/32"}},
		{"default:x", api.Network{Subnet: "10.4.1.0/24", Gateway: "10.5.1.1"}, model.ErrInvalid, "gateway", []string{"10.5.1.1"}},
		{"default:x", api.Network{Subnet: "10.4.1.0/24", Encap: "gre"}, model.ErrInvalid, "encap", []string{"gre", "vxlan"}},
		{"default:x", api.Network{Subnet: "10.4.1.0/24", NwType: "odd"}, model.ErrInvalid, "nwType", []string{"odd"}},
		{"default:x", api.Network{}, model.ErrInvalid, "subnet", []string{"empty"}},
		{"default:-x", api.Network{Subnet: "10.4.1.0/24"}, model.ErrInvalid, "networkName", []string{"-x"}},
		{"default:x", api.Network{Subnet: "10.4.1.0/24", Origin: "me"}, model.ErrInvalid, "origin", nil},
		{"default:x", api.Network{Subnet: "10.4.1.0/24", Reserved: many(101)}, model.ErrInvalid, "reserved", []string{"100"}},
	} {
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Networks, row.key), row.n, nil)
		if row.kind == nil {
			if err != nil {
				t.Errorf("%s %+v: %v", row.key, row.n, err)
			}
			continue
		}
		refused(t, err, row.kind, row.field, row.words...)
	}
}

// many are addresses of 10.4.1.0/24.
func many(n int) (out []netip.Addr) {
	for i := range n {
		out = append(out, netip.AddrFrom4([4]byte{10, 4, 1, byte(i + 1)}))
	}
	return out
}

func TestNetworkCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := alone(t)
	path := api.ObjectPath(api.Networks, "default:net")
	n := api.Network{Subnet: "10.1.1.0/24", Gateway: "10.1.1.254", Reserved: []netip.Addr{netip.MustParseAddr("10.1.1.9"), netip.MustParseAddr("10.1.1.8")}}
	first := s.put(path, n)
	n.Reserved[0], n.Reserved[1] = n.Reserved[1], n.Reserved[0] // the order means nothing
	if again := s.put(path, n); again != first {
		t.Errorf("the same again is revision %d after %d", again, first)
	}
	for field, change := range map[string]func(*api.Network){
		"subnet": func(n *api.Network) { n.Subnet = "10.1.0.0/16" }, "gateway": func(n *api.Network) { n.Gateway = "10.1.1.253" },
		"encap": func(n *api.Network) { n.Encap = "vlan" }, "pktTag": func(n *api.Network) { n.PktTag = 7 },
		"reserved": func(n *api.Network) { n.Reserved = nil }, "networkName": func(n *api.Network) { n.Origin = "docker" },
	} {
		other := n
		change(&other)
		_, err := s.client.Put(t.Context(), path, other, nil)
		refused(t, err, model.ErrExists, field, "default:net")
	}
}

func TestTagsAreTheLowestFree(t *testing.T) {
	t.Parallel()
	s := alone(t)
	tag := func(name, subnet string, asked uint32) uint32 {
		t.Helper()
		s.put(api.ObjectPath(api.Networks, "default:"+name), api.Network{Subnet: subnet, PktTag: asked})
		return s.inspect("default:" + name).ExternalPktTag
	}
	if a, b, c := tag("a", "10.1.1.0/24", 0), tag("b", "10.1.2.0/24", 2), tag("c", "10.1.3.0/24", 0); a != 1 || b != 2 || c != 3 {
		t.Errorf("tags are %d, %d, %d", a, b, c)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:a")); err != nil {
		t.Fatal(err)
	}
	if d := tag("d", "10.1.4.0/24", 0); d != 1 {
		t.Errorf("a tag that came free is not given again: %d", d)
	}
	var n api.Network
	if err := s.client.Get(t.Context(), api.ObjectPath(api.Networks, "default:d"), &n); err != nil || n.PktTag != 0 {
		t.Errorf("the tag asked for reads %d, %v", n.PktTag, err)
	}
	s.put(api.ObjectPath(api.Globals, "global"), api.Global{Vxlans: "1-3"})
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.Networks, "default:e"), api.Network{Subnet: "10.1.5.0/24"}, nil)
	refused(t, err, model.ErrInUse, "pktTag", "no vxlans available", "1-3")
}

func TestDryRunChecksAndWritesNothing(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "")
	path := api.ObjectPath(api.Networks, "default:x") + "?dry-run=true"
	_, err := s.client.Put(t.Context(), path, api.Network{Subnet: "10.1.1.0/25"}, nil)
	refused(t, err, model.ErrExists, "subnet", "conflicts")
	s.put(path, api.Network{Subnet: "10.2.1.0/24"})
	refused(t, s.client.Get(t.Context(), api.ObjectPath(api.Networks, "default:x"), nil), model.ErrNotFound, "networkName")
}

func TestNetworkInspectionReadsAsInTheOriginal(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.put(api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.1.1.0/24", Gateway: "10.1.1.254", Reserved: []netip.Addr{netip.MustParseAddr("10.1.1.100")}})
	empty := s.inspect("default:net")
	if empty.AllocatedIPAddresses != "10.1.1.100, 10.1.1.254" || empty.AvailableIPAddresses != "10.1.1.1-10.1.1.99, 10.1.1.101-10.1.1.253" ||
		empty.AllocatedAddressesCount != 0 || empty.NetworkTag != "net.default" || empty.PktTag != 1 || empty.ExternalPktTag != 1 {
		t.Errorf("an empty network: %+v", empty)
	}
	for _, id := range []string{"aaa", "bbb"} {
		if _, err := s.attach(id, "n1", ""); err != nil {
			t.Fatal(err)
		}
	}
	oper := s.inspect("default:net")
	if oper.AllocatedIPAddresses != "10.1.1.1-10.1.1.2, 10.1.1.100, 10.1.1.254" || oper.AllocatedAddressesCount != 2 || oper.NumEndpoints != 2 {
		t.Errorf("with endpoints: %+v", oper)
	}
	want := api.EndpointOper{
		ContainerName: "c-aaa", EndpointID: "aaa", HomingHost: "n1", IntfName: "vvport1", IPAddress: [2]string{"10.1.1.1", ""},
		Labels: "map[]", MACAddress: "02:02:0a:01:01:01", Network: "net.default", VirtualPort: "vvvport1", VtepIP: "192.168.2.10", NodeState: "up",
	}
	if oper.Endpoints[0] != want {
		t.Errorf("endpoint is %+v", oper.Endpoints[0])
	}
}

func TestNetworkWithEndpointsStays(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	for i := range 4 {
		if _, err := s.attach(fmt.Sprint("e", i), "n1", ""); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net"))
	refused(t, err, model.ErrInUse, "networkName", "4 endpoints", "container c-e0 on node n1", "c-e2", "…")
	if strings.Contains(err.Error(), "c-e3") {
		t.Errorf("more than three are named: %v", err)
	}
	for i := range 4 {
		if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, fmt.Sprint("e", i))); err != nil {
			t.Fatal(err)
		}
	}
	hold := api.AddressRequest{Node: "n1"}
	if _, err := s.client.Post(t.Context(), api.AddressesPath("default:net"), hold, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net")); err != nil {
		t.Fatalf("a held address keeps the network: %v", err)
	}
	s.network("default:net", "10.1.1.0/24", "")
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "" {
		t.Errorf("addresses outlived their network: %+v", oper)
	}
}

// Whichever comes first: no endpoint is left on a network that has gone.
func TestNetworkIsNotDeletedUnderAnEndpoint(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	for round := range 30 {
		s.network("default:net", "10.1.1.0/24", "")
		var both sync.WaitGroup
		var attached, deleted error
		both.Go(func() { _, attached = s.attach("e", "n1", "") })
		both.Go(func() { _, deleted = s.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net")) })
		both.Wait()
		if (attached == nil) == (deleted == nil) {
			t.Fatalf("round %d: attached: %v; deleted: %v", round, attached, deleted)
		}
		if attached != nil && !errors.Is(attached, model.ErrNotFound) || deleted != nil && !errors.Is(deleted, model.ErrInUse) {
			t.Fatalf("round %d: attached: %v; deleted: %v", round, attached, deleted)
		}
		for _, path := range []string{api.ObjectPath(api.Endpoints, "e"), api.ObjectPath(api.Networks, "default:net")} {
			if _, err := s.client.Delete(t.Context(), path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestGlobalChangesOnlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	s := alone(t)
	path := api.ObjectPath(api.Globals, "global")
	s.put(path, api.Global{Vxlans: "1-500"})
	s.put(path, api.Global{FwdMode: "bridge"})
	var g api.Global
	if err := s.client.Get(t.Context(), path, &g); err != nil || g.Vxlans != "1-500" || g.FwdMode != "bridge" || g.PvtSubnet.String() != "172.19.0.0/16" {
		t.Errorf("global is %+v, %v", g, err)
	}
	s.put(api.ObjectPath(api.Networks, "default:a"), api.Network{Subnet: "10.1.1.0/24", PktTag: 400})
	for field, change := range map[string]api.Global{
		"fwdMode": {FwdMode: "routing"}, "vxlans": {Vxlans: "1-399"}, "pvtSubnet": {PvtSubnet: netip.MustParsePrefix("172.20.0.0/16")},
	} {
		_, err := s.client.Put(t.Context(), path, change, nil)
		refused(t, err, model.ErrInUse, field, "due to existing")
	}
	for field, change := range map[string]api.Global{
		"fwdMode": {FwdMode: "x"}, "vlans": {Vlans: "1-5000"}, "vxlans": {Vxlans: "9-1"}, "arpMode": {ArpMode: "x"}, "networkInfraType": {NetworkInfraType: "x"},
	} {
		_, err := s.client.Put(t.Context(), path, change, nil)
		refused(t, err, model.ErrInvalid, field)
	}
	for _, row := range []struct {
		change      api.Global
		field, word string
	}{
		{api.Global{Vlans: "1-5000"}, "vlans", "values exceed 4094 max allowed"}, {api.Global{Vlans: "0-4094"}, "vlans", "values less than 1"},
		{api.Global{Vlans: "1"}, "vlans", "1-4094"}, {api.Global{Vlans: "1?2"}, "vlans", "1?2"}, {api.Global{Vlans: "abcd"}, "vlans", "abcd"},
		{api.Global{Vlans: "20-10"}, "vlans", "min is greater than max"}, {api.Global{Vxlans: "1-100000"}, "vxlans", "values exceed 65535 max allowed"},
		{api.Global{Vxlans: "1-20000"}, "vxlans", "does not allow vxlan range to exceed 16000 range"},
		{api.Global{PvtSubnet: netip.MustParsePrefix("172.20.0.0/24")}, "pvtSubnet", "/16"}, {api.Global{NetworkInfraType: "x"}, "networkInfraType", "invalid fabric mode"},
	} {
		_, err := s.client.Put(t.Context(), path, row.change, nil)
		refused(t, err, model.ErrInvalid, row.field, row.word)
	}
	s.put(path, api.Global{Vxlans: "400-400"})
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.Globals, "other"), api.Global{}, nil)
	refused(t, err, model.ErrInvalid, "name", "other")
	var in struct{ Oper map[string]any }
	if err := s.client.Get(t.Context(), api.InspectPath(api.Globals, "global"), &in); err != nil || in.Oper["vxlansInUse"] != "400" {
		t.Errorf("inspection: %v, %v", in, err)
	}
}

func TestNetworksAndThePrivateSubnetKeepApart(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, subnet := range []string{"172.19.3.0/24", "172.0.0.0/8", "172.19.1.10-172.19.1.20/24"} {
		refused(t, s.try(api.Networks, "default:a", api.Network{Subnet: subnet}), model.ErrExists, "subnet", subnet, "172.19.0.0/16", "private subnet")
	}
	private := api.Global{PvtSubnet: netip.MustParsePrefix("10.7.0.0/16")}
	_, err := s.apply("", object(api.Networks, api.Network{TenantName: "default", NetworkName: "a", Subnet: "10.7.1.0/24"}), object(api.Globals, private))
	refused(t, err, model.ErrExists, "subnet", "10.7.1.0/24", "10.7.0.0/16")
	s.must(s.try(api.Networks, "default:six", api.Network{IPv6Subnet: "2001:db8::/64"}))
	s.must(s.try(api.Networks, "default:a", api.Network{Subnet: "10.7.1.0/24"}))
	refused(t, s.try(api.Globals, "global", private), model.ErrInUse, "pvtSubnet", "due to existing")
}

func TestForwardingModeStaysWhileNodesSpeakBGP(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.put(api.ObjectPath(api.BGPs, "n1"), api.BGP{RouterIP: "50.1.1.1/24", AS: "65001"})
	_, err := s.client.Put(t.Context(), api.ObjectPath(api.Globals, "global"), api.Global{FwdMode: "bridge"}, nil)
	refused(t, err, model.ErrInUse, "fwdMode", "please delete existing Bgp configs")
}

// Networks made at once get different tags, each the lowest that was free.
func TestTagsAreGivenOnce(t *testing.T) {
	t.Parallel()
	s := alone(t)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if _, err := s.client.Put(t.Context(), api.ObjectPath(api.Networks, fmt.Sprint("default:n", i)), api.Network{Subnet: fmt.Sprintf("10.%d.0.0/16", i)}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var in struct{ Oper map[string]any }
	if err := s.client.Get(t.Context(), api.InspectPath(api.Globals, "global"), &in); err != nil || in.Oper["vxlansInUse"] != "1-16" {
		t.Errorf("tags in use: %v, %v", in.Oper, err)
	}
}
