// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// webScript tells who it is at port 8080. As process 1 it does not hear SIGTERM, as most programs that were not written to: docker stop
// waits, and kills it then.
const webScript = "hostname >/www/who; exec httpd -f -p 8080 -h /www"

// provide starts a container with a label app=web that runs the script.
func provide(t *testing.T, n *cluster.Node, name, network, script string, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "--name", name, "--hostname", name, "--net", network, "-l", "app=web"}, flags...)
	docker(t, n, append(args, "alpine", "sh", "-c", script)...)
}

// providers are how the masters and nodes see those of a service, as "name node state".
func providers(t *testing.T, c *cluster.Cluster, service string, flags ...string) (out []string) {
	t.Helper()
	for _, p := range asked[[]api.ObservedProvider](t, c, append([]string{"service", "provider-ls", service}, flags...)...) {
		out = append(out, p.Container+" "+p.Node+" "+p.State)
	}
	slices.Sort(out)
	return out
}

func awaitProviders(t *testing.T, c *cluster.Cluster, service string, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, func() error {
		if got := providers(t, c, service); !slices.Equal(got, want) {
			return fmt.Errorf("providers of %s are %q, want %q", service, got, want)
		}
		return nil
	})
}

// drainScript goes on for a second when it is told to stop, as programs do that know of load balancers.
const drainScript = "hostname >/www/who; httpd -f -p 8080 -h /www & trap 'sleep 1; exit 0' TERM; wait"

// Whatever comes first, a label makes a container a provider, as long as it runs and no longer.
func TestContainersBecomeProvidersByTheirLabels(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "group", "create", "net", "web")
	awaitNetwork(t, c, "web.net")
	provide(t, a, "before", "net", webScript)
	provide(t, b, "stops", "web.net", drainScript)
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	provide(t, b, "after", "web.net", webScript)
	run(t, a, "unlabelled", "net")
	run(t, a, "other", "net", "-l", "app=db")
	on := func(name, state string) string {
		n := b.Name()
		if name == "before" {
			n = a.Name()
		}
		return name + " " + n + " " + state
	}
	all := []string{on("before", "healthy"), on("stops", "healthy"), on("after", "healthy")}
	awaitProviders(t, c, "shop", all...)

	// An agent that was away knows them again, and learns of those that changed meanwhile.
	if err := b.Agent.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	docker(t, b, "rename", "after", "renamed")
	if err := b.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitProviders(t, c, "shop", on("before", "healthy"), on("stops", "healthy"), on("renamed", "healthy"))
	docker(t, b, "rename", "renamed", "after")
	for _, n := range c.Nodes {
		if err := n.RestartAgent(t.Context(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	awaitProviders(t, c, "shop", all...)
	docker(t, a, "restart", "-t", "0", "before")
	awaitProviders(t, c, "shop", all...)

	// From the signal on it is passed over, though it goes on for a second.
	stopped := make(chan error, 1)
	went := time.Now()
	go func() {
		_, err := b.Docker(t.Context(), "stop", "stops")
		stopped <- err
	}()
	awaitProviders(t, c, "shop", on("before", "healthy"), on("stops", "stopping"), on("after", "healthy"))
	t.Logf("it was passed over %s after docker stop was called", time.Since(went).Round(time.Millisecond))
	if out, err := in(t.Context(), a, "unlabelled", "nslookup web 127.0.0.11"); err != nil || strings.Contains(out, address(t, b, "stops", "web.net")) {
		t.Errorf("web is %s (%v)", out, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	awaitProviders(t, c, "shop", on("before", "healthy"), on("after", "healthy"))
	docker(t, b, "start", "stops")
	awaitProviders(t, c, "shop", all...)

	// A signal that means something else changes nothing.
	docker(t, b, "kill", "-s", "USR1", "after")
	docker(t, b, "kill", "-s", "HUP", "after")
	run(t, b, "later", "net") // what was said before it is known by now
	eventually(t, func() error {
		if e := endpointOf(t, c, "later"); e.ContainerName == "" || !strings.Contains(fmt.Sprint(e), "later") {
			return fmt.Errorf("the last container is %+v", e)
		}
		return nil
	})
	if got := providers(t, c, "shop"); !slices.Contains(got, on("after", "healthy")) {
		t.Errorf("providers are %q", got)
	}
	docker(t, b, "rm", "-f", "after")
	docker(t, a, "kill", "before")
	awaitProviders(t, c, "shop", on("stops", "healthy"))
	healthy(t, c)
}
