// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// machineC is a container's view of the machine's C library, which the image lacks.
const machineC = "/machine"

const getent = machineC + `/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path ` + machineC + `/lib/x86_64-linux-gnu ` + machineC + `/bin/getent`

// stub is a resolver that programs have.
type stub struct {
	name    string
	command string // a shell's, that prints the addresses of $n, each on a line
	v6      bool   // prints IPv6 addresses, nothing for a name without one, or what is wrong
}

var stubs = []stub{
	{"busybox", `nslookup -type=a $n. 2>/dev/null | sed -n -e 's/^Address: *\([0-9.]*\)$/\1/p'`, false},
	// What tells a name without IPv6 from one that does not exist; musl fails where one of its two questions is denied.
	{"busybox AAAA", `nslookup -type=aaaa $n. 2>&1 | sed -n 's/^Address: *\([0-9a-f:]*\)$/\1/p; /NXDOMAIN/s/.*/nxdomain/p; /timed out\|SERVFAIL\|REFUSED/p'`, true},
	{"glibc", getent + ` ahostsv4 $n | sed 's/ .*//'`, false},
	{"glibc over TCP", `RES_OPTIONS=use-vc ` + getent + ` ahostsv4 $n | sed 's/ .*//'`, false},
	// Asks for both families at once, as most programs do.
	{"glibc, both", getent + ` ahosts $n | sed 's/ .*//' | grep -v :`, false},
	{"musl", muslC + ` 4 $n`, false},
	{"musl, both", muslC + ` 0 $n | grep -v :`, false},
}

// muslC is, in a container, testdata/addresses.c with musl in it, the C library of Alpine's programs.
const muslC = "/addresses"

// withLibraries are the flags of docker run that give a container what stubs need.
func withLibraries(t *testing.T) []string {
	t.Helper()
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		t.Skip("needs musl's resolver: install musl-tools")
	}
	built := filepath.Join(programs.Dir(t), "addresses-"+t.Name()) // where hosts see it
	if out, err := exec.CommandContext(t.Context(), "musl-gcc", "-static", "-O1", "-o", built, "testdata/addresses.c").CombinedOutput(); err != nil {
		t.Fatalf("build with musl: %v: %s", err, out)
	}
	return []string{"-v", "/usr:" + machineC + ":ro", "-v", built + ":" + muslC + ":ro"}
}

// resolved asks in a container for all names with all stubs, and gives the addresses by "stub: name", sorted.
func resolved(t *testing.T, n *cluster.Node, container string, names []string) map[string]string {
	t.Helper()
	var line strings.Builder
	for _, s := range stubs {
		// The names at once: a question that is lost costs five seconds, and not each its own.
		fmt.Fprintf(&line, "for n in %s; do { a=$(%s | sort -u); echo '%s:' $n = $a; } & done; wait; ", strings.Join(names, " "), s.command, s.name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := in(ctx, n, container, line.String())
	if err != nil {
		t.Fatalf("%s: %v: %s", container, err, out)
	}
	got := map[string]string{}
	for answer := range strings.Lines(out) {
		question, addrs, _ := strings.Cut(strings.TrimSpace(answer), " =")
		sorted := strings.Fields(addrs)
		slices.Sort(sorted)
		got[question] = strings.Join(sorted, " ")
	}
	return got
}

// nameserver is outside of all tenants' networks, or at least does not know what they know.
type nameserver struct {
	asked atomic.Int64
	last  atomic.Value // who asked last, an address
}

// outside answers, at an address in the namespace that enter goes to, for all names under test. with one address, and denies all others.
func outside(t *testing.T, enter func(func() error) error, at netip.Addr, addr string) *nameserver {
	t.Helper()
	o := new(nameserver)
	h := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		o.asked.Add(1)
		from, _, _ := net.SplitHostPort(w.RemoteAddr().String())
		o.last.Store(from)
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		switch {
		case !strings.HasSuffix(name, ".test."):
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 77}, A: net.ParseIP(addr)}}
		}
		_ = w.WriteMsg(m) // whoever asked asks again
	})
	var (
		pc net.PacketConn
		l  net.Listener
	)
	err := enter(func() (err error) {
		at := netip.AddrPortFrom(at, 53).String()
		if pc, err = net.ListenPacket("udp", at); err == nil {
			l, err = net.Listen("tcp", at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: h}, {Listener: l, Handler: h}} {
		running.Go(func() { _ = s.ActivateAndServe() })
	}
	t.Cleanup(func() {
		_, _ = pc.Close(), l.Close()
		running.Wait()
	})
	return o
}

// askServer asks a server for IPv4 addresses in the namespace at path.
func askServer(path, network, server, name string) (*dns.Msg, error) {
	return askServerFor(path, network, server, name, dns.TypeA)
}

func askServerFor(path, network, server, name string, kind uint16) (*dns.Msg, error) {
	var conn net.Conn
	err := netdev.Do(path, func() (err error) {
		conn, err = net.DialTimeout(network, net.JoinHostPort(server, "53"), 5*time.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := dns.Client{Net: network, Timeout: 5 * time.Second}
	m, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion(name, kind), &dns.Conn{Conn: conn})
	return m, err
}

// addressIn is the one address of an answer, "" where there is not just one.
func addressIn(m *dns.Msg) string {
	if len(m.Answer) == 1 {
		if a, ok := m.Answer[0].(*dns.A); ok {
			return a.A.String()
		}
	}
	return ""
}

func TestEveryContainerResolvesNamesWithEveryStub(t *testing.T) {
	t.Parallel()
	// The second host is the resolver that engines find in /etc/resolv.conf.
	c := start(t, cluster.Options{Lab: netlab.Options{Resolver: netip.MustParseAddr("192.168.2.11")}})
	a, b := c.Nodes[0], c.Nodes[1]
	const far = "192.0.2.7"
	server := outside(t, b.Enter, b.Addr(), far)
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "gated", "-s", "10.1.1.0/24", "-g", "10.1.1.254", "-s6", "2001:db8:1::/64")
	network(t, c, "plain", "-s", "10.1.2.0/24")
	network(t, c, "gated", "-t", "blue", "-s", "10.1.1.0/24")
	network(t, c, "hidden", "-t", "blue", "-s", "10.3.3.0/24")
	group(t, c, "default:web", "gated", "")
	group(t, c, "default:idle", "plain", "")
	awaitNetwork(t, c, "web.gated")
	netctl(t, c, "service", "create", "shop", "--network", "plain", "--selector", "app=shop", "--port", "80:8080:TCP", "--preferred-ip", "10.1.2.200")

	library := withLibraries(t)
	other := append([]string{"--dns", b.Addr().String()}, library...)
	var running sync.WaitGroup
	running.Go(func() {
		run(t, a, "in-gated", "gated", library...)
		run(t, a, "in-plain", "plain", library...)
		run(t, a, "in-both", "gated", library...)
		docker(t, a, "network", "connect", "plain", "in-both")
		run(t, a, "gated-dns", "gated", other...)
		run(t, a, "plain-dns", "plain", other...)
		run(t, a, "in-blue", "hidden/blue", library...)
		run(t, a, "web1", "web.gated")
	})
	run(t, b, "peer", "gated", "--network-alias", "ali")
	run(t, b, "mate", "plain", "--network-alias", "ali")
	run(t, b, "secret", "hidden/blue")
	run(t, b, "web2", "web.gated")
	running.Wait()
	if t.Failed() {
		t.FailNow()
	}

	peer, mate := address(t, b, "peer", "gated"), address(t, b, "mate", "plain")
	one, two, secret := address(t, a, "web1", "web.gated"), address(t, b, "web2", "web.gated"), address(t, b, "secret", "hidden/blue")
	six := map[string]string{
		peer: address6(t, b, "peer", "gated"), one: address6(t, a, "web1", "web.gated"), two: address6(t, b, "web2", "web.gated"),
	}
	short := docker(t, b, "inspect", "--format", "{{slice .Id 0 12}}", "peer")
	sorted := func(addrs ...string) string {
		slices.Sort(addrs)
		return strings.Join(addrs, " ")
	}
	both, vip, ali := sorted(one, two), "10.1.2.200", sorted(peer, mate)
	names := []string{"peer", "mate", "ali", short, "web", "web2", "idle", "shop", "shop.plain", "web.gated", "peer.gated", "mate.plain", "secret", "secret.hidden", "elsewhere.test"}
	// What nobody here has is "-": asked of the resolver outside. A gateway that leads nowhere, as those here, leads there
	// neither, and then it is not asked: the answer would be a failure, late.
	for _, asker := range []struct {
		name      string
		reachable bool
		want      []string // as names
	}{
		{"in-gated", false, []string{peer, "-", peer, peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"in-plain", true, []string{"-", mate, mate, "-", both, "-", "", vip, vip, both, peer, mate, "-", "-", far}},
		{"in-both", false, []string{peer, mate, ali, peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"gated-dns", false, []string{peer, "-", peer, peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"plain-dns", true, []string{"-", mate, mate, "-", both, "-", "", vip, vip, both, peer, mate, "-", "-", far}},
		{"in-blue", true, []string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", secret, secret, far}},
	} {
		before := server.asked.Load()
		want := map[string]string{}
		var ask []string
		for i, v4 := range asker.want {
			v6 := "" // not nxdomain: the name exists
			if v4 == "-" {
				if !asker.reachable {
					continue
				}
				v4, v6 = "", "nxdomain"
			}
			var addrs []string
			for _, addr := range strings.Fields(v4) {
				if six[addr] != "" {
					addrs = append(addrs, six[addr])
				}
			}
			if len(addrs) > 0 {
				v6 = sorted(addrs...)
			}
			ask = append(ask, names[i])
			for _, s := range stubs {
				want[s.name+": "+names[i]] = v4
				if s.v6 {
					want[s.name+": "+names[i]] = v6
				}
			}
		}
		// An alias comes by an event of the engine, some time after its container.
		eventually(t, func() error {
			got := resolved(t, a, asker.name, ask)
			for question, w := range want {
				if got[question] != w {
					return fmt.Errorf("%s asks %s: got %q, want %q (all: %q)", asker.name, question, got[question], w, got)
				}
			}
			return nil
		})
		if n := server.asked.Load() - before; asker.reachable != (n > 0) {
			t.Errorf("%s: the resolver outside was asked %d times", asker.name, n)
		}
	}

	servicesHaveRecords(t, a, "in-plain", "in-blue", "shop", netip.MustParseAddr(vip))
	t.Run("a name is known within a second of its container, also one that was denied before, and forgotten as soon", func(t *testing.T) {
		const late = time.Second
		asker, err := a.Sandbox(t.Context(), "in-plain")
		if err != nil {
			t.Fatal(err)
		}
		for _, life := range []struct {
			change string
			rcode  int
		}{
			{"", dns.RcodeNameError}, {"run -d --name newcomer --net plain alpine sleep 100000", dns.RcodeSuccess}, {"stop -t 0 newcomer", dns.RcodeNameError},
			{"start newcomer", dns.RcodeSuccess}, {"rm -f newcomer", dns.RcodeNameError},
		} {
			if life.change != "" {
				docker(t, b, strings.Fields(life.change)...)
			}
			began := time.Now()
			want := ""
			if life.rcode == dns.RcodeSuccess {
				want = address(t, b, "newcomer", "plain")
			}
			eventually(t, func() error {
				m, err := askServer(asker, "udp", "127.0.0.11", "newcomer.")
				if err == nil && (m.Rcode != life.rcode || addressIn(m) != want) {
					err = fmt.Errorf("after %q: got %v, want %q", life.change, m, want)
				}
				return err
			})
			if took := time.Since(began); took > late {
				t.Errorf("%q shows after %s, not within %s", life.change, took, late)
			}
		}
	})
	healthy(t, c)
}

// stream asks for the name again and again, with each stub, in the container, until there is a file stop. Each stub has a file
// of its own, beginning with stop, when it has begun. Whatever is wrong is printed. busybox asks twice, within five seconds, and musl
// within the two of the option timeout; that they gave up on a slow machine is not wrong.
func stream(name, want, stop string) string {
	var line strings.Builder
	for i, s := range stubs {
		if s.v6 {
			continue
		}
		unless := ""
		if s.name == "busybox" {
			s.command = strings.Replace(s.command, "2>/dev/null", "2>&1", 1) + ` -e 's/.*timed out.*/late/p'`
		}
		if s.name == "busybox" || strings.HasPrefix(s.name, "musl") {
			unless = `[ "$a" = late ] ||`
		}
		fmt.Fprintf(&line, `( n=%s; i=0; while [ ! -e %s ] && [ $i -lt 5000 ]; do a=$(%s | sort -u); [ "$a" = %s ] || %s echo "%s: $a"; i=$((i+1)); [ $i != 3 ] || touch %s.%d; done )& `,
			name, stop, s.command, want, unless, s.name, stop, i)
	}
	return line.String() + "wait"
}

func TestQuestionsWhileNetpluginRestartsAreAnsweredLateAndNeverRefused(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24")
	// glibc asks again after two seconds, not after five, and as often as it has to; busybox has no such option.
	run(t, n, "asker", "web", append(withLibraries(t), "--dns-opt", "timeout:2", "--dns-opt", "attempts:5")...)
	run(t, n, "peer", "web")
	peer := address(t, n, "peer", "web")
	for i, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		stop := fmt.Sprint("/tmp/stop", i)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		said := make(chan error, 1)
		go func() {
			out, err := in(ctx, n, "asker", stream("peer", peer, stop))
			if err == nil && out != "" {
				err = fmt.Errorf("answered wrongly:\n%s", out)
			}
			said <- err
		}()
		eventually(t, func() error {
			out, err := in(t.Context(), n, "asker", "ls "+stop+".*")
			if err == nil && len(strings.Fields(out)) < len(stubs)-1 {
				err = fmt.Errorf("have begun: %s", out)
			}
			return err
		})
		if err := n.RestartAgent(t.Context(), s); err != nil {
			t.Error(err)
		}
		docker(t, n, "exec", "asker", "touch", stop)
		if err := <-said; err != nil {
			t.Errorf("%s: %v", s, err)
		}
		cancel()
	}
	healthy(t, c)
}

func TestNamesInBridgeModeAreThoseOfOnesOwnNetworks(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	netctl(t, c, "global", "set", "--fwd-mode", "bridge")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "db", "-s", "10.1.3.0/24")
	group(t, c, "default:front", "web", "")
	awaitNetwork(t, c, "front.web")
	library := withLibraries(t)
	run(t, n, "in-web", "web", library...)
	run(t, n, "in-db", "db", library...)
	run(t, n, "c1", "front.web")
	front, db := address(t, n, "c1", "front.web"), address(t, n, "in-db", "db")
	for asker, want := range map[string]map[string]string{
		"in-web": {"c1": front, "front": front, "front.web": front, "c1.web": front, "in-db": "", "in-db.db": ""},
		"in-db":  {"c1": "", "front": "", "front.web": "", "c1.web": "", "in-db": db, "in-db.db": db},
	} {
		eventually(t, func() error {
			var names []string
			for name := range want {
				names = append(names, name)
			}
			got := resolved(t, n, asker, names)
			for name, w := range want {
				for _, s := range stubs {
					if g := got[s.name+": "+name]; g != w && !s.v6 {
						return fmt.Errorf("%s asks %s for %s: got %q, want %q", asker, s.name, name, g, w)
					}
				}
			}
			return nil
		})
	}
}
