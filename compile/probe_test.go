// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

func probedAt(e model.Endpoint, ports ...uint16) model.Endpoint {
	e = podOf(e, e.ID)
	e.Spec = e.Spec.WithPorts(nil, ports)
	return e
}

func TestProbesGoToPodsByWaysThatTheirAddressesAreNot(t *testing.T) {
	t.Parallel()
	home := endpoint("h1", "default", model.HostAccess, "n1", model.InfraPort(model.HostAccess), "132.1.1.2")
	home.Runtime = model.RuntimeNode
	access := network(t, "default", model.HostAccess, 9, "132.1.1.0/24", "132.1.1.1")
	access.Type = model.NetworkInfra
	for name, row := range map[string]struct {
		put        []model.Object
		want, note string
	}{
		"nobody is probed":                 {nil, "[]", ""},
		"a pod of another tenant":          {[]model.Object{probedAt(endpoint("e3", "blue", "net", "n1", "vvport2", "10.1.2.1"), 80, 8080)}, "[probed 10.1.2.1:80: 172.19.0.2 probed 10.1.2.1:8080: 172.19.0.2]", ""},
		"another node's":                   {[]model.Object{probedAt(endpoint("e9", "blue", "net", "n2", "vvport2", "10.1.2.9"), 80)}, "[]", ""},
		"the default tenant's":             {[]model.Object{probedAt(endpoint("e4", "default", "db", "n1", "vvport3", "10.1.9.2"), 80)}, "[probed 10.1.9.2:80: 172.19.0.3]", ""},
		"the default tenant's by contivh1": {[]model.Object{access, home, probedAt(endpoint("e4", "default", "db", "n1", "vvport3", "10.1.9.2"), 80)}, "[]", ""},
		"without a gateway":                {[]model.Object{probedAt(endpoint("e1", "default", "net", "n1", "vvport1", "10.1.2.1"), 80)}, "[]", "give the network a gateway"},
		"a node's address":                 {[]model.Object{node("n3", "10.1.2.7"), probedAt(endpoint("e7", "blue", "net", "n1", "vvport7", "10.1.2.7"), 80)}, "[]", "of a node"},
		"two alike": {[]model.Object{
			model.Tenant{Name: "green", Number: 3}, network(t, "green", "net", 7, "10.1.2.0/24", "10.1.2.254"),
			probedAt(endpoint("a", "green", "net", "n1", "vvport5", "10.1.2.5"), 80, 81), probedAt(endpoint("b", "blue", "net", "n1", "vvport6", "10.1.2.5"), 80),
		}, "[probed 10.1.2.5:80: 172.19.0.6 probed 10.1.2.5:81: 172.19.0.5]", "pod ns/a is probed at 10.1.2.5:80, as another"},
	} {
		tables := For(model.World{}.With(model.Change{Revision: 7, Reset: true, Put: append(twoTenants(t), row.put...)}), "n1")
		notes := fmt.Sprint(tables.Notes)
		if got := fmt.Sprint(tables.Probed); got != row.want || !strings.Contains(notes, row.note) || row.note == "" && len(tables.Notes) > 0 {
			t.Errorf("%s: %s, want %s; notes %s, want %q", name, got, row.want, notes, row.note)
		}
	}
}

func TestProbesPassPoliciesThatLetNobodyIn(t *testing.T) {
	t.Parallel()
	w := withPods(t, model.NetworkPolicy{Namespace: "x", Name: "nobody", IsolatesIngress: true})
	tables := For(w, "n1")
	for from, want := range map[string]bool{"192.0.0.7": true, "fd63:6f6e:7469:7601::8": true, "192.0.0.8": false, "192.168.2.10": false} {
		a := netip.MustParseAddr(from)
		var class uint32
		bits := -1
		for _, p := range tables.Prefixes {
			if p.Prefix.Contains(a) && p.Prefix.Bits() > bits {
				class, bits = p.Class, p.Prefix.Bits()
			}
		}
		var in uint32
		for _, p := range tables.Ports {
			if p.Endpoint == "x/a" {
				in = p.InRole
			}
		}
		if got, _ := tables.Verdict(in, class, 6, 8080); got.Allow != want {
			t.Errorf("what comes from %s: %v, want %t", from, got, want)
		}
		if a.Is6() {
			continue
		}
		trace := Trace(w, Question{Tenant: "default", From: a, To: netip.MustParseAddr(podAddrs["x/a"]), Protocol: 6, Port: 8080})
		if trace.Allow != want {
			t.Errorf("the trace of what comes from %s: %+v, want %t", from, trace, want)
		}
	}
}
