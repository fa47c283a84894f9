// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// patience is how long something may take that has to happen. It is generous, because the machine may be busy.
const patience = 60 * time.Second

// netctl runs netctl and fails the test where it fails.
func netctl(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Netctl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused runs netctl, which must be refused with a text that has all the words.
func refused(t *testing.T, c *cluster.Cluster, words []string, args ...string) {
	t.Helper()
	out, err := c.Netctl(t.Context(), args...)
	if err == nil {
		t.Errorf("netctl %s: %s; want a refusal", strings.Join(args, " "), out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("netctl %s: the refusal lacks %q: %v", strings.Join(args, " "), w, err)
		}
	}
}

// docker runs docker on the node and fails the test where it fails.
func docker(t *testing.T, n *cluster.Node, args ...string) string {
	t.Helper()
	out, err := n.Docker(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dockerRefused runs docker, which must fail with a text that has all the words.
func dockerRefused(t *testing.T, n *cluster.Node, words []string, args ...string) {
	t.Helper()
	out, err := n.Docker(t.Context(), args...)
	if err == nil {
		t.Errorf("docker %s: %s; want a refusal", strings.Join(args, " "), out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("docker %s: the refusal lacks %q: %v", strings.Join(args, " "), w, err)
		}
	}
}

// network makes a network and waits until every engine has it.
func network(t *testing.T, c *cluster.Cluster, name string, flags ...string) {
	t.Helper()
	netctl(t, c, append([]string{"net", "create", name}, flags...)...)
	tenant := "default"
	for i, f := range flags {
		if f == "-t" {
			tenant = flags[i+1]
		}
	}
	if tenant != "default" {
		name += "/" + tenant
	}
	awaitNetwork(t, c, name)
}

func awaitNetwork(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	for _, n := range c.Nodes {
		eventually(t, func() error {
			_, err := n.Docker(t.Context(), "network", "inspect", name)
			return err
		})
	}
}

// run starts a container that waits to be used.
func run(t *testing.T, n *cluster.Node, name, network string, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "--name", name, "--net", network}, flags...)
	args = append(args, "alpine", "sleep", "100000")
	if slices.Contains(flags, "--mac-address") {
		// A newer docker command than the engine refuses this flag; Debian's goes with the oldest engine.
		if _, err := n.Output(t.Context(), "/usr/bin/docker", args...); err != nil {
			t.Fatal(err)
		}
		return
	}
	docker(t, n, args...)
}

// in runs a command line in a container.
func in(ctx context.Context, n *cluster.Node, container, line string) (string, error) {
	return n.Docker(ctx, "exec", container, "sh", "-c", line)
}

// reaches fails the test unless the container gets an answer from the address or name.
func reaches(t *testing.T, n *cluster.Node, container, to string) {
	t.Helper()
	eventually(t, func() error {
		_, err := in(t.Context(), n, container, "ping -c 1 -W 1 "+to)
		return err
	})
}

// reachesNot fails the test if the container gets an answer.
func reachesNot(t *testing.T, n *cluster.Node, container, to string) {
	t.Helper()
	if out, err := in(t.Context(), n, container, "ping -c 2 -W 1 "+to); err == nil {
		t.Errorf("%s reaches %s: %s", container, to, out)
	}
}

// address is a container's IPv4 address in a network, as Docker tells it.
func address(t *testing.T, n *cluster.Node, container, network string) string {
	t.Helper()
	return docker(t, n, "inspect", "--format", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network), container)
}

// address6 is its IPv6 address.
func address6(t *testing.T, n *cluster.Node, container, network string) string {
	t.Helper()
	return docker(t, n, "inspect", "--format", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).GlobalIPv6Address}}", network), container)
}

// oper is what netctl inspects of a network.
func oper(t *testing.T, c *cluster.Cluster, flags ...string) api.NetworkOper {
	t.Helper()
	var i api.NetworkInspect
	if err := json.Unmarshal([]byte(netctl(t, c, append([]string{"net", "inspect"}, flags...)...)), &i); err != nil {
		t.Fatal(err)
	}
	return i.Oper
}

// healthy waits until no node finds a difference between intent, kernel and engine.
func healthy(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	for _, n := range c.Nodes {
		eventually(t, func() error { return n.Doctor(t.Context()) })
	}
}

func eventually(t *testing.T, try func() error) {
	t.Helper()
	if err := cluster.Eventually(t.Context(), patience, try); err != nil {
		t.Fatal(err)
	}
}
