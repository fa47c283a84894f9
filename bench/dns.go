// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/contivnet/contiv/dns"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// What local names are to reach.
const (
	namesFloor = 50_000               // answers a second of one core
	namesTail  = 1 * time.Millisecond // p99 of one question after the other
	namesCount = 10_000               // names that contiv and CoreDNS know
	namesCrowd = 16                   // clients at once, each with one question after the other
)

// resolver is a contestant of the names: it answers at 127.0.0.11:53 in a namespace.
type resolver struct {
	name  string
	netns string
	at    string
	pid   int                // whose CPU time counts
	ask   func(i int) string // the fully qualified i-th name
	end   func()
}

// nameResult is one measurement of one resolver.
type nameResult struct {
	rate float64 // answers a second
	core float64 // answers a second of the resolver's CPU time
	p50  time.Duration
	p99  time.Duration // of one question after the other
}

// benchNames is the mode -dns.
func benchNames(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	var all []*resolver
	defer func() {
		for _, r := range all {
			r.end()
		}
	}()
	starts := []func(context.Context) (*resolver, error){contivNames, dockerNames}
	if o.coredns != "" {
		starts = append(starts, func(ctx context.Context) (*resolver, error) { return coreNames(ctx, o.coredns) })
	}
	for _, start := range starts {
		r, err := start(ctx)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	got := map[string][]nameResult{}
	for round := range o.rounds {
		fmt.Fprintf(stderr, "names: round %d of %d\n", round+1, o.rounds)
		for k := range all {
			r := all[(k+round)%len(all)]
			m, err := r.measure(ctx, time.Duration(o.secs*float64(time.Second)))
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			got[r.name] = append(got[r.name], m)
		}
	}
	rows := [][]string{{"resolver", "answers/s", "answers/s a core", "p50 / p99 of one at a time"}}
	figures := func(name string, f func(nameResult) float64) float64 {
		var v []float64
		for _, m := range got[name] {
			v = append(v, f(m))
		}
		return median(v)
	}
	var core, tail float64
	for _, r := range all {
		c := figures(r.name, func(m nameResult) float64 { return m.core })
		p99 := figures(r.name, func(m nameResult) float64 { return float64(m.p99.Microseconds()) })
		if r.name == oursName {
			core, tail = c, p99
		}
		rows = append(rows, []string{
			r.name, fmt.Sprintf("%.0f", figures(r.name, func(m nameResult) float64 { return m.rate })), fmt.Sprintf("%.0f", c),
			fmt.Sprintf("%.0f / %.0f µs", figures(r.name, func(m nameResult) float64 { return float64(m.p50.Microseconds()) }), p99),
		})
	}
	met := func(ok bool) string {
		if ok {
			return "met"
		}
		return "not met"
	}
	rows = append(rows,
		[]string{"wanted", "", fmt.Sprintf("at least %d", namesFloor), fmt.Sprintf("p99 at most %s", namesTail)},
		[]string{oursName, "", met(core >= namesFloor), met(tail <= float64(namesTail.Microseconds()))})
	fmt.Fprintf(stdout, "\n## Names: medians of %d rounds of %g s, %d names (Docker's resolver: 1), %d clients\n\n%s", o.rounds, o.secs, namesCount, namesCrowd, table(rows))
	if o.coredns == "" {
		fmt.Fprintln(stdout, "CoreDNS was not measured: -coredns names its program, which bench/coredns builds.")
	}
	return nil
}

// measure asks with one client for its latency, and with many for the rate.
func (r *resolver) measure(ctx context.Context, secs time.Duration) (m nameResult, err error) {
	alone, err := r.load(ctx, 1, secs)
	if err != nil {
		return m, err
	}
	slices.Sort(alone)
	m.p50, m.p99 = alone[len(alone)/2], alone[len(alone)*99/100]
	before, err := processTime(r.pid)
	if err != nil {
		return m, err
	}
	began := time.Now()
	crowd, err := r.load(ctx, namesCrowd, secs)
	if err != nil {
		return m, err
	}
	took := time.Since(began)
	after, err := processTime(r.pid)
	if err != nil {
		return m, err
	}
	m.rate = float64(len(crowd)) / took.Seconds()
	m.core = float64(len(crowd)) / max(after-before, 1.0/ticksPerSecond)
	return m, nil
}

// load asks with so many clients, each from a socket of its own, and gives how long each answer took.
func (r *resolver) load(ctx context.Context, clients int, secs time.Duration) ([]time.Duration, error) {
	var conns []net.Conn
	err := netdev.Do(r.netns, func() error {
		for range clients {
			c, err := net.Dial("udp4", r.at)
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		return nil
	})
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("open sockets: %w", err)
	}
	var (
		mu      sync.Mutex
		all     []time.Duration
		failed  error
		running sync.WaitGroup
	)
	until := time.Now().Add(secs)
	for _, c := range conns {
		running.Go(func() {
			took, err := r.askUntil(ctx, c, until)
			mu.Lock()
			all, failed = append(all, took...), errors.Join(failed, err)
			mu.Unlock()
		})
	}
	running.Wait()
	if failed == nil && len(all) == 0 {
		failed = errors.New("nothing was answered")
	}
	return all, failed
}

func (r *resolver) askUntil(ctx context.Context, c net.Conn, until time.Time) (took []time.Duration, err error) {
	if err := c.SetDeadline(until.Add(5 * time.Second)); err != nil {
		return nil, err
	}
	// Questions are made beforehand: the resolver's cost is wanted, not ours.
	var questions [256][]byte
	for i := range questions {
		if questions[i], err = new(mdns.Msg).SetQuestion(r.ask(rand.IntN(namesCount)), mdns.TypeA).Pack(); err != nil {
			return nil, fmt.Errorf("encode a question: %w", err)
		}
	}
	answer := make([]byte, 512)
	for i := 0; ; i++ {
		began := time.Now()
		if began.After(until) || ctx.Err() != nil {
			return took, ctx.Err()
		}
		q := questions[i%len(questions)]
		if _, err := c.Write(q); err != nil {
			return took, fmt.Errorf("ask: %w", err)
		}
		n, err := c.Read(answer)
		if err != nil {
			return took, fmt.Errorf("wait for an answer: %w", err)
		}
		took = append(took, time.Since(began))
		if n < 12 || answer[3]&0xf != 0 || answer[7] == 0 || answer[0] != q[0] || answer[1] != q[1] {
			return took, fmt.Errorf("answer %x to question %x has no address", answer[:n], q)
		}
	}
}

func manyNames(i int) string { return fmt.Sprintf("c%d.", i) }

func manyAddresses(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// contivNames is the part of netplugin that answers, in a process of its own, with a World of many names.
func contivNames(ctx context.Context) (*resolver, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	d, err := startSelf(ctx, "names", ns.path())
	if err != nil {
		ns.close()
		return nil, err
	}
	return &resolver{name: oursName, netns: ns.path(), at: "127.0.0.11:53", pid: d.cmd.Process.Pid, ask: manyNames, end: func() { d.end(); ns.close() }}, nil
}

// serveNames is contivNames' process.
func serveNames(arguments []string) error {
	if len(arguments) != 1 {
		return errors.New("which network namespace?")
	}
	c := model.Change{Revision: 1, Reset: true}
	for i := range namesCount {
		name := strings.TrimSuffix(manyNames(i), ".")
		c.Put = append(c.Put, model.Endpoint{ID: name, Tenant: "default", Network: "bench", Name: name, IPv4: manyAddresses(i)})
	}
	w := model.World{}.With(c)
	ctx, cancel := context.WithCancel(context.Background())
	s := dns.New(func() model.World { return w }, nil, dns.ClusterDomain, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	if err := s.Sync(ctx, []dns.Sandbox{{Path: arguments[0], Endpoints: []string{"c7"}}}); err != nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin) // until who started us ends
	cancel()
	return <-ended
}

// dockerNames is the resolver of a real engine. It knows one name: what is in its network on its host.
func dockerNames(ctx context.Context) (_ *resolver, err error) {
	var n nodes
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Down())
		}
	}()
	if err := n.hosts(ctx, 1); err != nil {
		return nil, err
	}
	if err := n.engines(ctx); err != nil {
		return nil, err
	}
	if _, err := n.all[0].Docker(ctx, "network", "create", "bench"); err != nil {
		return nil, err
	}
	p, err := n.pair(ctx, "bench")
	if err != nil {
		return nil, err
	}
	engine, err := n.all[0].Engine()
	if err != nil {
		return nil, err
	}
	return &resolver{
		name: "docker", netns: p.client, at: "127.0.0.11:53", pid: engine.Pid(),
		ask: func(int) string { return "bench-server." }, end: func() { _ = n.Down() },
	}, nil
}

// coreNames is CoreDNS with a hosts file.
func coreNames(ctx context.Context, program string) (_ *resolver, err error) {
	dir, err := os.MkdirTemp("", "bench-names-")
	if err != nil {
		return nil, fmt.Errorf("make CoreDNS's files: %w", err)
	}
	var hosts strings.Builder
	for i := range namesCount {
		fmt.Fprintln(&hosts, manyAddresses(i), strings.TrimSuffix(manyNames(i), "."))
	}
	config, file := filepath.Join(dir, "Corefile"), filepath.Join(dir, "hosts")
	err = errors.Join(os.WriteFile(file, []byte(hosts.String()), 0o600), os.WriteFile(config, []byte(".:53 {\n hosts "+file+"\n}\n"), 0o600))
	ns, failed := newNamespace()
	if err = errors.Join(err, failed); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+ns.path(), program, "-conf", config)
	out, err := cmd.StdoutPipe()
	if err == nil {
		var d *daemon
		if d, err = startDaemon(cmd, out, func(line string) (string, bool) { return "", strings.HasPrefix(line, "CoreDNS-") }); err == nil {
			return &resolver{name: "coredns", netns: ns.path(), at: "127.0.0.1:53", pid: cmd.Process.Pid, ask: manyNames, end: func() {
				d.end()
				ns.close()
				_ = os.RemoveAll(dir)
			}}, nil
		}
	}
	ns.close()
	return nil, errors.Join(fmt.Errorf("start CoreDNS: %w", err), os.RemoveAll(dir))
}
