// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// newOutsideAtPort is newOutside with a node between, whose data path both are attached to. The container's default routes lead there.
func newOutsideAtPort(t *testing.T, c container) *outside {
	t.Helper()
	o := &outside{container: newContainer(t), box: Sandbox{
		Path: c.path, Endpoints: []string{"c2"}, Everywhere: true, Ports: []string{"vvport1"}, Gateway4: true, Gateway6: true,
	}}
	node := newContainer(t)
	run(t, "ip", "-n", node.name, "link", "add", "ul0", "type", "veth", "peer", "name", "ul1")
	run(t, "ip", "-n", node.name, "addr", "add", "192.168.2.10/24", "dev", "ul0")
	run(t, "ip", "-n", node.name, "link", "set", "ul0", "up")
	bpffs := t.TempDir()
	if err := unix.Mount("bpf", bpffs, "bpf", 0, ""); err != nil {
		t.Skipf("needs the right to mount a bpffs: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(bpffs, unix.MNT_DETACH) })
	o.node, o.options = node, datapath.Options{
		PinDir: filepath.Join(bpffs, "contiv"), Uplink: "ul0", VTEP: netip.MustParseAddr("192.168.2.10"),
		Flows4: 1024, Flows6: 1024, Connections4: 1024, Connections6: 1024, Translations: 1024,
	}
	o.open(t)
	t.Cleanup(func() { _ = o.dp.Close() })
	v4, err := model.ParsePool("192.0.2.0/24", "192.0.2.254", false)
	if err != nil {
		t.Fatal(err)
	}
	v6, err := model.ParsePool("2001:db8::/64", "2001:db8::fe", true)
	if err != nil {
		t.Fatal(err)
	}
	objects := []model.Object{
		model.Tenant{Name: "red", Number: 1}, model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789},
		model.Network{Tenant: "red", Name: "web", Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: 1, IPv4: v4, IPv6: v6},
	}
	for i, side := range []struct {
		container
		v4, v6 string
	}{{c, "192.0.2.2", "2001:db8::2"}, {o.container, "192.0.2.53", "2001:db8::53"}} {
		e := model.Endpoint{
			ID: fmt.Sprint("e", i), Tenant: "red", Network: "web", Node: "n1", Port: netdev.PortName(i + 1),
			IPv4: netip.MustParseAddr(side.v4), IPv6: netip.MustParseAddr(side.v6),
		}
		e.MAC = model.MACOf(e.IPv4)
		objects = append(objects, e)
		run(t, "ip", "-n", node.name, "link", "add", e.Port, "type", "veth", "peer", "name", "eth0", "address", e.MAC.String(), "mtu", "1450", "netns", side.name)
		run(t, "ip", "-n", node.name, "link", "set", e.Port, "up")
		if err := o.dp.Attach(e.Port); err != nil {
			t.Fatal(err)
		}
	}
	o.tables = compile.For(worldOf("routing", objects...), "n1")
	if err := o.dp.Apply(o.tables); err != nil {
		t.Fatal(err)
	}
	addressBoth(t, c, o)
	run(t, "ip", "-n", c.name, "route", "add", "default", "via", "192.0.2.254")
	run(t, "ip", "-n", c.name, "route", "add", "default", "via", "2001:db8::fe")
	o.serve(t, c)
	return o
}

// open opens the data path between.
func (o *outside) open(t *testing.T) {
	t.Helper()
	o.node.in(t, func() (err error) {
		o.dp, err = datapath.Open(o.options)
		return err
	})
}

// rules are the routing rules in the container.
func (c container) rules(t *testing.T) string {
	t.Helper()
	return run(t, "ip", "-n", c.name, "rule") + run(t, "ip", "-n", c.name, "-6", "rule")
}

func TestContainerWhoseWayOutIsOursHasNoRoutingRules(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	before := c.rules(t)
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	if after := c.rules(t); after != before {
		t.Errorf("there are %s", after)
	}
	// A server that only the gateway could reach, and does not.
	for _, server := range []string{"198.51.100.53", "2001:db8:ffff::53"} {
		for _, network := range []string{"udp", "tcp"} {
			if m, err := c.askAt(network, server, "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
				t.Errorf("%s %s: %v, %v", network, server, m, err)
			}
		}
	}
	// An address family that goes out elsewhere has them.
	run(t, "ip", "-n", c.name, "link", "add", "other0", "index", "7777", "type", "veth", "peer", "name", "other1", "index", "7778") // no port's
	run(t, "ip", "-n", c.name, "link", "set", "other1", "up")
	run(t, "ip", "-n", c.name, "link", "set", "other0", "up")
	run(t, "ip", "-n", c.name, "addr", "add", "203.0.113.2/24", "dev", "other0")
	run(t, "ip", "-n", c.name, "route", "replace", "default", "dev", "other0")
	s.heartbeat()
	four, six := run(t, "ip", "-n", c.name, "rule"), run(t, "ip", "-n", c.name, "-6", "rule")
	if !strings.Contains(four, "5399") || strings.Contains(six, "5399") {
		t.Errorf("with IPv4's way out elsewhere there are %s and %s", four, six)
	}
	if m, err := c.askAt("udp", "198.51.100.53", "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
		t.Errorf("%v, %v", m, err)
	}
	// And has them no longer.
	run(t, "ip", "-n", c.name, "route", "replace", "default", "via", "192.0.2.254")
	s.heartbeat()
	if after := c.rules(t); after != before {
		t.Errorf("at the end there are %s", after)
	}
}

// Without masters the data path does not switch.
func TestRulesOfAnEarlierVersionStayUntilThePortsReflect(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	before := c.rules(t)
	for _, family := range []string{"-4", "-6"} {
		run(t, "ip", "-n", c.name, family, "route", "add", "local", "default", "dev", "lo", "table", "5399")
		for _, protocol := range []string{"udp", "tcp"} {
			run(t, "ip", "-n", c.name, family, "rule", "add", "iif", "lo", "fwmark", "0/0xffffffff", "ipproto", protocol, "dport", "53", "lookup", "5399", "priority", "5399")
		}
	}
	if err := o.dp.Close(); err != nil {
		t.Fatal(err)
	}
	o.options.Flows4 *= 2 // another layout, so other maps: the ports' programs do not know the new ones
	o.open(t)
	s, _ := o.netplugin(t, lifetime)
	answered := func(when string) {
		for _, server := range servers {
			for _, network := range []string{"udp", "tcp"} {
				for name, want := range map[string]string{"contiv-c1.": "10.1.1.1", "example.com.": "192.0.2.1"} {
					if m, err := c.askAt(network, server, name, 2*time.Second); err != nil || address(m) != want {
						t.Errorf("%s, %s %s asked for %s: %v, %v", when, network, server, name, m, err)
					}
				}
			}
		}
	}
	sync1(t, s, o.box)
	answered("at the start")
	s.heartbeat()
	answered("later")
	if err := o.dp.Apply(o.tables); err != nil {
		t.Fatal(err)
	}
	answered("when the ports have switched")
	s.heartbeat()
	if after := c.rules(t); after != before {
		t.Errorf("at the end there are %s", after)
	}
	answered("at the end")
}

func TestNoRulesAreMadeForAMoment(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	before := c.rules(t)
	s, _ := o.netplugin(t, lifetime)
	// The container begins: its device is not up yet, then it has no default routes yet.
	run(t, "ip", "-n", c.name, "link", "set", "eth0", "down")
	sync1(t, s, o.box)
	if after := c.rules(t); after != before {
		t.Errorf("without a device there are %s", after)
	}
	run(t, "ip", "-n", c.name, "link", "set", "eth0", "up")
	sync1(t, s, o.box)
	if after := c.rules(t); after != before {
		t.Errorf("without a default route there are %s", after)
	}
	run(t, "ip", "-n", c.name, "route", "add", "default", "via", "192.0.2.254")
	sync1(t, s, o.box)
	if m, err := c.askAt("udp", servers[0], "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
		t.Errorf("%v, %v", m, err)
	}
	// IPv6 has none, and gets none, so its questions have to be brought to lo.
	eventually(t, "questions over IPv6 are brought to lo", 4*lifetime, func() bool {
		return strings.Contains(run(t, "ip", "-n", c.name, "-6", "rule"), "5399")
	})
	if four := run(t, "ip", "-n", c.name, "rule"); strings.Contains(four, "5399") {
		t.Errorf("for IPv4 there are %s", four)
	}
	// Without a gateway nothing is waited for.
	d := newContainer(t)
	p := newOutsideAtPort(t, d)
	run(t, "ip", "-n", d.name, "route", "del", "default")
	p.box.Gateway4 = false
	again, _ := p.netplugin(t, time.Hour)
	sync1(t, again, p.box)
	if four := run(t, "ip", "-n", d.name, "rule"); !strings.Contains(four, "5399") {
		t.Errorf("without a gateway there are %s", four)
	}
	if m, err := d.askAt("udp", "198.51.100.53", "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
		t.Errorf("%v, %v", m, err)
	}
}

// atDevice has a socket be one of eth0's.
func atDevice(_, _ string, rc syscall.RawConn) error {
	var failed error
	err := rc.Control(func(fd uintptr) { failed = unix.BindToDevice(int(fd), "eth0") })
	return errors.Join(err, failed)
}

// A port reflects both address families, or none.
func TestPortReflectsNothingWhileOurPortIsTakenForOneAddressFamily(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	var program net.PacketConn
	c.in(t, func() (err error) {
		program, err = (&net.ListenConfig{Control: atDevice}).ListenPacket(t.Context(), "udp6", fmt.Sprintf("[::]:%d", port))
		return err
	})
	defer program.Close()
	answered := func(when string) {
		for _, server := range servers {
			if m, err := c.askAt("udp", server, "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
				t.Errorf("%s, %s: %v, %v", when, server, m, err)
			}
		}
	}
	s, _ := o.netplugin(t, lifetime)
	without := o.box
	without.Ports = nil
	sync1(t, s, without) // so that rules bring them to lo
	if err := s.Sync(t.Context(), []Sandbox{o.box}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("that a program has the port is told by: %v", err)
	}
	for range 2 {
		s.heartbeat()
		answered("while a program has the port")
	}
	if rules := c.rules(t); !strings.Contains(rules, "5399") {
		t.Errorf("by no port and by no rule: %s", rules)
	}
	_ = program.Close()
	s.heartbeat()
	answered("when it is gone")
	if rules := c.rules(t); strings.Contains(rules, "5399") {
		t.Errorf("at the end there are %s", rules)
	}
}

// systemd-resolved asks so.
func TestQuestionFromASocketThatIsBoundToADeviceIsAnswered(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	for _, server := range servers {
		for _, network := range []string{"udp", "tcp"} {
			for name, want := range map[string]string{"contiv-c1.": "10.1.1.1", "example.com.": "192.0.2.1"} {
				var conn net.Conn
				c.in(t, func() (err error) {
					conn, err = (&net.Dialer{Timeout: 2 * time.Second, Control: atDevice}).Dial(network, net.JoinHostPort(server, "53"))
					return err
				})
				client := dns.Client{Net: network, Timeout: 2 * time.Second}
				m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: conn})
				if err != nil || address(m) != want {
					t.Errorf("%s asks %s for %s: %v, %v", network, server, name, m, err)
				}
				_ = conn.Close()
			}
		}
	}
}

// The kernel takes what a container sends to its own addresses for what came by their device, which sockets bound to lo do not see.
func TestServerAtAnOwnAddressIsAskedItself(t *testing.T) {
	t.Parallel()
	eachWay(t, leavesOwnAddressesAlone)
}

func leavesOwnAddressesAlone(t *testing.T, c container, o *outside) {
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	inside := &outside{container: c}
	inside.answer(t, []string{"192.0.2.2", "2001:db8::2"})
	for i, server := range []string{"192.0.2.2", "2001:db8::2"} {
		for _, network := range []string{"udp", "tcp"} {
			if m, err := c.askAt(network, server, "contiv-c1.", 2*time.Second); err != nil || address(m) != "192.0.2.1" {
				t.Errorf("%s %s: %v, %v", network, server, m, err)
			}
			if m, err := c.askAt(network, []string{"127.0.0.1", "::1"}[i], "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
				t.Errorf("%s, on lo: %v, %v", network, m, err)
			}
		}
	}
}

func TestOtherContainersGetNoAnswersFromNetplugin(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	o := newOutsideAtPort(t, c)
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	for _, at := range []string{"192.0.2.2", "2001:db8::2"} {
		for _, network := range []string{"udp", "tcp"} {
			var conn net.Conn
			err := netdev.Do(o.path, func() (err error) {
				conn, err = net.DialTimeout(network, netip.AddrPortFrom(netip.MustParseAddr(at), port).String(), 300*time.Millisecond)
				return err
			})
			if err == nil {
				client := dns.Client{Net: network, Timeout: 300 * time.Millisecond}
				var m *dns.Msg
				m, _, err = client.ExchangeWithConn(new(dns.Msg).SetQuestion("contiv-c1.", dns.TypeA), &dns.Conn{Conn: conn})
				_ = conn.Close()
				if err == nil {
					t.Errorf("%s %s: %v", network, at, m)
				}
			}
			if !isTimeout(err) {
				t.Errorf("%s %s: %v", network, at, err)
			}
		}
	}
}

// Nothing that a port reflects is in fragments.
func TestAnswerByAPortIsOnePacket(t *testing.T) {
	t.Parallel()
	for over, most := range map[transport]int{udp: udpSize, udpByPort: udpByPortSize} {
		q := new(dns.Msg).SetQuestion("web.", dns.TypeA)
		q.SetEdns0(65535, true)
		b := crowd(600).says(pack(t, q), over)
		if m := unpack(t, b); len(b) > most || len(b) < most-smallestRR-11 || !m.Truncated {
			t.Errorf("%v: %d bytes, TC %v", over, len(b), m.Truncated)
		}
	}
}
