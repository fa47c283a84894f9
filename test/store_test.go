// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
)

// A disk is lost, or a master is started with the wrong --data-dir.
func TestContainersOutliveTheStoreOfTheirMaster(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web")
	reaches(t, a, "c1", "10.1.2.2")
	running := flows(t, a, "c1", map[string]*cluster.Node{"c2": b}, "web")
	if err := c.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	if out, err := a.Shell(t.Context(), "rm -r /var/lib/contiv/etcd && echo gone"); err != nil || out != "gone\n" {
		t.Fatalf("the store is not where it should be: %s %v", out, err)
	}
	if err := c.StartMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		eventually(t, func() error {
			if err := n.Doctor(t.Context(), "--repair"); err == nil || !strings.Contains(err.Error(), "their store was lost") {
				return fmt.Errorf("the doctor of %s does not see that the store is lost: %v", n.Name(), err)
			}
			return nil
		})
	}
	// A new agent believes it no more than the old one.
	if err := b.RestartAgent(t.Context(), 9); err != nil {
		t.Fatal(err)
	}
	reaches(t, a, "c1", "10.1.2.2")
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	// What the operator makes again has its containers again.
	network(t, c, "web", "-s", "10.1.2.0/24")
	allocated(t, c, "10.1.2.1-10.1.2.2", "web")
	reaches(t, a, "c1", "10.1.2.2")
	run(t, b, "c3", "web")
	reaches(t, b, "c3", "c1")
	healthy(t, c)
	for _, n := range c.Nodes {
		docker(t, n, "rm", "-f", "c1", "c2", "c3")
	}
	allocated(t, c, "", "web")
}
