// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/traffic"
)

// seenBy asks a server that tells each client its address, from a namespace.
func seenBy(namespace, server string) (who string, err error) {
	err = netdev.Do(namespace, func() error {
		conn, err := net.DialTimeout("tcp", server, 3*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		b, err := io.ReadAll(conn)
		who = strings.TrimSpace(string(b))
		return err
	})
	return who, err
}

func TestPublishedPortsOfNetworksWithAGateway(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	far := outsider(t, c)
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "--subnet=10.1.2.0/24", "--gateway=10.1.2.254")
	network(t, c, "web", "-t", "blue", "--subnet=10.1.2.0/24", "--gateway=10.1.2.254")
	run(t, a, "site", "web", "-p", "8080:80", "-p", "7777:7777", "-p", "7777:7777/udp", "-p", "127.0.0.1:8081:80", "-p", "8090-8099:81", "--expose", "82", "-P")
	run(t, a, "blue", "web/blue")
	network(t, c, "flat", "--subnet=10.1.3.0/24") // its containers go out by a bridge of the engine's
	run(t, a, "flat", "flat")
	run(t, a, "stranger", "bridge")
	tellsWho(t, sandbox(t, a, "site"), netip.MustParseAddrPort("10.1.2.1:80"))
	node := a.Addr().String()
	wants := func(namespace, server, want string) {
		t.Helper()
		eventually(t, func() error {
			who, err := seenBy(namespace, server)
			if err == nil && want != "" && who != want {
				err = fmt.Errorf("%s is seen as %s, want %s", server, who, want)
			}
			return err
		})
	}
	everything := func() {
		t.Helper()
		wants(far.Netns(), node+":8080", far.Addr().String()) // clients keep their addresses
		wants(b.Netns(), node+":8080", b.Addr().String())
		wants(a.Netns(), node+":8080", node)
		wants(a.Netns(), "127.0.0.1:8080", "")
		wants(a.Netns(), "127.0.0.1:8081", "")
		wants(sandbox(t, a, "site"), node+":8080", "") // its own
		wants(sandbox(t, a, "blue"), node+":8080", "") // another tenant's, as anybody's
		wants(sandbox(t, a, "flat"), node+":8080", "")
		wants(sandbox(t, a, "stranger"), node+":8080", address(t, a, "stranger", "bridge"))
	}
	everything()
	if who, err := seenBy(far.Netns(), node+":8081"); err == nil {
		t.Errorf("a port that is published at 127.0.0.1 is seen from outside, by %s", who)
	}
	shown := netctl(t, c, "endpoint", "inspect", "site")
	for _, want := range []string{"0.0.0.0:8080-\\u003e80/tcp", "127.0.0.1:8081-\\u003e80/tcp", "0.0.0.0:8090-\\u003e81/tcp", "82/tcp"} {
		if !strings.Contains(shown, want) && !strings.Contains(shown, strings.ReplaceAll(want, "\\u003e", ">")) {
			t.Errorf("the inspection lacks %q: %s", want, shown)
		}
	}
	// What is taken is refused, by name.
	dockerRefused(t, a, []string{"8080/tcp", "in use"}, "run", "-d", "--name", "second", "--net", "web", "-p", "8080:80", "alpine", "sleep", "100")
	docker(t, a, "rm", "-f", "second")
	dockerRefused(t, a, []string{"192.0.2.77", "no address of this node"}, "run", "-d", "--name", "elsewhere", "--net", "web", "-p", "192.0.2.77:8083:80", "alpine", "sleep", "100")
	docker(t, a, "rm", "-f", "elsewhere")
	dockerRefused(t, a, []string{"::1", "no gateway of that address's family"}, "run", "-d", "--name", "six", "--net", "web", "-p", "[::1]:8084:80", "alpine", "sleep", "100")
	docker(t, a, "rm", "-f", "six")
	// While the agent is dead, and when it is back. What is established goes on.
	must(t, traffic.Responder(t.Context(), sandbox(t, a, "site"), netip.MustParseAddr("10.1.2.1")))
	flow, err := traffic.Start(far.Netns(), a.Addr())
	must(t, err)
	if err := a.Agent.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wants(far.Netns(), node+":8080", far.Addr().String())
	if err := a.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, a.RestartAgent(t.Context(), syscall.SIGTERM))
	everything()
	if lost := flow.Stop().Lost(); lost != "" {
		t.Error(lost)
	}
	healthy(t, c)
	docker(t, a, "rm", "-f", "site")
	eventually(t, func() error {
		if who, err := seenBy(far.Netns(), node+":8080"); err == nil {
			return fmt.Errorf("a removed container's port answers %s", who)
		}
		return nil
	})
	run(t, a, "third", "web", "-p", "8080:80") // it is free again
}
