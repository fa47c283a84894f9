// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/access"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/traffic"
	"github.com/contivnet/contiv/test/tutorial"
)

// startOnWire makes a cluster of two hosts with uplinks for VLANs: eth2, or the lab's wires.
func startOnWire(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	if len(o.Lab.Wires) == 0 {
		o.Lab.Wires = []string{"eth2"}
	}
	o.AgentFlags = append(o.AgentFlags, "--vlan-uplinks", strings.Join(o.Lab.Wires, ","))
	return start(t, o)
}

// machine adds a machine of the data centre that is in a VLAN: its eth2 is plugged into an access port, and it knows of no tags.
func machine(t *testing.T, c *cluster.Cluster, name string, vlan uint16, addrs ...string) *netlab.Host {
	t.Helper()
	h, err := c.Lab.AddHost(t.Context(), netlab.HostOptions{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if err := netdev.Do(c.Lab.FabricNetns(), func() error { return access.Port(h.WirePort("eth2"), vlan) }); err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		args := []string{"addr", "add", a, "dev", "eth2"}
		if netip.MustParsePrefix(a).Addr().Is6() {
			args = append(args, "nodad")
		}
		if err := h.Run(t.Context(), "ip", args...); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// met fails the test unless the machine gets an answer from the address.
func met(t *testing.T, h *netlab.Host, addr string) {
	t.Helper()
	eventually(t, func() error { return h.Run(t.Context(), "ping", "-c", "1", "-W", "1", addr) })
}

func TestVLANTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("needs tcpdump, which the tutorial runs")
	}
	steps, err := tutorial.Parse(tutorials.VLAN)
	if err != nil {
		t.Fatal(err)
	}
	c := startOnWire(t, cluster.Options{Lab: netlab.Options{Hosts: tutorialHosts}})
	machine(t, c, "machine", 112, "10.1.3.200/24")
	typeTutorial(t, c, steps)
}

// Chapter 4's network has no gateway; data centres' have one, and two families. The agent's death and another's life are not noticed.
func TestContainersOfAVLANAndItsMachinesKeepTalkingWhileTheAgentDiesAndComesBack(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	router := machine(t, c, "router", 112, "10.1.3.254/24", "fd03::fe/64", "203.0.113.1/32")
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0/24", "-g", "10.1.3.254", "-s6", "fd03::/64", "-g6", "fd03::fe")
	run(t, a, "near", "lan")
	run(t, a, "same", "lan")
	run(t, b, "far", "lan")
	for _, to := range []string{"same", "far", "10.1.3.254", "fd03::fe", "203.0.113.1", address6(t, b, "far", "lan")} {
		reaches(t, a, "near", to)
	}
	for _, addr := range []string{address(t, a, "near", "lan"), address6(t, a, "near", "lan"), address(t, b, "far", "lan")} {
		met(t, router, addr)
	}
	running := flows(t, a, "near", map[string]*cluster.Node{"same": a, "far": b}, "lan")
	gateway := netip.MustParseAddr("10.1.3.254")
	if err := traffic.Responder(t.Context(), router.Netns(), gateway); err != nil {
		t.Fatal(err)
	}
	out, err := traffic.Start(sandbox(t, a, "near"), gateway)
	if err != nil {
		t.Fatal(err)
	}
	in, err := traffic.Start(router.Netns(), netip.MustParseAddr(address(t, b, "far", "lan")))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			if err := n.RestartAgent(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			run(t, n, "probe", "lan")
			reaches(t, n, "probe", "10.1.3.254")
			docker(t, n, "rm", "-f", "probe")
		}
	}
	for _, f := range append(running, out, in) {
		if lost := f.Stop().Lost(); lost != "" {
			t.Error(lost)
		}
	}
	healthy(t, c)
}

func TestVLANOfIPv6AloneJoinsContainersAndMachinesAndIsRouted(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{Lab: netlab.Options{Subnet: netip.MustParsePrefix("fd00:2::/64")}}) // nor between nodes is there IPv4
	a, b := c.Nodes[0], c.Nodes[1]
	router := machine(t, c, "router", 112, "fd03::fe/64", "2001:db8:77::1/128")
	netctl(t, c, "net", "create", "six", "-e", "vlan", "-p", "112", "-s6", "fd03::/64", "-g6", "fd03::fe")
	near, far := newPod(t, a, "near"), newPod(t, b, "far")
	from, to := near.add(conf("k8s", "six")), far.add(conf("k8s", "six"))
	near.reaches(to[0].String())
	for _, pod := range []pod{near, far} {
		pod.reaches("fd03::fe")
		pod.reaches("2001:db8:77::1") // beyond the gateway
	}
	met(t, router, from[0].String())
	met(t, router, to[0].String())
	near.must("DEL", conf("k8s", "six"))
	far.must("DEL", conf("k8s", "six"))
	netctl(t, c, "net", "rm", "six")

	// BGP does without IPv4, too.
	own := map[*cluster.Node]netip.Addr{a: netip.MustParseAddr("2001:db8:50::11"), b: netip.MustParseAddr("2001:db8:50::12")}
	leaf := newRouter(t, c, frr, "leaf", "50.1.1.2/24", 500, peerOf{addr: own[a], as: 65001}, peerOf{addr: own[b], as: 65001})
	must(t, leaf.Run(t.Context(), "ip", "addr", "add", "2001:db8:60::1/128", "dev", "lo"))
	for n, at := range own {
		netctl(t, c, "bgp", "create", n.Name(), "--router-ip="+at.String()+"/64", "--as=65001", "--neighbor-as=500", "--neighbor=2001:db8:50::2")
	}
	netctl(t, c, "net", "create", "fabric", "-e", "vlan", "-p", "113", "-s6", "2001:db8:20::/64", "-g6", "2001:db8:20::fe")
	near, far = newPod(t, a, "routed"), newPod(t, b, "elsewhere")
	from, to = near.add(conf("k8s", "fabric")), far.add(conf("k8s", "fabric"))
	leaf.has(t, map[string]string{from[0].String() + "/128": own[a].String(), to[0].String() + "/128": own[b].String()})
	for _, at := range []string{to[0].String(), "2001:db8:20::fe", "2001:db8:60::1"} {
		near.reaches(at)
	}
	far.reaches("2001:db8:60::1")
	must(t, b.RestartAgent(t.Context(), syscall.SIGKILL))
	far.reaches(from[0].String())
	met(t, leaf.Host, to[0].String())
}

// What a rule says of a group holds for machines that nobody gave to a group, too.
func TestRulesHoldForMachinesOfAVLAN(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	m := machine(t, c, "machine", 112, "10.1.3.200/24")
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0-10.1.3.99/24")
	netctl(t, c, "policy", "create", "closed")
	netctl(t, c, "policy", "rule-add", "closed", "1", "-direction=in", "-protocol=tcp", "-action=deny")
	netctl(t, c, "policy", "rule-add", "closed", "2", "-direction=in", "-protocol=tcp", "-port=8888", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "lan", "db", "-policy=closed")
	engineHas(t, a, "lan", "db.lan", "db")
	run(t, a, "db", "db")
	run(t, b, "web", "lan")
	to := address(t, a, "db", "db")
	for _, port := range []int{8888, 8890} {
		docker(t, a, "exec", "-d", "db", "sh", "-c", fmt.Sprintf("while true; do nc -l %d; done", port))
	}
	connect := func(port int) error {
		return m.Run(t.Context(), "bash", "-c", fmt.Sprintf("timeout 2 bash -c 'exec 3<>/dev/tcp/%s/%d'", to, port))
	}
	eventually(t, func() error { return connect(8888) })
	if connect(8890) == nil {
		t.Error("a machine of the VLAN reaches a port that the rules deny")
	}
	scans(t, b, "web", to, map[int]string{8888: open, 8890: dropped})
	netctl(t, c, "policy", "rule-add", "closed", "3", "-direction=in", "-protocol=tcp", "-port=8890", "-from-ip-address=10.1.3.200/32", "-action=allow", "-priority=20")
	eventually(t, func() error { return connect(8890) }) // the machine, by its address
	scans(t, b, "web", to, map[int]string{8890: dropped})
}

func TestAVLANGoesOnByAnotherUplinkWhenACableIsPulled(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{Lab: netlab.Options{Wires: []string{"eth2", "eth3"}}})
	a, b := c.Nodes[0], c.Nodes[1]
	m := machine(t, c, "machine", 112, "10.1.3.200/24")
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0/24")
	run(t, a, "one", "lan")
	run(t, b, "two", "lan")
	reaches(t, a, "one", "two")
	met(t, m, address(t, a, "one", "lan"))
	port := func(device, state string) {
		t.Helper()
		err := netdev.Do(c.Lab.FabricNetns(), func() error {
			out, err := exec.Command("ip", "link", "set", a.WirePort(device), state).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, device := range []string{"eth2", "eth3"} {
		port(device, "down")
		began := time.Now()
		reaches(t, a, "one", "two")
		met(t, m, address(t, a, "one", "lan"))
		t.Logf("%s pulled: reached again after %s", device, time.Since(began))
		port(device, "up")
		// The other stays in use until its own cable is pulled.
		reaches(t, a, "one", "10.1.3.200")
	}
	healthy(t, c)
}

func TestBroadcastAndMulticastAreCarriedInFloodMode(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	m := machine(t, c, "machine", 112, "10.1.3.200/24")
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0/24")
	run(t, a, "one", "lan")
	run(t, a, "same", "lan")
	run(t, b, "two", "lan")
	reaches(t, a, "one", "two")
	places := map[string]string{"one": sandbox(t, a, "one"), "same": sandbox(t, a, "same"), "two": sandbox(t, b, "two"), "machine": m.Netns()}
	heard := map[string]*atomic.Int64{}
	for name, path := range places {
		device := "eth0"
		if name == "machine" {
			device = "eth2"
		}
		var n atomic.Int64
		heard[name] = &n
		w := newWire(t, path, device, allProtocols)
		w.listen(t, func(f []byte, _ int) {
			if len(f) > 34 && f[0]&1 == 1 && binary.BigEndian.Uint16(f[12:]) == 0x0800 && f[30] == 239 {
				n.Add(1)
			}
		})
	}
	send := func(name string) {
		t.Helper()
		err := netdev.Do(places[name], func() error {
			out, err := exec.Command("bash", "-c", "echo hello > /dev/udp/239.1.2.3/5000").CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range places {
		device := "eth0"
		if name == "machine" {
			device = "eth2"
		}
		if err := netdev.Do(path, func() error { return exec.Command("ip", "route", "replace", "224.0.0.0/4", "dev", device).Run() }); err != nil {
			t.Fatal(err)
		}
	}
	send("one")
	send("machine")
	reaches(t, a, "one", "two") // time has passed in which it would have arrived
	for _, name := range []string{"same", "two"} {
		if n := heard[name].Load(); n != 0 {
			t.Errorf("in ARP mode proxy %s hears %d multicast packets", name, n)
		}
	}
	netctl(t, c, "global", "set", "--arp-mode", "flood")
	for _, from := range []string{"one", "two", "machine"} {
		eventually(t, func() error {
			before := map[string]int64{}
			for name, n := range heard {
				before[name] = n.Load()
			}
			send(from)
			return cluster.Eventually(t.Context(), time.Second, func() error {
				for name, n := range heard {
					if n.Load() == before[name] { // its own it hears as it goes out
						return fmt.Errorf("%s does not hear what %s sends", name, from)
					}
				}
				return nil
			})
		})
	}
	run(t, b, "late", "lan") // neighbours are found in this mode, too
	reaches(t, a, "one", "late")
	reaches(t, b, "late", "10.1.3.200")
	met(t, m, address(t, b, "late", "lan"))
}

func TestAContainerIsNotPutIntoAVLANWhereNoUplinkIs(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	network(t, c, "lan", "-e", "vlan", "-p", "112", "-s", "10.1.3.0/24")
	dockerRefused(t, c.Nodes[0], []string{"VLAN 112", "--vlan-uplinks", c.Nodes[0].Name()}, "run", "-d", "--net", "lan", "alpine", "true")
	refused(t, c, []string{"4095", "1-4094"}, "net", "create", "-e", "vlan", "-p", "4095", "-s", "10.1.4.0/24", "big")
	healthy(t, c)
}
