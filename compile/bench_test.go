// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

// manyRules is a tenant with 200 groups of 50 endpoints each, half of them on n1, and 50 rules for each group.
func manyRules(t testing.TB) model.World {
	const groups, members, rules = 200, 50, 50
	subnet, err := model.ParsePool("10.0.0.0/16", "10.0.0.1", false)
	if err != nil {
		t.Fatal(err)
	}
	put := []model.Object{
		model.Tenant{Name: "default", Number: 1}, node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
		model.Network{Tenant: "default", Name: "net", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1, IPv4: subnet},
	}
	address := subnet.Gateway
	for g := range groups {
		name := fmt.Sprintf("g%d", g)
		put = append(put,
			model.Policy{Tenant: "default", Name: "p-" + name},
			model.Group{Tenant: "default", Name: name, Network: "net", Number: uint32(g + 1), Policies: []string{"p-" + name}})
		for i := range members {
			address = address.Next()
			e := endpoint(fmt.Sprintf("e-%d-%d", g, i), "default", "net", "n"+fmt.Sprint(1+i%2), fmt.Sprintf("vvport%d", g*members+i), address.String())
			e.Group = name
			put = append(put, e)
		}
		for i := range rules {
			put = append(put, oneOfMany(g, i))
		}
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
}

// oneOfMany is a rule of a group of manyRules: a deny of all, ports, other groups, and addresses outside.
func oneOfMany(group, i int) model.Rule {
	r := model.Rule{
		Tenant: "default", Policy: fmt.Sprintf("p-g%d", group), ID: fmt.Sprint(i), Direction: model.In, Action: model.Allow, Priority: 10, Protocol: "tcp",
	}
	switch {
	case i == 0:
		r.Action, r.Priority = model.Deny, 1
	case i%3 == 0:
		r.Port = uint16(1000 + i)
	case i%3 == 1:
		r.Port, r.FromGroup = uint16(1000+i), fmt.Sprintf("g%d", (group+i)%200)
	default:
		r.Port, r.From = 443, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(group), byte(i)}), 32)
	}
	if i%10 == 9 {
		r.Direction, r.ToGroup, r.FromGroup, r.To, r.From = model.Out, r.FromGroup, "", r.From, netip.Prefix{}
	}
	return r
}

func BenchmarkTenThousandRulesOver200Groups(b *testing.B) {
	w := manyRules(b)
	var t Tables
	for b.Loop() {
		t = For(w, "n1")
	}
	b.ReportMetric(float64(len(t.Verdicts)), "verdicts")
	b.ReportMetric(float64(len(t.Rules)), "rules")
	b.ReportMetric(float64(len(t.Prefixes)), "prefixes")
}

func BenchmarkOneMoreRuleBesideTenThousand(b *testing.B) {
	w := manyRules(b)
	more := oneOfMany(7, 3)
	more.ID, more.Port = "more", 99
	worlds := [2]model.World{w, w.With(model.Change{Revision: 2, Put: []model.Object{more}})}
	var m Memo
	for i := 0; b.Loop(); i++ {
		m.For(worlds[i%2], "n1")
	}
}

// A rule of one container's group, for each of ten thousand addresses.
func BenchmarkTenThousandRulesOfOneGroup(b *testing.B) {
	put := []model.Object{
		model.Tenant{Name: "default", Number: 1}, node("n1", "192.168.2.10"), model.Policy{Tenant: "default", Name: "p"},
		model.Network{Tenant: "default", Name: "net", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1, IPv4: model.Pool{Prefix: netip.MustParsePrefix("10.0.0.0/16")}},
		model.Group{Tenant: "default", Name: "g", Network: "net", Number: 1, Policies: []string{"p"}},
		inGroup("g", endpoint("e", "default", "net", "n1", "vvport1", "10.0.0.1")),
	}
	for i := range 10000 {
		put = append(put, model.Rule{
			Tenant: "default", Policy: "p", ID: fmt.Sprint(i), Direction: model.In, Action: model.Deny, Priority: 1 + i%100, Protocol: "tcp", Port: uint16(1 + i%1000),
			From: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), 32),
		})
	}
	w := model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
	for b.Loop() {
		if t := For(w, "n1"); len(t.Verdicts) != 10000 {
			b.Fatalf("%d verdicts", len(t.Verdicts))
		}
	}
}

// The most expensive kind of rules: each names the network in which 200 groups are told apart.
func BenchmarkThousandRulesThatNameANetworkOf200Groups(b *testing.B) {
	w := manyRules(b)
	var more []model.Object
	for i := range 1000 {
		more = append(more, model.Rule{
			Tenant: "default", Policy: fmt.Sprintf("p-g%d", i%200), ID: fmt.Sprintf("net%d", i), Direction: model.In, Action: model.Allow, Priority: 20,
			Protocol: "udp", Port: uint16(1 + i), FromNetwork: "net",
		})
	}
	w = w.With(model.Change{Revision: 2, Put: more})
	var t Tables
	for b.Loop() {
		t = For(w, "n1")
	}
	b.ReportMetric(float64(len(t.Verdicts)), "verdicts")
}

// A World of a thousand services of Kubernetes with three pods each, of which one after the other becomes ready or not.
func BenchmarkServicesOfKubernetes(b *testing.B) {
	n := model.Network{Tenant: "default", Name: "net", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1}
	n.IPv4, _ = model.ParsePool("10.1.0.0/16", "10.1.255.254", false)
	objects := []model.Object{model.Tenant{Name: "default", Number: 1}, n}
	for i := range 4 {
		objects = append(objects, model.Node{Name: fmt.Sprint("n", i), VTEP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), VXLANPort: 4789})
	}
	var slices []model.EndpointSlice
	for i := range 1000 {
		s := model.EndpointSlice{Namespace: "ns", Name: fmt.Sprint("s", i), Service: fmt.Sprint("s", i), Ports: []model.SlicePort{{Protocol: "TCP", Port: 8080}}}
		for j := range 3 {
			e := model.Endpoint{
				ID: fmt.Sprint("e", i, "-", j), Tenant: "default", Network: "net", Node: fmt.Sprint("n", j), Port: fmt.Sprint("vvport", i+1), Runtime: model.RuntimeCNI,
				IPv4: netip.AddrFrom4([4]byte{10, 1, byte((i*3 + j) / 250), byte((i*3+j)%250 + 1)}), Labels: map[string]string{model.LabelPodNamespace: "ns", model.LabelPodName: fmt.Sprint("p", i, "-", j)},
			}
			objects = append(objects, e)
			s.Endpoints = append(s.Endpoints, model.SliceAddress{Addr: e.IPv4, Pod: e.Labels[model.LabelPodName], Ready: true})
		}
		slices = append(slices, s)
		objects = append(objects, s, model.ClusterService{
			Namespace: "ns", Name: s.Name, ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i / 250), byte(i%250 + 1)})},
			Ports: []model.ClusterPort{{Protocol: "TCP", Port: 80, Node: uint16(30000 + i)}},
		})
	}
	w := model.World{}.With(model.Change{Revision: 1, Reset: true, Put: objects})
	var m Memo
	m.For(w, "n0")
	for i := 0; b.Loop(); i++ {
		s := slices[i%1000]
		s.Endpoints = append([]model.SliceAddress(nil), s.Endpoints...)
		s.Endpoints[0].Ready = i%2000 >= 1000
		w = w.With(model.Change{Revision: int64(i + 2), Put: []model.Object{s}})
		m.For(w, "n0")
	}
}
