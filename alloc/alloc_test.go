// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

func pool(t testing.TB, text, gateway string, v6 bool) model.Pool {
	t.Helper()
	p, err := model.ParsePool(text, gateway, v6)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world has network t:n with the addresses taken.
func world(n model.Network, taken ...netip.Addr) model.World {
	c := model.Change{Revision: 1, Reset: true, Put: []model.Object{n}}
	for _, a := range taken {
		c.Put = append(c.Put, model.Address{Network: n.Key(), Addr: a, Owner: "x"})
	}
	return model.World{}.With(c)
}

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestLowestFreeAddressIsGiven(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		subnet, gateway string
		reserved, taken []netip.Addr
		want            string
	}{
		{"10.1.1.0/24", "", nil, nil, "10.1.1.1"},
		{"10.1.1.0/24", "10.1.1.1", nil, nil, "10.1.1.2"},
		{"10.1.1.0/24", "10.1.1.254", nil, addrs("10.1.1.1", "10.1.1.2"), "10.1.1.3"},
		{"10.1.1.0/24", "", nil, addrs("10.1.1.1", "10.1.1.3"), "10.1.1.2"},
		{"10.1.1.0/24", "", addrs("10.1.1.1"), nil, "10.1.1.2"},
		{"10.1.1.50/24", "", nil, nil, "10.1.1.1"},
		{"10.1.1.10-10.1.1.11/24", "", nil, nil, "10.1.1.10"},
		{"10.1.1.10-10.1.1.11/24", "", nil, addrs("10.1.1.10", "10.1.1.11"), ""},
		{"10.1.1.0-10.1.1.255/24", "", nil, nil, "10.1.1.1"},
		{"10.1.1.0/30", "", nil, addrs("10.1.1.1"), "10.1.1.2"},
		{"10.1.1.0/30", "", nil, addrs("10.1.1.1", "10.1.1.2"), ""},
		{"10.1.1.0/31", "", nil, nil, ""},
		{"10.0.0.0/8", "", nil, nil, "10.0.0.1"},
	} {
		n := model.Network{Tenant: "t", Name: "n", IPv4: pool(t, row.subnet, row.gateway, false), Reserved: row.reserved}
		a, ok := Address(world(n, row.taken...), n, n.IPv4, netip.Addr{}, nil, nil)
		if got := a.String(); ok != (row.want != "") || ok && got != row.want {
			t.Errorf("%s gateway %q taken %v: %s, want %q", row.subnet, row.gateway, row.taken, got, row.want)
		}
	}
}

func TestIPv6AddressesAreGivenAlike(t *testing.T) {
	t.Parallel()
	n := model.Network{Tenant: "t", Name: "n", IPv6: pool(t, "2001:db8::/64", "2001:db8::1", true)}
	if a, ok := Address(world(n, addrs("2001:db8::2")...), n, n.IPv6, netip.Addr{}, nil, nil); !ok || a.String() != "2001:db8::3" {
		t.Errorf("got %s, %v", a, ok)
	}
	n.IPv6 = pool(t, "2001:db8::/127", "", true) // ::0 is the routers' anycast address, ::1 an ordinary one
	if a, ok := Address(world(n), n, n.IPv6, netip.Addr{}, nil, nil); !ok || a.String() != "2001:db8::1" {
		t.Errorf("got %s, %v", a, ok)
	}
	n.IPv6 = model.Pool{Prefix: netip.MustParsePrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127")}
	if a, ok := Address(world(n, addrs("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")...), n, n.IPv6, netip.Addr{}, nil, nil); ok {
		t.Errorf("beyond the last address of all: %s", a)
	}
}

func TestClaimedAddressesAreSkipped(t *testing.T) {
	t.Parallel()
	n := model.Network{Tenant: "t", Name: "n", IPv4: pool(t, "10.1.1.0/24", "", false)}
	var asked []string
	a, _ := Address(world(n, addrs("10.1.1.1", "10.1.1.3")...), n, n.IPv4, netip.Addr{}, nil, func(a netip.Addr) bool {
		asked = append(asked, a.String())
		return a.String() == "10.1.1.2"
	})
	if a.String() != "10.1.1.4" || len(asked) != 2 {
		t.Errorf("got %s after asking about %v", a, asked)
	}
	if a, _ := Address(world(n), n, n.IPv4, netip.MustParseAddr("10.1.1.9"), nil, nil); a.String() != "10.1.1.9" {
		t.Errorf("from .9: %s", a)
	}
}

func TestAddressTextReadsAsInTheOriginal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		subnet           string
		taken            []netip.Addr
		allocated, avail string
	}{
		{"10.1.1.0/24", nil, "", "10.1.1.1-10.1.1.254"},
		{"10.1.1.0/24", addrs("10.1.1.5", "10.1.1.1"), "10.1.1.1, 10.1.1.5", "10.1.1.2-10.1.1.4, 10.1.1.6-10.1.1.254"},
		{"60.1.1.0/24", addrs("60.1.1.254", "60.1.1.1", "60.1.1.2"), "60.1.1.1-60.1.1.2, 60.1.1.254", "60.1.1.3-60.1.1.253"},
		{"10.1.1.10-10.1.1.20/24", addrs("10.1.1.254", "10.1.1.10"), "10.1.1.10", "10.1.1.11-10.1.1.20"},
		{"10.1.1.0/30", addrs("10.1.1.1", "10.1.1.2"), "10.1.1.1-10.1.1.2", ""},
		{"10.1.1.0/31", nil, "", ""},
		{"10.1.1.0/27", nil, "", "10.1.1.1-10.1.1.30"},
		{"10.0.0.0/8", addrs("10.255.255.254"), "10.255.255.254", "10.0.0.1-10.255.255.253"},
	} {
		p := pool(t, row.subnet, "", false)
		if got := Allocated(p, row.taken, nil); got != row.allocated {
			t.Errorf("%s: allocated %q, want %q", row.subnet, got, row.allocated)
		}
		if got := Available(p, row.taken, nil); got != row.avail {
			t.Errorf("%s: available %q, want %q", row.subnet, got, row.avail)
		}
	}
	six := model.Pool{Prefix: netip.MustParsePrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffc/126")}
	if got := Available(six, addrs("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), nil); got != "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffd-ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe" {
		t.Errorf("the end of IPv6: %q", got)
	}
}

func TestRangesOfGroupsAreSteppedOver(t *testing.T) {
	t.Parallel()
	span := func(text string) model.Range {
		r, err := model.ParseRange("ipPool", text)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	n := model.Network{Tenant: "t", Name: "n", IPv4: pool(t, "10.1.0.0/16", "", false)}
	apart := []model.Range{span("10.1.0.2-10.1.200.0"), span("10.1.0.1")}
	for want, taken := range map[string][]netip.Addr{"10.1.200.1": nil, "10.1.200.2": addrs("10.1.200.1", "10.1.100.1")} {
		if a, ok := Address(world(n, taken...), n, n.IPv4, netip.Addr{}, apart, nil); !ok || a.String() != want {
			t.Errorf("beside %v and %v: %s, want %s", apart, taken, a, want)
		}
	}
	if a, ok := Address(world(n), n, n.IPv4, netip.Addr{}, append(apart, span("10.1.200.1-10.1.255.254")), nil); ok {
		t.Errorf("all is apart, and %s is given", a)
	}
	taken := addrs("10.1.0.7", "10.1.200.3", "10.1.200.1")
	if got := Allocated(n.IPv4, taken, apart); got != "10.1.0.1-10.1.200.1, 10.1.200.3" {
		t.Errorf("allocated %q", got)
	}
	if got := Available(n.IPv4, taken, apart); got != "10.1.200.2, 10.1.200.4-10.1.255.254" {
		t.Errorf("available %q", got)
	}
	if got := Available(n.IPv4, nil, []model.Range{span("10.1.0.1-10.1.255.254")}); got != "" {
		t.Errorf("available beside a range that is all: %q", got)
	}
}

func TestLowestFreeTagIsGiven(t *testing.T) {
	t.Parallel()
	w := model.World{}.With(model.Change{Put: []model.Object{
		model.Network{Tenant: "t", Name: "a", Encap: model.EncapVXLAN, Tag: 1},
		model.Network{Tenant: "t", Name: "b", Encap: model.EncapVXLAN, Tag: 3},
		model.Network{Tenant: "t", Name: "c", Encap: model.EncapVLAN, Tag: 2},
		model.Tenant{Name: "one", Number: 1}, model.Tenant{Name: "three", Number: 3},
	}})
	for _, row := range []struct {
		encap     string
		low, high uint32
		want      uint32
	}{
		{model.EncapVXLAN, 1, 10, 2}, {model.EncapVXLAN, 3, 10, 4}, {model.EncapVXLAN, 1, 1, 0}, {model.EncapVLAN, 1, 10, 1},
		{model.EncapVLAN, 2, 2, 0}, {model.EncapVXLAN, 3, 3, 0},
	} {
		if got, ok := NewTagSet(w, row.encap).Lowest(row.low, row.high); got != row.want || ok != (row.want != 0) {
			t.Errorf("%s %d-%d: %d, want %d", row.encap, row.low, row.high, got, row.want)
		}
	}
	s := NewTagSet(w, model.EncapVXLAN)
	for _, row := range []struct{ low, want uint32 }{{1, 2}, {1, 4}, {6, 6}, {1, 5}, {1, 7}} {
		got, _ := s.Lowest(row.low, 10)
		if _, taken := s.Owner(got); taken || got != row.want {
			t.Errorf("of many from %d: %d, want %d", row.low, got, row.want)
		}
		s.Take(got, "t:new")
	}
	if owner, _ := s.Owner(3); owner != "t:b" {
		t.Errorf("tag 3 is %s's", owner)
	}
	if got, _ := Number(w); got != 2 {
		t.Errorf("tenant number %d, want 2", got)
	}
	w = w.With(model.Change{Put: []model.Object{model.Group{Tenant: "t", Name: "a", Number: 1}, model.Group{Tenant: "u", Name: "b", Number: 2}}})
	if got, _ := GroupNumber(w); got != 3 {
		t.Errorf("group number %d, want 3", got)
	}
}

// Whatever is taken: what is given was free, nothing lower was, and the two texts add up to the pool.
func FuzzAddress(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint8(24), uint8(0), uint8(0))
	f.Add([]byte{0, 255, 254}, uint8(30), uint8(9), uint8(20))
	f.Fuzz(func(t *testing.T, hosts []byte, bits, first, last uint8) {
		text := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 1, 0}), 24+int(bits%8)).String()
		if first != last {
			text = netip.AddrFrom4([4]byte{10, 1, 1, first}).String() + "-" + netip.AddrFrom4([4]byte{10, 1, 1, last}).String() + "/24"
		}
		p, err := model.ParsePool(text, "", false)
		if err != nil {
			t.Skip()
		}
		n := model.Network{Tenant: "t", Name: "n", IPv4: p}
		taken := map[netip.Addr]bool{}
		var list []netip.Addr
		for _, h := range hosts {
			a := netip.AddrFrom4([4]byte{10, 1, 1, h})
			taken[a] = true
			list = append(list, a)
		}
		got, ok := Address(world(n, list...), n, p, netip.Addr{}, nil, nil)
		var want netip.Addr
		var free int
		low, high, some := p.Bounds()
		for a := low; some && !high.Less(a); a = a.Next() {
			if !taken[a] {
				free++
				if !want.IsValid() {
					want = a
				}
			}
		}
		if got != want || ok != want.IsValid() {
			t.Fatalf("%s with %v: %s, want %s", text, list, got, want)
		}
		if (Available(p, list, nil) == "") != (free == 0) {
			t.Fatalf("%s with %v: available %q, %d are free", text, list, Available(p, list, nil), free)
		}
	})
}
