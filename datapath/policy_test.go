// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// withPolicy puts a policy of the tenant red with its rules into the World, and the group that has it.
func (c *cluster) withPolicy(group, network, policy string, rules ...model.Rule) {
	c.t.Helper()
	c.put(model.Policy{Tenant: "red", Name: policy})
	c.withRules(policy, rules...)
	c.put(model.Group{Tenant: "red", Name: group, Network: network, Number: uint32(ids.Add(1)), Policies: []string{policy}})
}

func (c *cluster) withRules(policy string, rules ...model.Rule) {
	c.t.Helper()
	for i, r := range rules {
		r.Tenant, r.Policy = "red", policy
		if r.ID == "" {
			r.ID = fmt.Sprint(i + 1)
		}
		if r.Priority == 0 {
			r.Priority = 1
		}
		must(c.t, r.Check())
		c.put(r)
	}
}

// join makes the container a member of a group.
func (c *container) join(group string) {
	c.endpoint.Group = group
	c.node.c.put(c.endpoint)
}

func in(action, protocol string, port uint16) model.Rule {
	return model.Rule{Direction: model.In, Action: action, Protocol: protocol, Port: port}
}

func out(action, protocol string, port uint16) model.Rule {
	return model.Rule{Direction: model.Out, Action: action, Protocol: protocol, Port: port}
}

// listen takes TCP connections on a port and sends each one the byte it sends.
func (c *container) listen(ip netip.Addr, port uint16) {
	c.t.Helper()
	var l net.Listener
	must(c.t, c.do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(ip, port).String())
		return err
	}))
	c.t.Cleanup(func() { l.Close() })
	accept(l, func(conn net.Conn) {
		io.Copy(conn, conn) // ends with the connection
	})
}

// connect opens a TCP connection and has a byte come back.
func (c *container) connect(to netip.AddrPort, wait time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := c.do(func() (err error) {
		conn, err = net.DialTimeout("tcp", to.String(), wait)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn, echoes(conn, wait)
}

// echoes sends a byte and waits for it.
func echoes(conn net.Conn, wait time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{7}); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

func (c *container) connects(to netip.AddrPort) net.Conn {
	c.t.Helper()
	conn, err := c.connect(to, patience)
	if err != nil {
		for _, n := range c.node.c.nodes {
			all, _ := n.dp.Drops()
			c.t.Logf("drops on %s: %v", n.name, nonZero(all))
		}
		c.t.Fatalf("no connection from %s to %s: %v", c.ip(to.Addr()), to, err)
	}
	return conn
}

func (c *container) doesNotConnect(to netip.AddrPort) {
	c.t.Helper()
	if _, err := c.connect(to, silence); err == nil {
		c.t.Fatalf("%s connects to %s", c.ip(to.Addr()), to)
	}
}

// dual is a network of both families.
func dual(t testing.TB) model.Network {
	return net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1")
}

func TestRulesHoldInBothDirectionsAndFamiliesOnANodeAndAcross(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, dual(t))
	c.withPolicy("db", "web", "guard", in(model.Deny, "tcp", 0), with(in(model.Allow, "tcp", 8888), 10))
	c.withPolicy("locked", "web", "jail", out(model.Deny, "tcp", 8888))
	db, web := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b")
	far, jailed := n2.start("red:web", "10.1.1.3", "fd01::c"), n2.start("red:web", "10.1.1.4", "fd01::d")
	near := n1.start("red:web", "10.1.1.5", "fd01::e")
	db.join("db")
	jailed.join("locked")
	near.join("locked")
	c.apply()
	for _, ip := range db.endpoint.Addrs() {
		for _, port := range []uint16{8888, 9999} {
			db.listen(ip, port)
			web.listen(web.ip(ip), port)
			far.listen(far.ip(ip), port)
		}
		at := func(x *container, port uint16) netip.AddrPort { return netip.AddrPortFrom(x.ip(ip), port) }
		for _, x := range []*container{web, far} {
			x.connects(at(db, 8888))
			x.doesNotConnect(at(db, 9999))
			// What db begins is answered, though nothing may come in.
			db.connects(at(x, 9999))
			x.reaches(ip) // ICMP is not denied
		}
		for _, x := range []*container{jailed, near} {
			x.doesNotConnect(at(db, 8888))
			x.doesNotConnect(at(web, 8888))
			x.doesNotConnect(at(far, 8888))
			x.connects(at(web, 9999))
			x.connects(at(far, 9999))
		}
	}
	n1.wantDrop("policy_in", func() { far.doesNotConnect(netip.AddrPortFrom(db.endpoint.IPv4, 9999)) })
	n2.wantDrop("policy_out", func() { jailed.doesNotConnect(netip.AddrPortFrom(db.endpoint.IPv4, 8888)) })
}

func with(r model.Rule, priority int) model.Rule {
	r.Priority = priority
	return r
}

// A restart, and an upgrade that lays out the other maps anew, keep connections that only their own table knows of.
func TestConnectionsOutliveARestartAndAnUpgrade(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, dual(t))
	c.withPolicy("db", "web", "guard", in(model.Deny, "", 0), with(in(model.Allow, "tcp", 8888), 10))
	c.withPolicy("sealed", "web", "seal", in(model.Deny, "", 0), out(model.Deny, "", 0))
	db, near, far := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b"), n2.start("red:web", "10.1.1.3", "fd01::c")
	db.join("db")
	c.apply()
	to := netip.AddrPortFrom(db.endpoint.IPv4, 8888)
	db.listen(db.endpoint.IPv4, 8888)
	conns := []net.Conn{near.connects(to), far.connects(to)}
	db.join("sealed") // from here on only known connections pass
	c.apply()
	for round := range 4 {
		for _, conn := range conns {
			if err := echoes(conn, patience); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		near.doesNotConnect(to)
		for _, n := range c.nodes {
			must(t, n.dp.Close())
			if round%2 == 1 {
				n.opts.Flows4 *= 2 // another layout, so other maps
			}
			n.open()
			must(t, n.dp.Apply(n.tables()))
		}
	}
}

// A container that comes while rules change is under its rules from its first packet on.
func TestNewContainerIsNeverReachedBeforeItsPolicy(t *testing.T) {
	t.Parallel()
	verdicts := table[contivVerdictKey, contivVerdict]{{contivVerdictKey{Role: 5}, contivVerdict{Deny: 1}}}
	want := rows{
		ports: table[uint32, contivPort]{
			{7, contivPort{Tenant: 1, InRole: [2]uint32{5, 5}}}, {8, contivPort{Tenant: 1, InRole: [2]uint32{5, 5}}},
		},
		endpoints: table[contivEndpointKey, contivEndpoint]{
			{contivEndpointKey{Tenant: 1}, contivEndpoint{Ifindex: 7, Class: [2]uint32{3, 3}}},
			{contivEndpointKey{Tenant: 2}, contivEndpoint{Ifindex: 8, Class: [2]uint32{3, 3}}},
		},
		verdicts: [2]table[contivVerdictKey, contivVerdict]{verdicts, verdicts},
	}
	held := rows{ // port 8 has another endpoint's address
		ports:     table[uint32, contivPort]{{8, contivPort{Tenant: 1}}},
		endpoints: table[contivEndpointKey, contivEndpoint]{{contivEndpointKey{Tenant: 2}, contivEndpoint{Ifindex: 9}}},
		epoch:     8,
	}
	p := planFor(held, want)
	if !p.flip || p.epoch != 13 {
		t.Errorf("flip %t to epoch %d, want 13: the next one, in the other bank", p.flip, p.epoch)
	}
	if len(p.verdicts.keys) != 1 || p.verdicts.keys[0].bank() != 1 {
		t.Errorf("verdicts to write before: %+v", p.verdicts.keys)
	}
	if len(p.ports.keys) != 1 || p.ports.values[0].InRole != [2]uint32{0, 5} {
		t.Errorf("ports to write before: %v %+v", p.ports.keys, p.ports.values)
	}
	if len(p.endpoints.keys) != 0 || len(p.endpoints.gone) != 1 {
		t.Errorf("endpoints before the rules: %+v, gone %+v", p.endpoints.keys, p.endpoints.gone)
	}
	if len(p.newPorts.keys) != 1 || p.newPorts.keys[0] != 7 || len(p.newEndpoints.keys) != 2 {
		t.Errorf("after the rules: ports %v, endpoints %v", p.newPorts.keys, p.newEndpoints.keys)
	}
	again := planFor(p.after, want)
	if again.changed || len(again.newEndpoints.keys)+len(again.ports.keys)+len(again.endpoints.keys)+len(again.verdicts.keys) != 0 {
		t.Errorf("what is done is not done: %+v", again)
	}
	// Another container with the same rules needs no new decision of anybody.
	more := want
	more.ports = append(slices.Clone(want.ports), row[uint32, contivPort]{9, contivPort{Tenant: 1, InRole: [2]uint32{5, 5}}})
	if p := planFor(p.after, more); p.changed || len(p.newPorts.keys) != 1 {
		t.Errorf("a container more: changed %t, %+v", p.changed, p.newPorts.keys)
	}
}

func TestNewEndpointVoidsWhatWasDecidedForItsAddressBeforeWhereTenantsMeetStrangers(t *testing.T) {
	t.Parallel()
	const tenant = 1
	for _, c := range []struct {
		name      string
		network   uint32 // of the tenant
		endpoint  uint32 // the new one's network
		of        uint32 // its tenant
		newcomers bool
	}{
		{"tunnels only", 7, 7, tenant, false},
		{"in a VLAN", compile.VLAN | 5, compile.VLAN | 5, tenant, true},
		{"in another network of a tenant with a VLAN", compile.VLAN | 5, 7, tenant, true},
		{"in a routed network", compile.Routed, compile.Routed | 5, tenant, true},
		{"of another tenant", compile.Routed, 7, tenant + 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			held := rows{networks: map[uint32]contivNetwork{c.network: {Tenant: tenant}}, epoch: 8}
			want := held
			want.endpoints = table[contivEndpointKey, contivEndpoint]{{contivEndpointKey{Tenant: c.of}, contivEndpoint{Network: c.endpoint}}}
			p := planFor(held, want)
			if p.newcomers != c.newcomers {
				t.Errorf("all is decided anew: %t, want %t", p.newcomers, c.newcomers)
			}
			if again := planFor(p.after, want); again.newcomers || again.changed {
				t.Error("the same endpoint is new again")
			}
		})
	}
}

func TestFragmentedDatagramsReachGuardedContainers(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, dual(t))
	c.withPolicy("db", "web", "guard", in(model.Deny, "", 0), with(in(model.Allow, "udp", 0), 10), with(in(model.Allow, "icmp", 0), 10))
	db, near, far := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b"), n2.start("red:web", "10.1.1.3", "fd01::c")
	db.join("db")
	c.apply()
	for _, x := range []*container{near, far} {
		answers(t, x, db, 5000)
		answers(t, db, x, 5000) // replies in fragments
		for _, ip := range db.endpoint.Addrs() {
			if err := x.ping(ip, 4000, patience); err != nil {
				t.Errorf("4000 bytes from %s to %s: %v", x.endpoint.IPv4, ip, err)
			}
			if err := db.ping(x.ip(ip), 4000, patience); err != nil {
				t.Errorf("4000 bytes from %s to %s: %v", ip, x.endpoint.IPv4, err)
			}
		}
	}
	c.withRules("guard", with(in(model.Deny, "icmp", 0), 20))
	c.apply()
	n1.wantDrop("policy_fragment", func() {
		if err := far.ping(db.endpoint.IPv4, 4000, silence); err == nil {
			t.Error("a fragmented echo request passed")
		}
	})
}
