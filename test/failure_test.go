// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/traffic"
)

// flows starts steady traffic from a container of the node to others, answered in theirs.
func flows(t *testing.T, from *cluster.Node, container string, to map[string]*cluster.Node, network string) []*traffic.Flow {
	t.Helper()
	sandbox, err := from.Sandbox(t.Context(), container)
	if err != nil {
		t.Fatal(err)
	}
	var out []*traffic.Flow
	for name, n := range to {
		addr := netip.MustParseAddr(address(t, n, name, network))
		there, err := n.Sandbox(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := traffic.Responder(t.Context(), there, addr); err != nil {
			t.Fatal(err)
		}
		f, err := traffic.Start(sandbox, addr)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

func TestTrafficDoesNotNoticeThatTheAgentDiesAndComesBack(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, a, "near", "web")
	run(t, b, "far", "web")
	reaches(t, a, "c1", "far")
	reaches(t, a, "c1", "near")
	running := flows(t, a, "c1", map[string]*cluster.Node{"near": a, "far": b}, "web")
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			if err := n.Agent.Stop(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond) // for so long it is dead
			if err := n.StartAgent(t.Context()); err != nil {
				t.Fatal(err)
			}
			// A change reaches the kernel again, so the new agent is at work.
			run(t, n, "probe", "web")
			reaches(t, n, "probe", "10.1.2.1")
			docker(t, n, "rm", "-f", "probe")
		}
	}
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)
}

func TestContainersGoOnWithoutMasters(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web")
	run(t, b, "c3", "web")
	reaches(t, a, "c1", "c2")
	running := flows(t, a, "c1", map[string]*cluster.Node{"c2": b}, "web")
	if err := c.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	reaches(t, a, "c1", "c2") // by name, too
	began := time.Now()
	docker(t, b, "rm", "-f", "c3")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("docker rm took %s without a master", took)
	}
	out, err := b.Docker(t.Context(), "run", "--rm", "--net", "web", "alpine", "true")
	if err == nil || !strings.Contains(err.Error(), "netmaster") {
		t.Errorf("docker run without a master: %s, %v; want a text that says so", out, err)
	}
	// One that comes back within Docker's patience is waited for.
	waited := make(chan error, 1)
	go func() {
		_, err := b.Docker(t.Context(), "run", "--rm", "--net", "web", "alpine", "ping", "-c", "1", "10.1.2.1")
		waited <- err
	}()
	time.Sleep(2 * time.Second) // the master is away for so long
	if err := c.StartMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	allocated(t, c, "10.1.2.1-10.1.2.2", "web")
	healthy(t, c)
}

func TestDeadNodeIsShownAndCollectedWhenAsked(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web")
	if err := b.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out := netctl(t, c, "node", "ls")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "n2") && strings.Contains(line, "down") {
				return nil
			}
		}
		return fmt.Errorf("the node is not shown as down: %s", out)
	})
	if out := netctl(t, c, "endpoint", "ls"); !strings.Contains(out, "down") || !strings.Contains(out, "10.1.2.2") {
		t.Errorf("its endpoint is not kept and marked: %s", out)
	}
	refused(t, c, []string{"web"}, "net", "rm", "web")
	netctl(t, c, "node", "rm", "n2")
	allocated(t, c, "10.1.2.1", "web")
	// It comes back as if nothing had been.
	if err := b.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.StartNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	docker(t, b, "rm", "-f", "c2")
	run(t, b, "c3", "web")
	reaches(t, a, "c1", "c3")
	healthy(t, c)
}

// churn is how long faults are injected: short in CI, longer where CONTIV_TEST_CHURN says so.
func churn(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CONTIV_TEST_CHURN")
	if text == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Containers start and stop on both nodes while agents, engines, the master and a whole host are killed at random. Afterwards
// nothing is left that should not be, nothing is missing, and a new start works.
func TestNothingIsLeftOfContainersThatStartAndStopWhileEverythingIsKilled(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{AgentFlags: []string{"--sweep", "3s"}})
	network(t, c, "web", "-s", "10.1.0.0/16")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(t.Context(), churn(t))
	defer cancel()
	var wg sync.WaitGroup
	var started, failed counter
	for i, n := range c.Nodes {
		for w := range 2 {
			wg.Go(func() {
				for k := 0; ctx.Err() == nil; k++ {
					name := fmt.Sprintf("w%d-%d-%d", i, w, k)
					call, done := context.WithTimeout(t.Context(), time.Minute)
					// Failures are expected; that nothing comes of them is what is tested.
					if _, err := n.Docker(call, "run", "-d", "--name", name, "--net", "web", "alpine", "sleep", "1000"); err == nil {
						started.add()
					} else {
						failed.add()
					}
					if k%3 > 0 {
						_, _ = n.Docker(call, "rm", "-f", name)
					}
					done()
				}
			})
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			n := c.Nodes[random.IntN(2)]
			var err error
			switch random.IntN(5) {
			case 0, 1:
				err = errors.Join(n.Agent.Kill(), n.StartAgent(t.Context()))
			case 2:
				err = errors.Join(n.Engine.Kill(), n.StartDocker(t.Context()))
			case 3:
				err = errors.Join(c.Master.Kill(), c.StartMaster(t.Context()))
			case 4:
				if n == c.Nodes[0] { // the master lives on it
					continue
				}
				err = errors.Join(n.Kill(t.Context()), n.Boot(t.Context()))
				if err == nil {
					err = n.StartNode(t.Context())
				}
			}
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(random.IntN(1500)) * time.Millisecond):
			}
		}
	})
	wg.Wait()
	t.Logf("%d containers started, %d did not", started.n, failed.n)
	if started.n == 0 {
		t.Fatal("no container was ever started")
	}
	healthy(t, c)
	eventually(t, func() error { // an engine may still be ending a container
		var inEngines, known []string
		for _, n := range c.Nodes {
			connected, err := connected(t, n, "web")
			if err != nil {
				return err
			}
			inEngines = append(inEngines, connected...)
		}
		for _, e := range oper(t, c, "web").Endpoints {
			known = append(known, e.EndpointID)
		}
		slices.Sort(inEngines)
		slices.Sort(known)
		if !slices.Equal(inEngines, known) {
			return fmt.Errorf("the masters have endpoints %q, the engines' running containers %q", known, inEngines)
		}
		return nil
	})
	for i, n := range c.Nodes {
		for _, id := range strings.Fields(docker(t, n, "ps", "-aq")) {
			docker(t, n, "rm", "-f", id)
		}
		run(t, n, "last"+strconv.Itoa(i), "web")
	}
	reaches(t, c.Nodes[0], "last0", "last1")
	for i, n := range c.Nodes {
		docker(t, n, "rm", "-f", "last"+strconv.Itoa(i))
	}
	healthy(t, c)
	// An address that was asked for when its engine died is free again after two minutes, by its lease.
	if err := cluster.Eventually(t.Context(), 3*time.Minute, func() error {
		if o := oper(t, c, "web"); o.AllocatedIPAddresses != "" || o.NumEndpoints != 0 {
			return fmt.Errorf("left: %s, %d endpoints", o.AllocatedIPAddresses, o.NumEndpoints)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for _, n := range c.Nodes {
		eventually(t, func() error { // a pair that never got an endpoint is swept
			out, err := n.Output(t.Context(), "ip", "-o", "link")
			if err == nil && (strings.Contains(out, "vvport") || strings.Contains(out, "vport")) {
				err = fmt.Errorf("devices are left on %s: %s", n.Name(), out)
			}
			return err
		})
		// Pins of ports whose device went with its container are cleared when the agent looks at them next, at its start.
		if err := n.RestartAgent(t.Context(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		out, err := n.Output(t.Context(), "find", "/sys/fs/bpf/contiv/links", "-name", "*-port-*")
		if err != nil || out != "" {
			t.Errorf("pins of ports on %s: %s, %v", n.Name(), out, err)
		}
	}
	netctl(t, c, "net", "rm", "web")
}

// connected are the ids of those endpoints that the engine's running containers have in the network. A container can run without:
// containerd starts one whose engine was killed after it had asked for that, and the next engine, which then has given its network up
// already, only learns that it runs. Its start has no time ("Up 292 years").
func connected(t *testing.T, n *cluster.Node, network string) (ids []string, err error) {
	running, err := n.Docker(t.Context(), "ps", "-q")
	if err != nil || running == "" {
		return nil, err
	}
	const format = "{{.Name}} {{.State.StartedAt}} {{range $name, $n := .NetworkSettings.Networks}}{{$name}}={{$n.EndpointID}} {{end}}"
	out, err := n.Docker(t.Context(), append([]string{"inspect", "--format", format}, strings.Fields(running)...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		for _, w := range words {
			if id, ok := strings.CutPrefix(w, network+"="); ok && id != "" {
				ids = append(ids, id)
			} else if ok && !strings.HasPrefix(words[1], "0001-01-01") {
				return nil, fmt.Errorf("the engine of %s runs a container that it started itself without its network: %s", n.Name(), line)
			}
		}
	}
	return ids, nil
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}
