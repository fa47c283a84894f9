// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/traffic"
)

// start6 starts hosts that have nothing but IPv6 between them.
func start6(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	o.Lab.Subnet = netip.MustParsePrefix("fd00:2::/64")
	return start(t, o)
}

// address46 are a container's addresses in a network.
func address46(t *testing.T, n *cluster.Node, container, network string) []netip.Addr {
	t.Helper()
	return []netip.Addr{netip.MustParseAddr(address(t, n, container, network)), netip.MustParseAddr(address6(t, n, container, network))}
}

// mtuOf is the MTU of a container's device, in bytes.
func mtuOf(t *testing.T, n *cluster.Node, container, device string) string {
	t.Helper()
	return strings.TrimSpace(docker(t, n, "exec", container, "cat", "/sys/class/net/"+device+"/mtu"))
}

// flowing begins flows between two containers, over IPv4 and over IPv6. The function ends them, and fails the test where they lost something.
func flowing(t *testing.T, from, to *cluster.Node, client, server, network string) (end func()) {
	t.Helper()
	var all []*traffic.Flow
	at := address46(t, to, server, network)
	for _, ip := range at {
		if err := traffic.Responder(t.Context(), sandbox(t, to, server), ip); err != nil {
			t.Fatal(err)
		}
		f, err := traffic.Start(sandbox(t, from, client), ip)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return func() {
		t.Helper()
		for i, f := range all {
			if lost := f.Stop().Lost(); lost != "" {
				t.Errorf("%s to %s: %s", client, at[i], lost)
			}
		}
	}
}

func TestContainersMeetAcrossHostsThatHaveIPv6Alone(t *testing.T) {
	t.Parallel()
	c := start6(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	run(t, a, "c1", "web")
	run(t, b, "c2", "web")
	if mtu := mtuOf(t, a, "c1", "eth0"); mtu != "1430" {
		t.Errorf("the MTU is %s, want the underlay's less 70", mtu)
	}
	for _, to := range append(address46(t, b, "c2", "web"), address46(t, a, "c1", "web")...) {
		reaches(t, a, "c1", to.String())
		reaches(t, a, "c1", "-s 1402 "+to.String()) // of IPv4 just what fits, of IPv6 more
		reaches(t, a, "c1", "-s 4000 "+to.String())
	}
	reaches(t, a, "c1", "-4 c2")
	reaches(t, b, "c2", "-6 c1")
	nodes := netctl(t, c, "node", "ls")
	for _, n := range c.Nodes {
		if !strings.Contains(nodes, n.Addr().String()) {
			t.Errorf("there is no %s among the nodes: %s", n.Addr(), nodes)
		}
	}

	end := flowing(t, a, b, "c1", "c2", "web")
	for _, n := range []*cluster.Node{a, b} {
		if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		run(t, n, "later", "web")
		reaches(t, n, "later", "-6 c1")
		docker(t, n, "rm", "-f", "later")
	}
	end()

	// Policy is asked of what comes out of these tunnels as of all else.
	at := netip.AddrPortFrom(address46(t, b, "c2", "web")[1], 8888)
	netctl(t, c, "policy", "create", "closed")
	netctl(t, c, "policy", "rule-add", "closed", "1", "-direction=in", "-protocol=tcp", "-port=8889", "-action=deny")
	netctl(t, c, "group", "create", "web", "db", "-policy=closed")
	awaitNetwork(t, c, "db.web")
	run(t, b, "db1", "db.web")
	for _, ip := range address46(t, b, "db1", "db.web") {
		for port, open := range map[uint16]bool{8888: true, 8889: false} {
			at = tellsWho(t, sandbox(t, b, "db1"), netip.AddrPortFrom(ip, port))
			eventually(t, func() error {
				who, err := seenBy(sandbox(t, a, "c1"), at.String())
				if open && err != nil || !open && err == nil {
					return fmt.Errorf("c1 at %s: %q, %v; open is %t", at, who, err, open)
				}
				return nil
			})
		}
	}
	healthy(t, c)

	// A node that no tunnel can join to these does not stay.
	far := outsider(t, c)
	if out, err := far.Output(t.Context(), "ip", "address", "add", "192.168.9.9/24", "dev", "eth1"); err != nil {
		t.Fatal(out, err)
	}
	other := far.Command(t.Context(), filepath.Join(programs.Dir(t), "netplugin"), "--netmaster", c.MasterURL(), "--vtep-ip", "192.168.9.9", "--docker-socket=")
	if out, err := other.CombinedOutput(); err == nil || !strings.Contains(string(out), a.Addr().String()) || !strings.Contains(string(out), "--vtep-ip") {
		t.Errorf("an agent with an IPv4 address: %v: %s", err, out)
	}
}

func TestContainersReachTheOutsideAndAreReachedOverIPv6(t *testing.T) {
	t.Parallel()
	c := start6(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	far := outsider(t, c)
	netctl(t, c, "tenant", "create", "blue")
	for _, tenant := range []string{"default", "blue"} {
		network(t, c, "web", "-t", tenant, "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64", "-g6", "2001:db8:2::fe")
	}
	run(t, a, "red", "web", "-p", "8080:80", "-p", "[::]:8081:80")
	run(t, a, "blue", "web/blue")
	run(t, b, "remote", "web")
	node := a.Addr()
	server := tellsWho(t, far.Netns(), netip.AddrPortFrom(far.Addr(), 0)).String()
	sees := func(namespace, server, want string) {
		t.Helper()
		eventually(t, func() error {
			who, err := seenBy(namespace, server)
			if err == nil && want != "" && who != want {
				err = fmt.Errorf("%s is seen as %s, want %s", server, who, want)
			}
			return err
		})
	}
	for _, ip := range address46(t, a, "red", "web") {
		tellsWho(t, sandbox(t, a, "red"), netip.AddrPortFrom(ip, 80))
	}
	everything := func() {
		t.Helper()
		for _, name := range []string{"red", "blue"} {
			sees(sandbox(t, a, name), server, node.String()) // NAT66
			reaches(t, a, name, far.Addr().String())
		}
		sees(sandbox(t, b, "remote"), server, b.Addr().String())
		for _, port := range []uint16{8080, 8081} {
			at := netip.AddrPortFrom(node, port).String()
			sees(far.Netns(), at, far.Addr().String()) // clients keep their addresses
			sees(b.Netns(), at, b.Addr().String())
			sees(sandbox(t, a, "blue"), at, "") // another tenant's, as anybody's
			sees(sandbox(t, a, "red"), at, "")  // its own
			sees(a.Netns(), at, "")
		}
		sees(a.Netns(), "127.0.0.1:8080", "") // though the node has no IPv4 address to speak from
	}
	everything()
	if out, err := far.Output(t.Context(), "ip", "route", "add", "fd63:6f6e:7469:7600::/112", "via", node.String()); err != nil {
		t.Fatal(out, err)
	}
	if out, err := far.Output(t.Context(), "ping", "-c", "1", "-W", "1", "fd63:6f6e:7469:7600::1"); err == nil {
		t.Errorf("a machine outside reaches a private address: %s", out)
	}
	// Tunnels' packets under the node's address are for the data path alone to send.
	reaches(t, a, "red", b.Addr().String())
	if err := netdev.Do(sandbox(t, a, "red"), func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(b.Addr(), 4789).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(make([]byte, 60))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out, err := a.Output(t.Context(), "nft", "list", "chain", "inet", "contiv", "borrowed")
		if err == nil && strings.Contains(out, "packets 0 ") {
			err = fmt.Errorf("nothing is dropped by %s", out)
		}
		return err
	})
	// What is established goes on while the agent dies and comes back.
	if err := traffic.Responder(t.Context(), far.Netns(), far.Addr()); err != nil {
		t.Fatal(err)
	}
	flow, err := traffic.Start(sandbox(t, a, "red"), far.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	everything()
	if lost := flow.Stop().Lost(); lost != "" {
		t.Error(lost)
	}
	healthy(t, c)
}

// vip6 is a service's IPv6 address.
func vip6(t *testing.T, c *cluster.Cluster, service string) netip.Addr {
	t.Helper()
	return netip.MustParseAddr(asked[api.ServiceLBInspect](t, c, "service", "inspect", service).Oper.ServiceVipV6)
}

func TestServicesHaveIPv6Addresses(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, cluster.Options) *cluster.Cluster{"IPv4 underlay": start, "IPv6 underlay": start6} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := begin(t, cluster.Options{})
			a, b := c.Nodes[0], c.Nodes[1]
			network(t, c, "net", "-s", "10.1.1.0/24", "-s6", "2001:db8:1::/64")
			provide(t, a, "p1", "net", webScript)
			provide(t, b, "p2", "net", webScript)
			run(t, a, "ca", "net")
			run(t, b, "cb", "net")
			netctl(t, c, "service", "create", "shop", "-s", "net", "-l", "app=web", "-p", "80:8080:TCP")
			awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy", "p2 "+b.Name()+" healthy")
			at := netip.AddrPortFrom(vip6(t, c, "shop"), 80)
			who(t, a, "ca", at, "p1", "p2")
			who(t, b, "cb", at, "p1", "p2")
			who(t, a, "p1", at, "p1", "p2") // itself too
			reaches(t, a, "ca", "-6 shop")
			refusedAtOnce(t, a, "ca", netip.AddrPortFrom(at.Addr(), 81))
			going := visiting(t, a, "ca", at, 2)
			if err := a.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			going.answeredBy(t, going.mark(), 50)
			if answered, failed := going.end(); len(failed) > 0 {
				t.Errorf("%d visits were answered, and failed have %q", answered, failed)
			}
			docker(t, b, "stop", "-t", "1", "p2")
			awaitProviders(t, c, "shop", "p1 "+a.Name()+" healthy")
			who(t, b, "cb", at, "p1")
			healthy(t, c)
		})
	}
}

// answers6 fails the test unless a server, asked in the pod for a name's IPv6 address, answers with it.
func (p pod) answers6(server netip.Addr, name string, want netip.Addr) {
	p.Helper()
	eventually(p.T, func() error {
		m, err := askServerFor(p.path(), "udp", server.String(), name, dns.TypeAAAA)
		if err == nil && (len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "\tAAAA\t"+want.String())) {
			err = fmt.Errorf("%s asks %s for %s: %v, want %s", p.name, server, name, m, want)
		}
		return err
	})
}

// Engines as old as the oldest that we know have no networks without IPv4, so these containers are CNI's.
func TestNetworkOfIPv6AloneHasAllThatOthersHave(t *testing.T) {
	t.Parallel()
	c := start6(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	far := outsider(t, c)
	netctl(t, c, "net", "create", "six", "-s6", "2001:db8:6::/64", "-g6", "2001:db8:6::fe")
	near, remote := newPod(t, a, "near"), newPod(t, b, "remote")
	from := near.add(conf("k8s", "six"))
	remote.must("ADD", conf("k8s", "six"), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=remote-0")
	to := remote.add(conf("k8s", "six")) // again, for its address
	if len(from) != 1 || len(to) != 1 || !from[0].Is6() || !to[0].Is6() {
		t.Fatalf("the pods have %v and %v", from, to)
	}
	near.reaches(to[0].String())
	near.reaches("2001:db8:6::fe")
	remote.reaches(from[0].String())
	near.reaches(far.Addr().String())
	// Names are answered whoever is asked, over IPv6 too.
	near.answers6(far.Addr(), "remote-0.", to[0])
	near.answers6(netip.MustParseAddr("2001:db8::53"), "remote-0.six.", to[0])
	near.must("DEL", conf("k8s", "six"))
	remote.must("DEL", conf("k8s", "six"))
	netctl(t, c, "net", "rm", "six") // of which the doctor says, and is right, that the engines do not have it
	healthy(t, c)
}

func TestNetworkOfIPv6AloneHasRulesServicesPublishedPortsAndHostAccess(t *testing.T) {
	t.Parallel()
	c := start6(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	far := outsider(t, c)
	netctl(t, c, "net", "create", "six", "-s6", "2001:db8:6::/64", "-g6", "2001:db8:6::fe")
	netctl(t, c, "policy", "create", "guard")
	netctl(t, c, "policy", "rule-add", "guard", "1", "-direction=in", "-protocol=tcp", "-action=deny")
	netctl(t, c, "policy", "rule-add", "guard", "2", "-direction=in", "-protocol=tcp", "-port=8080", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "six", "site", "-policy=guard")
	netctl(t, c, "service", "create", "shop", "-s", "six", "-l", "app=web", "-p", "80:8080:TCP")
	config := with(strings.Replace(conf("k8s", "six"), "{", `{"group": "site", `, 1),
		`{"labels": {"app": "web"}, "portMappings": [{"hostPort": 9099, "containerPort": 8080}]}`)
	site, near, remote := newPod(t, b, "site"), newPod(t, b, "near"), newPod(t, a, "remote")
	site.must("ADD", config, "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=site")
	at := site.add(config)[0] // again, for its address
	clients := map[string]netip.Addr{near.sandbox(): near.add(conf("k8s", "six"))[0], remote.sandbox(): remote.add(conf("k8s", "six"))[0]}
	for _, port := range []uint16{8080, 8081} {
		tellsWho(t, site.sandbox(), netip.AddrPortFrom(at, port))
	}
	awaitProviders(t, c, "shop", "site "+b.Name()+" healthy")
	sees := func(from, server, want string) {
		t.Helper()
		eventually(t, func() error {
			who, err := seenBy(from, server)
			if err == nil && who != want {
				err = fmt.Errorf("%s is seen as %s, want %s", server, who, want)
			}
			return err
		})
	}
	shop := netip.AddrPortFrom(vip6(t, c, "shop"), 80).String()
	for client, own := range clients {
		sees(client, netip.AddrPortFrom(at, 8080).String(), own.String())
		if who, err := seenBy(client, netip.AddrPortFrom(at, 8081).String()); err == nil {
			t.Errorf("%s reaches a port that the rules deny", who)
		}
		sees(client, shop, own.String())
	}
	sees(far.Netns(), netip.AddrPortFrom(b.Addr(), 9099).String(), far.Addr().String())
	netctl(t, c, "net", "create", "-n", "infra", model.HostAccess, "-s6", "2001:db8:1::/64", "-g6", "2001:db8:1::fe")
	hostReaches(t, a.Host, at.String())
	hostReaches(t, b.Host, at.String())
	remote.reaches("2001:db8:1::1")
	remote.reaches("2001:db8:1::2")
	sees(a.Netns(), netip.AddrPortFrom(at, 8080).String(), strings.TrimSpace(hostAddress6(t, a, model.HostAccess)))
	published := "[" + strings.TrimSpace(hostAddress6(t, b, model.HostAccess)) + "]:9099"
	for _, client := range []string{a.Netns(), b.Netns(), near.sandbox(), remote.sandbox(), site.sandbox()} {
		sees(client, published, b.Addr().String())
	}
	must(t, b.RestartAgent(t.Context(), syscall.SIGKILL))
	sees(remote.sandbox(), shop, clients[remote.sandbox()].String())
	sees(far.Netns(), netip.AddrPortFrom(b.Addr(), 9099).String(), far.Addr().String())
}

// hostAddress6 is a host's IPv6 address in an infra network.
func hostAddress6(t *testing.T, n *cluster.Node, network string) (addr string) {
	t.Helper()
	eventually(t, func() error {
		out, err := n.Shell(t.Context(), "ip -6 -o addr show dev "+network+" scope global | awk '{ print $4 }' | cut -d / -f 1")
		if addr = out; err == nil && out == "" {
			err = fmt.Errorf("%s has no address in %s", n.Name(), network)
		}
		return err
	})
	return addr
}

// pathMTU is what a namespace has been told of the way to an address, in bytes.
func pathMTU(namespace string, to netip.Addr) (mtu int, err error) {
	err = netdev.Do(namespace, func() error {
		routes, err := netlink.RouteGet(net.IP(to.AsSlice()))
		if err == nil && len(routes) > 0 {
			mtu = routes[0].MTU
		}
		return err
	})
	return mtu, err
}

func TestJumboUnderlayGivesJumboContainers(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		subnet   string
		jumbo    string
		ordinary int
	}{"IPv4 underlay": {"192.168.2.0/24", "8950", 1450}, "IPv6 underlay": {"fd00:2::/64", "8930", 1430}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, cluster.Options{Lab: netlab.Options{Subnet: netip.MustParsePrefix(x.subnet), MTU: 9000}})
			a, b := c.Nodes[0], c.Nodes[1]
			network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64", "-g6", "2001:db8:2::fe")
			run(t, a, "c1", "web")
			run(t, b, "c2", "web")
			for n, container := range map[*cluster.Node]string{a: "c1", b: "c2"} {
				if mtu := mtuOf(t, n, container, "eth0"); mtu != x.jumbo {
					t.Errorf("the MTU of %s is %s, want %s", container, mtu, x.jumbo)
				}
				if out, err := n.Output(t.Context(), "cat", "/sys/class/net/contivh0/mtu"); err != nil || strings.TrimSpace(out) != "9000" {
					t.Errorf("the MTU of contivh0 is %s (%v)", out, err)
				}
			}
			remote := address46(t, b, "c2", "web")
			for _, to := range remote {
				reaches(t, a, "c1", "-s 8800 "+to.String())
			}
			flowing(t, a, b, "c1", "c2", "web")()

			// The other host takes less from now on. Who sends more to it is told.
			if out, err := b.Output(t.Context(), "ip", "link", "set", "eth1", "mtu", "1500"); err != nil {
				t.Fatal(out, err)
			}
			if err := b.RestartAgent(t.Context(), syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			run(t, b, "c3", "web")
			if mtu := mtuOf(t, b, "c3", "eth0"); mtu != fmt.Sprint(x.ordinary) {
				t.Errorf("the MTU of c3 is %s, want %d", mtu, x.ordinary)
			}
			for _, to := range append(remote, address46(t, b, "c3", "web")...) {
				reaches(t, a, "c1", "-s 8800 "+to.String()) // in fragments, after the first is refused
				eventually(t, func() error {
					got, err := pathMTU(sandbox(t, a, "c1"), to)
					if err == nil && got != x.ordinary {
						err = fmt.Errorf("c1 thinks that %d bytes go to %s, want %d", got, to, x.ordinary)
					}
					return err
				})
			}
			flowing(t, a, b, "c1", "c3", "web")()
			healthy(t, c)
		})
	}
}
