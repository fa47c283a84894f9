// SPDX-License-Identifier: Apache-2.0

package test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/traffic"
)

// While providers are stopped and started again, no connection fails: neither where the program goes on for a moment, nor where it does not
// hear that it should stop, and is killed in the end.
func TestNoConnectionFailsWhileProvidersStopAndStart(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP", "--health", "tcp")
	scripts := map[string]string{"deaf": webScript, "drains": drainScript, "third": webScript}
	nodes := map[string]*cluster.Node{"deaf": a, "drains": b, "third": b}
	var all []string
	for name, script := range scripts {
		provide(t, nodes[name], name, "net", script)
		all = append(all, name+" "+nodes[name].Name()+" healthy")
	}
	run(t, a, "ca", "net")
	run(t, b, "cb", "net")
	awaitProviders(t, c, "shop", all...)
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "ca", to, "deaf", "drains", "third")
	who(t, b, "cb", to, "deaf", "drains", "third")
	from := []*visits{visiting(t, a, "ca", to, 4), visiting(t, b, "cb", to, 4)}
	for name := range scripts {
		without := slices.DeleteFunc(slices.Clone(all), func(p string) bool { return strings.HasPrefix(p, name+" ") })
		docker(t, nodes[name], "stop", "-t", "2", name)
		awaitProviders(t, c, "shop", without...)
		for _, v := range from {
			if by := v.answeredBy(t, v.mark(), 100); slices.Contains(by, name) {
				t.Errorf("%s has stopped and answers %s", name, v.from)
			}
		}
		docker(t, nodes[name], "start", name)
		awaitProviders(t, c, "shop", all...)
		for _, v := range from {
			mark := v.mark()
			eventually(t, func() error {
				if by := v.answeredBy(t, mark, 20); !slices.Contains(by, name) {
					return fmt.Errorf("%s has come back and %q answer %s", name, by, v.from)
				}
				return nil
			})
		}
	}
	for _, v := range from {
		answered, failed := v.end()
		t.Logf("%s: %d visits, the longest took %s", v.from, answered, v.slow.Round(time.Millisecond))
		if len(failed) > 0 {
			t.Errorf("of %d visits of %s %d failed: %q", answered+len(failed), v.from, len(failed), failed[:min(len(failed), 10)])
		}
	}
	healthy(t, c)
}

// quitScript closes its port in the moment in which it is told to stop, and ends what it has begun.
const quitScript = "hostname >/www/who; httpd -f -p 8080 -h /www & p=$!; trap 'kill $p; sleep 1; exit 0' TERM; wait"

// A connection that comes when the program has closed its port goes to another provider. What its kernel had accepted for the program by
// then is lost, whoever balances.
func TestProviderThatQuitsAtOnceRefusesNobody(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	provide(t, a, "p1", "net", webScript)
	provide(t, b, "p2", "net", webScript)
	provide(t, b, "quits", "net", quitScript)
	run(t, a, "ca", "net")
	run(t, b, "cb", "net")
	others := []string{"p1 " + a.Name() + " healthy", "p2 " + b.Name() + " healthy"}
	all := append([]string{"quits " + b.Name() + " healthy"}, others...)
	awaitProviders(t, c, "shop", all...)
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "ca", to, "p1", "p2", "quits")
	who(t, b, "cb", to, "p1", "p2", "quits")
	const rounds, atOnce = 5, 4
	from := []*visits{visiting(t, a, "ca", to, atOnce), visiting(t, b, "cb", to, atOnce)}
	for range rounds {
		docker(t, b, "stop", "-t", "3", "quits")
		awaitProviders(t, c, "shop", others...)
		docker(t, b, "start", "quits")
		awaitProviders(t, c, "shop", all...)
		for _, v := range from {
			v.answeredBy(t, v.mark(), 50)
		}
	}
	for _, v := range from {
		answered, failed := v.end()
		t.Logf("of %d visits of %s %d were reset or cut off, the longest took %s", answered+len(failed), v.from, len(failed), v.slow.Round(time.Millisecond))
		for _, f := range failed {
			if !strings.Contains(f, "reset") && !strings.HasSuffix(f, `the answer is ""`) { // not yet or just accepted
				t.Errorf("a visit of %s failed: %s", v.from, f)
			}
		}
		if len(failed) > rounds*atOnce {
			t.Errorf("%d visits of %s failed in %d rounds: %q", len(failed), v.from, rounds, failed)
		}
	}
}

// A container that is killed takes with it what it was doing, and no more.
func TestKilledProviderFailsOnlyWhatItWasDoing(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	for name, n := range map[string]*cluster.Node{"p1": a, "p2": b, "p3": b} {
		provide(t, n, name, "net", webScript)
	}
	run(t, a, "ca", "net")
	run(t, b, "cb", "net")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy", "p3 "+b.Name()+" healthy")
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "ca", to, "p1", "p2", "p3")
	who(t, b, "cb", to, "p1", "p2", "p3")
	const atOnce = 4
	from := []*visits{visiting(t, a, "ca", to, atOnce), visiting(t, b, "cb", to, atOnce)}
	for i, kill := range [][]string{{"p1", a.Name()}, {"p3", b.Name()}} {
		n := a
		if kill[1] == b.Name() {
			n = b
		}
		docker(t, n, "kill", kill[0])
		left := [][]string{{"p2", "p3"}, {"p2"}}[i]
		var want []string
		for _, name := range left {
			want = append(want, name+" "+b.Name()+" healthy")
		}
		awaitProviders(t, c, "shop", want...)
		for _, v := range from {
			before := len(v.failures())
			if by := v.answeredBy(t, v.mark(), 100); !slices.Equal(by, left) {
				t.Errorf("after the end of %s %q answer %s, want %q", kill[0], by, v.from, left)
			}
			// Each visitor may have lost what it was at.
			if failed := v.failures(); len(failed)-before > atOnce || len(failed) > atOnce*(i+1) {
				t.Errorf("after the end of %s visits of %s have failed: %q", kill[0], v.from, failed)
			}
		}
	}
	for _, v := range from {
		answered, failed := v.end()
		t.Logf("of %d visits of %s %d failed: %q", answered+len(failed), v.from, len(failed), failed)
	}
	// Nobody is left: refused at once, and taken up again by the first that comes.
	docker(t, b, "kill", "p2")
	awaitProviders(t, c, "shop")
	refusedAtOnce(t, a, "ca", to)
	refusedAtOnce(t, b, "cb", to)
	docker(t, b, "start", "p2")
	who(t, a, "ca", to, "p2")
	healthy(t, c)
}

// As v1's TestServiceTriggerNetpluginRestart and TestServiceTriggerNetmasterSwitchover, with connections that go on meanwhile.
func TestServicesOutliveTheirAgentsAndMasters(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "7777:7777:TCP", "-p", "7777:7777:UDP", "-p", "80:8080:TCP")
	for name, n := range map[string]*cluster.Node{"p1": a, "p2": b, "p3": b} {
		provide(t, n, name, "net", webScript)
		if err := traffic.Responder(t.Context(), sandbox(t, n, name), netip.MustParseAddr(address(t, n, name, "net"))); err != nil {
			t.Fatal(err)
		}
	}
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy", "p3 "+b.Name()+" healthy")
	to := vip(t, c, "shop")
	var running []*traffic.Flow
	for _, n := range c.Nodes {
		client := "c-" + n.Name()
		run(t, n, client, "net")
		who(t, n, client, netip.AddrPortFrom(to, 80), "p1", "p2", "p3")
		for range 4 { // some for each provider
			f, err := traffic.Start(sandbox(t, n, client), to)
			if err != nil {
				t.Fatal(err)
			}
			running = append(running, f)
		}
	}
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			if err := n.Agent.Stop(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			who(t, n, "c-"+n.Name(), netip.AddrPortFrom(to, 80), "p1", "p2", "p3")
			if err := n.StartAgent(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A change reaches the kernel again, so the new agent is at work.
			provide(t, n, "probe", "net", webScript)
			who(t, n, "c-"+n.Name(), netip.AddrPortFrom(to, 80), "p1", "p2", "p3", "probe")
			docker(t, n, "rm", "-f", "probe")
			who(t, n, "c-"+n.Name(), netip.AddrPortFrom(to, 80), "p1", "p2", "p3")
		}
	}
	if err := c.RestartMaster(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	provide(t, a, "probe", "net", webScript)
	who(t, b, "c-"+b.Name(), netip.AddrPortFrom(to, 80), "p1", "p2", "p3", "probe")
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)
}

// held is a connection over which nothing has been asked yet.
func held(t *testing.T, n *cluster.Node, container string, to netip.AddrPort) net.Conn {
	t.Helper()
	var conn net.Conn
	err := netdev.Do(sandbox(t, n, container), func() (err error) {
		conn, err = net.DialTimeout("tcp", to.String(), visitPatience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// answers asks over a held connection.
func answers(conn net.Conn) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(visitPatience))
	if _, err := io.WriteString(conn, "GET /who HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(conn)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return strings.TrimSpace(body), err
}

func TestUnhealthyProviderGetsNothingNewAndLeavesNames(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "group", "create", "net", "web")
	awaitNetwork(t, c, "web.net")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP", "--health", "http:/ready")
	// p3 never works.
	provide(t, a, "p1", "web.net", "touch /www/ready; "+webScript)
	provide(t, b, "p2", "web.net", "touch /www/ready; "+webScript)
	provide(t, b, "p3", "web.net", webScript)
	run(t, a, "c1", "net")
	state := func(one, two string) []string {
		return []string{"p1 " + a.Name() + " " + one, "p2 " + b.Name() + " " + two, "p3 " + b.Name() + " unhealthy"}
	}
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	awaitProviders(t, c, "shop", state("healthy", "healthy")...)
	who(t, a, "c1", to, "p1", "p2")
	names := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		eventually(t, func() error {
			out, err := in(t.Context(), a, "c1", "nslookup web | awk '/^Address/ && !/127.0.0.11/ {print $NF}' | sed 's/.*[ \\t]//'")
			got := strings.Fields(out)
			slices.Sort(got)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("web is %q, want %q", got, want)
			}
			return err
		})
	}
	one, two := address(t, a, "p1", "web.net"), address(t, b, "p2", "web.net")
	names(one, two)

	var before []net.Conn
	for range 12 {
		before = append(before, held(t, a, "c1", to))
	}
	docker(t, a, "exec", "p1", "rm", "/www/ready")
	awaitProviders(t, c, "shop", state("unhealthy", "healthy")...)
	who(t, a, "c1", to, "p2")
	names(two)
	// What was begun is ended where it was begun.
	by := map[string]int{}
	for _, conn := range before {
		name, err := answers(conn)
		if err != nil {
			t.Errorf("a connection from before was broken: %v", err)
		}
		by[name]++
	}
	if by["p1"] == 0 || by["p1"]+by["p2"] != len(before) {
		t.Errorf("connections from before are answered by %v", by)
	}
	// Who is dead does not come back by a restart of netplugin.
	if err := a.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	who(t, a, "c1", to, "p2")
	awaitProviders(t, c, "shop", state("unhealthy", "healthy")...)
	docker(t, b, "exec", "p2", "rm", "/www/ready")
	awaitProviders(t, c, "shop", state("unhealthy", "unhealthy")...)
	refusedAtOnce(t, a, "c1", to)
	names(one, two, address(t, b, "p3", "web.net")) // somebody rather than nobody
	docker(t, a, "exec", "p1", "touch", "/www/ready")
	awaitProviders(t, c, "shop", state("healthy", "unhealthy")...)
	who(t, a, "c1", to, "p1")
	names(one)
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP", "--health", "")
	who(t, a, "c1", to, "p1", "p2", "p3")
	healthy(t, c)
}

// A client whose provider is gone hears of it, instead of waiting for ever.
func TestClientOfAProviderThatIsGoneIsTold(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	provide(t, b, "p1", "net", webScript)
	run(t, a, "c1", "net")
	awaitProviders(t, c, "shop", "p1 "+b.Name()+" healthy")
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "c1", to, "p1")
	conn := held(t, a, "c1", to)
	// The whole machine goes, and nothing that it still says is heard.
	if err := errors.Join(b.Cut(), b.Kill(t.Context())); err != nil {
		t.Fatal(err)
	}
	netctl(t, c, "node", "rm", b.Name())
	awaitProviders(t, c, "shop")
	began := time.Now()
	if _, err := answers(conn); !errors.Is(err, syscall.ECONNRESET) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
