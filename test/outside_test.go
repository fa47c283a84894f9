// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/traffic"
)

// outsider is a machine on the underlay that is no node.
func outsider(t *testing.T, c *cluster.Cluster) *netlab.Host {
	t.Helper()
	h, err := c.Lab.AddHost(t.Context(), netlab.HostOptions{Name: "outsider"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// tellsWho serves TCP in a namespace, and tells each client its address.
func tellsWho(t *testing.T, namespace string, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	var l net.Listener
	if err := netdev.Do(namespace, func() (err error) {
		l, err = net.Listen("tcp", at.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(conn, conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap())
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// asWhom is how the server at the address sees the container.
func asWhom(t *testing.T, n *cluster.Node, container string, server netip.AddrPort) string {
	t.Helper()
	var who string
	eventually(t, func() (err error) {
		who, err = in(t.Context(), n, container, fmt.Sprintf("nc -w 3 %s %d", server.Addr(), server.Port()))
		return err
	})
	return strings.TrimSpace(who)
}

func TestContainersOfNetworksWithAGatewayReachTheOutside(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a := c.Nodes[0]
	far := outsider(t, c)
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "--subnet=10.1.2.0/24", "--gateway=10.1.2.254")
	network(t, c, "web", "-t", "blue", "--subnet=10.1.2.0/24", "--gateway=10.1.2.254")
	run(t, a, "red", "web")
	run(t, a, "blue", "web/blue")
	server := tellsWho(t, far.Netns(), netip.AddrPortFrom(far.Addr(), 0))
	for _, name := range []string{"red", "blue"} {
		if got := address(t, a, name, map[string]string{"red": "web", "blue": "web/blue"}[name]); got != "10.1.2.1" {
			t.Errorf("%s has %s; the test wants equal addresses", name, got)
		}
		if got := asWhom(t, a, name, server); got != a.Addr().String() {
			t.Errorf("the outside sees %s as %s, want the node's %s", name, got, a.Addr())
		}
		reaches(t, a, name, far.Addr().String())
		reaches(t, a, name, a.Addr().String()) // its own node
		reaches(t, a, name, c.Nodes[1].Addr().String())
		for _, service := range []uint16{9999, api.DefaultAgentPort} { // netmaster's, and the agent's own
			if out, err := in(t.Context(), a, name, fmt.Sprintf("nc -nzvw 1 %s %d", a.Addr(), service)); err == nil {
				t.Errorf("%s reaches port %d of its node: %s", name, service, out)
			}
		}
		for _, private := range []string{"172.19.255.254", "172.19.0.1", "172.19.0.2", "172.18.0.2"} {
			reachesNot(t, a, name, private)
		}
		if out, err := in(t.Context(), a, name, "ip -o link show"); err != nil || strings.Contains(out, "eth1") {
			t.Errorf("%s has more than one way out: %s (%v)", name, out, err)
		}
	}
	// The engine has forwarding dropped by policy, and that of others is as it was.
	rules, err := a.Output(t.Context(), "iptables", "-S", "FORWARD")
	if err != nil || !strings.Contains(rules, "-P FORWARD DROP") {
		t.Errorf("the engine does not drop what it does not know, so the test says less: %s (%v)", rules, err)
	}
	// A machine outside finds no way to a private address.
	if out, err := far.Output(t.Context(), "ip", "route", "add", "172.19.0.0/16", "via", a.Addr().String()); err != nil {
		t.Fatal(out, err)
	}
	if out, err := far.Output(t.Context(), "ping", "-c", "1", "-W", "1", "172.19.0.1"); err == nil {
		t.Errorf("a machine outside reaches a private address: %s", out)
	}
	// What is established goes on while the agent dies and comes back.
	ctx := t.Context()
	if err := traffic.Responder(ctx, far.Netns(), far.Addr()); err != nil {
		t.Fatal(err)
	}
	flow, err := traffic.Start(sandbox(t, a, "red"), far.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RestartAgent(ctx, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	run(t, a, "later", "web")
	reaches(t, a, "later", far.Addr().String())
	if lost := flow.Stop().Lost(); lost != "" {
		t.Error(lost)
	}
	healthy(t, c)
	// What somebody removes comes back.
	if out, err := a.Output(ctx, "sh", "-c", "ip link del contivh0; nft delete table inet contiv; iptables -F FORWARD"); err != nil {
		t.Fatal(out, err)
	}
	if err := cluster.Eventually(ctx, 2*time.Minute, func() error {
		_, err := in(ctx, a, "red", "ping -c 1 -W 1 "+far.Addr().String())
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestOutsideTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Outside)
}
