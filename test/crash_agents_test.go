// SPDX-License-Identifier: Apache-2.0

package test

import (
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

// The agents and netctl have a list of masters. Whichever of them dies or hangs, containers start and networks are made, on each node.
func TestContainersStartWhileAMasterIsDownOrHangs(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 3, cluster.Options{Masters: 3})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, b, "c0", "web")
	for i := range c.Masters {
		for how, stop := range map[string]syscall.Signal{"hangs": syscall.SIGSTOP, "down": syscall.SIGKILL} {
			m := c.Masters[i]
			name := m.Name() + "-" + string(rune('1'+i)) + "-" + how
			if err := m.Signal(stop); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			run(t, a, name, "web")
			started := time.Since(began)
			reaches(t, a, name, "c0")
			reached := time.Since(began)
			began = time.Now()
			network(t, c, how, "-s", "10.1.3.0/24")
			made := time.Since(began)
			docker(t, a, "rm", "-f", name)
			netctl(t, c, "net", "rm", how)
			t.Logf("master %d %s: netctl took %s, docker run %s, and the first ping came after %s", i+1, how,
				made.Round(time.Millisecond), started.Round(time.Millisecond), reached.Round(time.Millisecond))
			if made > 20*time.Second || started > 30*time.Second {
				t.Errorf("while master %d %s, netctl took %s and docker run %s", i+1, how, made, started)
			}
			if stop == syscall.SIGSTOP {
				if err := m.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
			} else if err := c.RestartMaster(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
	}
	docker(t, b, "rm", "-f", "c0")
	allocated(t, c, "", "web")
	healthy(t, c)
}
