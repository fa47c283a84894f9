// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// container is a network namespace, with or without a stand-in for Docker's resolver in it.
type container struct{ path, name string }

func newContainer(t *testing.T) container {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	name := fmt.Sprintf("dns%x", rand.Uint64())
	run(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	run(t, "ip", "-n", name, "link", "set", "lo", "up")
	return container{"/run/netns/" + name, name}
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// in runs fn in the container and fails the test with its error.
func (c container) in(t *testing.T, fn func() error) {
	t.Helper()
	if err := netdev.Do(c.path, fn); err != nil {
		t.Fatal(err)
	}
}

// fakeDocker answers in the container as Docker's resolver does: behind a redirect of its own from 127.0.0.11:53 to a port
// of its choice. Everybody's address is 192.0.2.1, except that of names under none.
// It returns the count of questions and the way to end it.
func (c container) fakeDocker(t *testing.T) (asked *atomic.Int64, stop func()) {
	t.Helper()
	asked = new(atomic.Int64)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		switch name := q.Question[0].Name; {
		case strings.HasSuffix(name, "none."):
			m.Rcode = dns.RcodeNameError
		case name == "big." && w.LocalAddr().Network() == "udp":
			m.Truncated = true
		default:
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 77}, A: net.IPv4(192, 0, 2, 1)}}
		}
		_ = w.WriteMsg(m)
	})
	var (
		pc net.PacketConn
		l  net.Listener
	)
	c.in(t, func() (err error) {
		if pc, err = net.ListenPacket("udp4", "127.0.0.11:0"); err == nil {
			l, err = net.Listen("tcp4", "127.0.0.11:0")
		}
		return err
	})
	c.nft(t, fmt.Sprintf(`table ip docker
delete table ip docker
table ip docker { chain output { type nat hook output priority -100
  ip daddr 127.0.0.11 udp dport 53 dnat to %s
  ip daddr 127.0.0.11 tcp dport 53 dnat to %s
}; }`, pc.LocalAddr(), l.Addr()))
	var (
		running sync.WaitGroup
		once    sync.Once
	)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		running.Go(func() { _ = s.ActivateAndServe() })
	}
	stop = func() {
		once.Do(func() {
			_, _ = pc.Close(), l.Close()
			running.Wait()
		})
	}
	t.Cleanup(stop)
	return asked, stop
}

func (c container) nft(t *testing.T, commands string) string {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", c.name, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(commands)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

// ask asks 127.0.0.11:53 as a program in the container does, from a new socket.
func (c container) ask(network, name string, qtype uint16) (*dns.Msg, error) {
	return c.askPatiently(network, name, qtype, 2*time.Second)
}

func (c container) askPatiently(network, name string, qtype uint16, patience time.Duration) (*dns.Msg, error) {
	var conn net.Conn
	err := netdev.Do(c.path, func() (err error) {
		conn, err = net.DialTimeout(network, "127.0.0.11:53", patience)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: network, Timeout: patience}
	m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, qtype), &dns.Conn{Conn: conn})
	return m, err
}

// expect asks and wants this one address.
func (c container) expect(t *testing.T, network, name, want string) {
	t.Helper()
	m, err := c.ask(network, name, dns.TypeA)
	if err != nil {
		t.Fatalf("%s, %s: %v", network, name, err)
	}
	if got := address(m); got != want {
		t.Fatalf("%s, %s: got %s (%v), want %s", network, name, got, m, want)
	}
}

func address(m *dns.Msg) string {
	if len(m.Answer) != 1 {
		return dns.RcodeToString[m.Rcode]
	}
	a, ok := m.Answer[0].(*dns.A)
	if !ok {
		return m.Answer[0].String()
	}
	return a.A.String()
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// netplugin runs a server until the test ends or stop is called, which is what a kill looks like to the container: the
// sockets close and the heartbeats end.
func netplugin(t *testing.T, w model.World, life time.Duration) (s *Server, stop func()) {
	t.Helper()
	return netpluginAt(t, nil, w, life)
}

// netpluginAt is one whose ports reflect questions.
func netpluginAt(t *testing.T, dp *datapath.Datapath, w model.World, life time.Duration) (s *Server, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s = New(func() model.World { return w }, dp, ClusterDomain, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.life = life
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func sync1(t *testing.T, s *Server, want ...Sandbox) {
	t.Helper()
	if err := s.Sync(t.Context(), want); err != nil {
		t.Fatal(err)
	}
}

func TestNamesAreOursAndTheRestIsDockers(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	asked, _ := c.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	for _, network := range []string{"udp", "tcp"} {
		before := asked.Load()
		c.expect(t, network, "contiv-c1.", "10.1.1.1")
		c.expect(t, network, "db.back.end.", "10.2.1.1")
		if m, err := c.ask(network, "contiv-c2.", dns.TypeAAAA); err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 {
			t.Errorf("%s: a type that the name does not have: %v, %v", network, m, err)
		}
		if n := asked.Load() - before; n != 0 {
			t.Errorf("%s: Docker was asked %d times for our names", network, n)
		}
		c.expect(t, network, "example.com.", "192.0.2.1")
		c.expect(t, network, "secret.blue-net.", "192.0.2.1") // another tenant's
		c.expect(t, network, "x.none.", "NXDOMAIN")
		m, err := c.ask(network, "example.com.", dns.TypeA)
		if err != nil || m.Answer[0].Header().Ttl != 77 {
			t.Errorf("%s: Docker's answer was touched: %v, %v", network, m, err)
		}
		if n := asked.Load() - before; n != 4 {
			t.Errorf("%s: Docker was asked %d times, want 4", network, n)
		}
	}
	if m, err := c.ask("udp", "big.", dns.TypeA); err != nil || !m.Truncated {
		t.Errorf("Docker's truncation: %v, %v", m, err)
	}
}

func TestNameOutsideThatAServiceStandsForIsFoundByTheNode(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	asked, _ := c.fakeDocker(t)
	s, _ := netplugin(t, mall(), lifetime)
	looking := make(chan struct{})
	s.find = func(ctx context.Context, network, host string) ([]netip.Addr, error) {
		if host != "example.org." {
			return nil, fmt.Errorf("asked for %s", host)
		}
		select {
		case <-looking:
			return addrsOf("198.51.100.1", "2001:db8::1"), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"b1"}})
	answered := make(chan string, 2)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			m, err := c.askPatiently(network, "away.shop.svc.cluster.local.", dns.TypeA, 10*time.Second)
			if err != nil || len(m.Answer) != 2 {
				answered <- fmt.Sprint(network, ": ", m, err)
				return
			}
			answered <- m.Answer[0].(*dns.CNAME).Target + m.Answer[1].(*dns.A).A.String()
		}()
	}
	c.expect(t, "udp", "web.shop.svc.cluster.local.", "10.96.0.7") // others do not wait for that
	close(looking)
	for range 2 {
		if got := <-answered; got != "example.org.198.51.100.1" {
			t.Errorf("got %s", got)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("Docker was asked %d times", n)
	}
}

func TestEveryContainerIsAnsweredForItsOwnTenant(t *testing.T) {
	t.Parallel()
	green, blue := newContainer(t), newContainer(t)
	green.fakeDocker(t)
	blue.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: green.path, Endpoints: []string{"c1"}}, Sandbox{Path: blue.path, Endpoints: []string{"b1"}})
	green.expect(t, "udp", "contiv-c2.", "10.1.1.2")
	blue.expect(t, "udp", "contiv-c2.", "192.0.2.1")
	blue.expect(t, "udp", "secret.blue-net.", "10.3.1.1")
	// An endpoint more on the second call.
	green.expect(t, "udp", "db.", "192.0.2.1")
	sync1(t, s, Sandbox{Path: green.path, Endpoints: []string{"c1", "c4"}}, Sandbox{Path: blue.path, Endpoints: []string{"b1"}})
	green.expect(t, "udp", "db.", "10.2.1.1")
}

func TestManyQuestionsAtOnceAreAllAnswered(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	c.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	var running sync.WaitGroup
	for i := range 40 {
		running.Go(func() {
			name, want := "contiv-c1.", "10.1.1.1"
			if i%2 == 0 {
				name, want = fmt.Sprintf("x%d.example.com.", i), "192.0.2.1"
			}
			network := []string{"udp", "udp", "tcp"}[i%3]
			m, err := c.ask(network, name, dns.TypeA)
			if err != nil || address(m) != want || m.Question[0].Name != name {
				t.Errorf("%s %s: %v, %v", network, name, m, err)
			}
		})
	}
	running.Wait()
}

func TestWithoutDockersResolverTheRestFailsAtOnce(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	for _, network := range []string{"udp", "tcp"} {
		c.expect(t, network, "contiv-c1.", "10.1.1.1")
		for range 2 {
			began := time.Now()
			m, err := c.ask(network, "example.com.", dns.TypeA)
			if refused := errors.Is(err, unix.ECONNREFUSED); !refused && (err != nil || m.Rcode != dns.RcodeServerFailure) {
				t.Errorf("%s: %v, %v", network, m, err)
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("%s: took %s", network, d)
			}
		}
	}
}

func TestResolverThatMovedToAnotherPortIsFoundAgain(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	_, stop := c.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	c.expect(t, "udp", "example.com.", "192.0.2.1")
	stop()
	c.fakeDocker(t) // as after a restart of the engine with live-restore
	c.expect(t, "udp", "example.com.", "192.0.2.1")
}

func TestRedirectStopsByItselfAndARestartArmsItAgain(t *testing.T) {
	t.Parallel()
	const life = 3 * time.Second
	c := newContainer(t)
	c.fakeDocker(t)
	s, stop := netplugin(t, town("routing"), life)
	box := Sandbox{Path: c.path, Endpoints: []string{"c2"}}
	sync1(t, s, box)
	// Heartbeats keep it alive for longer than its lifetime.
	for until := time.Now().Add(2 * life); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
	}
	stop()
	if m, err := c.askPatiently("udp", "contiv-c1.", dns.TypeA, 100*time.Millisecond); !isTimeout(err) {
		t.Errorf("while a restart may come, the question was not left waiting: %v, %v", m, err)
	}
	eventually(t, "Docker answers after our end", 3*life, func() bool {
		m, err := c.askPatiently("udp", "contiv-c1.", dns.TypeA, 100*time.Millisecond)
		return err == nil && address(m) == "192.0.2.1"
	})
	c.expect(t, "tcp", "contiv-c1.", "192.0.2.1")
	s, _ = netplugin(t, town("routing"), life)
	sync1(t, s, box)
	c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
	c.expect(t, "tcp", "contiv-c1.", "10.1.1.1")
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestQuestionDuringARestartIsAnsweredLate(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	asked, _ := c.fakeDocker(t)
	s, stop := netplugin(t, town("routing"), lifetime)
	box := Sandbox{Path: c.path, Endpoints: []string{"c2"}}
	sync1(t, s, box)
	stop()
	var conn net.Conn
	c.in(t, func() (err error) {
		conn, err = net.Dial("udp4", "127.0.0.11:53")
		return err
	})
	defer conn.Close()
	q := new(dns.Msg).SetQuestion("contiv-c1.", dns.TypeA)
	// As a stub resolver: the same packet from the same socket again and again.
	s, _ = netplugin(t, town("routing"), lifetime)
	for i := range 50 {
		if i == 3 {
			sync1(t, s, box)
		}
		if _, err := conn.Write(pack(t, q)); err != nil {
			t.Fatalf("the question was refused: %v", err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		m, err := (&dns.Conn{Conn: conn}).ReadMsg()
		if isTimeout(err) {
			continue
		}
		if err != nil {
			t.Fatalf("the question was refused: %v", err)
		}
		if i < 3 || address(m) != "10.1.1.1" || asked.Load() != 0 {
			t.Errorf("try %d: %v", i, m)
		}
		return
	}
	t.Error("the question was not answered after the restart")
}

func TestConnectionDuringARestartIsMadeLate(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	asked, _ := c.fakeDocker(t)
	s, stop := netplugin(t, town("routing"), lifetime)
	box := Sandbox{Path: c.path, Endpoints: []string{"c2"}}
	sync1(t, s, box)
	var idle net.Conn
	c.in(t, func() (err error) {
		idle, err = net.Dial("tcp4", "127.0.0.11:53")
		return err
	})
	defer idle.Close()
	was := &dns.Conn{Conn: idle}
	if err := was.WriteMsg(new(dns.Msg).SetQuestion("contiv-c1.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if m, err := was.ReadMsg(); err != nil || address(m) != "10.1.1.1" {
		t.Fatalf("got %v, %v", m, err)
	}
	var silent net.Conn
	c.in(t, func() (err error) {
		silent, err = net.Dial("tcp4", "127.0.0.11:53")
		return err
	})
	defer silent.Close()
	stop()
	// It can still be written to, as if nothing had happened.
	if err := (&dns.Conn{Conn: silent}).WriteMsg(new(dns.Msg).SetQuestion("contiv-c1.", dns.TypeA)); err != nil {
		t.Errorf("a connection without a question yet ends with %v", err)
	}
	// A connection that was there is reset, which a stub takes for a reason to ask again.
	_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("an open connection ends with %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		m, err := c.askPatiently("tcp", "contiv-c1.", dns.TypeA, 20*time.Second)
		if err == nil && address(m) != "10.1.1.1" {
			err = fmt.Errorf("got %v", m)
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("nobody listens, and the connection ends at once: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	s, _ = netplugin(t, town("routing"), lifetime)
	sync1(t, s, box)
	if err := <-answered; err != nil || asked.Load() != 0 {
		t.Errorf("%v; Docker was asked %d times", err, asked.Load())
	}
	_ = silent.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the connection without an answer ends with %v", err)
	}
}

func TestRestartReplacesTheTableOfTheLastRun(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	c.fakeDocker(t)
	c.nft(t, "table inet "+tableName+" { chain old { type filter hook output priority 0; udp dport 53 drop\n}; }")
	for range 3 {
		s, stop := netplugin(t, town("routing"), lifetime)
		sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
		sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
		c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
		list := c.nft(t, "list table inet "+tableName)
		if strings.Contains(list, "old") || strings.Count(list, "notrack") != 3 || strings.Count(list, "chain") != 2 {
			t.Fatalf("table is\n%s", list)
		}
		stop()
	}
}

func TestRedirectThatSomebodyRemovedComesBack(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	c.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), time.Second)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
	c.nft(t, "delete table inet "+tableName)
	c.expect(t, "udp", "contiv-c1.", "192.0.2.1")
	eventually(t, "our answer after the table was deleted", 10*time.Second, func() bool {
		m, err := c.ask("udp", "contiv-c1.", dns.TypeA)
		return err == nil && address(m) == "10.1.1.1"
	})
}

func TestContainerThatIsNoLongerWantedGetsDockerBack(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	c.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
	sync1(t, s)
	c.expect(t, "udp", "contiv-c1.", "192.0.2.1")
	c.in(t, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := conn.ListTables()
		for _, table := range tables {
			if table.Name == tableName {
				t.Error("our table is left")
			}
		}
		return err
	})
	// Its port is free again.
	c.in(t, func() error {
		pc, err := net.ListenPacket("udp4", netip.AddrPortFrom(resolver, port).String())
		if err == nil {
			err = pc.Close()
		}
		return err
	})
}

func TestNamespaceThatIsGoneIsLetGo(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	s, _ := netplugin(t, town("routing"), time.Second)
	box := Sandbox{Path: c.path, Endpoints: []string{"c2"}}
	sync1(t, s, box)
	// A veth's other side goes with the last that holds the namespace.
	link := fmt.Sprintf("d%x", rand.Uint32())
	run(t, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", c.name)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", link).Run() })
	run(t, "ip", "netns", "del", c.name)
	eventually(t, "the namespace is let go without being told", 20*time.Second, func() bool {
		_, err := net.InterfaceByName(link)
		return len(s.sandboxes()) == 0 && err != nil
	})
	sync1(t, s, box) // still wanted: fine
	if len(s.sandboxes()) != 0 {
		t.Error("a namespace that is gone was opened")
	}
}

func TestNewNamespaceAtAnOldPathIsServed(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	box := Sandbox{Path: c.path, Endpoints: []string{"c2"}}
	sync1(t, s, box)
	run(t, "ip", "netns", "del", c.name)
	run(t, "ip", "netns", "add", c.name)
	run(t, "ip", "-n", c.name, "link", "set", "lo", "up")
	sync1(t, s, box)
	c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
}

func TestNamespaceWhoseLoopbackIsNotUpYetIsServedLater(t *testing.T) {
	t.Parallel()
	c := newContainer(t)
	run(t, "ip", "-n", c.name, "link", "set", "lo", "down")
	s, _ := netplugin(t, town("routing"), lifetime)
	sync1(t, s, Sandbox{Path: c.path, Endpoints: []string{"c2"}})
	run(t, "ip", "-n", c.name, "link", "set", "lo", "up")
	c.expect(t, "udp", "contiv-c1.", "10.1.1.1")
}

func TestTakenPortIsNamedAndOtherContainersAreServed(t *testing.T) {
	t.Parallel()
	taken, free := newContainer(t), newContainer(t)
	taken.in(t, func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return err
	})
	taken.fakeDocker(t)
	s, _ := netplugin(t, town("routing"), lifetime)
	err := s.Sync(t.Context(), []Sandbox{{Path: taken.path, Endpoints: []string{"c1"}}, {Path: free.path, Endpoints: []string{"c2"}}})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), taken.path) {
		t.Errorf("got %v", err)
	}
	free.expect(t, "udp", "contiv-c1.", "10.1.1.1")
	taken.expect(t, "udp", "contiv-c1.", "192.0.2.1")
}

func TestFileThatIsNoNamespaceIsAnError(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/netns"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(func() model.World { return model.World{} }, nil, ClusterDomain, slog.New(slog.DiscardHandler))
	if err := s.Sync(t.Context(), []Sandbox{{Path: path}}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := s.Sync(t.Context(), []Sandbox{{Path: path + "gone"}}); err != nil {
		t.Errorf("a path that does not exist: %v", err)
	}
}

// The whole way of a local answer, with the client's side in the same process.
func BenchmarkLocalNameOverUDP(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root to make network namespaces")
	}
	name := fmt.Sprintf("dns%x", rand.Uint64())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	defer func() { _ = exec.Command("ip", "netns", "del", name).Run() }()
	if out, err := exec.Command("ip", "-n", name, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	w := city(10_000)
	s := New(func() model.World { return w }, nil, ClusterDomain, slog.New(slog.DiscardHandler))
	defer s.close()
	if err := s.Sync(b.Context(), []Sandbox{{Path: "/run/netns/" + name, Endpoints: []string{"7"}}}); err != nil {
		b.Fatal(err)
	}
	var conn net.Conn
	err := netdev.Do("/run/netns/"+name, func() (err error) {
		conn, err = net.Dial("udp4", netip.AddrPortFrom(resolver, dnsPort).String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	query := pack(b, new(dns.Msg).SetQuestion("c1234.", dns.TypeA))
	buf := make([]byte, 512)
	for b.Loop() {
		if _, err := conn.Write(query); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(buf); err != nil || n <= len(query) {
			b.Fatalf("%d bytes, %v", n, err)
		}
	}
}
