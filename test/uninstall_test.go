// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// traces are what a node has that an uninstallation might leave, a line each. What changes by itself, as counters, is left out; so is
// forwarding of packets, which stays as it is.
func traces(t *testing.T, n *cluster.Node) []string {
	t.Helper()
	var links []struct {
		Ifname, Address, Ifalias, Qdisc   string
		MTU, Promiscuity, Allmulti, Group any
	}
	text, err := n.Output(t.Context(), "ip", "-j", "-d", "link", "show")
	if err == nil {
		err = json.Unmarshal([]byte(text), &links)
	}
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range links {
		out = append(out, fmt.Sprintf("link: %+v", l))
	}
	for _, of := range []struct{ what, command string }{
		{"address", "ip -o addr show | awk '{ print $2, $3, $4 }'"},
		// Those of the engine's bridge tell of its link, and who forwards IPv6 has anycast addresses.
		{"route", "(ip route show table all; ip -6 route show table all) | grep -vE '^anycast| dev docker_gwbridge '"},
		{"rule", "ip rule; ip -6 rule"},
		{"neighbour", "ip neigh show nud permanent; ip neigh show proxy"},
		{"next hop", "ip nexthop show; ip -6 nexthop show"},
		{"forwarding entry", "bridge fdb show | grep -v '^33:33:'"}, // who forwards IPv6 hears what all routers are told
		{"queue", "tc qdisc show"},
		{"filter", "for d in $(ls /sys/class/net); do for way in ingress egress; do tc filter show dev $d $way 2>/dev/null; done; done"},
		{"nftables", "nft -s list ruleset"},
		{"iptables", "iptables-save | grep -v '^#' | sed 's/ *\\[[0-9:]*\\]//'"},
		{"ip6tables", "ip6tables-save | grep -v '^#' | sed 's/ *\\[[0-9:]*\\]//'"},
		{"pin", "find /sys/fs/bpf"},
		{"setting", "sysctl -a 2>/dev/null | grep -E '^net\\.ipv[46]\\.' | grep -E 'rp_filter|route_localnet|proxy_|arp_|disable_ipv6|local_reserved_ports|addr_gen_mode'"},
		{"file", "find /run/contiv /var/lib/contiv /run/netns /etc/docker /etc/cni /opt/cni 2>/dev/null; find /run/docker/plugins -type s 2>/dev/null"},
	} {
		text, err := n.Shell(t.Context(), of.command)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text) {
			out = append(out, of.what+": "+strings.TrimSpace(line))
		}
	}
	out = append(out, connections(t, n)...)
	slices.Sort(out)
	return out
}

// connections are those of containers' private addresses in a node's connection tracking, without their ports.
func connections(t *testing.T, n *cluster.Node) (out []string) {
	t.Helper()
	must(t, netdev.Do(n.Netns(), func() error {
		all, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
		for _, f := range all {
			private := netip.MustParsePrefix("172.19.0.0/16")
			for _, ip := range []net.IP{f.Forward.SrcIP, f.Reverse.SrcIP} {
				if a, _ := netip.AddrFromSlice(ip); private.Contains(a.Unmap()) {
					out = append(out, fmt.Sprintf("connection: protocol %d of %s", f.Forward.Protocol, a))
				}
			}
		}
		return err
	}))
	return out
}

func TestUninstallingLeavesNothing(t *testing.T) {
	t.Parallel()
	for attach, x := range map[string]use{
		"tcx":    {end: syscall.SIGTERM, hosts: []string{"-s", "132.1.1.0/24"}, reached: "10.1.2.0/24"},
		"clsact": {end: syscall.SIGKILL, hosts: []string{"-e", "vlan", "-p", "113", "-s", "132.1.1.0/24", "-g", "132.1.1.254", "-s6", "2001:db8:1::/64"}, reached: "10.1.4.0/24"},
	} {
		t.Run(attach, func(t *testing.T) {
			t.Parallel()
			leavesNothing(t, attach, x)
		})
	}
}

// use is what differs in how a node is used that is compared before and after.
type use struct {
	end     syscall.Signal // of its agent
	hosts   []string       // flags of host access, which is in tunnels or in a VLAN
	reached string         // a network to which the node has a route by it
}

// leavesNothing compares a node before netplugin and after it has been used for everything and uninstalled.
func leavesNothing(t *testing.T, attach string, x use) {
	c := startOnWire(t, cluster.Options{AgentFlags: []string{"--attach", attach}})
	a := c.Nodes[0]
	own, others := netip.MustParseAddr("50.1.1.11"), netip.MustParseAddr("50.1.1.12")
	leaf := newRouter(t, c, bird, "leaf", "50.1.1.2/24", 500, peerOf{addr: own, as: 65001}, peerOf{addr: others, as: 65001})
	b, err := c.AddNode(t.Context(), netlab.HostOptions{Name: "leaving"})
	must(t, err)
	// What the engine makes when it needs it is made before.
	must(t, b.StartDocker(t.Context()))
	must(t, b.LoadImage(t.Context()))
	docker(t, b, "network", "create", "-o", "com.docker.network.bridge.name=docker_gwbridge", "docker_gwbridge")
	docker(t, b, "run", "--rm", "--net", "docker_gwbridge", "alpine", "true")
	eventually(t, func() error { // routes of addresses come when duplicates have been looked for
		out, err := b.Output(t.Context(), "ip", "-6", "addr", "show", "tentative")
		if err == nil && out != "" {
			err = fmt.Errorf("addresses are tentative: %s", out)
		}
		return err
	})
	before := traces(t, b)

	must(t, b.StartAgent(t.Context()))
	c.Nodes = append(c.Nodes, b)
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64", "-g6", "2001:db8:2::fe")
	network(t, c, "lan", "-e", "vlan", "-p", "114", "-s", "10.1.4.0/24", "-g", "10.1.4.254")
	hosts := infra(t, c, model.HostAccess, x.hosts...)
	storage := infra(t, c, "storage", "-e", "vlan", "-p", "115", "-s", "140.1.1.0/24", "-s6", "2001:db8:40::/64")
	network(t, c, "inner", "-s", "10.1.3.0/24")
	network(t, c, "fabric", "-e", "vlan", "-p", "112", "-s", "20.1.0.0/16", "-g", "20.1.255.254")
	netctl(t, c, "netprofile", "create", "slow", "--bandwidth=20mbps", "--ingress-bandwidth=20mbps", "--dscp=10")
	netctl(t, c, "policy", "create", "guard")
	netctl(t, c, "policy", "rule-add", "guard", "1", "--direction=in", "--protocol=tcp", "--port=81", "--action=deny")
	netctl(t, c, "group", "create", "web", "held", "--networkprofile=slow", "--policy=guard")
	netctl(t, c, "service", "create", "shop", "-s", "inner", "-l", "app=shop", "-p", "80:80:TCP")
	engineHas(t, b, "web", "inner", "fabric", "lan", "held.web", "held")
	run(t, b, "site", "held", "-p", "8080:80", "-p", "8053:53/udp", "-p", "127.0.0.1:8081:80")
	tellsWho(t, sandbox(t, b, "site"), netip.MustParseAddrPort("[::]:80"))
	run(t, b, "plain", "inner")
	run(t, b, "shop", "inner", "--label", "app=shop")
	run(t, b, "routed", "fabric")
	run(t, a, "far", "web")
	for n, at := range map[*cluster.Node]netip.Addr{a: others, b: own} {
		netctl(t, c, "bgp", "create", n.Name(), "--router-ip="+at.String()+"/24", "--as=65001", "--neighbor-as=500", "--neighbor=50.1.1.2")
	}
	met(t, leaf.Host, address(t, b, "routed", "fabric"))
	reaches(t, b, "routed", "50.1.1.2")
	reaches(t, b, "site", "far")
	reaches(t, b, "site", a.Addr().String())
	reaches(t, b, "plain", "shop")
	reaches(t, b, "plain", a.Addr().String()) // by the engine's bridge
	hostReaches(t, b.Host, hosts[a].String())
	hostReaches(t, b.Host, storage[a].String())
	for _, at := range []string{b.Addr().String(), hosts[b].String()} {
		eventually(t, func() error { _, err := seenBy(a.Netns(), at+":8080"); return err })
	}
	routed(t, b, x.reached, model.HostAccess, true)
	healthy(t, c)
	used := traces(t, b)
	for _, what := range []string{"link: {Ifname:contivh0", "link: {Ifname:vvport1", "link: {Ifname:contivh1", "link: {Ifname:storage", "address: storage inet6 2001:db8:40::", "8080", "queue: qdisc tbf", "nftables: table inet contiv", "pin: /sys/fs/bpf/contiv", "connection: protocol 6 of", "proto 179", "address: eth2 inet 50.1.1.11/24"} {
		if !slices.ContainsFunc(used, func(line string) bool { return strings.Contains(line, what) }) {
			t.Errorf("there is no %q to take away, so the test says less", what)
		}
	}

	uninstall := func(flags ...string) (string, error) {
		out, err := b.Command(t.Context(), filepath.Join(programs.Dir(t), "netplugin"), append([]string{"uninstall"}, flags...)...).CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{"plain", "shop", "routed"} {
		docker(t, b, "rm", "-f", name)
	}
	if out, err := uninstall(); err == nil || !strings.Contains(out, "stop it first") {
		t.Errorf("while the agent runs: %s (%v)", out, err)
	}
	must(t, b.Agent.Stop(t.Context(), x.end))
	if out, err := uninstall(); err == nil || !strings.Contains(out, "--force") {
		t.Errorf("while a container is attached: %s (%v)", out, err)
	}
	for range 2 { // the second finds nothing, which is fine
		if out, err := uninstall("--force"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	eventually(t, func() error { // the kernel takes its time for what goes with a device
		after := traces(t, b)
		only := func(in, notIn []string) string {
			return strings.Join(slices.DeleteFunc(slices.Clone(in), func(line string) bool { return slices.Contains(notIn, line) }), "\n")
		}
		if left, lost := only(after, before), only(before, after); left != "" || lost != "" {
			return fmt.Errorf("left is:\n%s\nlost is:\n%s", left, lost)
		}
		return nil
	})
}
