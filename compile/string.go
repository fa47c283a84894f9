// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"strings"
)

// String prints every table, a row a line.
func (t Tables) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s at revision %d\n", t.Node, t.Revision)
	for _, n := range t.Networks {
		fmt.Fprintln(&b, n)
	}
	for _, p := range t.Peers {
		fmt.Fprintln(&b, p)
	}
	for _, e := range t.Endpoints {
		fmt.Fprintln(&b, e)
	}
	for _, p := range t.Ports {
		fmt.Fprintln(&b, p)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "note %s %s: %s\n", n.Object.Kind, n.Object.Key, n.Text)
	}
	return b.String()
}

func (n Network) String() string {
	return fmt.Sprintf("network %d: tenant %d%s", n.Tag, n.Tenant, mode(n.Bridged))
}

func (p Peer) String() string { return fmt.Sprintf("peer %s: %s", p.VTEP, p.Name) }

func (e Endpoint) String() string {
	at := "port " + e.Port
	if e.Port == "" {
		at = "vtep " + e.VTEP.String()
	}
	return fmt.Sprintf("endpoint %d/%s: network %d, %s, %s", e.Tenant, e.Addr, e.Network, e.MAC, at)
}

func (p Port) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "port %s: tenant %d, network %d, %s", p.Name, p.Tenant, p.Network, p.MAC)
	for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
		if a.IsValid() {
			fmt.Fprintf(&b, ", %s", a)
		}
	}
	for _, g := range []netip.Addr{p.Gateway4, p.Gateway6} {
		if g.IsValid() {
			fmt.Fprintf(&b, ", gateway %s", g)
		}
	}
	for _, r := range p.Routes {
		fmt.Fprintf(&b, ", route %s", r)
	}
	b.WriteString(mode(p.Bridged))
	return b.String()
}

func mode(bridged bool) string {
	if bridged {
		return ", bridged"
	}
	return ""
}
