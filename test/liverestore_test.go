// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// With --live-restore containers outlive their engine. Nothing of theirs may be taken for a leftover while it is away or
// has just come back, and what it does with them afterwards works as ever.
func TestTrafficDoesNotNoticeThatALiveRestoreEngineDiesAndComesBack(t *testing.T) {
	t.Parallel()
	const sweep = time.Second
	c := start(t, cluster.Options{
		Engine:     netlab.EngineOptions{Flags: []string{"--live-restore"}},
		AgentFlags: []string{"--sweep", sweep.String()},
	})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "db", "-s", "10.1.3.0/24")
	run(t, a, "c1", "web")
	run(t, a, "near", "web")
	run(t, b, "far", "web")
	for _, name := range []string{"near", "far"} {
		reaches(t, a, "c1", name)
	}
	running := flows(t, a, "c1", map[string]*cluster.Node{"near": a, "far": b}, "web")
	// away is how long an engine is: several sweeps, and longer than each of them lets a suspect be.
	const away = 4 * sweep
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(s.String(), func(t *testing.T) {
			run(t, a, "fixed", "web", "--ip", "10.1.2.77", "--restart", "always")
			run(t, a, "ends", "web", "--ip", "10.1.2.78")
			reaches(t, b, "far", "fixed")
			pids := strings.Fields(docker(t, a, "inspect", "--format", "{{.State.Pid}}", "fixed", "ends"))
			if err := a.Engine.Stop(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			// Nobody but the engine removes the namespace of a container that ends, so its endpoint waits for it too.
			if out, err := a.Output(t.Context(), "kill", append([]string{"-9"}, pids...)...); err != nil {
				t.Fatal(out, err)
			}
			if err := a.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			time.Sleep(away)
			allocated(t, c, "10.1.2.1-10.1.2.3, 10.1.2.77-10.1.2.78", "web")
			if err := a.StartDocker(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(away) // in which an engine that does not say yet what it has could mislead a sweep
			reaches(t, b, "far", "10.1.2.77")
			allocated(t, c, "10.1.2.1-10.1.2.3, 10.1.2.77", "web")
			for _, name := range []string{"near", "far", "fixed"} {
				reaches(t, a, "c1", name)
			}
			reaches(t, b, "far", "c1")
			healthy(t, c)
			docker(t, a, "network", "connect", "db", "c1")
			reaches(t, a, "c1", address(t, a, "c1", "db"))
			docker(t, a, "network", "disconnect", "db", "c1")
			docker(t, a, "rm", "-f", "fixed", "ends")
			allocated(t, c, "", "db")
			allocated(t, c, "10.1.2.1-10.1.2.3", "web")
		})
	}
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	// A container that has outlived its engines ends as any other.
	docker(t, a, "stop", "-t", "0", "near", "c1")
	allocated(t, c, "10.1.2.3", "web")
	docker(t, a, "start", "near", "c1")
	reaches(t, b, "far", "near")
	reaches(t, a, "c1", "far")
	docker(t, a, "rm", "-f", "near", "c1")
	docker(t, b, "rm", "-f", "far")
	allocated(t, c, "", "web")
	healthy(t, c)
	if out, err := a.Output(t.Context(), "ip", "-o", "link"); err != nil || strings.Contains(out, "vvport") {
		t.Error(fmt.Errorf("devices are left: %s, %w", out, err))
	}
}
