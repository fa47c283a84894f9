// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/access"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/traffic"
)

// infra makes an infra network and waits until each host has its address there, which are told.
func infra(t *testing.T, c *cluster.Cluster, name string, flags ...string) map[*cluster.Node]netip.Addr {
	t.Helper()
	netctl(t, c, append([]string{"net", "create", "-n", "infra", name}, flags...)...)
	out := map[*cluster.Node]netip.Addr{}
	for _, n := range c.Nodes {
		out[n] = infraAddress(t, n, name)
	}
	return out
}

// infraAddress is a host's IPv4 address in an infra network, once it has one.
func infraAddress(t *testing.T, n *cluster.Node, network string) (addr netip.Addr) {
	t.Helper()
	eventually(t, func() error {
		out, err := n.Output(t.Context(), "ip", "-4", "-o", "addr", "show", network)
		if err != nil {
			return err
		}
		fields := strings.Fields(out) // 7: contivh1 inet 132.1.1.2/24 …
		if len(fields) < 4 {
			return fmt.Errorf("%s has no address: %s", network, out)
		}
		p, err := netip.ParsePrefix(fields[3])
		addr = p.Addr()
		return err
	})
	return addr
}

// hostReaches fails the test unless the host itself gets an answer.
func hostReaches(t *testing.T, n *netlab.Host, to string) {
	t.Helper()
	eventually(t, func() error {
		_, err := n.Output(t.Context(), "ping", "-c", "1", "-W", "1", to)
		return err
	})
}

// hostAsWhom is how the server at the address, of tellsWho, sees the host.
func hostAsWhom(t *testing.T, n *cluster.Node, server netip.AddrPort) string {
	t.Helper()
	var who string
	eventually(t, func() (err error) {
		who, err = n.Output(t.Context(), "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/%d; timeout 3 cat <&3", server.Addr(), server.Port()))
		return err
	})
	return strings.TrimSpace(who)
}

// routed waits until the host has a route to the subnet by the device, or has none any more.
func routed(t *testing.T, n *cluster.Node, subnet, device string, want bool) {
	t.Helper()
	eventually(t, func() error {
		out, err := n.Output(t.Context(), "ip", "route", "show", subnet)
		if err == nil && strings.Contains(out, "dev "+device) != want {
			err = fmt.Errorf("host %s has to %s %q; by %s: want %t", n.Name(), subnet, out, device, want)
		}
		return err
	})
}

// As v1's TestBasicHostAccess, and more.
func TestHostsAndContainersOfTheDefaultTenantReachEachOther(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "plain", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	network(t, c, "web", "-s", "10.1.3.0/24", "-g", "10.1.3.254", "-s6", "2001:db8:3::/64", "-g6", "2001:db8:3::1")
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "plain", "-t", "blue", "-s", "10.1.2.0/24")
	run(t, a, "c1", "plain") // before there is host access
	hosts := infra(t, c, model.HostAccess, "-s", "132.1.1.0/24", "-g", "132.1.1.1", "-s6", "2001:db8:1::/64", "-g6", "2001:db8:1::1")
	if hosts[a] == hosts[b] || hosts[a].Compare(netip.MustParseAddr("132.1.1.3")) > 0 || hosts[b].Compare(netip.MustParseAddr("132.1.1.3")) > 0 {
		t.Errorf("the hosts have %v, want 132.1.1.2 and 132.1.1.3", hosts)
	}
	run(t, b, "c2", "plain")
	run(t, a, "w1", "web")
	run(t, b, "w2", "web")
	network(t, c, "out", "-t", "blue", "-s", "10.1.9.0/24", "-g", "10.1.9.254")
	run(t, b, "stranger", "plain/blue")
	run(t, b, "guest", "out/blue")
	at := map[string]*cluster.Node{"c1": a, "c2": b, "w1": a, "w2": b}
	nets := map[string]string{"c1": "plain", "c2": "plain", "w1": "web", "w2": "web"}
	for _, n := range c.Nodes {
		for _, subnet := range []string{"10.1.2.0/24", "10.1.3.0/24"} {
			routed(t, n, subnet, model.HostAccess, true)
		}
		out, err := n.Output(t.Context(), "ip", "link", "show", model.HostAccess)
		if mac := model.MACOf(hosts[n]).String(); err != nil || !strings.Contains(out, "mtu 1450") || !strings.Contains(out, mac) {
			t.Errorf("%s: %s (%v), want MTU 1450 and %s", n.Name(), out, err, mac)
		}
		for name, where := range at {
			hostReaches(t, n.Host, address(t, where, name, nets[name]))
			hostReaches(t, n.Host, address6(t, where, name, nets[name]))
			reaches(t, where, name, hosts[n].String())
		}
	}
	// Another tenant's is led there neither by Docker's bridge nor by its own gateway.
	for _, stranger := range []string{"stranger", "guest"} {
		reachesNot(t, b, stranger, hosts[a].String())
		reachesNot(t, b, stranger, address(t, a, "w1", "web"))
		reachesNot(t, b, stranger, address(t, b, "w2", "web"))
	}
	hostReaches(t, a.Host, hosts[b].String())
	reachesNot(t, a, "w1", "172.19.255.254")
	if networks := docker(t, a, "network", "ls"); strings.Contains(networks, model.HostAccess) {
		t.Errorf("the engine has it: %s", networks)
	}
	// Whom they see is who it is.
	server := tellsWho(t, a.Netns(), netip.AddrPortFrom(hosts[a], 0))
	if got := asWhom(t, b, "c2", server); got != address(t, b, "c2", "plain") {
		t.Errorf("the host sees c2 as %s", got)
	}
	server = tellsWho(t, sandbox(t, b, "w2"), netip.AddrPortFrom(netip.MustParseAddr(address(t, b, "w2", "web")), 0))
	if got := hostAsWhom(t, a, server); got != hosts[a].String() {
		t.Errorf("w2 sees host %s as %s, want %s", a.Name(), got, hosts[a])
	}
	// A host is a client of services.
	netctl(t, c, "service", "create", "shop", "-s", "plain", "-l", "app=web", "-p", "80:7000:TCP")
	run(t, b, "p1", "web", "-l", "app=web")
	tellsWho(t, sandbox(t, b, "p1"), netip.AddrPortFrom(netip.MustParseAddr(address(t, b, "p1", "web")), 7000))
	if got := hostAsWhom(t, a, netip.AddrPortFrom(vip(t, c, "shop"), 80)); got != hosts[a].String() {
		t.Errorf("the provider sees host %s as %s, want %s", a.Name(), got, hosts[a])
	}
	docker(t, b, "rm", "-f", "p1")
	netctl(t, c, "service", "rm", "shop")
	// Routes come and go with networks.
	network(t, c, "db", "-s", "10.1.4.0/24")
	for _, n := range c.Nodes {
		routed(t, n, "10.1.4.0/24", model.HostAccess, true)
	}
	netctl(t, c, "net", "rm", "db")
	for _, n := range c.Nodes {
		routed(t, n, "10.1.4.0/24", model.HostAccess, false)
	}
	// No death of an agent is noticed by what is established, in either direction.
	ctx := t.Context()
	var running []*traffic.Flow
	begin := func(from string, namespace string, to netip.Addr) {
		t.Helper()
		if err := traffic.Responder(ctx, namespace, to); err != nil {
			t.Fatal(err)
		}
		f, err := traffic.Start(from, to)
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, f)
	}
	begin(a.Netns(), sandbox(t, a, "c1"), netip.MustParseAddr(address(t, a, "c1", "plain")))
	begin(a.Netns(), sandbox(t, b, "w2"), netip.MustParseAddr(address(t, b, "w2", "web")))
	begin(sandbox(t, a, "w1"), b.Netns(), hosts[b])
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			must(t, n.RestartAgent(ctx, s))
		}
	}
	run(t, a, "later", "plain")
	hostReaches(t, b.Host, address(t, a, "later", "plain"))
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)

	netctl(t, c, "net", "rm", model.HostAccess)
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Shell(ctx, "ip -o link show; ip route show table all")
			if err == nil && strings.Contains(out, model.HostAccess) {
				err = fmt.Errorf("left on %s: %s", n.Name(), out)
			}
			return err
		})
	}
	reachesNot(t, a, "w1", hosts[b].String())
	reaches(t, a, "c1", "c2")
	healthy(t, c)
}

// Who asks at host access for a published port comes from the default tenant, under whose addresses the outside may not come.
func TestPublishedPortsAreReachedAtHostAccess(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.3.0/24", "-g", "10.1.3.254", "-s6", "2001:db8:3::/64", "-g6", "2001:db8:3::fe")
	network(t, c, "web", "-t", "blue", "-s", "10.1.3.0/24", "-g", "10.1.3.254")
	network(t, c, "plain", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	hosts := infra(t, c, model.HostAccess, "-s", "132.1.1.0/24", "-g", "132.1.1.254", "-s6", "2001:db8:1::/64", "-g6", "2001:db8:1::fe")
	run(t, a, "site", "web", "-p", "9099:9099")
	run(t, a, "bluesite", "web/blue", "-p", "9098:9099")
	run(t, a, "near", "plain")
	run(t, b, "far", "plain")
	run(t, b, "gated", "web")
	tellsWho(t, sandbox(t, a, "site"), netip.MustParseAddrPort("[::]:9099"))
	tellsWho(t, sandbox(t, a, "bluesite"), netip.MustParseAddrPort("0.0.0.0:9099"))
	clients := map[string]string{
		"its own host": a.Netns(), "another host": b.Netns(), "a container of its host": sandbox(t, a, "near"),
		"another host's container": sandbox(t, b, "far"), "one with a gateway": sandbox(t, b, "gated"), "the container itself": sandbox(t, a, "site"),
	}
	v6 := "2001:db8:1::1"
	if hosts[a] != netip.MustParseAddr("132.1.1.1") {
		v6 = "2001:db8:1::2"
	}
	everything := func() {
		t.Helper()
		for name, from := range clients {
			for server, want := range map[string]string{
				fmt.Sprintf("%s:9099", hosts[a]): a.Addr().String(), fmt.Sprintf("%s:9098", hosts[a]): a.Addr().String(), "[" + v6 + "]:9099": "100:0:0:1::1",
			} {
				eventually(t, func() error {
					who, err := seenBy(from, server)
					if err == nil && who != want {
						err = fmt.Errorf("%s is seen as %s, want %s", name, who, want)
					}
					return err
				})
			}
		}
	}
	everything()
	if who, err := seenBy(clients["another host"], fmt.Sprintf("%s:9097", hosts[a])); err == nil {
		t.Errorf("a port that is not published answers %s", who)
	}
	must(t, a.RestartAgent(t.Context(), syscall.SIGKILL))
	everything()
	healthy(t, c)
	docker(t, a, "rm", "-f", "site")
	eventually(t, func() error {
		if who, err := seenBy(clients["another host"], fmt.Sprintf("%s:9099", hosts[a])); err == nil {
			return fmt.Errorf("a removed container's port answers %s", who)
		}
		return nil
	})
}

// As v1's TestInfraNetworkAddDelete: hosts reach each other, and have no routes by it.
func TestHostsReachEachOtherInInfraNetworks(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "plain", "-s", "10.1.2.0/24")
	for i := range 3 {
		hosts := infra(t, c, fmt.Sprint("infra", i), "-s", fmt.Sprintf("140.1.%d.0/24", i))
		hostReaches(t, a.Host, hosts[b].String())
		hostReaches(t, b.Host, hosts[a].String())
		routed(t, a, "10.1.2.0/24", fmt.Sprint("infra", i), false)
	}
	netctl(t, c, "net", "create", "-n", "infra", "-s6", "2001:db8:9::/64", "infra6")
	for _, n := range c.Nodes {
		hostReaches(t, n.Host, "2001:db8:9::1")
		hostReaches(t, n.Host, "2001:db8:9::2")
	}
	healthy(t, c)
	for _, name := range []string{"infra0", "infra1", "infra2", "infra6"} {
		netctl(t, c, "net", "rm", name)
	}
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Output(t.Context(), "ip", "-o", "link", "show")
			if err == nil && strings.Contains(out, "infra") {
				err = fmt.Errorf("left on %s: %s", n.Name(), out)
			}
			return err
		})
	}
}

// routerBetween adds a router of the data centre: eth2 is in one VLAN, eth3 in another, each with its addresses.
func routerBetween(t *testing.T, c *cluster.Cluster, first, second uint16, addrs, more []string) {
	t.Helper()
	h := machine(t, c, "router", first, addrs...)
	must(t, netdev.Do(c.Lab.FabricNetns(), func() error { return access.Port(h.WirePort("eth3"), second) }))
	for _, a := range more {
		args := []string{"addr", "add", a, "dev", "eth3"}
		if netip.MustParsePrefix(a).Addr().Is6() {
			args = append(args, "nodad")
		}
		must(t, h.Run(t.Context(), "ip", args...))
	}
	must(t, h.Run(t.Context(), "sysctl", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"))
}

// In a VLAN, nodes are stations on the wire like its machines.
func TestHostsAndMachinesReachEachOtherInInfraNetworksInAVLAN(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	m := machine(t, c, "machine", 112, "140.1.1.200/24", "2001:db8:40::200/64")
	elsewhere := machine(t, c, "elsewhere", 113, "140.1.1.201/24")
	network(t, c, "plain", "-s", "10.1.2.0/24")
	run(t, a, "c1", "plain")
	hosts := infra(t, c, "storage", "-e", "vlan", "-p", "112", "-s", "140.1.1.1-140.1.1.99/24", "-s6", "2001:db8:40::/64")
	for i, n := range c.Nodes {
		for _, to := range []string{"140.1.1.200", "2001:db8:40::200", hosts[c.Nodes[1-i]].String(), fmt.Sprint("2001:db8:40::", 2-i)} {
			hostReaches(t, n.Host, to)
		}
		met(t, m, hosts[n].String())
		met(t, m, fmt.Sprint("2001:db8:40::", i+1))
		if out, err := m.Output(t.Context(), "ip", "neigh", "show", hosts[n].String()); err != nil || !strings.Contains(out, model.MACOf(hosts[n]).String()) {
			t.Errorf("the machine has met %s (%v), want %s", out, err, model.MACOf(hosts[n]))
		}
		if out, err := n.Output(t.Context(), "ip", "link", "show", "storage"); err != nil || !strings.Contains(out, "mtu 1500") {
			t.Errorf("%s: %s (%v), want the uplink's MTU 1500", n.Name(), out, err)
		}
		must(t, n.Run(t.Context(), "ping", "-c", "1", "-W", "5", "-M", "do", "-s", "1472", "140.1.1.200"))
		routed(t, n, "10.1.2.0/24", "storage", false)
	}
	// Whom they see is who it is.
	server := tellsWho(t, m.Netns(), netip.MustParseAddrPort("140.1.1.200:0"))
	if got := hostAsWhom(t, a, server); got != hosts[a].String() {
		t.Errorf("the machine sees host %s as %s, want %s", a.Name(), got, hosts[a])
	}
	server = tellsWho(t, b.Netns(), netip.AddrPortFrom(hosts[b], 0))
	if who, err := seenBy(m.Netns(), server.String()); err != nil || who != "140.1.1.200" {
		t.Errorf("the host sees the machine as %s (%v)", who, err)
	}
	// Neither another VLAN nor a container comes there, by its node neither.
	if elsewhere.Run(t.Context(), "ping", "-c", "2", "-W", "1", hosts[a].String()) == nil {
		t.Error("a machine in another VLAN reaches a host")
	}
	reachesNot(t, a, "c1", hosts[b].String())
	reachesNot(t, a, "c1", "140.1.1.200")
	// No death of an agent is noticed.
	ctx := t.Context()
	var running []*traffic.Flow
	for _, x := range []struct {
		from, at string
		to       netip.Addr
	}{{a.Netns(), m.Netns(), netip.MustParseAddr("140.1.1.200")}, {m.Netns(), b.Netns(), hosts[b]}, {b.Netns(), a.Netns(), hosts[a]}} {
		must(t, traffic.Responder(ctx, x.at, x.to))
		f, err := traffic.Start(x.from, x.to)
		must(t, err)
		running = append(running, f)
	}
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			must(t, n.RestartAgent(ctx, s))
		}
	}
	for _, f := range running {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)
	netctl(t, c, "net", "rm", "storage")
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Shell(ctx, "ip -o link show; ip route show table all")
			if err == nil && strings.Contains(out, "storage") {
				err = fmt.Errorf("left on %s: %s", n.Name(), out)
			}
			return err
		})
	}
	if m.Run(ctx, "ping", "-c", "2", "-W", "1", hosts[a].String()) == nil {
		t.Error("a host answers in a network that is gone")
	}
	healthy(t, c)
}

// Between VLANs leads a router of the data centre, as between those of containers.
func TestHostsAndContainersReachEachOtherByARouterWhereHostAccessIsAVLAN(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{Lab: netlab.Options{Wires: []string{"eth2", "eth3"}}})
	a, b := c.Nodes[0], c.Nodes[1]
	routerBetween(t, c, 112, 113, []string{"10.1.3.254/24", "2001:db8:3::fe/64"}, []string{"132.1.1.254/24", "2001:db8:1::fe/64"})
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0/24", "-g", "10.1.3.254", "-s6", "2001:db8:3::/64", "-g6", "2001:db8:3::fe")
	network(t, c, "plain", "-s", "10.1.2.0/24")
	run(t, a, "c1", "lan")
	run(t, b, "c2", "lan")
	run(t, b, "tunnelled", "plain")
	hosts := infra(t, c, model.HostAccess, "-e", "vlan", "-p", "113", "-s", "132.1.1.0/24", "-g", "132.1.1.254", "-s6", "2001:db8:1::/64", "-g6", "2001:db8:1::fe")
	for _, n := range c.Nodes {
		routed(t, n, "10.1.3.0/24", model.HostAccess, true)
		routed(t, n, "10.1.2.0/24", model.HostAccess, false)
		for name, where := range map[string]*cluster.Node{"c1": a, "c2": b} {
			hostReaches(t, n.Host, address(t, where, name, "lan"))
			hostReaches(t, n.Host, address6(t, where, name, "lan"))
			reaches(t, where, name, hosts[n].String())
		}
	}
	server := tellsWho(t, a.Netns(), netip.AddrPortFrom(hosts[a], 0))
	if got := asWhom(t, b, "c2", server); got != address(t, b, "c2", "lan") {
		t.Errorf("the host sees c2 as %s", got)
	}
	healthy(t, c)
	netctl(t, c, "net", "rm", model.HostAccess)
	for _, n := range c.Nodes {
		routed(t, n, "10.1.3.0/24", model.HostAccess, false)
	}
	healthy(t, c)
}

func TestHostKeepsItsAddressOverRestartsUntilItsNodeIsRemoved(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "plain", "-s", "10.1.2.0/24")
	hosts := infra(t, c, model.HostAccess, "-s", "132.1.1.0/24", "-g", "132.1.1.254")
	run(t, a, "c1", "plain")
	hostReaches(t, b.Host, address(t, a, "c1", "plain"))
	ctx := t.Context()
	must(t, b.Kill(ctx))
	must(t, b.Boot(ctx))
	must(t, b.StartNode(ctx))
	if now := infraAddress(t, b, model.HostAccess); now != hosts[b] {
		t.Errorf("after it went down the host has %s, and had %s", now, hosts[b])
	}
	hostReaches(t, b.Host, address(t, a, "c1", "plain"))
	// What somebody removes comes back.
	must(t, b.Run(ctx, "ip", "link", "del", model.HostAccess))
	if err := b.Doctor(ctx); err == nil {
		t.Error("the doctor does not miss the device")
	}
	eventually(t, func() error { return b.Doctor(ctx, "--repair") })
	hostReaches(t, b.Host, address(t, a, "c1", "plain"))
	must(t, b.Run(ctx, "ip", "route", "del", "10.1.2.0/24", "dev", model.HostAccess))
	if err := b.Doctor(ctx); err == nil || !strings.Contains(err.Error(), "10.1.2.0/24") {
		t.Errorf("the doctor does not miss the route: %v", err)
	}
	eventually(t, func() error { return b.Doctor(ctx, "--repair") })
	hostReaches(t, b.Host, address(t, a, "c1", "plain"))
	// A node that is removed gives its address back.
	must(t, b.Kill(ctx))
	netctl(t, c, "node", "rm", "n2")
	if got := oper(t, c, model.HostAccess); got.AllocatedIPAddresses != fmt.Sprintf("%s, 132.1.1.254", hosts[a]) {
		t.Errorf("taken are %s", got.AllocatedIPAddresses)
	}
	must(t, a.Doctor(ctx))
}

func TestHostGoesOnWhereANetworkHasTheSubnetOfOneOfItsRoutes(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	ctx := t.Context()
	must(t, a.Run(ctx, "sh", "-c", "ip link add lan0 type bridge && ip addr add 10.1.4.9/24 dev lan0 && ip link set lan0 up"))
	infra(t, c, model.HostAccess, "-s", "132.1.1.0/24")
	network(t, c, "clash", "-s", "10.1.4.0/24")
	network(t, c, "plain", "-s", "10.1.2.0/24")
	run(t, b, "c1", "plain")
	hostReaches(t, a.Host, address(t, b, "c1", "plain"))
	routed(t, b, "10.1.4.0/24", model.HostAccess, true)
	routed(t, a, "10.1.4.0/24", "lan0", true)
	routed(t, a, "10.1.4.0/24", model.HostAccess, false)
	eventually(t, func() error {
		err := a.Doctor(ctx)
		if err == nil || !strings.Contains(err.Error(), "10.1.4.0/24") || !strings.Contains(err.Error(), "lan0") {
			return fmt.Errorf("the doctor says %v", err)
		}
		return nil
	})
	must(t, a.Run(ctx, "ip", "link", "del", "lan0"))
	eventually(t, func() error { return a.Doctor(ctx, "--repair") })
	routed(t, a, "10.1.4.0/24", model.HostAccess, true)
}

func TestHostTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Host)
}
