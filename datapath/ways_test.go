// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// Whatever changes, the ways that are kept are those that the kernel gives.
func TestWaysAreAskedForAgainWhenTheyMayHaveChanged(t *testing.T) {
	t.Parallel()
	s, far := newSpace(t), newSpace(t)
	for _, device := range []string{"ul0", "ul1"} {
		veth(t, s, device, far, device)
		setUp(t, far, device)
	}
	setUp(t, s, "ul0", "192.168.2.10/24")
	setUp(t, s, "ul1", "192.168.3.10/24")
	var d *devices
	must(t, s.do(func() (err error) {
		d, err = devicesHere()
		return err
	}))
	defer d.close()
	link := func(name string) netlink.Link {
		l, err := s.nl.LinkByName(name)
		must(t, err)
		return l
	}
	route := func(prefix, via, device string) *netlink.Route {
		p := netip.MustParsePrefix(prefix)
		return &netlink.Route{
			LinkIndex: link(device).Attrs().Index, Gw: net.IP(netip.MustParseAddr(via).AsSlice()),
			Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		}
	}
	from := netip.MustParseAddr("192.168.2.10")
	nodes := []netip.Addr{netip.MustParseAddr("192.168.2.11"), netip.MustParseAddr("192.168.9.11"), netip.MustParseAddr("192.168.9.12")}
	rule := netlink.NewRule()
	rule.Table, rule.Priority, rule.Dst = 77, 100, &net.IPNet{IP: net.IPv4(192, 168, 9, 12).To4(), Mask: net.CIDRMask(32, 32)}
	elsewhere := route("0.0.0.0/0", "192.168.3.3", "ul1")
	elsewhere.Table = 77
	addr, err := netlink.ParseAddr("192.168.3.10/24")
	must(t, err)
	asked := 0
	check := func(change string) {
		t.Helper()
		d.ways.hear()
		for _, node := range nodes {
			fresh, wantErr := d.hop(from, node)
			kept, err := d.ways.to(node, func() (contivPeer, error) {
				asked++
				return d.hop(from, node)
			})
			if kept != fresh || (err == nil) != (wantErr == nil) {
				t.Errorf("%s: the way to %s is kept as %v (%v), and is %v (%v)", change, node, kept, err, fresh, wantErr)
			}
		}
	}
	check("at first")
	for _, change := range []struct {
		name string
		make func() error
	}{
		{"a prefix", func() error { return s.nl.RouteAdd(route("192.168.9.0/24", "192.168.2.1", "ul0")) }},
		{"one address of a prefix", func() error { return s.nl.RouteAdd(route("192.168.9.11/32", "192.168.3.1", "ul1")) }},
		{"another router", func() error { return s.nl.RouteReplace(route("192.168.9.0/24", "192.168.2.2", "ul0")) }},
		{"a table without a rule", func() error { return s.nl.RouteAdd(elsewhere) }},
		{"a rule", func() error { return s.nl.RuleAdd(rule) }},
		{"no rule", func() error { return s.nl.RuleDel(rule) }},
		{"a device that is down", func() error { return s.nl.LinkSetDown(link("ul1")) }},
		{"and up again", func() error { return s.nl.LinkSetUp(link("ul1")) }},
		{"by that again", func() error { return s.nl.RouteAdd(route("192.168.9.11/32", "192.168.3.1", "ul1")) }},
		{"an address that is gone", func() error { return s.nl.AddrDel(link("ul1"), addr) }},
	} {
		must(t, change.make())
		check(change.name)
	}
	// What they do not rest on costs nothing. Devices may still be telling of themselves.
	for end := deadline(); ; time.Sleep(time.Millisecond) {
		asked = 0
		must(t, s.nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "vvport1"}, PeerName: "inside"}))
		must(t, s.nl.RouteReplace(route("192.168.7.0/24", "192.168.2.1", "ul0")))
		check("another's prefix and a container's device")
		must(t, s.nl.LinkDel(link("vvport1")))
		check("a container that ends")
		if asked == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("ways are asked for again and again")
		}
	}
	must(t, s.nl.RouteDel(route("192.168.9.0/24", "192.168.2.2", "ul0")))
	check("a prefix that is gone")
}

func FuzzChangesOfRoutesAreReadOrTakenForAnything(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{28, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{36, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 1, 2, 0})
	f.Add([]byte{24, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := changesIn(b)
		for _, p := range c.prefixes {
			if !p.IsValid() {
				t.Errorf("%x: prefix %v", b, p)
			}
		}
		w := ways{known: map[netip.Addr]contivPeer{netip.MustParseAddr("10.1.2.3"): {Ifindex: 7}}}
		w.forget(c)
		if c.all && len(w.known) > 0 {
			t.Errorf("%x: %v is kept", b, w.known)
		}
	})
}
