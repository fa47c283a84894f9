// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
)

func TestPolicyTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Policy)
}

// Verdicts of one scan of a port, as the image's nc tells them.
const (
	open    = "open"
	dropped = "Operation timed out"
	closed  = "Connection refused"
)

// scan is `nc -nzvw 1` from a container.
func scan(t *testing.T, n *cluster.Node, container, to string, port int) string {
	t.Helper()
	out, err := n.Shell(t.Context(), fmt.Sprintf("docker exec %s nc -nzvw 1 %s %d", container, to, port))
	if err != nil {
		t.Fatal(err)
	}
	for _, verdict := range []string{open, dropped, closed} {
		if strings.HasSuffix(strings.TrimSpace(out), verdict) {
			return verdict
		}
	}
	t.Fatalf("nc says %q", out)
	return ""
}

// scans waits until scans of all ports are as wanted, which they have to become soon.
func scans(t *testing.T, n *cluster.Node, container, to string, want map[int]string) {
	t.Helper()
	for port, verdict := range want {
		eventually(t, func() error {
			if got := scan(t, n, container, to, port); got != verdict {
				return fmt.Errorf("%s finds port %d of %s %s, want %s", container, port, to, got, verdict)
			}
			return nil
		})
	}
}

func TestPolicyHoldsAcrossHostsAndFollowsItsRulesLive(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24")
	rule := func(args ...string) {
		t.Helper()
		netctl(t, c, append([]string{"policy", "rule-add", "db-policy"}, args...)...)
	}
	netctl(t, c, "policy", "create", "db-policy")
	rule("1", "-direction=in", "-protocol=tcp", "-action=deny")
	rule("2", "-direction=in", "-protocol=tcp", "-port=8888", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "contiv-net", "db", "-policy=db-policy")
	netctl(t, c, "group", "create", "contiv-net", "web")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "db.contiv-net", "db", "web.contiv-net", "web")
	}
	run(t, a, "db1", "db.contiv-net")
	run(t, a, "near", "contiv-net")
	run(t, b, "far", "contiv-net")
	run(t, b, "web1", "web")
	to := address(t, a, "db1", "db.contiv-net")
	docker(t, a, "exec", "-d", "db1", "sh", "-c", "while true; do nc -l 8888; done")
	for _, from := range []struct {
		node *cluster.Node
		name string
	}{{b, "far"}, {b, "web1"}, {a, "near"}} {
		scans(t, from.node, from.name, to, map[int]string{8890: dropped, 8889: dropped, 8888: open})
	}
	reaches(t, b, "far", "db1") // ICMP has no rule
	// Only what comes in: the group's own connections and their answers pass.
	docker(t, b, "exec", "-d", "far", "sh", "-c", "while true; do nc -l 7000; done")
	scans(t, a, "db1", address(t, b, "far", "contiv-net"), map[int]string{7000: open, 7001: closed})

	// Rules that come and go under running containers.
	rule("3", "-direction=in", "-protocol=tcp", "-port=8889", "-from-group=web", "-action=allow", "-priority=10")
	scans(t, b, "web1", to, map[int]string{8889: closed, 8890: dropped})
	scans(t, b, "far", to, map[int]string{8889: dropped})
	netctl(t, c, "policy", "rule-rm", "db-policy", "3")
	scans(t, b, "web1", to, map[int]string{8889: dropped})

	// A policy that is detached and attached again, live.
	netctl(t, c, "group", "create", "contiv-net", "db")
	scans(t, b, "far", to, map[int]string{8890: closed})
	netctl(t, c, "group", "create", "contiv-net", "db", "-policy=db-policy")
	scans(t, b, "far", to, map[int]string{8890: dropped, 8888: open})

	// A container of the group is protected from its first moment.
	run(t, b, "db2", "db")
	if got := scan(t, a, "near", address(t, b, "db2", "db"), 8890); got != dropped {
		t.Errorf("a new container's port is %s", got)
	}
	healthy(t, c)
}
