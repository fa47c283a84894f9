// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
)

// allocated checks that a network has given just these addresses.
func allocated(t *testing.T, c *cluster.Cluster, want string, flags ...string) {
	t.Helper()
	eventually(t, func() error {
		if got := oper(t, c, flags...).AllocatedIPAddresses; got != want {
			return fmt.Errorf("network %v has given %q, want %q", flags, got, want)
		}
		return nil
	})
}

func TestContainersLiveTheirLivesWithoutALeak(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web")
	if got := address(t, a, "c1", "web"); got != "10.1.2.1" {
		t.Errorf("c1 has %s, want the lowest free address", got)
	}
	if out, err := in(t.Context(), a, "c1", "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu"); err != nil || out != "02:02:0a:01:02:01\n1450" {
		t.Errorf("eth0 has %q, %v", out, err)
	}
	reaches(t, a, "c1", "c2")
	for _, life := range [][]string{{"restart", "-t", "0", "c1"}, {"kill", "c1"}, {"start", "c1"}, {"stop", "-t", "0", "c1"}, {"start", "c1"}} {
		docker(t, a, life...)
	}
	reaches(t, a, "c1", "10.1.2.2")
	reaches(t, b, "c2", "c1")
	allocated(t, c, "10.1.2.1-10.1.2.2", "web")
	docker(t, a, "run", "--rm", "--net", "web", "alpine", "ping", "-c", "1", "10.1.2.2")
	refused(t, c, []string{"web", "c1"}, "net", "rm", "web")
	docker(t, a, "rm", "-f", "c1")
	docker(t, b, "rm", "-f", "c2")
	allocated(t, c, "", "web")
	healthy(t, c)
	netctl(t, c, "net", "rm", "web")
	for _, n := range c.Nodes {
		eventually(t, func() error {
			if out, err := n.Docker(t.Context(), "network", "ls", "-q", "-f", "name=web"); err != nil || out != "" {
				return fmt.Errorf("the engine of %s still has the network: %s %v", n.Name(), out, err)
			}
			return nil
		})
	}
}

func TestContainerJoinsSeveralNetworksAndLeavesThem(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "db", "-s", "10.1.3.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "db")
	docker(t, a, "network", "connect", "--alias", "store", "db", "c1")
	reaches(t, a, "c1", "10.1.3.1")
	reaches(t, b, "c2", "store")
	reaches(t, b, "c2", address(t, a, "c1", "db"))
	docker(t, a, "network", "disconnect", "db", "c1")
	allocated(t, c, "10.1.3.1", "db")
	// The networks are of one tenant, so what it left it still reaches, from its other address.
	reaches(t, a, "c1", "10.1.3.1")
	docker(t, a, "network", "connect", "db", "c1")
	reaches(t, a, "c1", "c2")
	docker(t, a, "rm", "-f", "c1")
	docker(t, b, "rm", "-f", "c2")
	allocated(t, c, "", "db")
	allocated(t, c, "", "web")
	healthy(t, c)
}

func TestContainerStartsInSeveralNetworks(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	network(t, c, "db", "-s", "10.1.3.0/24")
	network(t, c, "app", "-s", "10.1.4.0/24", "-g", "10.1.4.254")
	run(t, b, "far-web", "web")
	run(t, b, "far-db", "db")
	run(t, b, "far-app", "app")
	// In this order most of them would have a route to the next.
	made := []string{"m1", "m2", "m3", "m4"}
	for _, name := range made {
		docker(t, a, "create", "--name", name, "--net", "web", "alpine", "sleep", "100000")
		docker(t, a, "network", "connect", "--alias", name+"-store", "db", name)
		docker(t, a, "network", "connect", "app", name)
	}
	docker(t, a, append([]string{"start"}, made...)...)
	// What the docker command and the engine speak with each other: since 25 both know several networks at once.
	if api := docker(t, a, "version", "--format", "{{.Client.APIVersion}}"); newerAPI(t, api, 44) {
		docker(t, a, "run", "-d", "--name", "m5", "--net", "web", "--network", "name=db,alias=m5-store", "--net", "app", "alpine", "sleep", "100000")
		made = append(made, "m5")
	}
	check := func() {
		t.Helper()
		for _, name := range made {
			for _, to := range []string{"far-web", "-6 far-web", "far-db", "far-app", "10.1.4.254"} {
				reaches(t, a, name, to)
			}
			for far, n := range map[string]string{"far-web": "web", "far-db": "db", "far-app": "app"} {
				reaches(t, b, far, name+"."+n)
				reaches(t, b, far, address(t, a, name, n))
			}
			reaches(t, b, "far-db", name+"-store")
			if out, err := in(t.Context(), a, name, "ip -o -4 addr; ip route"); err != nil || strings.Count(out, "scope global") != 3 || !strings.Contains(out, "default via 10.1.4.254 dev eth") {
				t.Errorf("%s has %s, %v", name, out, err)
			}
		}
	}
	check()
	docker(t, a, append([]string{"restart", "-t", "0"}, made...)...)
	check()
	healthy(t, c)
	docker(t, a, append([]string{"rm", "-f"}, made...)...)
	docker(t, b, "rm", "-f", "far-web", "far-db", "far-app")
	allocated(t, c, "", "web")
	allocated(t, c, "", "db")
	allocated(t, c, "10.1.4.254", "app")
	healthy(t, c)
}

// newerAPI tells whether version is 1.x with x of at least minor.
func newerAPI(t *testing.T, version string, minor int) bool {
	t.Helper()
	var major, has int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &has); err != nil || major != 1 {
		t.Fatalf("API version %q is not 1.x: %v", version, err)
	}
	return has >= minor
}

func TestRequestedAddressesAreGivenOnceAndExactly(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64", "-g6", "2001:db8:2::1")
	run(t, a, "c1", "web", "--ip", "10.1.2.50", "--ip6", "2001:db8:2::50", "--mac-address", "02:42:00:00:00:07", "--network-alias", "front")
	if v4, v6 := address(t, a, "c1", "web"), address6(t, a, "c1", "web"); v4 != "10.1.2.50" || v6 != "2001:db8:2::50" {
		t.Errorf("c1 has %s and %s", v4, v6)
	}
	if out, err := in(t.Context(), a, "c1", "cat /sys/class/net/eth0/address"); err != nil || out != "02:42:00:00:00:07" {
		t.Errorf("c1's MAC is %s, %v", out, err)
	}
	dockerRefused(t, b, []string{"10.1.2.50"}, "run", "-d", "--net", "web", "--ip", "10.1.2.50", "alpine", "true")
	dockerRefused(t, b, []string{"10.1.2.254"}, "run", "-d", "--net", "web", "--ip", "10.1.2.254", "alpine", "true")
	run(t, b, "c2", "web")
	for _, to := range []string{"front", "c1", "10.1.2.50", "-6 front", "2001:db8:2::50", "10.1.2.254", "2001:db8:2::1"} {
		reaches(t, b, "c2", to)
	}
	if out, err := in(t.Context(), b, "c2", "ip route"); err != nil || !strings.Contains(out, "default via 10.1.2.254 dev eth0") {
		t.Errorf("routes of a container in a network with a gateway: %s, %v", out, err)
	}
	docker(t, a, "restart", "-t", "0", "c1")
	reaches(t, b, "c2", "front")
	docker(t, a, "rm", "-f", "c1")
	docker(t, b, "rm", "-f", "c2")
	allocated(t, c, "10.1.2.254", "web")
}

func TestPublishedPortsWorkOnANetworkWithoutGateway(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24")
	docker(t, a, "run", "-d", "--name", "c1", "--net", "web", "-p", "9099:80", "alpine", "sh", "-c", "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp")
	eventually(t, func() error {
		out, err := a.Output(t.Context(), "busybox", "wget", "-qO-", "http://127.0.0.1:9099/")
		if err == nil && out != "hello" {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	if out, err := in(t.Context(), a, "c1", "ip route"); err != nil || !strings.Contains(out, "default via 172.18.0.1 dev eth1") {
		t.Errorf("routes: %s, %v", out, err)
	}
}

func TestContainersComeBackWithTheirEngineAndTheirHost(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web", "--restart", "always", "--ip", "10.1.2.77")
	reaches(t, a, "c1", "c2")

	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := b.Engine.Stop(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := b.StartDocker(t.Context()); err != nil {
			t.Fatal(err)
		}
		reaches(t, a, "c1", "10.1.2.77")
	}

	if err := b.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.StartNode(t.Context()); err != nil {
		t.Fatal(err)
	}
	reaches(t, a, "c1", "10.1.2.77")
	reaches(t, a, "c1", "c2")
	allocated(t, c, "10.1.2.1, 10.1.2.77", "web")
	docker(t, a, "rm", "-f", "c1")
	docker(t, b, "rm", "-f", "c2")
	allocated(t, c, "", "web")
	healthy(t, c)
}

func TestPortThatCannotBePublishedIsRefused(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	dockerRefused(t, a, []string{"80/tcp", "gateway", "::1"}, "run", "-d", "--name", "c1", "--net", "web", "-p", "[::1]:9099:80", "alpine", "sleep", "1000")
	docker(t, a, "rm", "-f", "c1")
	allocated(t, c, "10.1.2.254", "web")
}

// A subnet like that of Docker's own gateway bridge is the user's mistake, and harms nobody else.
func TestSubnetOfDockersGatewayBridgeHarmsNoOtherNetwork(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, a, "c0", "web") // makes the bridge
	network(t, c, "clash", "-s", "172.18.0.0/24")
	for i := range 5 {
		run(t, a, fmt.Sprint("c", i+1), "web")
	}
	reaches(t, a, "c0", "c5")
	if out, err := in(t.Context(), a, "c5", "ip route"); err != nil || !strings.Contains(out, "default via 172.18.0.1 dev eth1") {
		t.Errorf("routes: %s, %v", out, err)
	}
}
