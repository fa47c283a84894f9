// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/netdev"
)

func TestNodeWithoutADefaultRouteIsToldWhereThereAreServicesOfThatFamily(t *testing.T) {
	t.Parallel()
	four, six := compile.Entrance{Addr: netip.MustParseAddr("10.96.0.1")}, compile.Entrance{Addr: netip.MustParseAddr("fd00:10:96::1")}
	for _, c := range []struct {
		services []compile.Entrance
		ways     netdev.WaysOut
		want     string
	}{
		{nil, netdev.WaysOut{}, ""},
		{[]compile.Entrance{four, six}, netdev.WaysOut{Default4: true, Default6: true}, ""},
		{[]compile.Entrance{four}, netdev.WaysOut{Default4: true}, ""},
		{[]compile.Entrance{four, six}, netdev.WaysOut{Default4: true}, "no IPv6 default route"},
		{[]compile.Entrance{four}, netdev.WaysOut{V4: 3, Default6: true}, "no IPv4 default route"},
	} {
		got := lackedRoutes(c.services, func(bool) (netdev.WaysOut, error) { return c.ways, nil })
		if text := strings.Join(got, "; "); !strings.Contains(text, c.want) || c.want == "" && text != "" || len(got) > 1 {
			t.Errorf("%v with %+v: %q, want %q", c.services, c.ways, got, c.want)
		}
	}
}
