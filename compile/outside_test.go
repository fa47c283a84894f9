// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// Two rows of one port would have the kernel refuse all.
func TestPortThatTwoEndpointsPublishLeadsToTheFirstAndIsNoted(t *testing.T) {
	t.Parallel()
	publishing := func(id, port, addr string, ports ...uint16) model.Endpoint {
		e := endpoint(id, "blue", "net", "n1", port, addr)
		for _, p := range ports {
			e.Published = append(e.Published, model.Published{Protocol: "sctp", Host: netip.IPv4Unspecified(), HostPort: p, Port: 9})
		}
		return e
	}
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: append(twoTenants(t),
		publishing("e6", "vvport6", "10.1.2.6", 9000, 9001), publishing("e5", "vvport5", "10.1.2.5", 9000, 9002, 9002))})
	got := For(w, "n1")
	to := func(addr string) netip.AddrPort { return netip.MustParseAddrPort(addr + ":9") }
	want := []Published{
		{132, netip.IPv4Unspecified(), 9000, to("172.19.0.5")}, {132, netip.IPv4Unspecified(), 9001, to("172.19.0.6")}, {132, netip.IPv4Unspecified(), 9002, to("172.19.0.5")},
	}
	if !slices.Equal(got.Published, want) {
		t.Errorf("published are %v, want %v", got.Published, want)
	}
	if len(got.Notes) != 2 || !slices.ContainsFunc(got.Notes, func(n Note) bool {
		return strings.Contains(n.Text, "e6") && strings.Contains(n.Text, "0.0.0.0:9000/sctp")
	}) {
		t.Errorf("notes are %v", got.Notes)
	}
}

func TestPortOfAPrivateAddressIsFound(t *testing.T) {
	t.Parallel()
	w := model.World{}
	o := For(w, "n1").Outside
	n := model.Network{Type: model.NetworkData, Encap: model.EncapVXLAN}
	n.IPv4.Gateway, n.IPv6.Gateway = netip.MustParseAddr("10.1.1.254"), netip.MustParseAddr("fd01::1")
	for _, number := range []int{1, 256, nodeNumber - 1} {
		v4, v6 := Private(w, n, "vvport"+strconv.Itoa(number))
		if o.Port(v4) != number || o.Port(v6) != number {
			t.Errorf("%s and %s are of ports %d and %d, want %d", v4, v6, o.Port(v4), o.Port(v6), number)
		}
	}
	for _, a := range []netip.Addr{o.IPv4.Addr(), o.IPv6.Addr(), netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("fd01::1"), {}} {
		if got := o.Port(a); got != 0 {
			t.Errorf("%s is of port %d", a, got)
		}
	}
}
