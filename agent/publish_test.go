// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// published is an agent with a World of one network, and an endpoint in it.
func published(t *testing.T, change func(*model.Network)) (*Agent, model.Endpoint) {
	t.Helper()
	n := model.Network{Tenant: "default", Name: "web", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1}
	var err4, err6 error
	n.IPv4, err4 = model.ParsePool("10.1.2.0/24", "10.1.2.254", false)
	n.IPv6, err6 = model.ParsePool("2001:db8::/64", "2001:db8::1", true)
	if err := errors.Join(err4, err6); err != nil {
		t.Fatal(err)
	}
	change(&n)
	a := &Agent{world: model.World{}.With(model.Change{Revision: 1, Reset: true, Put: []model.Object{model.Tenant{Name: "default", Number: 1}, n}})}
	return a, model.Endpoint{ID: "e1", Tenant: "default", Network: "web", Port: "vvport1", IPv4: netip.MustParseAddr("10.1.2.1"), IPv6: netip.MustParseAddr("2001:db8::2")}
}

func TestPortsArePublishedWhereTheyLeadToTheContainerAndRefusedElsewhere(t *testing.T) {
	t.Parallel()
	no4 := func(n *model.Network) { n.IPv4.Gateway = netip.Addr{} }
	no6 := func(n *model.Network) { n.IPv6.Gateway = netip.Addr{} }
	for _, x := range []struct {
		what   string
		change func(*model.Network)
		host   string // "": all
		want   []string
		says   string // of the refusal
	}{
		{"both families", func(*model.Network) {}, "", []string{"0.0.0.0", "::"}, ""},
		{"no IPv6 gateway", no6, "", []string{"0.0.0.0"}, ""},
		{"no IPv6 gateway, at IPv4", no6, "192.0.2.1", []string{"192.0.2.1"}, ""},
		{"no IPv6 gateway, at IPv6", no6, "::", nil, "publish at one of the other"},
		{"no IPv4 gateway, at IPv4", no4, "127.0.0.1", nil, "publish at one of the other"},
		{"no gateway", func(n *model.Network) { no4(n); no6(n) }, "", nil, "use a vxlan network with a gateway"},
		{"a VLAN", func(n *model.Network) { n.Encap = model.EncapVLAN }, "", nil, "use a vxlan network with a gateway"},
		{"a VLAN, at an address", func(n *model.Network) { n.Encap = model.EncapVLAN }, "192.0.2.1", nil, "use a vxlan network with a gateway"},
		{"internal", func(n *model.Network) { n.Internal = true }, "", nil, "use a vxlan network with a gateway"},
	} {
		a, e := published(t, x.change)
		p := Publishing{Protocol: "tcp", Port: 80}
		if x.host != "" {
			p.Host = netip.MustParseAddr(x.host)
		}
		at, err := p.at(a.families(e))
		var got []string
		for _, addr := range at {
			got = append(got, addr.String())
		}
		if !slices.Equal(got, x.want) || (err == nil) != (x.says == "") {
			t.Errorf("%s: at %q, %v; want %q", x.what, got, err, x.want)
		}
		if err != nil && (!errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), x.says)) {
			t.Errorf("%s: %v, want one that says %q", x.what, err, x.says)
		}
	}
}
