// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
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

// The kernel does not hold ports of SCTP for us, so what others publish has to be remembered.
func TestPortThatAnotherEndpointPublishesIsRefused(t *testing.T) {
	t.Parallel()
	h := held{all: map[string][]hold{}}
	any4, one4 := []netip.Addr{netip.IPv4Unspecified()}, netip.MustParseAddr("192.0.2.1")
	both := append(any4, netip.IPv6Unspecified())
	sctp := func(first, last uint16, host netip.Addr) Publishing {
		return Publishing{Protocol: "sctp", Host: host, First: first, Last: last, Port: 9}
	}
	if _, err := h.take("e1", sctp(9000, 9000, netip.Addr{}), any4); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		id   string
		host netip.Addr
	}{{"e2", netip.Addr{}}, {"e2", one4}, {"e1", netip.Addr{}}} {
		if _, err := h.take(x.id, sctp(9000, 9000, x.host), both); !errors.Is(err, model.ErrExists) || !strings.Contains(err.Error(), "9000/sctp") {
			t.Errorf("%s at %s: %v", x.id, x.host, err)
		}
	}
	// Nothing is left of what was refused, a range goes on, and another address, family or protocol is another port.
	if got, err := h.take("e2", sctp(9000, 9002, netip.Addr{}), both); err != nil || len(got) != 2 || got[0].HostPort != 9001 || got[1].HostPort != 9001 {
		t.Errorf("of a range: %v, %v", got, err)
	}
	if _, err := h.take("e2", sctp(9000, 9000, netip.IPv6Unspecified()), both); err != nil {
		t.Errorf("at the other family: %v", err)
	}
	h.free("e1")
	if _, err := h.take("e3", sctp(9000, 9000, one4), any4); err != nil {
		t.Errorf("what was let go: %v", err)
	}
	if _, err := h.take("e4", sctp(9000, 9000, netip.MustParseAddr("192.0.2.2")), any4); err != nil {
		t.Errorf("at another address: %v", err)
	}
}

// The masters know of the port by then, so it leads to the endpoint; whoever asks again is told that it is there.
func TestPortThatTheNodeDidNotApplyInTimeStaysHeld(t *testing.T) {
	t.Parallel()
	a, e := published(t, func(*model.Network) {})
	m := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(api.RevisionHeader, "7") }))
	t.Cleanup(m.Close)
	var err error
	if a.Client, err = api.NewClient(m.URL); err != nil {
		t.Fatal(err)
	}
	if a.records, err = openRecords(filepath.Join(t.TempDir(), "endpoints")); err != nil {
		t.Fatal(err)
	}
	a.Log, a.busy, a.held.all = slog.New(slog.DiscardHandler), map[string]chan bool{}, map[string][]hold{}
	if err := a.records.put(record{Endpoint: e}); err != nil {
		t.Fatal(err)
	}
	sctp := func(port uint16) []Publishing {
		return []Publishing{{Protocol: "sctp", Host: netip.MustParseAddr("192.0.2.1"), First: port, Last: port, Port: 9}}
	}
	impatient, cancel := context.WithCancel(t.Context())
	go func() { // once the master has answered
		for impatient.Err() == nil {
			if rec, _ := a.records.get("e1"); len(rec.Endpoint.Published) > 0 {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := a.Publish(impatient, "e1", sctp(9000)); !errors.Is(err, context.Canceled) {
		t.Fatalf("nothing was applied, and it says %v", err)
	}
	taken := func(port uint16) bool {
		_, err := a.held.take("e2", sctp(port)[0], []netip.Addr{netip.IPv4Unspecified()})
		return errors.Is(err, model.ErrExists)
	}
	if !taken(9000) {
		t.Error("another endpoint gets a port that leads to this one")
	}
	if err := a.Publish(t.Context(), "e1", sctp(9000)); err != nil || !taken(9000) {
		t.Errorf("asked for again: %v", err)
	}

	// What another has is refused, and what was there before stays.
	if taken(9001) {
		t.Fatal("nobody has it")
	}
	if err := a.Publish(t.Context(), "e1", sctp(9001)); !errors.Is(err, model.ErrExists) || !taken(9000) {
		t.Errorf("a port of another's: %v", err)
	}
}
