// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// vip is a service's address.
func vip(t *testing.T, c *cluster.Cluster, service string, flags ...string) netip.Addr {
	t.Helper()
	return netip.MustParseAddr(asked[api.ServiceLBInspect](t, c, append([]string{"service", "inspect", service}, flags...)...).Oper.ServiceVip)
}

// who are those that answered a container's visits, until all that are wanted have, and nobody else.
func who(t *testing.T, n *cluster.Node, container string, to netip.AddrPort, want ...string) {
	t.Helper()
	slices.Sort(want)
	namespace := sandbox(t, n, container)
	eventually(t, func() error {
		seen := map[string]bool{}
		for range 30 * len(want) {
			name, err := visit(namespace, to)
			if err != nil {
				return fmt.Errorf("%s visits %s: %w", container, to, err)
			}
			if seen[name] = true; !slices.Contains(want, name) {
				return fmt.Errorf("%s visits %s: %s answers, want %q", container, to, name, want)
			}
			if len(seen) == len(want) {
				return nil
			}
		}
		return fmt.Errorf("%s visits %s: only %v answer, want %q", container, to, seen, want)
	})
}

// refusedAtOnce fails the test unless a visit is refused, soon.
func refusedAtOnce(t *testing.T, n *cluster.Node, container string, to netip.AddrPort) {
	t.Helper()
	namespace := sandbox(t, n, container)
	eventually(t, func() error {
		began := time.Now()
		name, err := visit(namespace, to)
		switch took := time.Since(began); {
		case err == nil:
			return fmt.Errorf("%s visits %s: %s answers", container, to, name)
		case !strings.Contains(err.Error(), "refused") || took > time.Second:
			return fmt.Errorf("%s visits %s: %v after %s", container, to, err, took)
		}
		return nil
	})
}

// As v1's TestServiceAddDeleteService and TestServiceAddDeleteProviders: services before and after their providers, clients on each node in
// each network of the tenant.
func TestServiceCarriesClientsToItsProviders(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "svc", "-s", "10.9.0.0/24")
	network(t, c, "one", "-s", "10.1.1.0/24")
	network(t, c, "two", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "one", "-t", "blue", "-s", "10.1.1.0/24")
	netctl(t, c, "service", "create", "shop", "-s", "svc", "-l", "app=web", "-l", "tier=front", "-p", "80:8080:TCP", "-p", "643:7070:UDP")
	shop := netip.AddrPortFrom(vip(t, c, "shop"), 80)

	clients := map[string]*cluster.Node{"a1": a, "a2": a, "b1": b, "b2": b}
	for name, n := range clients {
		run(t, n, name, map[byte]string{'1': "one", '2': "two"}[name[1]])
	}
	for name, n := range clients {
		refusedAtOnce(t, n, name, shop)
		reaches(t, n, name, shop.Addr().String()) // ping is answered by the client's node
	}

	front := []string{"-l", "tier=front"}
	provide(t, a, "p1", "one", webScript, front...)
	provide(t, b, "p2", "two", webScript, front...)
	provide(t, b, "other", "one", webScript) // lacks a label
	provide(t, a, "stranger", "one/blue", webScript, front...)
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
	for name, n := range clients {
		who(t, n, name, shop, "p1", "p2")
		refusedAtOnce(t, n, name, netip.AddrPortFrom(shop.Addr(), 81))
	}
	who(t, a, "p1", shop, "p1", "p2") // itself too

	// One that comes after its providers, by name.
	netctl(t, c, "service", "create", "late", "-s", "svc", "-l", "app=web", "-p", "80:8080:TCP", "-p", "8080:8080:TCP", "--preferred-ip", "10.9.0.99")
	late := netip.MustParseAddrPort("10.9.0.99:8080")
	awaitProviders(t, c, "late", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy", "other "+b.Name()+" healthy")
	for name, n := range clients {
		who(t, n, name, late, "p1", "p2", "other")
	}
	reaches(t, a, "a1", "late") // by its name

	// A restart of its container has other addresses.
	docker(t, a, "restart", "-t", "1", "p1")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
	who(t, b, "b1", shop, "p1", "p2")
	for range 3 {
		docker(t, b, "stop", "-t", "1", "p2")
		awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy")
		who(t, b, "b1", shop, "p1")
		docker(t, b, "start", "p2")
		awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
		who(t, b, "b1", shop, "p1", "p2")
	}
	// Other ports and labels, and the same address.
	netctl(t, c, "service", "create", "shop", "-s", "svc", "-l", "tier=front", "-p", "8000:8080:TCP")
	moved := netip.AddrPortFrom(shop.Addr(), 8000)
	who(t, a, "a2", moved, "p1", "p2")
	refusedAtOnce(t, a, "a2", shop)
	docker(t, a, "rm", "-f", "p1")
	docker(t, b, "rm", "-f", "p2")
	awaitProviders(t, c, "shop")
	refusedAtOnce(t, a, "a2", moved)
	netctl(t, c, "service", "rm", "shop")
	netctl(t, c, "service", "rm", "late")
	reachesNot(t, a, "a1", shop.Addr().String())
	healthy(t, c)
}

func TestOperatorSeesWhatAServiceCarries(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	provide(t, a, "p1", "net", webScript)
	provide(t, b, "p2", "net", webScript)
	run(t, a, "ca", "net")
	run(t, b, "cb", "net")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "ca", to, "p1", "p2")
	who(t, b, "cb", to, "p1", "p2")
	seen := func() map[string]api.ObservedProvider {
		t.Helper()
		out := map[string]api.ObservedProvider{}
		for _, p := range asked[[]api.ObservedProvider](t, c, "service", "provider-ls", "shop") {
			out[p.Container] = p
		}
		return out
	}
	before := seen()
	const each = 20
	for range each {
		for name, n := range map[string]*cluster.Node{"ca": a, "cb": b} {
			if _, err := visit(sandbox(t, n, name), to); err != nil {
				t.Fatal(err)
			}
		}
	}
	var sum api.Traffic
	eventually(t, func() error {
		sum = api.Traffic{}
		for name, p := range seen() {
			old := before[name].Traffic
			p.Connections, p.PacketsIn, p.PacketsOut, p.BytesIn, p.BytesOut = p.Connections-old.Connections, p.PacketsIn-old.PacketsIn, p.PacketsOut-old.PacketsOut, p.BytesIn-old.BytesIn, p.BytesOut-old.BytesOut
			sum = sum.Plus(p.Traffic)
		}
		if sum.Connections != 2*each || sum.Open != 0 {
			return fmt.Errorf("%d visits are counted as %+v", 2*each, sum)
		}
		return nil
	})
	// A visit has a SYN, an ACK, a request and a FIN at least, of 40 bytes and more.
	if sum.PacketsIn < 2*each*4 || sum.PacketsOut < 2*each*3 || sum.BytesIn < 40*sum.PacketsIn || sum.BytesOut < 40*sum.PacketsOut {
		t.Errorf("%d visits are counted as %+v", 2*each, sum)
	}
	line := netctl(t, c, "service", "ls")
	if !strings.Contains(line, to.Addr().String()) || !strings.Contains(line, "2/2") {
		t.Errorf("netctl service ls tells\n%s", line)
	}
	inspected := asked[struct{ Observed api.ObservedService }](t, c, "service", "inspect", "shop").Observed
	if len(inspected.Providers) != 2 || inspected.VIP != to.Addr().String() || inspected.Providers[0].Connections == 0 {
		t.Errorf("inspected is %+v", inspected)
	}
	// Neither the end of a netplugin nor a new one loses them; a silent node is named.
	if err := b.Agent.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if line := netctl(t, c, "service", "ls"); !strings.Contains(line, "2/2") {
		t.Errorf("without a node netctl service ls tells\n%s", line)
	}
	if err := b.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		for name, p := range seen() {
			if p.Connections < before[name].Connections {
				return fmt.Errorf("after a restart %s has %+v, before %+v", name, p, before[name])
			}
		}
		return nil
	})
}

func TestPolicyIsAskedAboutTheRealProvider(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	netctl(t, c, "policy", "create", "p")
	netctl(t, c, "group", "create", "net", "friends")
	netctl(t, c, "policy", "rule-add", "p", "1", "-direction=in", "-protocol=tcp", "-action=deny")
	netctl(t, c, "policy", "rule-add", "p", "2", "-direction=in", "-protocol=tcp", "-port=8080", "-from-group=friends", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "net", "web", "-policy=p")
	for _, n := range c.Nodes {
		engineHas(t, n, "net", "friends.net", "friends", "web.net", "web")
	}
	provide(t, a, "p1", "web", webScript)
	provide(t, b, "p2", "web", webScript)
	run(t, a, "friend", "friends")
	run(t, a, "foe", "net")
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
	awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
	to := netip.AddrPortFrom(vip(t, c, "shop"), 80)
	who(t, a, "friend", to, "p1", "p2")
	scans(t, a, "foe", to.Addr().String(), map[int]string{80: dropped})
	// The port at the address means nothing to rules.
	netctl(t, c, "policy", "rule-add", "p", "3", "-direction=in", "-protocol=tcp", "-port=80", "-action=allow", "-priority=20")
	scans(t, a, "foe", to.Addr().String(), map[int]string{80: dropped})
	netctl(t, c, "policy", "rule-add", "p", "4", "-direction=in", "-protocol=tcp", "-port=8080", "-action=allow", "-priority=20")
	who(t, a, "foe", to, "p1", "p2")
}

func TestAClientWithAffinityMeetsTheSameProvider(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "net", "-s", "10.1.1.0/24")
	var want []string
	for i, n := range []*cluster.Node{a, b, a, b} {
		provide(t, n, "p"+strconv.Itoa(i), "net", webScript)
		want = append(want, "p"+strconv.Itoa(i)+" "+n.Name()+" healthy")
	}
	netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP", "-p", "81:8080:TCP", "--affinity")
	awaitProviders(t, c, "shop", want...)
	addr := vip(t, c, "shop")
	met := map[string]bool{}
	for i := range 4 {
		name := "c" + strconv.Itoa(i)
		run(t, c.Nodes[i%2], name, "net")
		first := ""
		for j := range 20 {
			got, err := visit(sandbox(t, c.Nodes[i%2], name), netip.AddrPortFrom(addr, uint16(80+j%2)))
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("%s meets %s and %s", name, first, got)
			}
		}
		met[first] = true
	}
	t.Logf("four clients meet %d of four providers", len(met))
}
