// SPDX-License-Identifier: Apache-2.0

package test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/traffic"
)

func TestServiceInBridgeModeIsItsOwnNetworks(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "global", "set", "--fwd-mode", "bridge")
	network(t, c, "one", "-s", "10.1.1.0/24")
	network(t, c, "two", "-s", "10.1.2.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "one", "-l", "app=web", "-p", "80:8080:TCP", "-p", "81:8080:TCP")
	provide(t, a, "p1", "one", webScript)
	provide(t, b, "p2", "one", webScript)
	provide(t, b, "stranger", "two", webScript)
	run(t, a, "ca", "one")
	run(t, b, "cb", "one")
	run(t, a, "far", "two")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy", "stranger "+b.Name()+" unreachable")
	if line := netctl(t, c, "service", "ls"); !strings.Contains(line, "2/3") {
		t.Errorf("netctl service ls tells\n%s", line)
	}
	shop := vip(t, c, "shop")
	for name, n := range map[string]*cluster.Node{"ca": a, "cb": b, "p1": a} {
		who(t, n, name, netip.AddrPortFrom(shop, 80), "p1", "p2")
		who(t, n, name, netip.AddrPortFrom(shop, 81), "p1", "p2")
		refusedAtOnce(t, n, name, netip.AddrPortFrom(shop, 82))
	}
	reaches(t, b, "cb", "shop")
	reachesNot(t, a, "far", shop.String())
	reachesNot(t, b, "stranger", shop.String())
	scans(t, a, "far", shop.String(), map[int]string{80: dropped})
	healthy(t, c)
}

func TestServiceOfAVLANCarriesItsContainersAndNoMachines(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	m := machine(t, c, "machine", 112, "10.1.3.250/24", "fd03::fa/64")
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0-10.1.3.199/24", "-s6", "fd03::/64")
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "lan", "-l", "app=web", "-p", "80:8080:TCP", "-p", "7777:7777:TCP", "-p", "7777:7777:UDP", "--preferred-ip", "10.1.3.100")
	shop := vip(t, c, "shop")
	provide(t, a, "p1", "lan", webScript)
	provide(t, b, "p2", "lan", webScript)
	provide(t, b, "stranger", "net", webScript)
	run(t, a, "ca", "lan")
	run(t, b, "cb", "lan")
	all := []string{"p1 " + a.Name() + " healthy", "p2 " + b.Name() + " healthy", "stranger " + b.Name() + " unreachable"}
	awaitProviders(t, c, "shop", all...)
	web := netip.AddrPortFrom(shop, 80)
	for name, n := range map[string]*cluster.Node{"ca": a, "cb": b, "p1": a, "p2": b} {
		who(t, n, name, web, "p1", "p2")
		refusedAtOnce(t, n, name, netip.AddrPortFrom(shop, 81))
		reaches(t, n, name, "shop")
	}
	// Machines are reached, and find nobody at the address.
	reaches(t, a, "ca", "10.1.3.250")
	met(t, m, address(t, b, "cb", "lan"))
	if m.Run(t.Context(), "ping", "-c", "2", "-W", "1", shop.String()) == nil {
		t.Error("a machine of the VLAN reaches the service")
	}

	// Connections outlive their agents, and new ones a provider that stops.
	for name, n := range map[string]*cluster.Node{"p1": a, "p2": b} {
		if err := traffic.Responder(t.Context(), sandbox(t, n, name), netip.MustParseAddr(address(t, n, name, "lan"))); err != nil {
			t.Fatal(err)
		}
	}
	var running []*traffic.Flow
	for name, n := range map[string]*cluster.Node{"ca": a, "cb": b} {
		for range 4 {
			f, err := traffic.Start(sandbox(t, n, name), shop)
			if err != nil {
				t.Fatal(err)
			}
			running = append(running, f)
		}
	}
	for _, n := range c.Nodes {
		if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		provide(t, n, "probe", "lan", webScript) // the new agent is at work
		who(t, n, map[*cluster.Node]string{a: "ca", b: "cb"}[n], web, "p1", "p2", "probe")
		docker(t, n, "rm", "-f", "probe")
		awaitProviders(t, c, "shop", all...)
	}
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	from := []*visits{visiting(t, a, "ca", web, 4), visiting(t, b, "cb", web, 4)}
	docker(t, b, "stop", "-t", "2", "p2")
	for _, v := range from {
		v.answeredBy(t, v.mark(), 50)
		if answered, failed := v.end(); len(failed) > 0 {
			t.Errorf("of %d visits of %s %d failed: %q", answered+len(failed), v.from, len(failed), failed)
		}
	}
	who(t, b, "cb", web, "p1")
	netctl(t, c, "global", "set", "--arp-mode", "flood")
	run(t, b, "late", "lan")
	who(t, b, "late", web, "p1")
	healthy(t, c)
}

// serves tells a name at /who.
func (p pod) serves(at netip.AddrPort, name string) {
	p.Helper()
	var l net.Listener
	err := netdev.Do(p.path(), func() (err error) {
		l, err = net.Listen("tcp", at.String())
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	p.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			p.Errorf("%s serves no more: %v", name, err)
		}
	})
}

func TestContainersOfCNIProvideServicesByTheirLabels(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-l", "tier=front", "-p", "80:8080:TCP")
	shop := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	labelled := func(labels string) string { return strings.Replace(conf("k8s", "net"), "{", "{"+labels+", ", 1) }
	byArgs := `"args": {"cni": {"labels": [{"key": "app", "value": "web"}, {"key": "tier", "value": "front"}]}}`
	for name, labels := range map[string]string{"pod1": byArgs, "pod2": `"runtimeConfig": {"labels": {"app": "web", "tier": "front"}}`, "half": `"runtimeConfig": {"labels": {"app": "web"}}`} {
		p := newPod(t, b, name)
		p.must("ADD", labelled(labels), "CNI_ARGS=K8S_POD_NAME="+name)
		at := p.add(labelled(labels))[0] // again, for its address
		p.serves(netip.AddrPortFrom(at, 8080), name)
	}
	provide(t, a, "p1", "net", webScript, "-l", "tier=front")
	run(t, a, "client", "net")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "pod1 "+b.Name()+" healthy", "pod2 "+b.Name()+" healthy")
	who(t, a, "client", shop, "p1", "pod1", "pod2")
	if err := b.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	docker(t, a, "rm", "-f", "p1")
	awaitProviders(t, c, "shop", "pod1 "+b.Name()+" healthy", "pod2 "+b.Name()+" healthy")
	who(t, a, "client", shop, "pod1", "pod2")
	pod{t, b, "pod1"}.must("DEL", labelled(byArgs))
	awaitProviders(t, c, "shop", "pod2 "+b.Name()+" healthy")
	who(t, a, "client", shop, "pod2")
	healthy(t, c)
}
