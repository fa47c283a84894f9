// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// scene makes Worlds and packets in which much collides: few names, few addresses, few ports, few priorities.
type scene struct {
	*rand.Rand
	addresses []netip.Addr
}

func one[T any](s scene, of ...T) T { return of[s.IntN(len(of))] }

// world has two tenants with equal addresses, networks of one family and of both, and references to what does not exist.
func (s *scene) world() model.World {
	put := []model.Object{
		model.Tenant{Name: "red", Number: 1}, model.Tenant{Name: "blue", Number: 2},
		node("n1", "192.168.2.10"), node("n2", "192.168.2.11"),
	}
	prefix := func(text string) model.Pool {
		if text == "" {
			return model.Pool{}
		}
		return model.Pool{Prefix: netip.MustParsePrefix(text)}
	}
	dual := s.IntN(2) == 0
	s.addresses = nil
	for i, tenant := range []string{"red", "blue"} {
		for j, name := range []string{"net", "db"} {
			v6 := ""
			if dual {
				v6 = fmt.Sprintf("2001:db8:%d::/64", j)
			}
			n := model.Network{
				Tenant: tenant, Name: name, Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: uint32(10*i + j + 1),
				IPv4: prefix(fmt.Sprintf("10.1.%d.0/24", j)), IPv6: prefix(v6),
			}
			if s.IntN(12) == 0 {
				n.Encap = model.EncapVLAN
			}
			if s.IntN(12) > 0 {
				put = append(put, n)
			}
			for k := range 4 {
				e := model.Endpoint{
					ID: fmt.Sprintf("%s-%s-%d", tenant, name, k), Tenant: tenant, Network: name, Node: one(*s, "n1", "n2"),
					Port: fmt.Sprintf("vvport%d", 10*i+5*j+k), Group: one(*s, "", "a", "a", "b", "b", "c", "c", "gone"),
					IPv4: netip.AddrFrom4([4]byte{10, 1, byte(j), byte(k + 1)}),
				}
				if dual && s.IntN(3) > 0 {
					e.IPv6 = netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", j, k+1))
				}
				if s.IntN(3) > 0 {
					s.makePod(&e)
				}
				if s.IntN(8) > 0 {
					put = append(put, e)
				}
				s.addresses = append(s.addresses, e.Addrs()...)
			}
		}
		for _, name := range []string{"a", "b", "c"} {
			g := model.Group{Tenant: tenant, Name: name, Network: one(*s, "net", "db")}
			for _, p := range []string{"p", "q", "r", "none"} {
				if s.IntN(3) > 0 {
					g.Policies = append(g.Policies, p)
				}
			}
			if s.IntN(10) > 0 {
				put = append(put, g)
			}
		}
		for _, name := range []string{"p", "q", "r"} {
			if s.IntN(10) > 0 {
				put = append(put, model.Policy{Tenant: tenant, Name: name, Audit: s.IntN(3) == 0})
			}
		}
		for id := range s.IntN(40) {
			put = append(put, s.rule(tenant, id))
		}
	}
	for i, name := range []string{"n1", "n2"} {
		put = append(put, model.Endpoint{
			ID: model.InfraEndpoint(model.HostAccess, name), Tenant: "red", Network: model.HostAccess, Node: name, Port: model.InfraPort(model.HostAccess),
			Runtime: model.RuntimeNode, IPv4: netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}),
		})
	}
	put = append(put, model.Network{
		Tenant: "red", Name: model.HostAccess, Type: model.NetworkInfra, Encap: model.EncapVXLAN, Tag: 99, IPv4: prefix("10.9.0.0/24"),
	})
	for range s.IntN(3) {
		put = append(put, s.namespace())
	}
	if s.IntN(4) > 0 {
		for range s.IntN(5) {
			put = append(put, s.networkPolicy())
		}
		for range s.IntN(4) {
			put = append(put, s.clusterNetworkPolicy())
		}
	}
	for _, a := range []string{"10.9.0.1", "10.9.0.2", "192.168.2.10", "192.168.2.11", "10.1.0.77", "10.1.1.2", "10.2.0.1", "8.8.8.8", "2001:db8::77", "2001:db8:9::1"} {
		s.addresses = append(s.addresses, netip.MustParseAddr(a))
	}
	return model.World{}.With(model.Change{Revision: 1, Reset: true, Put: put})
}

func (s *scene) rule(tenant string, id int) model.Rule {
	r := model.Rule{
		Tenant: tenant, Policy: one(*s, "p", "q", "r"), ID: fmt.Sprint(id), Action: one(*s, model.Allow, model.Deny),
		Priority: one(*s, 1, 1, 2, 3, 100), Protocol: one(*s, "", "", "", "tcp", "tcp", "tcp", "udp", "icmp", "1", "58", "6", "89", "bad"),
	}
	if n, any, _ := model.ProtocolNumber(r.Protocol); !any && model.HasPorts(n) {
		r.Port = one[uint16](*s, 0, 80, 81)
	}
	group, network, prefix := "", "", netip.Prefix{}
	switch s.IntN(6) {
	case 0:
		group = one(*s, "a", "b", "c", "gone")
	case 1:
		network = one(*s, "net", "db", "gone")
	case 2:
		prefix = s.prefix()
	case 3:
		group, prefix = one(*s, "a", "b", "c"), s.prefix()
	}
	if s.IntN(2) == 0 {
		r.Direction, r.ToGroup, r.ToNetwork, r.To = model.Out, group, network, prefix
		return r
	}
	r.Direction, r.FromGroup, r.FromNetwork, r.From = model.In, group, network, prefix
	if s.IntN(4) == 0 {
		r.To = s.prefix()
	}
	return r
}

func (s *scene) prefix() netip.Prefix {
	return netip.MustParsePrefix(one(*s,
		"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/24", "10.1.0.0/30", "10.1.0.2/32", "10.1.1.0/24", "10.1.1.1/32", "8.8.0.0/16",
		"::/0", "2001:db8::/32", "2001:db8::/64", "2001:db8::2/128", "2001:db8:1::/64")).Masked()
}

func (s *scene) question() Question {
	q := Question{Tenant: one(*s, "red", "blue"), From: one(*s, s.addresses...), To: one(*s, s.addresses...), Protocol: one[uint8](*s, 6, 6, 6, 6, 17, 1, 58, 89)}
	for q.To.Is4() != q.From.Is4() {
		q.To = one(*s, s.addresses...)
	}
	if model.HasPorts(q.Protocol) {
		q.Port = one[uint16](*s, 0, 80, 81, 82, 90, 8080, 65535)
	}
	return q
}

// folded answers a question as the data path does: from the tables of the two nodes.
func folded(w model.World, tables map[string]Tables, q Question) Decision {
	tenant, _ := w.Tenants.Get(q.Tenant)
	d := Decision{Allow: true}
	for _, direction := range []string{model.Out, model.In} {
		for name, t := range tables {
			for _, p := range t.Ports {
				own, peer, role := q.To, q.From, p.InRole
				if direction == model.Out {
					own, peer, role = q.From, q.To, p.OutRole
				}
				if p.Tenant != tenant.Number || own != p.IPv4 && own != p.IPv6 || role == 0 || !d.Allow {
					continue
				}
				v, _ := t.Verdict(role, t.Class(p.Tenant, peer), q.Protocol, q.Port)
				s := Step{Endpoint: p.Endpoint, Node: name, Direction: direction, Allow: v.Allow}
				for _, r := range t.Rules {
					if r.Number == v.Rule {
						s.Rule = r.Key
					}
					if r.Number == v.Audit {
						s.Audit = r.Key
					}
				}
				d.Steps, d.Allow = append(d.Steps, s), v.Allow
			}
		}
	}
	return d
}

// told are the steps in which a rule was told of, with what the data path knows of them.
func told(d Decision) string {
	var out string
	for _, s := range d.Steps {
		if s.Rule+s.Audit != "" {
			out += fmt.Sprintf("%s %s at %s: %v by %s, audit %s\n", s.Endpoint, s.Direction, s.Node, s.Allow, s.Rule, s.Audit)
		}
	}
	return fmt.Sprintf("%v\n%s", d.Allow, out)
}

func compareTraceWithTables(t *testing.T, seed uint64) (denied, audited, ofKubernetes int) {
	s := scene{Rand: rand.New(rand.NewPCG(seed, 4))}
	w := s.world()
	tables := map[string]Tables{"n1": For(w, "n1"), "n2": For(w, "n2")}
	for range 40 {
		q := s.question()
		want, got := Trace(w, q), folded(w, tables, q)
		if told(want) != told(got) {
			t.Fatalf("seed %d, %+v\nthe intent says %s\nthe tables say %s\n%s\n%s", seed, q, told(want), told(got), tables["n1"], tables["n2"])
		}
		if !want.Allow {
			denied++
		}
		audited += len(want.Audits())
		if s, _ := want.Decisive(); strings.Contains(s.Rule, " ") {
			ofKubernetes++
		}
	}
	return denied, audited, ofKubernetes
}

func TestTraceAgreesWithTheTables(t *testing.T) {
	var denied, audited, ofKubernetes int
	worlds := uint64(3000)
	if testing.Short() {
		worlds = 500
	}
	for seed := range worlds {
		d, a, k := compareTraceWithTables(t, seed)
		denied, audited, ofKubernetes = denied+d, audited+a, ofKubernetes+k
	}
	if packets := int(worlds) * 40; denied < packets/10 || audited < packets/30 || ofKubernetes < packets/15 {
		t.Errorf("of %d packets %d were denied, %d audited, and Kubernetes decided about %d: too few to prove anything", packets, denied, audited, ofKubernetes)
	}
}

func FuzzTraceAgreesWithTheTables(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { compareTraceWithTables(t, seed) })
}

// What is left out is noted, and the same however often it is compiled.
func TestTheSameWorldGivesTheSameTables(t *testing.T) {
	for seed := range uint64(100) {
		s := scene{Rand: rand.New(rand.NewPCG(seed, 4))}
		w := s.world()
		a, b := For(w, "n1").String(), For(model.World{}.With(w.Whole()), "n1").String()
		if a != b {
			t.Fatalf("seed %d: one time\n%s\nanother time\n%s", seed, a, b)
		}
		tables := For(w, "n1")
		for i := 1; i < len(tables.Verdicts); i++ {
			if CompareVerdicts(tables.Verdicts[i-1], tables.Verdicts[i]) >= 0 {
				t.Fatalf("seed %d: row %d is not after the one before it", seed, i)
			}
		}
	}
}

// What a Memo kept from another World never shows, and what it has given does not change afterwards.
func TestMemoGivesTheTablesOfEachWorld(t *testing.T) {
	type given struct {
		tables Tables
		text   string
	}
	for seed := range uint64(30) {
		s := scene{Rand: rand.New(rand.NewPCG(seed, 5))}
		var m Memo
		var all []given
		w := s.world()
		for step := range 100 {
			c := model.Change{Revision: int64(step)}
			switch objects := w.Whole().Put; s.IntN(10) {
			case 0, 4, 5: // only a rule
				c.Put = append(c.Put, s.rule("red", s.IntN(40)))
			case 6, 7: // rules go, and with the last that names it a selector
				for _, r := range w.Rules.All() {
					if s.IntN(5) == 0 {
						c.Delete = append(c.Delete, model.RefOf(r))
					}
				}
			case 8: // what Kubernetes says
				c.Put = append(c.Put, one[model.Object](s, s.networkPolicy(), s.clusterNetworkPolicy(), s.namespace()))
			case 9: // a pod becomes another
				for _, e := range w.Endpoints.All() {
					if s.IntN(8) == 0 {
						e.Spec = nil
						s.makePod(&e)
						c.Put = append(c.Put, e)
					}
				}
			case 1: // anything is gone
				if len(objects) > 0 {
					c.Delete = append(c.Delete, model.RefOf(one(s, objects...)))
				}
			case 2: // anything of another World
				c.Put = append(c.Put, one(s, s.world().Whole().Put...))
			case 3:
				g := model.DefaultGlobal()
				g.ForwardMode, g.Established = one(s, model.ForwardBridge, model.ForwardRouting), one(s, model.EstablishedKeep, model.EstablishedRecheck)
				c.Put = append(c.Put, g)
			}
			w = w.With(c)
			name := "n1"
			if s.IntN(10) == 0 {
				name = "n2"
			}
			tables := m.For(w, name)
			if got, want := tables.String(), For(w, name).String(); got != want {
				t.Fatalf("seed %d, step %d, after %+v: got\n%s\nwant\n%s", seed, step, c, got, want)
			}
			all = append(all, given{tables, tables.String()})
		}
		for i, g := range all {
			if g.tables.String() != g.text {
				t.Fatalf("seed %d: the tables of step %d were changed later", seed, i)
			}
		}
	}
}
