// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

// The times are measured and shown, not judged: the machine may be busy.

func TestNetworksMadeAtOnceAreInEveryEngine(t *testing.T) {
	t.Parallel()
	const many = 20
	c := start(t, cluster.Options{})
	began := time.Now()
	took := atOnce(t, many, func(i int) error {
		_, err := c.Netctl(t.Context(), "net", "create", fmt.Sprintf("net%d", i), "-s", fmt.Sprintf("10.1.%d.0/24", i))
		return err
	})
	t.Logf("%d networks made at once: each in %s", many, spread(took))
	t.Logf("the last of them was there after %s", time.Since(began))
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Docker(t.Context(), "network", "ls", "--filter", "driver=netplugin", "--format", "{{.Name}}")
			if have := len(strings.Fields(out)); err == nil && have != many {
				err = fmt.Errorf("%s has %d networks: %s", n.Name(), have, out)
			}
			return err
		})
		t.Logf("all were in the engine of %s %s after the first was asked for", n.Name(), time.Since(began))
	}
	before := time.Now()
	docker(t, c.Nodes[0], "network", "ls")
	t.Logf("docker network ls took %s", time.Since(before))
	healthy(t, c)
	began = time.Now()
	atOnce(t, many, func(i int) error {
		_, err := c.Netctl(t.Context(), "net", "rm", fmt.Sprintf("net%d", i))
		return err
	})
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Docker(t.Context(), "network", "ls", "--filter", "driver=netplugin", "--format", "{{.Name}}")
			if err == nil && out != "" {
				err = fmt.Errorf("%s still has %s", n.Name(), out)
			}
			return err
		})
		t.Logf("all had left the engine of %s %s after the first was to go", n.Name(), time.Since(began))
	}
	healthy(t, c)
}

func TestContainersStartedAtOnceOnOneNodeAllStart(t *testing.T) {
	t.Parallel()
	const many = 50
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, b, "far", "web")
	name := func(i int) string { return fmt.Sprintf("m%d", i) }
	began := time.Now()
	took := atOnce(t, many, func(i int) error {
		_, err := a.Docker(t.Context(), "run", "-d", "--name", name(i), "--net", "web", "alpine", "sleep", "100000")
		return err
	})
	t.Logf("%d containers started at once, all after %s, each in %s", many, time.Since(began), spread(took))
	allocated(t, c, fmt.Sprintf("10.1.2.1-10.1.2.%d", many+1), "web")
	for i := range many {
		reaches(t, b, "far", name(i))
	}
	began = time.Now()
	took = atOnce(t, many, func(i int) error {
		_, err := a.Docker(t.Context(), "rm", "-f", name(i))
		return err
	})
	t.Logf("%d containers removed at once, all after %s, each in %s", many, time.Since(began), spread(took))
	allocated(t, c, "10.1.2.1", "web")
	healthy(t, c)
}

// atOnce calls fn so many times at once and gives how long each call took, in order of that. The test fails where one does.
func atOnce(t *testing.T, times int, fn func(i int) error) []time.Duration {
	t.Helper()
	took, failed := make([]time.Duration, times), make([]error, times)
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			began := time.Now()
			failed[i] = fn(i)
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	for _, err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
	slices.Sort(took)
	return took
}

func spread(sorted []time.Duration) string {
	round := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("%s (median) to %s", round(sorted[len(sorted)/2]), round(sorted[len(sorted)-1]))
}
