// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// spoiled is an object made wrong in one way.
type spoiled[T any] struct {
	how   string
	spoil func(*T)
	field string // that the refusal is about
	word  string // that it says: the value, or what v1 said
}

// refuses checks that good is accepted and each of the others refused, by field and with a text that a user can act on.
func refuses[T interface{ Check() error }](t *testing.T, good T, rows []spoiled[T]) {
	t.Helper()
	if err := good.Check(); err != nil {
		t.Errorf("%+v is refused: %v", good, err)
	}
	for _, row := range rows {
		bad := good
		row.spoil(&bad)
		err := bad.Check()
		var refusal *Error
		if !errors.As(err, &refusal) || !errors.Is(err, ErrInvalid) || refusal.Field != row.field {
			t.Errorf("%s: %v, want a refusal of %s", row.how, err, row.field)
			continue
		}
		if !strings.Contains(refusal.Text, row.word) || refusal.Text == row.word {
			t.Errorf("%s: %q does not say %q and what to do", row.how, refusal.Text, row.word)
		}
	}
}

// accepts checks that each of the changed objects is right, too.
func accepts[T interface{ Check() error }](t *testing.T, good T, changes map[string]func(*T)) {
	t.Helper()
	for how, change := range changes {
		o := good
		change(&o)
		if err := o.Check(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// badNames are v1's illegal names.
var badNames = []string{"", "te|nant", "te_nant", "te:nant", "te/nant", `te\nant`, "te#nant", "te@nant", "te!nant", "te~nant", "te*nant", "te^nant", "-tenant", "tenant-", strings.Repeat("a", 65)}

func TestTenantsAreChecked(t *testing.T) {
	t.Parallel()
	good := Tenant{Name: "blue"}
	for _, name := range badNames {
		refuses(t, good, []spoiled[Tenant]{{"name " + name, func(t *Tenant) { t.Name = name }, "tenantName", ""}})
	}
	refuses(t, good, []spoiled[Tenant]{{"default network", func(t *Tenant) { t.DefaultNetwork = "a:b" }, "defaultNetwork", "a:b"}})
	accepts(t, good, map[string]func(*Tenant){"default network": func(t *Tenant) { t.DefaultNetwork = "contiv-net" }})
}

func TestNetworksAreChecked(t *testing.T) {
	t.Parallel()
	pool, err := ParsePool("10.1.1.0/24", "10.1.1.254", false)
	if err != nil {
		t.Fatal(err)
	}
	good := Network{Tenant: "blue", Name: "n", Type: NetworkData, Encap: EncapVXLAN, IPv4: pool}
	refuses(t, good, []spoiled[Network]{
		{"tenant", func(n *Network) { n.Tenant = "a b" }, "tenantName", "a b"},
		{"name", func(n *Network) { n.Name = "n_1" }, "networkName", "n_1"},
		{"type", func(n *Network) { n.Type = "private" }, "nwType", "private"},
		{"encap", func(n *Network) { n.Encap = "vvlan" }, "encap", "vvlan"},
		{"no subnet", func(n *Network) { n.IPv4 = Pool{} }, "subnet", "subnet is empty"},
		{"tag's name", func(n *Network) { n.Label = "a_b" }, "cfgdTag", "a_b"},
		{"set aside outside", func(n *Network) { n.Reserved = []netip.Addr{netip.MustParseAddr("10.1.2.1")} }, "reserved", "10.1.2.1"},
		{"infra of another tenant", func(n *Network) { n.Type = NetworkInfra }, "nwType", "tenant default alone"},
		{"infra with a long name", func(n *Network) { n.Type, n.Tenant, n.Name = NetworkInfra, DefaultTenant, "storage-nodes1" }, "networkName", "at most 13"},
		{"infra with the name of the way out", func(n *Network) { n.Type, n.Tenant, n.Name = NetworkInfra, DefaultTenant, OutsideDevice }, "networkName", OutsideDevice},
		{"infra with a name of ports", func(n *Network) { n.Type, n.Tenant, n.Name = NetworkInfra, DefaultTenant, "vvport1" }, "networkName", "vvport1"},
		{"the gateway set aside", func(n *Network) { n.Reserved = []netip.Addr{pool.Gateway} }, "reserved", "10.1.1.254"},
	})
	accepts(t, good, map[string]func(*Network){
		"vlan": func(n *Network) { n.Encap = EncapVLAN }, "infra": func(n *Network) { n.Type, n.Tenant = NetworkInfra, DefaultTenant },
		"set aside":  func(n *Network) { n.Reserved = []netip.Addr{netip.MustParseAddr("10.1.1.9")} },
		"label":      func(n *Network) { n.Label = "net.of.blue" },
		"long label": func(n *Network) { n.Label = strings.Repeat("x", 128) },
	})
}

func TestGroupsAreChecked(t *testing.T) {
	t.Parallel()
	good := Group{Tenant: "blue", Name: "web", Network: "n", Policies: []string{"a", "b"}, Netprofile: "slow", Contracts: []string{"c"}, Label: "web.blue"}
	refuses(t, good, []spoiled[Group]{
		{"tenant", func(g *Group) { g.Tenant = "" }, "tenantName", "tenantName is empty"},
		{"name", func(g *Group) { g.Name = "we b" }, "groupName", "we b"},
		{"no network", func(g *Group) { g.Network = "" }, "networkName", "networkName is empty"},
		{"policy", func(g *Group) { g.Policies = []string{"a", "b_"} }, "policies", "b_"},
		{"policy twice", func(g *Group) { g.Policies = []string{"a", "b", "a"} }, "policies", `"a" twice`},
		{"contracts", func(g *Group) { g.Contracts = []string{""} }, "extContractsGrps", "empty"},
		{"contracts twice", func(g *Group) { g.Contracts = []string{"c", "c"} }, "extContractsGrps", "twice"},
		{"netprofile", func(g *Group) { g.Netprofile = "a:b" }, "netProfile", "a:b"},
		{"label", func(g *Group) { g.Label = "-" }, "cfgdTag", `"-"`},
	})
	accepts(t, good, map[string]func(*Group){"bare": func(g *Group) { *g = Group{Tenant: "blue", Name: "web", Network: "n"} }})
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	refuses(t, Policy{Tenant: "blue", Name: "p"}, []spoiled[Policy]{
		{"tenant", func(p *Policy) { p.Tenant = "b/lue" }, "tenantName", "b/lue"},
		{"name", func(p *Policy) { p.Name = "p*" }, "policyName", "p*"},
	})
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	peer := netip.MustParsePrefix("10.1.1.5/32")
	in := Rule{Tenant: "blue", Policy: "p", ID: "1", Direction: In, Action: Allow, Priority: 1, Protocol: "tcp", Port: 80}
	out := in
	out.Direction = Out
	refuses(t, in, []spoiled[Rule]{
		{"tenant", func(r *Rule) { r.Tenant = "" }, "tenantName", "empty"},
		{"policy", func(r *Rule) { r.Policy = "p:1" }, "policyName", "p:1"},
		{"id", func(r *Rule) { r.ID = "1/2" }, "ruleId", "1/2"},
		{"group", func(r *Rule) { r.FromGroup = "a_b" }, "fromEndpointGroup", "a_b"},
		{"network", func(r *Rule) { r.FromNetwork = "a_b" }, "fromNetwork", "a_b"},
		{"action", func(r *Rule) { r.Action = "accept" }, "action", "accept"},
		{"no action", func(r *Rule) { r.Action = "" }, "action", `""`},
		{"direction", func(r *Rule) { r.Direction = "both" }, "direction", "invalid direction for the rule"},
		{"priority 0", func(r *Rule) { r.Priority = 0 }, "priority", "priority 0"},
		{"priority 101", func(r *Rule) { r.Priority = 101 }, "priority", "priority 101"},
		{"protocol", func(r *Rule) { r.Protocol = "tpc" }, "protocol", "tpc"},
		{"protocol 256", func(r *Rule) { r.Protocol = "256" }, "protocol", "256"},
		{"negative protocol", func(r *Rule) { r.Protocol = "-1" }, "protocol", "-1"},
		{"port of icmp", func(r *Rule) { r.Protocol = "icmp" }, "port", "port 80"},
		{"port of every protocol", func(r *Rule) { r.Protocol = "" }, "port", "port 80"},
		{"port of 47", func(r *Rule) { r.Protocol = "47" }, "port", "port 80"},
		// v1's TestPolicyRules.
		{"in with to group", func(r *Rule) { r.ToGroup = "g" }, "direction", "can not specify 'to' parameters in incoming rule"},
		{"in with to network", func(r *Rule) { r.ToNetwork = "n" }, "direction", "can not specify 'to' parameters in incoming rule"},
		{"in from network and address", func(r *Rule) { r.FromNetwork, r.From = "n", peer }, "fromIpAddress", "can not specify both from network and from ip address"},
		{"in from network and group", func(r *Rule) { r.FromNetwork, r.FromGroup = "n", "g" }, "fromNetwork", "can not specify both from network and from EndpointGroup"},
		{"two families", func(r *Rule) { r.From, r.To = peer, netip.MustParsePrefix("2001:db8::/64") }, "toIpAddress", "families"},
	})
	refuses(t, out, []spoiled[Rule]{
		{"to group", func(r *Rule) { r.ToGroup = "a_b" }, "toEndpointGroup", "a_b"},
		{"to network", func(r *Rule) { r.ToNetwork = "a_b" }, "toNetwork", "a_b"},
		{"out with from group", func(r *Rule) { r.FromGroup = "g" }, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"out with from network", func(r *Rule) { r.FromNetwork = "n" }, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"out with from address", func(r *Rule) { r.From = peer }, "direction", "can not specify 'from' parameters in outgoing rule"},
		{"out to network and address", func(r *Rule) { r.ToNetwork, r.To = "n", peer }, "toIpAddress", "can not specify both to-network and to-ip address"},
		{"out to network and group", func(r *Rule) { r.ToNetwork, r.ToGroup = "n", "g" }, "toNetwork", "can not specify both to-network and to-EndpointGroup"},
	})
	accepts(t, in, map[string]func(*Rule){
		"group and address": func(r *Rule) { r.FromGroup, r.From = "g", peer }, "own address": func(r *Rule) { r.To = peer },
		"udp": func(r *Rule) { r.Protocol = "udp" }, "sctp": func(r *Rule) { r.Protocol = "sctp" }, "upper case": func(r *Rule) { r.Protocol = "TCP" },
		"17": func(r *Rule) { r.Protocol = "17" }, "icmp": func(r *Rule) { r.Protocol, r.Port = "icmp", 0 }, "47": func(r *Rule) { r.Protocol, r.Port = "47", 0 },
		"everything": func(r *Rule) { r.Protocol, r.Port = "", 0 }, "priority 100": func(r *Rule) { r.Priority = 100 },
	})
	accepts(t, out, map[string]func(*Rule){"group and address": func(r *Rule) { r.ToGroup, r.To = "g", peer }, "network": func(r *Rule) { r.ToNetwork = "n" }})
}

func TestNetprofilesAreChecked(t *testing.T) {
	t.Parallel()
	good := Netprofile{Tenant: "blue", Name: "slow", Bandwidth: "10 mbps", IngressBandwidth: "20 mbps", Burst: 80, DSCP: 10}
	refuses(t, good, []spoiled[Netprofile]{
		{"tenant", func(n *Netprofile) { n.Tenant = "a~b" }, "tenantName", "a~b"},
		{"name", func(n *Netprofile) { n.Name = "" }, "profileName", "empty"},
		{"DSCP 72", func(n *Netprofile) { n.DSCP = 72 }, "DSCP", "72"},
		{"negative DSCP", func(n *Netprofile) { n.DSCP = -1 }, "DSCP", "-1"},
		{"burst 1", func(n *Netprofile) { n.Burst = 1 }, "burst", "burst 1 "},
		{"burst 10487", func(n *Netprofile) { n.Burst = 10487 }, "burst", "10487"},
		{"negative burst", func(n *Netprofile) { n.Burst = -5 }, "burst", "-5"},
		{"bandwidth", func(n *Netprofile) { n.Bandwidth = "fast" }, "bandwidth", "fast"},
		{"ingress bandwidth", func(n *Netprofile) { n.IngressBandwidth = "slow" }, "ingressBandwidth", "slow"},
		{"more than any link", func(n *Netprofile) { n.IngressBandwidth = "1000001 gbps" }, "ingressBandwidth", "1000001"},
	})
	accepts(t, good, map[string]func(*Netprofile){
		"nothing limited": func(n *Netprofile) { *n = Netprofile{Tenant: "blue", Name: "free"} }, "bounds": func(n *Netprofile) { n.DSCP, n.Burst = 63, 10486 },
		"smallest burst": func(n *Netprofile) { n.Burst = 2 },
	})
}

func TestBandwidthsAreSpelledAsInTheOriginal(t *testing.T) {
	t.Parallel()
	const k, m, g = 1e3, 1e6, 1e9
	for text, want := range map[string]uint64{
		"": 0, "10 kbps": 10 * k, "10 Kbps": 10 * k, "10kbps": 10 * k, "10 k": 10 * k, "10K": 10 * k, "10 kb": 10 * k, "10Kb": 10 * k,
		"6 Mbps": 6 * m, "6mbps": 6 * m, "18Mb": 18 * m, "18 mb": 18 * m, "20m": 20 * m, "20 M": 20 * m, "6Mbps": 6 * m,
		"1 Gbps": g, "1gbps": g, "2Gb": 2 * g, "2 gb": 2 * g, "3G": 3 * g, "3 g": 3 * g, "1000000 gbps": 1e15, "999999999999 kbps": 999999999999 * k,
	} {
		if got, err := (Netprofile{Bandwidth: text}).BitsPerSecond(); err != nil || got != want {
			t.Errorf("%q is %d bits a second, %v; want %d", text, got, err, want)
		}
		if got, err := (Netprofile{IngressBandwidth: text}).IngressBitsPerSecond(); err != nil || got != want {
			t.Errorf("%q received is %d bits a second, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{
		"0 Gbps", " 10 mbps", "10 mbps ", "10  mbps", "10 ms", "10", "mbps", "-1 mbps", "1.5 mbps", "010 mbps", "10 tbps", "10 MBps", "10 KB", "10 mbit", "1e3 k",
		"1000001 gbps", "999999999999 gbps", "18446744074 gbps", "1000000000001 kbps", "10 mbps10 mbps", "10\tmbps", "10\u00a0mbps",
	} {
		if got, err := (Netprofile{Bandwidth: bad}).BitsPerSecond(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is taken for %d bits a second: %v", bad, got, err)
		}
	}
}

func TestServicesAreChecked(t *testing.T) {
	t.Parallel()
	good := Service{Tenant: "blue", Name: "web", Network: "n", Selectors: map[string]string{"app": "web"}, Ports: []ServicePort{{80, 8080, "TCP"}, {80, 8080, "UDP"}}}
	refuses(t, good, []spoiled[Service]{
		{"tenant", func(s *Service) { s.Tenant = "a!b" }, "tenantName", "a!b"},
		{"name", func(s *Service) { s.Name = "a b" }, "serviceName", "a b"},
		{"long name", func(s *Service) { s.Name = strings.Repeat("x", 257) }, "serviceName", "257"},
		{"no network", func(s *Service) { s.Network = "" }, "networkName", "empty"},
		{"no selectors", func(s *Service) { s.Selectors = nil }, "selectors", "empty"},
		{"no ports", func(s *Service) { s.Ports = nil }, "ports", "empty"},
		{"a port twice", func(s *Service) { s.Ports = []ServicePort{{80, 8080, "TCP"}, {80, 8081, "TCP"}} }, "ports", "port 80 of TCP"},
		{"IPv6 asked for", func(s *Service) { s.Requested = netip.MustParseAddr("2001:db8::1") }, "ipAddress", "2001:db8::1"},
		{"mapped address", func(s *Service) { s.Requested = netip.MustParseAddr("::ffff:10.1.1.1") }, "ipAddress", "10.1.1.1"},
		{"SCTP to another port", func(s *Service) { s.Ports = []ServicePort{{80, 81, "SCTP"}} }, "ports", "81:81:SCTP"},
		{"an unknown check", func(s *Service) { s.Health = "ping" }, "healthCheck", "tcp, http or http:/path"},
		{"a check of UDP", func(s *Service) { s.Ports, s.Health = []ServicePort{{53, 53, "UDP"}}, "tcp" }, "healthCheck", "port of TCP"},
	})
	accepts(t, good, map[string]func(*Service){
		"SCTP to the same port": func(s *Service) { s.Ports = []ServicePort{{80, 80, "SCTP"}} },
		"a check":               func(s *Service) { s.Health = "http:/health" },
		"long name":             func(s *Service) { s.Name = strings.Repeat("x", 256) }, "address": func(s *Service) { s.Requested = netip.MustParseAddr("10.1.1.9") },
	})
}

func TestHealthChecksAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"tcp": "", "http": "/", "http:/": "/", "http:/a/b?c=d": "/a/b?c=d"} {
		if h, err := ParseHealth(text); err != nil || h.Path != want {
			t.Errorf("%q asks for %q, %v", text, h.Path, err)
		}
	}
	for _, bad := range []string{"", "TCP", "udp", "http:", "http:a", "http://host/", "http:/a b", "http:/a#b", "http:/\r\nX: y", "http:/\u00e4", "http:/%zz", "http:/" + strings.Repeat("x", 256)} {
		if _, err := ParseHealth(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q is taken: %v", bad, err)
		}
	}
}

func TestNewConnectionsGoToProvidersThatWork(t *testing.T) {
	t.Parallel()
	s := Service{Tenant: "blue", Name: "web", Selectors: map[string]string{"app": "web"}, Health: "tcp", Ports: []ServicePort{{53, 53, "UDP"}, {80, 8080, "TCP"}, {81, 8081, "TCP"}}}
	if port, ok := s.CheckedPort(); !ok || port != 8080 {
		t.Errorf("port %d is checked, %v", port, ok)
	}
	good := Endpoint{Tenant: "blue", Labels: map[string]string{"app": "web"}}
	for name, row := range map[string]struct {
		change                  func(*Endpoint)
		provides, taken, ailing bool
	}{
		"works":                         {func(*Endpoint) {}, true, true, false},
		"of another tenant":             {func(e *Endpoint) { e.Tenant = "red" }, false, false, false},
		"without the label":             {func(e *Endpoint) { e.Labels = nil }, false, false, false},
		"fails the check":               {func(e *Endpoint) { e.Unhealthy = []string{"blue:web"} }, true, false, true},
		"fails another service's check": {func(e *Endpoint) { e.Unhealthy = []string{"blue:other"} }, true, true, true},
		"stops":                         {func(e *Endpoint) { e.Stopping = true }, true, false, true},
	} {
		e := good
		row.change(&e)
		if s.Provides(e) != row.provides || s.Takes(e) != row.taken || e.Ailing() != row.ailing {
			t.Errorf("one that %s: provides %v, taken %v, ailing %v", name, s.Provides(e), s.Takes(e), e.Ailing())
		}
	}
	e := good
	e.Unhealthy = []string{"blue:web"}
	if s.Health = ""; !s.Takes(e) {
		t.Error("a service without a check minds what one has left")
	}
}

func TestServicePortsAreReadInEitherCase(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]ServicePort{
		"80:8080:TCP": {80, 8080, "TCP"}, "643:7070:UDP": {643, 7070, "UDP"}, "1:65535:tcp": {1, 65535, "TCP"}, "53:53:Udp": {53, 53, "UDP"}, "5:6:sctp": {5, 6, "SCTP"},
	} {
		if got, err := ParseServicePort(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "80", "80:8080", "80:8080:TCP:1", "0:80:TCP", "80:0:TCP", "65536:80:TCP", "80:65536:TCP", "a:80:TCP", "80:-1:TCP", "80:80:ICMP", "80:80:", " 80:80:TCP", "80-90:80:TCP", "+80:80:TCP"} {
		if got, err := ParseServicePort(bad); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "80:8080:TCP") {
			t.Errorf("%q is taken for %+v: %v", bad, got, err)
		}
	}
}

func TestProvidersCarryAllSelectors(t *testing.T) {
	t.Parallel()
	s := Service{Selectors: map[string]string{"app": "web", "tier": "front"}}
	for _, row := range []struct {
		labels map[string]string
		want   bool
	}{
		{map[string]string{"app": "web", "tier": "front"}, true},
		{map[string]string{"app": "web", "tier": "front", "more": "x"}, true},
		{map[string]string{"app": "web"}, false},
		{map[string]string{"app": "web", "tier": "back"}, false},
		{map[string]string{"app": "web", "tier": ""}, false},
		{nil, false},
	} {
		if got := s.Selects(row.labels); got != row.want {
			t.Errorf("labels %v: %v", row.labels, got)
		}
	}
	if (Service{}).Selects(map[string]string{"app": "web"}) {
		t.Error("a service without selectors has every container as its provider")
	}
}

func TestBGPIsChecked(t *testing.T) {
	t.Parallel()
	router := func(addr string, as uint32) Neighbor { return Neighbor{netip.MustParseAddr(addr), as} }
	prefix := netip.MustParsePrefix
	good := BGP{Node: "host1", RouterIP: prefix("50.1.1.1/24"), AS: 65001, Neighbors: []Neighbor{router("50.1.1.2", 500)}}
	neighbor := func(addr string, as uint32) func(*BGP) {
		return func(b *BGP) { b.Neighbors = []Neighbor{router(addr, as)} }
	}
	refuses(t, good, []spoiled[BGP]{
		{"host", func(b *BGP) { b.Node = "a b" }, "hostname", "a b"},
		{"no address", func(b *BGP) { b.RouterIP = netip.Prefix{} }, "routerip", "50.1.1.1/24"},
		{"/32", func(b *BGP) { b.RouterIP = prefix("50.1.1.1/32") }, "routerip", "50.1.1.1/32"},
		{"/0", func(b *BGP) { b.RouterIP = prefix("50.1.1.1/0") }, "routerip", "50.1.1.1/0"},
		{"multicast", func(b *BGP) { b.RouterIP = prefix("224.1.1.1/24") }, "routerip", "224.1.1.1"},
		{"loopback", func(b *BGP) { b.RouterIP = prefix("127.0.0.1/8") }, "routerip", "127.0.0.1"},
		{"the network's address", func(b *BGP) { b.RouterIP = prefix("50.1.1.0/24") }, "routerip", "50.1.1.0/24"},
		{"the broadcast address", func(b *BGP) { b.RouterIP = prefix("50.1.1.255/24") }, "routerip", "50.1.1.255/24"},
		{"reserved", func(b *BGP) { b.RouterIP = prefix("240.1.1.1/24") }, "routerip", "240.1.1.1/24"},
		{"without a device", func(b *BGP) { b.RouterIP, b.Neighbors = prefix("fe80::1/64"), nil }, "routerip", "fe80::1"},
		{"two of one family", func(b *BGP) { b.RouterIP6 = prefix("50.1.2.1/24") }, "routerip6", "one of each family"},
		{"two of IPv6", func(b *BGP) {
			b.RouterIP, b.RouterIP6, b.Neighbors = prefix("2001:db8::1/64"), prefix("2001:db8:1::1/64"), nil
		}, "routerip6", "one of each family"},
		{"/128", func(b *BGP) { b.RouterIP6 = prefix("2001:db8::1/128") }, "routerip6", "2001:db8::1/64"},
		{"a neighbor that is far", neighbor("50.1.2.2", 500), "neighbor", "multihop"},
		{"the network for a neighbor", neighbor("50.1.1.0", 500), "neighbor", "50.1.1.0"},
		{"everybody for a neighbor", neighbor("50.1.1.255", 500), "neighbor", "50.1.1.255"},
		{"AS 0", func(b *BGP) { b.AS = 0 }, "as", "as 0"},
		{"neighbor without AS", neighbor("50.1.1.2", 0), "neighbor", "belong together"},
		{"AS without neighbor", func(b *BGP) { b.Neighbors = []Neighbor{{AS: 500}} }, "neighbor", "belong together"},
		{"itself", neighbor("50.1.1.1", 500), "neighbor", "50.1.1.1"},
		{"families", neighbor("2001:db8::1", 500), "neighbor", "families"},
		{"unspecified", neighbor("0.0.0.0", 500), "neighbor", "0.0.0.0"},
		{"one twice", func(b *BGP) { b.Neighbors = append(b.Neighbors, router("50.1.1.2", 501)) }, "more-neighbors", "twice"},
		{"a second that is far", func(b *BGP) { b.Neighbors = append(b.Neighbors, router("50.1.2.2", 501)) }, "more-neighbors", "multihop"},
		{"seventeen", func(b *BGP) {
			b.Neighbors = nil
			for i := range byte(17) {
				b.Neighbors = append(b.Neighbors, Neighbor{netip.AddrFrom4([4]byte{50, 1, 1, 2 + i}), 500})
			}
		}, "more-neighbors", "at most 16"},
		{"a long password", func(b *BGP) { b.Password = strings.Repeat("x", 81) }, "password", "80"},
		{"a password with a space", func(b *BGP) { b.Password = "open sesame" }, "password", "space"},
		{"a password in another alphabet", func(b *BGP) { b.Password = "gehëim" }, "password", "ASCII"},
		{"a short hold time", func(b *BGP) { b.HoldTime = 2 }, "hold-time", "3 to 65535"},
		{"a keepalive as long", func(b *BGP) { b.HoldTime, b.Keepalive = 30, 30 }, "keepalive", "a third of it, 10"},
		{"a keepalive longer than the default", func(b *BGP) { b.Keepalive = 90 }, "keepalive", "90"},
		{"everything", func(b *BGP) { b.Announce = "all" }, "announce", "endpoints or subnets"},
	})
	accepts(t, good, map[string]func(*BGP){
		"no neighbor": func(b *BGP) { b.Neighbors = nil }, "largest AS": func(b *BGP) { b.AS = 4294967295 },
		"iBGP": neighbor("50.1.1.2", 65001), "two addresses": func(b *BGP) {
			b.RouterIP, b.Neighbors = prefix("50.1.1.0/31"), []Neighbor{router("50.1.1.1", 500)}
		},
		"IPv6": func(b *BGP) {
			b.RouterIP, b.Neighbors = prefix("2001:db8::1/64"), []Neighbor{router("2001:db8::2", 500)}
		},
		"both families": func(b *BGP) {
			b.RouterIP6, b.Neighbors = prefix("2001:db8::1/64"), append(b.Neighbors, router("2001:db8::2", 500), router("50.1.1.3", 65001))
		},
		"a password":       func(b *BGP) { b.Password = "s3cret!" },
		"timers":           func(b *BGP) { b.HoldTime, b.Keepalive = 9, 3 },
		"only a keepalive": func(b *BGP) { b.Keepalive = 10 },
		"subnets":          func(b *BGP) { b.Announce = AnnounceSubnets },
	})
}

func TestFabricIntentIsChecked(t *testing.T) {
	t.Parallel()
	refuses(t, AppProfile{Tenant: "blue", Name: "shop", Groups: []string{"web", "db"}}, []spoiled[AppProfile]{
		{"tenant", func(a *AppProfile) { a.Tenant = "" }, "tenantName", "empty"},
		{"name", func(a *AppProfile) { a.Name = "a_b" }, "appProfileName", "a_b"},
		{"group", func(a *AppProfile) { a.Groups = []string{"a:b"} }, "endpointGroups", "a:b"},
		{"group twice", func(a *AppProfile) { a.Groups = []string{"web", "web"} }, "endpointGroups", "twice"},
	})
	refuses(t, Contracts{Tenant: "blue", Name: "c", Type: ContractsProvided, List: []string{"uni/tn-common/brc-x"}}, []spoiled[Contracts]{
		{"tenant", func(c *Contracts) { c.Tenant = "" }, "tenantName", "empty"},
		{"name", func(c *Contracts) { c.Name = "a_b" }, "contractsGroupName", "a_b"},
		{"type", func(c *Contracts) { c.Type = "both" }, "contractsType", "Contracts group need to be either 'provided' or 'consumed'"},
		{"none", func(c *Contracts) { c.List = nil }, "contracts", "empty"},
		{"empty one", func(c *Contracts) { c.List = []string{"a", ""} }, "contracts", "0 characters"},
		{"long one", func(c *Contracts) { c.List = []string{strings.Repeat("x", 257)} }, "contracts", "257"},
	})
	good := ACIGateway{EnforcePolicies: "yes", IncludeCommonTenant: "no", PhysicalDomain: "dom", NodeBindings: "topology/pod-1/node-101,topology/pod-1/node-102",
		PathBindings: "topology/pod-1/paths-101/pathep-[eth1/14],topology/pod-1/paths-102/pathep-[eth1/2]"}
	refuses(t, good, []spoiled[ACIGateway]{
		{"nodes", func(g *ACIGateway) { g.NodeBindings = "topology/pod-1" }, "nodeBindings", "topology/pod-1"},
		{"nodes' end", func(g *ACIGateway) { g.NodeBindings += "," }, "nodeBindings", "list of bindings"},
		{"paths", func(g *ACIGateway) { g.PathBindings = "topology/pod-1/paths-101/pathep-eth1/14" }, "pathBindings", "pathep-eth1/14"},
		{"too long", func(g *ACIGateway) {
			g.NodeBindings = strings.Repeat("topology/pod-1/node-101,", 90) + "topology/pod-1/node-101"
		}, "nodeBindings", "2048"},
		{"domain", func(g *ACIGateway) { g.PhysicalDomain = "a_b" }, "physicalDomain", "a_b"},
		{"enforce", func(g *ACIGateway) { g.EnforcePolicies = "maybe" }, "enforcePolicies", "maybe"},
		{"include", func(g *ACIGateway) { g.IncludeCommonTenant = "" }, "includeCommonTenant", `""`},
	})
}

func TestGlobalIsChecked(t *testing.T) {
	t.Parallel()
	refuses(t, DefaultGlobal(), []spoiled[Global]{
		{"forwarding", func(g *Global) { g.ForwardMode = "testing" }, "fwdMode", "testing"},
		{"ARP", func(g *Global) { g.ARPMode = "drop" }, "arpMode", "drop"},
		{"fabric", func(g *Global) { g.FabricMode = "infra" }, "networkInfraType", "infra"},
		{"established", func(g *Global) { g.Established = "cut" }, "established", "cut"},
		{"vlans", func(g *Global) { g.VLANs = "1-5000" }, "vlans", "1-5000"},
		{"vxlans", func(g *Global) { g.VXLANs = "1-100000" }, "vxlans", "1-100000"},
		{"a wide range of vxlans", func(g *Global) { g.VXLANs = "1-20000" }, "vxlans", "16000"},
		{"vxlans backwards", func(g *Global) { g.VXLANs = "20-10" }, "vxlans", "20-10"},
		{"private /24", func(g *Global) { g.PrivateSubnet = netip.MustParsePrefix("172.20.0.0/24") }, "pvtSubnet", "172.20.0.0/24"},
		{"private IPv6", func(g *Global) { g.PrivateSubnet = netip.MustParsePrefix("2001:db8::/16") }, "pvtSubnet", "2001:db8::/16"},
		{"private multicast", func(g *Global) { g.PrivateSubnet = netip.MustParsePrefix("239.1.0.0/16") }, "pvtSubnet", "239.1.0.0/16"},
		{"no private", func(g *Global) { g.PrivateSubnet = netip.Prefix{} }, "pvtSubnet", "172.19.0.0/16"},
	})
	accepts(t, DefaultGlobal(), map[string]func(*Global){
		"bridge": func(g *Global) { g.ForwardMode = ForwardBridge }, "aci": func(g *Global) { g.FabricMode = "aci" }, "recheck": func(g *Global) { g.Established = EstablishedRecheck },
		"flood": func(g *Global) { g.ARPMode = "flood" }, "narrow": func(g *Global) { g.VLANs, g.VXLANs = "7-7", "49535-65535" },
	})
}

func TestNodesAreChecked(t *testing.T) {
	t.Parallel()
	refuses(t, Node{Name: "n1", VTEP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789}, []spoiled[Node]{
		{"name", func(n *Node) { n.Name = "n_1" }, "nodeName", "n_1"},
		{"no VTEP", func(n *Node) { n.VTEP = netip.Addr{} }, "vtepIP", "--vtep-ip"},
		{"loopback", func(n *Node) { n.VTEP = netip.MustParseAddr("127.0.0.1") }, "vtepIP", "127.0.0.1"},
		{"no port", func(n *Node) { n.VXLANPort = 0 }, "vxlanPort", "4789"},
		{"small MTU", func(n *Node) { n.MTU = 1279 }, "mtu", "1279"},
		{"large MTU", func(n *Node) { n.MTU = 65536 }, "mtu", "65536"},
		{"negative MTU", func(n *Node) { n.MTU = -1 }, "mtu", "-1"},
	})
	accepts(t, Node{Name: "n1", VTEP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789}, map[string]func(*Node){
		"smallest MTU": func(n *Node) { n.MTU = 1280 }, "largest MTU": func(n *Node) { n.MTU = 65535 },
	})
}

func TestRangesOfAddressesAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "10.1.1.10-10.1.1.20", "10.1.1.7-10.1.1.7", "2001:db8::1-2001:db8::ff"} {
		if r, err := ParseRange("ipPool", text); err != nil || r.String() != text {
			t.Errorf("%q is read as %s, %v", text, r, err)
		}
	}
	if r, err := ParseRange("ipPool", "10.1.1.7"); err != nil || r.String() != "10.1.1.7-10.1.1.7" {
		t.Errorf("a single address is %s, %v", r, err)
	}
	for _, bad := range []string{"-", "10.1.1.1-", "-10.1.1.1", "10.1.1.10-20", "10.1.1.110-10.1.1.320", "10.1.1.20-10.1.1.10", "10.1.1.0/24", "10.1.1.1-10.1.1.2-10.1.1.3",
		"10.1.1.1-2001:db8::1", "fe80::1%eth0-fe80::2%eth0", "::ffff:10.1.1.1-::ffff:10.1.1.2", "10.1.1.1 - 10.1.1.2", "a-b"} {
		r, err := ParseRange("ipPool", bad)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Field != "ipPool" {
			t.Errorf("%q is read as %s, %v", bad, r, err)
		}
	}
}

func TestRangesOverlapWhereTheyShareAnAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"10.1.1.1-10.1.1.9", "10.1.1.10-10.1.1.20", false}, {"10.1.1.1-10.1.1.10", "10.1.1.10-10.1.1.20", true}, {"10.1.1.1-10.1.1.90", "10.1.1.10-10.1.1.20", true},
		{"10.1.1.1-10.1.1.9", "2001:db8::-2001:db8::9", false}, {"", "10.1.1.10-10.1.1.20", false}, {"", "", false},
	} {
		a, errA := ParseRange("a", row.a)
		b, errB := ParseRange("b", row.b)
		if errA != nil || errB != nil || a.Overlaps(b) != row.want || b.Overlaps(a) != row.want {
			t.Errorf("%s and %s: want %v", row.a, row.b, row.want)
		}
	}
}

func TestPeersAreAddressesOrSubnetsOfEitherFamily(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "10.1.1.5": "10.1.1.5", "10.1.1.5/32": "10.1.1.5", "10.1.1.77/24": "10.1.1.0/24", "0.0.0.0/0": "0.0.0.0/0", "2001:db8::1": "2001:db8::1", "2001:DB8::1/64": "2001:db8::/64",
	} {
		if p, err := ParsePeer("fromIpAddress", text); err != nil || PeerText(p) != want {
			t.Errorf("%q is read as %q, %v", text, PeerText(p), err)
		}
	}
	for _, bad := range []string{"10.1.1", "10.1.1.5/33", "10.1.1.5/", "/24", "10.1.1.1-20", "fe80::1%eth0", "fe80::%eth0/64", "::ffff:10.1.1.5", "::ffff:10.1.1.5/120", "web", " 10.1.1.5"} {
		if p, err := ParsePeer("fromIpAddress", bad); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "fromIpAddress") {
			t.Errorf("%q is read as %s, %v", bad, p, err)
		}
	}
	for _, bad := range []string{"10.1.1.5-10", "10.1.1.5-10.1.1.10", "10.1.1.5-10/24"} {
		if _, err := ParsePeer("fromIpAddress", bad); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "a range, which no rule can have; write a subnet") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
