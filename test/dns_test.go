// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/contivnet/contiv/test/cluster"
)

// machineC is a container's view of the machine's C library, which the image lacks.
const machineC = "/machine"

// stubs are the resolvers that programs have, as a shell's commands that print the IPv4 addresses of $n.
var stubs = map[string]string{
	"busybox": `nslookup -type=a $n. 2>/dev/null | sed -n 's/^Address: *\([0-9.]*\)$/\1/p'`,
	"glibc": machineC + `/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path ` + machineC + `/lib/x86_64-linux-gnu ` +
		machineC + `/bin/getent ahostsv4 $n | sed 's/ .*//'`,
}

// resolved asks in a container for all names with all stubs, and gives the addresses by "stub name", sorted.
func resolved(t *testing.T, n *cluster.Node, container string, names []string) map[string]string {
	t.Helper()
	var line strings.Builder
	for stub, command := range stubs {
		fmt.Fprintf(&line, "for n in %s; do echo %s $n $(%s | sort -u); done; ", strings.Join(names, " "), stub, command)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := in(ctx, n, container, line.String())
	if err != nil {
		t.Fatalf("%s: %v: %s", container, err, out)
	}
	got := map[string]string{}
	for answer := range strings.Lines(out) {
		f := strings.Fields(answer)
		addrs := f[2:]
		slices.Sort(addrs)
		got[f[0]+" "+f[1]] = strings.Join(addrs, " ")
	}
	return got
}

// outside answers on the host for everything that is asked with one address, and counts.
func outside(t *testing.T, n *cluster.Node, addr string) *atomic.Int64 {
	t.Helper()
	asked := new(atomic.Int64)
	var conn net.PacketConn
	err := n.Enter(func() (err error) {
		conn, err = net.ListenPacket("udp4", n.Addr().String()+":53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked.Add(1)
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 77}, A: net.ParseIP(addr)}}
		}
		_ = w.WriteMsg(m) // whoever asked asks again
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		conn.Close()
		<-ended
	})
	return asked
}

func TestEveryContainerResolvesNamesWithEveryStub(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "gated", "-s", "10.1.1.0/24", "-g", "10.1.1.254")
	network(t, c, "plain", "-s", "10.1.2.0/24")
	network(t, c, "gated", "-t", "blue", "-s", "10.1.1.0/24")
	network(t, c, "hidden", "-t", "blue", "-s", "10.3.3.0/24")
	group(t, c, "default:web", "gated", "")
	group(t, c, "default:idle", "plain", "")
	awaitNetwork(t, c, "web.gated")
	netctl(t, c, "service", "create", "shop", "--network", "plain", "--selector", "app=shop", "--port", "80:8080:TCP", "--preferred-ip", "10.1.2.200")
	const far = "192.0.2.7"
	asked := outside(t, b, far)

	library := []string{"-v", "/usr:" + machineC + ":ro"}
	other := append([]string{"--dns", b.Addr().String()}, library...)
	run(t, a, "in-gated", "gated", library...)
	run(t, a, "in-plain", "plain", library...)
	run(t, a, "in-both", "gated", library...)
	docker(t, a, "network", "connect", "plain", "in-both")
	run(t, a, "gated-dns", "gated", other...)
	run(t, a, "plain-dns", "plain", other...)
	run(t, a, "in-blue", "hidden/blue", library...)
	run(t, b, "peer", "gated", "--network-alias", "ali")
	run(t, b, "mate", "plain", "--network-alias", "ali")
	run(t, b, "secret", "hidden/blue")
	run(t, a, "web1", "web.gated")
	run(t, b, "web2", "web.gated")

	peer, mate := address(t, b, "peer", "gated"), address(t, b, "mate", "plain")
	short := docker(t, b, "inspect", "--format", "{{slice .Id 0 12}}", "peer")
	web := []string{address(t, a, "web1", "web.gated"), address(t, b, "web2", "web.gated")}
	slices.Sort(web)
	both, vip := strings.Join(web, " "), "10.1.2.200"
	ali := []string{peer, mate}
	slices.Sort(ali)
	names := []string{"peer", "mate", "ali", short, "web", "web2", "idle", "shop", "shop.plain", "web.gated", "peer.gated", "mate.plain", "secret", "secret.hidden", "elsewhere.test"}
	two, secret := address(t, b, "web2", "web.gated"), address(t, b, "secret", "hidden/blue")
	// What nobody here has is "-": asked of the resolver outside. A gateway that leads nowhere, as those here, leads there
	// neither, and then it is not asked: the answer would be a failure, late.
	for _, asker := range []struct {
		name      string
		reachable bool
		want      []string // as names
	}{
		{"in-gated", false, []string{peer, "-", peer, peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"in-plain", true, []string{"-", mate, mate, "-", both, "-", "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"in-both", false, []string{peer, mate, strings.Join(ali, " "), peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"gated-dns", false, []string{peer, "-", peer, peer, both, two, "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"plain-dns", true, []string{"-", mate, mate, "-", both, "-", "", vip, vip, both, peer, mate, "-", "-", "-"}},
		{"in-blue", true, []string{"-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", secret, secret, "-"}},
	} {
		before, outward := asked.Load(), 0
		want := map[string]string{}
		var ask []string
		for i, w := range asker.want {
			if w == "-" {
				if !asker.reachable {
					continue
				}
				if w = ""; strings.HasSuffix(asker.name, "-dns") {
					w, outward = far, outward+1
				}
			}
			ask = append(ask, names[i])
			for stub := range stubs {
				want[stub+" "+names[i]] = w
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
		if n := asked.Load() - before; (outward > 0) != (n > 0) {
			t.Errorf("%s: the resolver outside was asked %d times for %d names", asker.name, n, outward)
		}
	}

	t.Run("a name that was denied before is known as soon as its container runs", func(t *testing.T) {
		for _, got := range resolved(t, a, "in-plain", []string{"newcomer"}) {
			if got != "" {
				t.Fatalf("newcomer is %s before it is there", got)
			}
		}
		run(t, b, "newcomer", "plain")
		began := time.Now()
		want := address(t, b, "newcomer", "plain")
		eventually(t, func() error {
			got := resolved(t, a, "in-plain", []string{"newcomer"})
			for stub := range stubs {
				if got[stub+" newcomer"] != want {
					return fmt.Errorf("got %q, want %s", got, want)
				}
			}
			return nil
		})
		t.Logf("known %s after it ran", time.Since(began))
	})

	t.Run("questions while netplugin restarts are answered late and never refused", func(t *testing.T) {
		var line strings.Builder
		for _, command := range stubs {
			fmt.Fprintf(&line, "(n=peer; i=0; while [ $i -lt 60 ]; do [ \"$(%s | sort -u)\" = %s ] || echo refused; i=$((i+1)); sleep 0.05; done)& ", command, peer)
		}
		line.WriteString("wait")
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			said := make(chan error, 1)
			go func() {
				out, err := in(ctx, a, "in-gated", line.String())
				if err == nil && out != "" {
					err = fmt.Errorf("%d questions were refused", strings.Count(out, "refused"))
				}
				said <- err
			}()
			if err := a.RestartAgent(t.Context(), s); err != nil {
				t.Error(err)
			}
			if err := <-said; err != nil {
				t.Errorf("%s: %v", s, err)
			}
			cancel()
		}
	})
	healthy(t, c)
}
