// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
)

func TestProviderIsUnhealthyAfterTwoMissesAndHealthyAfterOneAnswer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		ill     bool
		answers string // + and -, in the order in which they come
		want    string // h and i, after each
	}{
		{false, "+-+-+", "hhhhh"},
		{false, "--+", "hih"},
		{false, "-+--", "hhhi"},
		{false, "-----+-+", "hiiiihhh"},
		{true, "---+--", "iiihhi"},
		{true, "+", "h"},
	} {
		p, got := pulse{ill: row.ill, unknown: row.ill}, ""
		for _, a := range row.answers {
			p = p.after(a == '+')
			if p.ill {
				got += "i"
			} else {
				got += "h"
			}
		}
		if got != row.want {
			t.Errorf("ill %v, answers %s: %s, want %s", row.ill, row.answers, got, row.want)
		}
	}
}

func TestContainerThatWasJustStartedIsAskedOften(t *testing.T) {
	t.Parallel()
	p := pulse{ill: true, unknown: true}
	var waited time.Duration
	for range 5 {
		waited += p.pause()
		p = p.after(false)
	}
	if waited > 4*time.Second || p.pause() != checkEvery {
		t.Errorf("five checks take %s, and then there is one each %s", waited, p.pause())
	}
	for range 100 { // and no shift too far
		p = p.after(false)
	}
	if p.pause() != checkEvery || p.after(true).pause() != checkEvery || (pulse{ill: true}).pause() != checkEvery {
		t.Errorf("the pause is %s", p.pause())
	}
}

// shops are services of tenant blue, which ask in different ways, not at all, or in one that this version does not know.
func shops() model.Table[model.Service] {
	service := func(name, label, health string, ports ...model.ServicePort) model.Service {
		return model.Service{Tenant: "blue", Name: name, Network: "n", Selectors: map[string]string{"app": label}, Health: health, Ports: ports}
	}
	web := []model.ServicePort{{Port: 53, Target: 53, Protocol: "UDP"}, {Port: 80, Target: 8080, Protocol: "TCP"}}
	return model.World{}.With(model.Change{Revision: 1, Put: []model.Object{
		service("tcp", "web", "tcp", web...), service("http", "web", "http:/ready", web...), service("plain", "web", "", web...),
		service("newer", "web", "icmp", web...), service("db", "db", "tcp", web...),
	}}).Services
}

func TestChecksAreThoseThatServicesWantOfAttachedContainers(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("2001:db8::1")
	rec := func(change func(*record)) record {
		r := record{Sandbox: "/s", Endpoint: model.Endpoint{Tenant: "blue", Port: "vvport1", IPv4: v4, IPv6: v6, Labels: map[string]string{"app": "web"}}}
		change(&r)
		return r
	}
	got := checkups(checked(shops()), map[string]record{
		"both":       rec(func(*record) {}),
		"six":        rec(func(r *record) { r.Endpoint.IPv4 = netip.Addr{} }),
		"announced":  rec(func(r *record) { r.Endpoint.Port = "" }),
		"nowhere":    rec(func(r *record) { r.Sandbox = "" }),
		"stranger":   rec(func(r *record) { r.Endpoint.Tenant = "red" }),
		"unlabelled": rec(func(r *record) { r.Endpoint.Labels = nil }),
	})
	at4, at6 := netip.AddrPortFrom(v4, 8080), netip.AddrPortFrom(v6, 8080)
	tcp, http := model.Health{}, model.Health{Path: "/ready"}
	want := map[subject]checkup{
		{"both", "blue:tcp"}: {"/s", at4, tcp}, {"both", "blue:http"}: {"/s", at4, http},
		{"six", "blue:tcp"}: {"/s", at6, tcp}, {"six", "blue:http"}: {"/s", at6, http},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("checks are %v, not %v", got, want)
	}
}

func TestContainerHasToProveItselfToServicesOfWhichItBecomesAProvider(t *testing.T) {
	t.Parallel()
	of := func(label string, unhealthy ...string) model.Endpoint {
		return model.Endpoint{Tenant: "blue", Labels: map[string]string{"app": label}, Unhealthy: unhealthy}
	}
	for _, row := range []struct {
		name          string
		before, after model.Endpoint
		want          []string
	}{
		{"it comes", model.Endpoint{}, of("web"), []string{"blue:http", "blue:tcp"}},
		{"it has no part in any", model.Endpoint{}, of("none"), nil},
		{"nothing changes", of("web"), of("web"), nil},
		{"it was unhealthy", of("web", "blue:tcp"), of("web"), []string{"blue:tcp"}},
		{"it moves on", of("db", "blue:db"), of("web"), []string{"blue:db", "blue:http", "blue:tcp"}},
	} {
		if got := begun(shops(), row.before, row.after); !slices.Equal(got, row.want) {
			t.Errorf("%s: unhealthy for %q, not %q", row.name, got, row.want)
		}
	}
}

func TestWhatNobodyAsksAboutAnyMoreIsFound(t *testing.T) {
	t.Parallel()
	w := model.World{}.With(model.Change{Revision: 1, Put: []model.Object{
		model.Endpoint{ID: "a", Node: "n1", Unhealthy: []string{"blue:gone", "blue:tcp"}}, model.Endpoint{ID: "b", Node: "n2", Unhealthy: []string{"blue:gone"}},
	}})
	records := map[string]record{"a": {Endpoint: model.Endpoint{ID: "a", Unhealthy: []string{"blue:old"}}}, "b": {Endpoint: model.Endpoint{ID: "b"}}}
	got := unasked("n1", w, records, map[subject]checkup{{"a", "blue:tcp"}: {}})
	if want := []subject{{"a", "blue:gone"}, {"a", "blue:old"}}; !slices.Equal(got, want) {
		t.Errorf("found is %v, not %v", got, want)
	}
}
