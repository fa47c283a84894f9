// SPDX-License-Identifier: Apache-2.0

package model

import (
	"errors"
	"strings"
	"testing"
)

// refusedOver checks that a refusal is about the field and made for users.
func refusedOver(t *testing.T, err error, field string) {
	t.Helper()
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Field != field || !errors.Is(err, ErrInvalid) {
		t.Fatalf("refused with %v, which is not about %s", err, field)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"", "10.1.1.10-10.1.1.20", "10.1.1.7", "2001:db8::1-2001:db8::ff", "fe80::1%-fe80::2", "::ffff:1.2.3.4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange("ipPool", text)
		if err != nil {
			refusedOver(t, err, "ipPool")
			return
		}
		if again, err := ParseRange("ipPool", r.String()); err != nil || again != r {
			t.Fatalf("%q is read as %s, and that as %s (%v)", text, r, again, err)
		}
		if !r.IsZero() && (!r.Contains(r.First) || !r.Contains(r.Last) || !r.Overlaps(r) || r.Contains(r.Last.Next())) {
			t.Fatalf("%s does not contain its ends, or more", r)
		}
	})
}

func FuzzParsePeer(f *testing.F) {
	for _, seed := range []string{"", "10.1.1.5", "10.1.1.5/24", "2001:db8::/64", "::ffff:1.2.3.4/120", "0.0.0.0/0", "::/0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePeer("fromIpAddress", text)
		if err != nil {
			refusedOver(t, err, "fromIpAddress")
			return
		}
		if p.IsValid() && p != p.Masked() {
			t.Fatalf("%q keeps host bits: %s", text, p)
		}
		if again, err := ParsePeer("fromIpAddress", PeerText(p)); err != nil || again != p {
			t.Fatalf("%q is read as %s, and that as %s (%v)", text, p, again, err)
		}
	})
}

func FuzzParseServicePort(f *testing.F) {
	for _, seed := range []string{"80:8080:TCP", "643:7070:udp", "0:1:sctp", "1:2:ſctp"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseServicePort(text)
		if err != nil {
			refusedOver(t, err, "ports")
			return
		}
		if p.Port == 0 || p.Target == 0 {
			t.Fatalf("%q is read as %+v", text, p)
		}
		if again, err := ParseServicePort(p.String()); err != nil || again != p {
			t.Fatalf("%q is read as %+v, and that as %+v (%v)", text, p, again, err)
		}
	})
}

func FuzzParseHealth(f *testing.F) {
	for _, seed := range []string{"tcp", "http", "http:/", "http:/a?b=c", "http://x", "http:/\r\n", "http:/a%20b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHealth(text)
		if err != nil {
			refusedOver(t, err, "healthCheck")
			return
		}
		if strings.ContainsAny(h.Path, "\r\n ") || h.Path != "" && h.Path[0] != '/' {
			t.Fatalf("%q asks for %q", text, h.Path)
		}
		if again, err := ParseHealth(h.String()); err != nil || again != h {
			t.Fatalf("%q is read as %s, and that as %s (%v)", text, h, again, err)
		}
	})
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"app=web", "a=b=c", "=x", "x=", "io.contiv/tier=front"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, v, err := ParseSelector(text)
		if err != nil {
			refusedOver(t, err, "selectors")
			return
		}
		if k == "" || v == "" || strings.Contains(k, "=") || k+"="+v != text {
			t.Fatalf("%q is read as %q and %q", text, k, v)
		}
	})
}

func FuzzTagRange(f *testing.F) {
	for _, seed := range []string{"1-4094", "1-10000", "0-1", "9-1", "99999999-99999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, max := range []uint32{MaxVLAN, MaxVXLAN} {
			low, high, err := TagRange("vlans", text, max)
			if err != nil {
				refusedOver(t, err, "vlans")
				continue
			}
			if low < 1 || high < low || high > max {
				t.Fatalf("%q is read as %d to %d", text, low, high)
			}
		}
	})
}

func FuzzBandwidth(f *testing.F) {
	for _, seed := range []string{"10 mbps", "6Mbps", "18Mb", "1 Gbps", "999999999999 gbps", "1000000g"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Netprofile{Bandwidth: text}.BitsPerSecond()
		if err != nil {
			refusedOver(t, err, "bandwidth")
			return
		}
		if (n == 0) != (text == "") || n%1000 != 0 || n > maxBandwidth {
			t.Fatalf("%q is read as %d bits a second", text, n)
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	for _, seed := range []string{"02:02:0a:01:02:03", "0202.0a01.0203", "01:00:5e:00:00:01", "00:00:00:00:00:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseMAC(text)
		if err != nil {
			refusedOver(t, err, "macAddress")
			return
		}
		if again, err := ParseMAC(m.String()); err != nil || again != m || m.IsZero() || m[0]&1 == 1 {
			t.Fatalf("%q is read as %s, and that as %s (%v)", text, m, again, err)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"web-1", "a.b", "-", "a..b", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if err := CheckName("networkName", name, 64); err != nil {
			refusedOver(t, err, "networkName")
			return
		}
		// What keys are joined with, and what paths and file names are made of.
		if name == "" || len(name) > 64 || strings.ContainsAny(name, ":/|_ %\x00\n") || name[0] == '.' || name[0] == '-' {
			t.Fatalf("%q is a name", name)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("group", []byte(`{"tenant":"a","name":"b","pool":{"first":"10.1.1.1","last":"10.1.1.2"}}`))
	f.Add("rule", []byte(`{"tenant":"a","from":"10.1.1.0/24"}`))
	f.Add("service", []byte(`{"selectors":{"a":"b"},"ports":[{"port":1}]}`))
	f.Fuzz(func(t *testing.T, kind string, b []byte) {
		o, err := Decode(Kind(kind), b)
		if err != nil {
			return
		}
		if o.Kind() != Kind(kind) {
			t.Fatalf("a %s is decoded as a %s", kind, o.Kind())
		}
		w := World{}.With(Change{Revision: 1, Put: []Object{o}})
		if got := w.Whole().Put; len(got) != 1 || got[0].Key() != o.Key() {
			t.Fatalf("a World with %+v has %+v", o, got)
		}
	})
}
