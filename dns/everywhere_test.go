// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// outside is a namespace with a name server, joined to a container that has no resolver inside.
type outside struct {
	container
	asked atomic.Int64
	from  sync.Map // addresses that asked

	dp  *datapath.Datapath // through which they are joined; nil: they are directly
	box Sandbox            // the container

	// With dp, to open it again:
	node    container
	options datapath.Options
	tables  compile.Tables
}

// eachWay runs a test where questions are brought to lo, as the container's way out is none of ours, and where its port reflects them.
func eachWay(t *testing.T, test func(t *testing.T, c container, o *outside)) {
	for name, join := range map[string]func(*testing.T, container) *outside{"by lo": newOutside, "by a port": newOutsideAtPort} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContainer(t)
			test(t, c, join(t, c))
		})
	}
}

// netplugin is one on the node between.
func (o *outside) netplugin(t *testing.T, life time.Duration) (s *Server, stop func()) {
	t.Helper()
	return netpluginAt(t, o.dp, town("routing"), life)
}

// servers are the addresses at which outside answers: 192.0.2.1 for everybody.
var servers = []string{"192.0.2.53", "2001:db8::53"}

func newOutside(t *testing.T, c container) *outside {
	t.Helper()
	o := &outside{container: newContainer(t), box: Sandbox{Path: c.path, Endpoints: []string{"c2"}, Everywhere: true}}
	run(t, "ip", "-n", c.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", o.name)
	addressBoth(t, c, o)
	o.serve(t, c)
	return o
}

// addressBoth gives the devices eth0 of both their addresses.
func addressBoth(t *testing.T, c container, o *outside) {
	t.Helper()
	for _, side := range []struct {
		name  string
		addrs []string
	}{{c.name, []string{"192.0.2.2/24", "2001:db8::2/64"}}, {o.name, []string{"192.0.2.53/24", "2001:db8::53/64"}}} {
		for _, a := range side.addrs {
			flags := []string{}
			if strings.Contains(a, ":") {
				flags = append(flags, "nodad")
			}
			run(t, append([]string{"ip", "-n", side.name, "addr", "add", a, "dev", "eth0"}, flags...)...)
		}
		run(t, "ip", "-n", side.name, "link", "set", "eth0", "up")
	}
}

// serve answers at servers, when the container reaches them.
func (o *outside) serve(t *testing.T, c container) {
	t.Helper()
	for _, addr := range servers { // IPv6 comes some time after its device
		eventually(t, "the server is in reach", 10*time.Second, func() bool {
			return exec.Command("ip", "netns", "exec", c.name, "ping", "-c", "1", "-W", "1", addr).Run() == nil
		})
	}
	o.answer(t, servers)
}

// answer answers all questions at the addresses.
func (o *outside) answer(t *testing.T, at []string) {
	t.Helper()
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		o.asked.Add(1)
		host, _, _ := net.SplitHostPort(w.RemoteAddr().String())
		o.from.Store(host, true)
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 77}, A: net.IPv4(192, 0, 2, 1)}}
		_ = w.WriteMsg(m)
	})
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // after the listeners are closed: cleanups run backwards
	for _, addr := range at {
		var (
			pc net.PacketConn
			l  net.Listener
		)
		o.in(t, func() (err error) {
			at := net.JoinHostPort(addr, "53")
			if pc, err = net.ListenPacket("udp", at); err == nil {
				l, err = net.Listen("tcp", at)
			}
			return err
		})
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
			running.Go(func() { _ = s.ActivateAndServe() })
		}
		t.Cleanup(func() { _, _ = pc.Close(), l.Close() })
	}
}

// onlyAskedByClient fails the test when somebody else than the container has asked.
func (o *outside) onlyAskedByClient(t *testing.T) {
	t.Helper()
	o.from.Range(func(from, _ any) bool {
		if from != "192.0.2.2" && from != "2001:db8::2" {
			t.Errorf("it was asked by %v", from)
		}
		return true
	})
}

// askAt asks the server from the container.
func (c container) askAt(network, server, name string, patience time.Duration) (*dns.Msg, error) {
	var conn net.Conn
	err := netdev.Do(c.path, func() (err error) {
		conn, err = net.DialTimeout(network, net.JoinHostPort(server, "53"), patience)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: network, Timeout: patience}
	m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, dns.TypeA), &dns.Conn{Conn: conn})
	return m, err
}

func TestAnyServerIsAnsweredForWhereNoResolverIsInside(t *testing.T) {
	t.Parallel()
	eachWay(t, answersForAnyServer)
}

func answersForAnyServer(t *testing.T, c container, o *outside) {
	run(t, "ip", "-n", c.name, "link", "set", "lo", "down") // as a runtime without a plugin for it leaves it
	for range 2 {                                           // the second time as after a restart
		s, stop := o.netplugin(t, lifetime)
		sync1(t, s, o.box)
		for _, server := range servers {
			for _, network := range []string{"udp", "tcp"} {
				before := o.asked.Load()
				m, err := c.askAt(network, server, "contiv-c1.", 2*time.Second)
				if err != nil || address(m) != "10.1.1.1" || o.asked.Load() != before {
					t.Errorf("%s %s: %v, %v; it was asked %d times", network, server, m, err, o.asked.Load()-before)
				}
				m, err = c.askAt(network, server, "example.com.", 2*time.Second)
				if err != nil || address(m) != "192.0.2.1" || m.Answer[0].Header().Ttl != 77 || o.asked.Load() != before+1 {
					t.Errorf("%s %s: %v, %v; it was asked %d times", network, server, m, err, o.asked.Load()-before)
				}
			}
		}
		stop()
	}
	o.onlyAskedByClient(t)
	if list := c.nft(t, "list ruleset"); list != "" {
		t.Errorf("packets of the container meet %s", list)
	}
}

func TestServerInsideTheContainerAnswersWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	c.in(t, func() error {
		pc, err := net.ListenPacket("udp4", ":53") // a cache of the container's own
		if err == nil {
			server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
				_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented))
			})}
			var running sync.WaitGroup
			running.Go(func() { _ = server.ActivateAndServe() })
			t.Cleanup(func() { _ = pc.Close(); running.Wait() })
		}
		return err
	})
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}, Everywhere: true})
	for name, want := range map[string]string{"contiv-c1.": "10.1.1.1", "example.com.": "NOTIMP"} {
		if m, err := c.askAt("udp", "127.0.0.1", name, 2*time.Second); err != nil || address(m) != want {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestQuestionsToAnyServerWaitForARestartAndThenGoThere(t *testing.T) {
	t.Parallel()
	eachWay(t, waitsForARestart)
}

func waitsForARestart(t *testing.T, c container, o *outside) {
	const life = 2 * time.Second
	s, stop := o.netplugin(t, life)
	sync1(t, s, o.box)
	stop()
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range servers {
			if m, err := c.askAt(network, server, "contiv-c1.", 100*time.Millisecond); !isTimeout(err) {
				t.Errorf("%s %s: while a restart may come, the question was not left waiting: %v, %v", network, server, m, err)
			}
		}
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range servers {
			eventually(t, "the server itself answers after our end", 4*life, func() bool {
				m, err := c.askAt(network, server, "contiv-c1.", 100*time.Millisecond)
				return err == nil && address(m) == "192.0.2.1"
			})
		}
	}
	s, _ = o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	for _, server := range servers {
		if m, err := c.askAt("udp", server, "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
			t.Errorf("after a late restart: %v, %v", m, err)
		}
	}
}

// musl's stub asks so: the kernel looks for the way, and the client's address, with each question.
func TestQuestionFromASocketThatIsNotConnectedHasTheClientsAddress(t *testing.T) {
	t.Parallel()
	eachWay(t, asksFromASocketThatIsNotConnected)
}

func asksFromASocketThatIsNotConnected(t *testing.T, c container, o *outside) {
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	for _, server := range servers {
		var pc net.PacketConn
		c.in(t, func() (err error) {
			pc, err = net.ListenPacket("udp", ":0")
			return err
		})
		defer pc.Close()
		for name, want := range map[string]string{"contiv-c1.": "10.1.1.1", "example.com.": "192.0.2.1"} {
			q := pack(t, new(dns.Msg).SetQuestion(name, dns.TypeA))
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(server), dnsPort))
			if _, err := pc.WriteTo(q, to); err != nil {
				t.Fatal(err)
			}
			_ = pc.SetReadDeadline(time.Now().Add(2 * time.Second))
			buf := make([]byte, 512)
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				t.Fatalf("%s asked for %s: %v", server, name, err)
			}
			m := new(dns.Msg)
			if err := m.Unpack(buf[:n]); err != nil || address(m) != want || from.String() != to.String() {
				t.Errorf("%s asked for %s: %v from %s, %v", server, name, m, from, err)
			}
		}
	}
	o.onlyAskedByClient(t)
}

// Before, questions were turned where all packets left.
func TestWhatAnOlderNetpluginLeftIsTakenAway(t *testing.T) {
	t.Parallel()
	eachWay(t, takesAwayWhatAnOlderNetpluginLeft)
}

func takesAwayWhatAnOlderNetpluginLeft(t *testing.T, c container, o *outside) {
	clean := [2]string{run(t, "ip", "-n", c.name, "rule"), run(t, "ip", "-n", c.name, "-6", "rule")}
	c.nft(t, "table inet "+tableName+` {
  set alive { type inet_service; flags dynamic,timeout; timeout 10s; elements = { 5399 }; }
  chain leaving { type route hook output priority -300
    meta l4proto { udp, tcp } th dport 53 notrack th dport set 5399 meta mark set 0x6378
  }; }`)
	for _, family := range []string{"-4", "-6"} {
		run(t, "ip", "-n", c.name, family, "route", "add", "local", "default", "dev", "lo", "table", "5399")
		run(t, "ip", "-n", c.name, family, "rule", "add", "fwmark", "0x6378", "lookup", "5399", "priority", "5399")
		// And later wherever they were sent.
		run(t, "ip", "-n", c.name, family, "rule", "add", "iif", "lo", "fwmark", "0/0xffffffff", "ipproto", "udp", "dport", "53", "lookup", "5399", "priority", "5399")
	}
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	for _, server := range servers {
		if m, err := c.askAt("udp", server, "contiv-c1.", 2*time.Second); err != nil || address(m) != "10.1.1.1" {
			t.Errorf("%s: %v, %v", server, m, err)
		}
	}
	rules := [2]string{run(t, "ip", "-n", c.name, "rule"), run(t, "ip", "-n", c.name, "-6", "rule")}
	if list := c.nft(t, "list ruleset"); list != "" || strings.Contains(rules[0]+rules[1], "0x6378") || o.dp != nil && rules != clean {
		t.Errorf("left are %s and %s", list, rules)
	}
	sync1(t, s)
	if now := [2]string{run(t, "ip", "-n", c.name, "rule"), run(t, "ip", "-n", c.name, "-6", "rule")}; now != clean {
		t.Errorf("at the end there is %s", now)
	}
}

func TestWhatTurnsQuestionsComesBackWhenSomebodyRemovedIt(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	newOutside(t, c)
	s, _ := netplugin(t, town("routing"), time.Second)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}, Everywhere: true})
	for _, removal := range [][]string{
		{"ip", "-n", c.name, "rule", "del", "priority", "5399", "ipproto", "udp"},
		{"ip", "-n", c.name, "route", "flush", "table", "5399"},
		{"tc", "-n", c.name, "qdisc", "del", "dev", "lo", "clsact"},
		// Another address: no removal, but as bad.
		{"sh", "-c", "ip -n " + c.name + " addr del 192.0.2.2/24 dev eth0; ip -n " + c.name + " addr add 192.0.2.3/24 dev eth0"},
	} {
		run(t, removal...)
		eventually(t, "our answer after "+strings.Join(removal, " "), 10*time.Second, func() bool {
			m, err := c.askAt("udp", servers[0], "contiv-c1.", 200*time.Millisecond)
			if err != nil || address(m) != "10.1.1.1" {
				return false
			}
			m, err = c.askAt("udp", servers[0], "example.com.", 200*time.Millisecond)
			return err == nil && address(m) == "192.0.2.1"
		})
	}
}

func TestContainerThatIsNoLongerWantedKeepsNothingOfOurs(t *testing.T) {
	t.Parallel()
	eachWay(t, keepsNothingOfOurs)
}

func keepsNothingOfOurs(t *testing.T, c container, o *outside) {
	before := run(t, "ip", "-n", c.name, "rule") + run(t, "ip", "-n", c.name, "-6", "rule")
	s, _ := o.netplugin(t, lifetime)
	sync1(t, s, o.box)
	sync1(t, s)
	if m, err := c.askAt("udp", servers[0], "contiv-c1.", 2*time.Second); err != nil || address(m) != "192.0.2.1" || o.asked.Load() != 1 {
		t.Errorf("%v, %v", m, err)
	}
	after := run(t, "ip", "-n", c.name, "rule") + run(t, "ip", "-n", c.name, "-6", "rule")
	if routes := run(t, "ip", "-n", c.name, "route", "show", "table", "all"); after != before || strings.Contains(routes, fmt.Sprint("table ", port)) {
		t.Errorf("left are rules %s and routes %s", after, routes)
	}
	if left := c.nft(t, "list ruleset") + run(t, "tc", "-n", c.name, "filter", "show", "dev", "lo", "ingress"); left != "" {
		t.Errorf("left is %s", left)
	}
	if err := netdev.Do(c.path, func() error { return errors.Join(netdev.ForgetReturned(), datapath.DetachQuestions()) }); err != nil {
		t.Errorf("a second time: %v", err)
	}
}
