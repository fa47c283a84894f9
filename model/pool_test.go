// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestPoolsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text, gateway string
		v6            bool
		first, last   string // what may be given; "" for nothing
	}{
		{"10.1.2.0/24", "", false, "10.1.2.1", "10.1.2.254"},
		{"10.1.2.0/24", "10.1.2.254", false, "10.1.2.1", "10.1.2.254"},
		{"10.1.1.50/24", "", false, "10.1.1.1", "10.1.1.254"},
		{"10.1.1.10-10.1.1.20/24", "", false, "10.1.1.10", "10.1.1.20"},
		{"10.1.1.10-10.1.1.20/24", "10.1.1.1", false, "10.1.1.10", "10.1.1.20"},
		{"10.1.1.0-10.1.1.255/24", "", false, "10.1.1.1", "10.1.1.254"},
		{"10.0.0.0/8", "", false, "10.0.0.1", "10.255.255.254"},
		{"10.1.1.4/30", "", false, "10.1.1.5", "10.1.1.6"},
		{"10.1.1.4/31", "", false, "", ""},
		{"2001:db8::/64", "2001:db8::1", true, "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"},
		{"2001:db8::/127", "", true, "2001:db8::1", "2001:db8::1"},
	} {
		p, err := ParsePool(row.text, row.gateway, row.v6)
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
			continue
		}
		if p.String() != row.text {
			t.Errorf("%s is printed as %s", row.text, p)
		}
		first, last, ok := p.Bounds()
		if ok != (row.first != "") || ok && (first.String() != row.first || last.String() != row.last) {
			t.Errorf("%s gives %s-%s (%v), want %s-%s", row.text, first, last, ok, row.first, row.last)
		}
	}
}

func TestBadPoolsAreRefusedByFieldAndValue(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text, gateway string
		v6            bool
		field         string
	}{
		{"10.1.2.0", "", false, "subnet"},
		{"10.1.2.0/32", "", false, "subnet"},
		{"10.1.2.0/7", "", false, "subnet"},
		{"10.1.2.256/24", "", false, "subnet"},
		{"2001:db8::/64", "", false, "subnet"},
		{"::ffff:10.1.2.0/120", "", true, "ipv6Subnet"},
		{"10.1.1.10-20/24", "", false, "subnet"},
		{"10.1.1.20-10.1.1.10/24", "", false, "subnet"},
		{"10.1.1.10-10.1.2.10/24", "", false, "subnet"},
		{"224.0.0.0/24", "", false, "subnet"},
		{"127.0.0.0/24", "", false, "subnet"},
		{"169.254.0.0/16", "", false, "subnet"},
		{"169.0.0.0/8", "", false, "subnet"}, // has the link-local ones
		{"0.1.0.0/16", "", false, "subnet"},
		{"239.1.1.0/24", "", false, "subnet"},
		{"240.0.0.0/8", "", false, "subnet"},
		{"240.0.0.0/4", "", false, "subnet"},
		{"255.255.255.0/24", "", false, "subnet"},
		{"255.255.255.10-255.255.255.20/24", "", false, "subnet"},
		{"::/64", "", true, "ipv6Subnet"},
		{"ff02::/64", "", true, "ipv6Subnet"},
		{"fe00::/8", "", true, "ipv6Subnet"},
		{"10.1.2.0/24", "10.1.3.1", false, "gateway"},
		{"10.1.2.0/24", "10.1.2.0", false, "gateway"},
		{"10.1.2.0/24", "10.1.2.255", false, "gateway"},
		{"10.1.2.0/24", "gateway", false, "gateway"},
		{"", "10.1.2.1", false, "gateway"},
		{"2001:db8::/128", "", true, "ipv6Subnet"},
		{"fe80::/64", "", true, "ipv6Subnet"},
		{"2001:db8::/64", "2001:db8:1::1", true, "ipv6Gateway"},
		{"2001:db8::/64", "2001:db8::1%eth0", true, "ipv6Gateway"},
	} {
		_, err := ParsePool(row.text, row.gateway, row.v6)
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Field != row.field || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s gateway %q: %v, want a refusal of %s", row.text, row.gateway, err, row.field)
			continue
		}
		if !strings.Contains(err.Error(), row.field) {
			t.Errorf("%q does not name the field %s", err, row.field)
		}
	}
}

func TestRangesOverlapOnlyWhereTheyShareAddresses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"10.1.1.0/24", "10.1.2.0/24", false},
		{"10.1.0.0/16", "10.1.2.0/24", true},
		{"10.1.1.10-10.1.1.20/24", "10.1.1.21-10.1.1.30/24", false},
		{"10.1.1.10-10.1.1.20/24", "10.1.1.20-10.1.1.30/24", true},
		{"10.1.1.10-10.1.1.20/24", "10.1.1.0/24", true},
	} {
		a, errA := ParsePool(row.a, "", false)
		b, errB := ParsePool(row.b, "", false)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Overlaps(b) != row.want || b.Overlaps(a) != row.want {
			t.Errorf("%s overlaps %s: want %v", row.a, row.b, row.want)
		}
	}
}

func FuzzParsePool(f *testing.F) {
	f.Add("10.1.1.10-10.1.1.20/24", "10.1.1.1", false)
	f.Add("2001:db8::/64", "2001:db8::1", true)
	f.Fuzz(func(t *testing.T, text, gateway string, v6 bool) {
		p, err := ParsePool(text, gateway, v6)
		if err != nil || p.IsZero() {
			return
		}
		again, err := ParsePool(p.String(), gateway, v6)
		if err != nil || again != p {
			t.Fatalf("%q is read as %v, printed as %q and read again as %v (%v)", text, p, p.String(), again, err)
		}
		if first, last, ok := p.Bounds(); ok {
			for _, a := range []netip.Addr{first, last} {
				if a != p.Gateway && p.Usable(a) != nil {
					t.Fatalf("%q would give %s, which is not usable: %v", text, a, p.Usable(a))
				}
			}
		}
	})
}
