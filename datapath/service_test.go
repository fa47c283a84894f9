// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// web is a service of red with an address of each family, on port 80 and UDP 53, in front of ports 8080 and 5353.
func web() model.Service {
	return model.Service{
		Tenant: "red", Name: "web", Network: "web", Selectors: map[string]string{"app": "web"},
		Ports: []model.ServicePort{{Port: 80, Target: 8080, Protocol: "TCP"}, {Port: 53, Target: 5353, Protocol: "UDP"}},
		IPv4:  netip.MustParseAddr("10.1.1.99"), IPv6: netip.MustParseAddr("fd01::99"),
	}
}

func redWeb(t testing.TB) model.Network {
	return net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1")
}

// startDual starts a container with the addresses that end in n.
func (n *node) startDual(last int, labels ...string) *container {
	c := n.start("red:web", fmt.Sprintf("10.1.1.%d", last), fmt.Sprintf("fd01::1:%x", last))
	return c.label(labels...)
}

// label gives it keys, each followed by its value.
func (c *container) label(labels ...string) *container {
	for i := 0; i+1 < len(labels); i += 2 {
		if c.endpoint.Labels == nil {
			c.endpoint.Labels = map[string]string{}
		}
		c.endpoint.Labels[labels[i]] = labels[i+1]
	}
	c.node.c.put(c.endpoint)
	return c
}

// provide has the container take the service's connections, say its name and whom it sees, and then echo.
func (c *container) provide(name string) {
	c.t.Helper()
	for _, a := range c.endpoint.Addrs() {
		var l net.Listener
		must(c.t, c.do(func() (err error) {
			l, err = net.Listen("tcp", netip.AddrPortFrom(a, 8080).String())
			return err
		}))
		c.t.Cleanup(func() { l.Close() })
		accept(l, func(conn net.Conn) {
			fmt.Fprintf(conn, "%s %s\n", name, conn.RemoteAddr())
			io.Copy(conn, conn)
		})
		var u net.PacketConn
		must(c.t, c.do(func() (err error) {
			u, err = net.ListenPacket("udp", netip.AddrPortFrom(a, 5353).String())
			return err
		}))
		c.t.Cleanup(func() { u.Close() })
		go func() {
			buf := make([]byte, 65536)
			for {
				n, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				u.WriteTo(append([]byte(name+" "), buf[:n]...), from)
			}
		}()
	}
}

// greeting dials, and gives who answered and whom it saw.
func (c *container) greeting(to netip.AddrPort) (conn net.Conn, name string, seen netip.AddrPort) {
	c.t.Helper()
	conn = c.dial(to)
	name, seen = greetingOf(c.t, conn)
	return conn, name, seen
}

func greetingOf(t testing.TB, conn net.Conn) (name string, seen netip.AddrPort) {
	t.Helper()
	var text string
	_, err := fmt.Fscanf(conn, "%s %s\n", &name, &text)
	must(t, err)
	return name, netip.MustParseAddrPort(text)
}

// wantEcho sends and wants the same back.
func wantEcho(t testing.TB, conn net.Conn, size int) {
	t.Helper()
	sent, got := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size], make([]byte, size)
	go conn.Write(sent)
	must(t, conn.SetDeadline(deadline()))
	_, err := io.ReadFull(conn, got)
	must(t, err)
	if !bytes.Equal(sent, got) {
		t.Fatal("the bytes that came back are others")
	}
}

// families are the service's address and port in both.
func families(s model.Service, port uint16) []netip.AddrPort {
	return []netip.AddrPort{netip.AddrPortFrom(s.IPv4, port), netip.AddrPortFrom(s.IPv6, port)}
}

func TestServiceIsReachedFromBothNodesWithItsClientsAddress(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	client, far := n1.startDual(1), n2.startDual(2)
	p1, p2 := n1.startDual(11, "app", "web"), n2.startDual(12, "app", "web")
	c.apply()
	p1.provide("p1")
	p2.provide("p2")
	for _, from := range []*container{client, far} {
		for _, to := range families(web(), 80) {
			met := map[string]int{}
			for range 40 {
				conn, name, seen := from.greeting(to)
				met[name]++
				if mine := conn.LocalAddr().(*net.TCPAddr).AddrPort(); seen != mine {
					t.Fatalf("the provider sees %s, and it is %s", seen, mine)
				}
				wantEcho(t, conn, 100)
				conn.Close()
			}
			if met["p1"] < 5 || met["p2"] < 5 {
				t.Errorf("%s: 40 connections met %v", to, met)
			}
		}
	}
}

func TestMuchGoesThroughAServiceWhetherSegmentsAreCutEarlyOrLate(t *testing.T) {
	t.Parallel()
	for _, offload := range []bool{true, false} {
		t.Run(fmt.Sprint("offload ", offload), func(t *testing.T) {
			t.Parallel()
			c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
			client, provider := n1.startDual(1), n2.startDual(12, "app", "web")
			c.apply()
			provider.provide("p")
			if !offload {
				for _, n := range c.nodes {
					n.setOffload(t, "ul0", setTSO, false)
					n.setOffload(t, "ul0", setGSO, false)
				}
				for _, x := range []*container{client, provider} {
					x.setOffload(t, "eth0", setTSO, false)
					x.setOffload(t, "eth0", setGSO, false)
					x.setOffload(t, "eth0", setTXChecksum, false)
				}
			}
			for _, to := range families(web(), 80) {
				conn, _, _ := client.greeting(to)
				wantEcho(t, conn, 4<<20)
			}
		})
	}
}

// setTXChecksum is ETHTOOL_STXCSUM of linux/ethtool.h.
const setTXChecksum = 0x17

func TestDatagramsReachAService(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	client, provider := n1.startDual(1), n2.startDual(12, "app", "web")
	c.apply()
	provider.provide("p")
	for _, to := range families(web(), 53) {
		conn := client.asks(to)
		for _, size := range []int{1, 1000, 4000} { // the last one in fragments, both ways
			sent, buf := bytes.Repeat([]byte("x"), size), make([]byte, 65536)
			_, err := conn.Write(sent)
			must(t, err)
			must(t, conn.SetReadDeadline(deadline()))
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s, %d bytes: %v; drops %v and %v", to, size, err, nonZero(dropsOf(t, n1)), nonZero(dropsOf(t, n2)))
			}
			if want := append([]byte("p "), sent...); !bytes.Equal(buf[:n], want) {
				t.Fatalf("%s: %d bytes came back of %d", to, n, len(want))
			}
		}
	}
}

func dropsOf(t testing.TB, n *node) map[string]uint64 {
	t.Helper()
	all, err := n.dp.Drops()
	must(t, err)
	return all
}

func TestContainerReachesTheServiceThatItProvides(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web(), model.Policy{Tenant: "red", Name: "p"},
		model.Group{Tenant: "red", Name: "shut", Network: "web", Policies: []string{"p"}}, // to all others
		model.Rule{Tenant: "red", Policy: "p", ID: "1", Direction: model.In, Action: model.Deny, Priority: 1},
		model.Rule{Tenant: "red", Policy: "p", ID: "2", Direction: model.Out, Action: model.Deny, Priority: 1})
	self := n.startDual(11, "app", "web")
	self.endpoint.Group = "shut"
	c.put(self.endpoint)
	c.apply()
	self.provide("self")
	for _, to := range families(web(), 80) {
		conn, name, seen := self.greeting(to)
		if name != "self" || seen.Addr() != to.Addr() {
			t.Errorf("%s answered and saw %s, want itself and the service's address", name, seen)
		}
		wantEcho(t, conn, 100000)
	}
	for _, to := range families(web(), 53) {
		conn := self.asks(to)
		conn.Write([]byte("?"))
		must(t, conn.SetReadDeadline(deadline()))
		buf := make([]byte, 100)
		k, err := conn.Read(buf)
		must(t, err)
		if string(buf[:k]) != "self ?" {
			t.Errorf("the answer is %q", buf[:k])
		}
	}
}

func TestServiceWithoutProvidersRefusesAtOnce(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client := n.startDual(1)
	provider := n.startDual(11, "app", "other")
	c.apply()
	provider.provide("other")
	for _, port := range []uint16{80, 81} { // one that is not provided, and one where no service listens
		for _, to := range families(web(), port) {
			err := client.do(func() error {
				began := time.Now()
				conn, err := net.DialTimeout("tcp", to.String(), patience)
				if err == nil {
					conn.Close()
					return errors.New("it is accepted")
				}
				if time.Since(began) > time.Second {
					return fmt.Errorf("it took %s: %w", time.Since(began), err)
				}
				return err
			})
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("TCP %s: %v", to, err)
			}
			udp := client.asks(to)
			udp.Write([]byte("?"))
			must(t, udp.SetReadDeadline(deadline()))
			if _, err := udp.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("UDP %s: %v", to, err)
			}
		}
	}
	for _, to := range families(web(), 80) {
		client.reaches(to.Addr()) // by ping
	}
}

func TestProviderThatIsGoneResetsItsConnectionsAndNoOthers(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	client := n1.startDual(1)
	p1, p2 := n2.startDual(11, "app", "web"), n2.startDual(12, "app", "web")
	c.apply()
	p1.provide("p1")
	p2.provide("p2")
	for _, to := range families(web(), 80) {
		open := map[string][]net.Conn{}
		for range 20 {
			conn, name, _ := client.greeting(to)
			open[name] = append(open[name], conn)
		}
		if len(open["p1"]) == 0 || len(open["p2"]) == 0 {
			t.Fatal("all connections met one provider")
		}
		c.remove(p1.endpoint)
		c.apply()
		for _, conn := range open["p2"] {
			wantEcho(t, conn, 1000)
		}
		for _, conn := range open["p1"] {
			conn.Write([]byte("?"))
			must(t, conn.SetReadDeadline(deadline()))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: a connection to the provider that is gone: %v", to, err)
			}
		}
		if _, name, _ := client.greeting(to); name != "p2" {
			t.Errorf("a new connection met %s", name)
		}
		c.put(p1.endpoint)
		c.apply()
	}
}

func TestUnhealthyProviderGetsNoNewConnectionsAndKeepsItsOld(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client := n.startDual(1)
	p1, p2 := n.startDual(11, "app", "web"), n.startDual(12, "app", "web")
	c.apply()
	p1.provide("p1")
	p2.provide("p2")
	to := families(web(), 80)[0]
	open := map[string]net.Conn{}
	for range 30 {
		conn, name, _ := client.greeting(to)
		open[name] = conn
	}
	checked := web()
	checked.Health = "tcp"
	p1.endpoint.Unhealthy = []string{checked.Key()}
	c.put(p1.endpoint, checked)
	c.apply()
	for range 30 {
		if _, name, _ := client.greeting(to); name != "p2" {
			t.Fatalf("a new connection met %s", name)
		}
	}
	wantEcho(t, open["p1"], 1000)
}

func TestConnectionsToAServiceSurviveARestart(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client, p1 := n.startDual(1), n.startDual(11, "app", "web")
	c.apply()
	p1.provide("p1")
	conn, _, _ := client.greeting(families(web(), 80)[0])
	must(t, n.dp.Close())
	wantEcho(t, conn, 1000)
	n.open()
	wantEcho(t, conn, 1000)
	c.apply()
	wantEcho(t, conn, 1000)
}

func TestServiceCountsAreOfEachProvider(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client, p1 := n.startDual(1), n.startDual(11, "app", "web")
	c.apply()
	p1.provide("p1")
	to := families(web(), 80)[0]
	for range 3 {
		conn, _, _ := client.greeting(to)
		wantEcho(t, conn, 1000)
		conn.Close()
	}
	open, _, _ := client.greeting(to)
	wantEcho(t, open, 1000)
	tables := n.tables()
	var got []ServiceCount
	for end := deadline(); ; time.Sleep(10 * time.Millisecond) {
		var err error
		got, err = n.dp.ServiceCounts()
		must(t, err)
		if len(got) == 1 && got[0].Open == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("counts are %+v", got)
		}
	}
	x := got[0]
	if x.Service != tables.Services[0].Number || x.Connections != 4 || x.BytesTo < 4000 || x.BytesFrom < 4000 || x.PacketsTo < 12 || x.PacketsFrom < 12 {
		t.Errorf("counts are %+v", x)
	}
}

func TestPolicySeesTheProviderAndItsPort(t *testing.T) {
	t.Parallel()
	group := func(name string, policies ...string) model.Group {
		return model.Group{Tenant: "red", Name: name, Network: "web", Policies: policies}
	}
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web(),
		model.Policy{Tenant: "red", Name: "p"}, group("clients"), group("others"), group("providers", "p"),
		model.Rule{Tenant: "red", Policy: "p", ID: "1", Direction: model.In, Action: model.Deny, Priority: 1},
		model.Rule{Tenant: "red", Policy: "p", ID: "2", Direction: model.In, Action: model.Allow, Priority: 2, Protocol: "tcp", Port: 8080, FromGroup: "clients"})
	client, other, p1 := n1.startDual(1), n1.startDual(2), n2.startDual(11, "app", "web")
	client.endpoint.Group, other.endpoint.Group, p1.endpoint.Group = "clients", "others", "providers"
	c.put(client.endpoint, other.endpoint, p1.endpoint)
	c.apply()
	p1.provide("p1")
	for _, to := range families(web(), 80) {
		conn, _, _ := client.greeting(to)
		wantEcho(t, conn, 1000)
		if err := other.do(func() error {
			conn, err := net.DialTimeout("tcp", to.String(), silence)
			if err == nil {
				conn.Close()
			}
			return err
		}); err == nil {
			t.Errorf("%s: another group gets through", to)
		}
	}
}

// choicesMatch compares whom the programs choose with whom the tables say.
func choicesMatch(t *testing.T, b *bare, revision int64, affinity uint32) {
	t.Helper()
	zeros := make([]uint32, len(b.ports))
	tables := b.tables(revision, zeros, zeros, zeros, nil)
	s := compile.Service{Number: uint32(revision)*7919 + 1, Tenant: bareTenant, Protocol: unix.IPPROTO_UDP, Port: 53, Target: 5353, Affinity: affinity}
	vip := netip.MustParseAddr("10.1.0.200")
	for i, p := range b.ports[1:] {
		tables.Providers = append(tables.Providers, compile.Provider{Service: s.Number, Number: uint32(i + 1), Tenant: bareTenant, Addr: p.IPv4})
	}
	for i := range compile.SlotCount {
		s.Slots = append(s.Slots, uint32(i*i)%uint32(len(b.ports)-1)+1)
	}
	s.SlotsNumber = compile.NumberSlots(s.Slots)
	s.Addr = vip
	tables.Services = []compile.Service{s}
	tables.Endpoints = append(tables.Endpoints, compile.Endpoint{Tenant: bareTenant, Addr: vip, Network: 1, MAC: model.MACOf(vip), Virtual: true})
	must(t, b.dp.Apply(tables))
	b.forgetAll(t)
	for i := range 200 {
		client := netip.AddrPortFrom(b.ports[0].IPv4, uint16(1000+revision*200+int64(i)))
		payload := make([]byte, 12)
		payload[0], payload[1], payload[3] = byte(client.Port()>>8), byte(client.Port()), 53
		frame := ethernet(b.ports[0].MAC, model.MACOf(vip), unix.ETH_P_IP, ipv4(client.Addr(), vip, unix.IPPROTO_UDP, payload))
		if reason := b.run(t, 0, frame); reason != "" {
			t.Fatalf("dropped: %s", reason)
		}
		_, want, ok := tables.Choose(bareTenant, unix.IPPROTO_UDP, client, netip.AddrPortFrom(vip, 53))
		key := contivTranslationKey{
			Tenant: bareTenant, Proto: unix.IPPROTO_UDP, Source: client.Addr().As16(), Destination: vip.As16(),
			Ports: uint32(bigEndian16(client.Port())) | uint32(bigEndian16(53))<<16,
		}
		var x contivTranslation
		must(t, b.dp.objects.Translations.Lookup(key, &x))
		if !ok || x.Provider != want.Number || x.Address != want.Addr.As16() {
			t.Fatalf("client %s: the programs chose %d, want %d", client, x.Provider, want.Number)
		}
	}
}

func TestProvidersAreChosenAsTheTablesSay(t *testing.T) {
	t.Parallel()
	b := newBare(t, 6)
	choicesMatch(t, b, 1, 0)
	choicesMatch(t, b, 2, compile.Endless)
	choicesMatch(t, b, 3, 10800)
}

func FuzzProvidersAreChosenAsTheTablesSay(f *testing.F) {
	f.Add(uint8(1), uint8(1))
	f.Add(uint8(1), uint8(2))
	b := newBare(f, 6)
	revision := int64(0)
	f.Fuzz(func(t *testing.T, skip, affinity uint8) {
		revision += int64(skip) + 1
		choicesMatch(t, b, revision%200, []uint32{0, compile.Endless, 10800}[affinity%3])
	})
}

func TestManyServicesAreHeldAsTheyWereApplied(t *testing.T) {
	t.Parallel()
	_, n := oneNode(t, AttachAuto)
	const many = 10000
	tables := compile.Tables{Revision: 1, Networks: []compile.Network{{Number: 1, Tenant: 1}}}
	for i := range uint32(many) {
		vip := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		s := compile.Service{Number: i + 1, Tenant: 1, Addr: vip, Protocol: unix.IPPROTO_TCP, Port: 80, Target: 8080, Slots: make([]uint32, compile.SlotCount)}
		for k := range s.Slots {
			s.Slots[k] = i%5000 + 1 // each content is of two services
		}
		s.SlotsNumber = compile.NumberSlots(s.Slots)
		tables.Services = append(tables.Services, s)
		tables.Providers = append(tables.Providers, compile.Provider{Service: s.Number, Number: i%5000 + 1, Tenant: 1, Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})})
		tables.Endpoints = append(tables.Endpoints, compile.Endpoint{Tenant: 1, Addr: vip, Network: 1, MAC: model.MACOf(vip), Virtual: true})
	}
	for _, wanted := range []int{many, many / 2, 0} {
		tables.Revision++
		tables.Services, tables.Providers, tables.Endpoints = tables.Services[:wanted], tables.Providers[:wanted], tables.Endpoints[:wanted]
		must(t, n.dp.Apply(tables))
		held, err := n.dp.Held()
		must(t, err)
		if d := Differences(tables, held); len(d) != 0 {
			t.Errorf("%d differences of %d services, the first: %s", len(d), wanted, d[0])
		}
		slots, err := n.dp.readSlots()
		must(t, err)
		if want := min(wanted, 5000); len(slots) != want {
			t.Errorf("%d tables of slots are held, want %d", len(slots), want)
		}
	}
}

func TestTwoServicesThatShareAProviderAreNotMixedUp(t *testing.T) {
	t.Parallel()
	other := web()
	other.Name, other.IPv4, other.IPv6 = "other", netip.MustParseAddr("10.1.1.98"), netip.MustParseAddr("fd01::98")
	c, n := oneNode(t, AttachAuto, redWeb(t), web(), other)
	client, p1 := n.startDual(1), n.startDual(11, "app", "web")
	c.apply()
	p1.provide("p1")
	from := func(to netip.AddrPort) (conn net.Conn, err error) {
		err = client.do(func() error {
			d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: client.endpoint.IPv4.AsSlice(), Port: 5000}, Control: reusePort}
			conn, err = d.Dial("tcp", to.String())
			return err
		})
		return conn, err
	}
	conn, err := from(families(web(), 80)[0])
	must(t, err)
	defer conn.Close()
	greetingOf(t, conn)
	if conn, err := from(families(other, 80)[0]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("one port of a client reaches one port of a provider by two ways: %v %v", conn, err)
	}
	wantEcho(t, conn, 1000)
	// With another provider there is room for both.
	p2 := n.startDual(12, "app", "web")
	c.apply()
	p2.provide("p2")
	second, err := from(families(other, 80)[0])
	must(t, err)
	defer second.Close()
	if name, _ := greetingOf(t, second); name != "p2" {
		t.Errorf("the second service gives %s, which the client's port has already", name)
	}
	wantEcho(t, conn, 1000)
	wantEcho(t, second, 1000)
}

func reusePort(_, _ string, c syscall.RawConn) (err error) {
	control := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(err, control)
}

func TestPacketTooBigForAServiceIsToldOfByItsOwnAddresses(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	client, provider := n1.startDual(1), n2.startDual(12, "app", "web")
	c.apply()
	provider.provide("p")
	eth0, err := client.nl.LinkByName("eth0")
	must(t, err)
	must(t, client.nl.LinkSetMTU(eth0, 1500)) // more than the tunnel takes
	for _, to := range families(web(), 80) {
		conn, _, _ := client.greeting(to)
		wantEcho(t, conn, 1<<20)
	}
}

func TestFullTableOfTranslationsBreaksNobody(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, redWeb(t), web())
	client, flooder, p1 := n.startDual(1), n.startDual(2), n.startDual(11, "app", "web")
	c.apply()
	p1.provide("p1")
	to := families(web(), 80)[0]
	before, _, _ := client.greeting(to)
	raw := flooder.raw(t, "eth0")
	for i := range 6000 { // the tests' table holds 2,048 connections
		payload := make([]byte, 20)
		payload[0], payload[1], payload[3] = byte((i+10000)>>8), byte(i+10000), 80
		payload[12], payload[13] = 0x50, syn
		raw.send(ethernet(flooder.endpoint.MAC, model.MACOf(web().IPv4), unix.ETH_P_IP, ipv4(flooder.endpoint.IPv4, web().IPv4, unix.IPPROTO_TCP, payload)))
	}
	var spilling uint32
	must(t, n.dp.objects.Spilling.Lookup(uint32(0), &spilling))
	if spilling == 0 {
		t.Fatal("the table is not full")
	}
	wantEcho(t, before, 10000)
	after, _, _ := client.greeting(to)
	wantEcho(t, after, 10000)
	// When what is idle is gone, all is as before.
	now, err := n.dp.now()
	must(t, err)
	must(t, n.dp.collectTranslations(now+40)) // 2.9 minutes on
	wantEcho(t, before, 10000)
	wantEcho(t, after, 10000)
}

func TestErrorsAboutAServicesPacketsReachWhoSentThem(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, redWeb(t), web())
	provider := n1.startDual(11, "app", "web")
	clients := []*container{n1.startDual(1), n2.startDual(2)}
	c.apply()
	udp := func(x *container, local, remote netip.AddrPort) (conn *net.UDPConn) {
		t.Helper()
		must(t, x.do(func() (err error) {
			conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
			return err
		}))
		t.Cleanup(func() { conn.Close() })
		must(t, conn.SetDeadline(deadline()))
		return conn
	}
	for _, client := range clients {
		for _, to := range families(web(), 53) {
			mine, its := netip.AddrPortFrom(client.ip(to.Addr()), 6000), netip.AddrPortFrom(provider.ip(to.Addr()), 5353)
			asking := udp(client, mine, to)
			asking.Write([]byte("?"))
			if _, err := asking.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s asks %s, where no program is: %v", mine, to, err)
			}
			answering := udp(provider, its, mine)
			asking.Write([]byte("?"))
			if _, err := answering.Read(make([]byte, 10)); err != nil {
				t.Fatalf("%s is not asked by %s: %v", its, mine, err)
			}
			asking.Close()
			answering.Write([]byte("!"))
			if _, err := answering.Read(make([]byte, 10)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s answers %s, which listens no more: %v", its, mine, err)
			}
			answering.Close()
		}
	}
}
