// SPDX-License-Identifier: Apache-2.0

package test

import (
	"net/netip"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/traffic"
)

// Containers of a routed VLAN reach each other and what is beyond their router, and are reached from there, by routes alone. An agent's
// death is not noticed: the kernel keeps what was learnt, the router what was announced.
func TestRoutedContainersReachEachOtherAndWhatIsBeyondTheRouter(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	l := &leaf{Cluster: c, nodes: [2]*cluster.Node{a, b}, own: [2]string{"50.1.1.11", "50.1.1.12"}, as: 65001}
	l.router = newRouter(t, c, frr, "leaf", "50.1.1.2/24", 500,
		peerOf{addr: netip.MustParseAddr(l.own[0]), as: l.as}, peerOf{addr: netip.MustParseAddr(l.own[1]), as: l.as})
	const outside = "60.1.1.200"
	must(t, l.router.Run(t.Context(), "ip", "addr", "add", outside+"/32", "dev", "lo"))
	l.speak(t, 0)
	l.speak(t, 1)
	network(t, c, "fabric", "-e", "vlan", "-p", "112", "-s", "20.1.0.0/16", "-g", "20.1.255.254")
	run(t, a, "c1", "fabric")
	run(t, a, "same", "fabric")
	run(t, b, "c2", "fabric")
	for _, to := range []string{"same", "c2", outside, "20.1.255.254"} {
		reaches(t, a, "c1", to)
	}
	reaches(t, b, "c2", outside)
	here, there := address(t, a, "c1", "fabric"), address(t, b, "c2", "fabric")
	met(t, l.router.Host, here)
	met(t, l.router.Host, there)
	running := flows(t, a, "c1", map[string]*cluster.Node{"same": a, "c2": b}, "fabric")
	if err := traffic.Responder(t.Context(), l.router.Netns(), netip.MustParseAddr(outside)); err != nil {
		t.Fatal(err)
	}
	out, err := traffic.Start(sandbox(t, b, "c2"), netip.MustParseAddr(outside))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			must(t, n.RestartAgent(t.Context(), s))
			run(t, n, "probe", "fabric")
			reaches(t, n, "probe", "20.1.0.1")
			reaches(t, n, "probe", outside)
			docker(t, n, "rm", "-f", "probe")
		}
	}
	for _, f := range append(running, out) {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)
}
