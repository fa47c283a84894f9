// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// inspected is what the masters tell of a node's BGP.
func inspected(t *testing.T, c *cluster.Cluster, node string) (o api.BGPOper) {
	t.Helper()
	var i api.BGPInspect
	if err := json.Unmarshal([]byte(netctl(t, c, "bgp", "inspect", node)), &i); err != nil {
		t.Fatal(err)
	}
	return i.Oper
}

// session waits until the first session of the node is in a state, or with not in none that is.
func session(t *testing.T, c *cluster.Cluster, node string, established bool) {
	t.Helper()
	eventually(t, func() error {
		if o := inspected(t, c, node); strings.Contains(o.NeighborStatus, "established") != established {
			return fmt.Errorf("BGP of %s is %+v", node, o)
		}
		return nil
	})
}

// leaf is a fabric of two nodes and their router.
type leaf struct {
	*cluster.Cluster
	*router
	nodes [2]*cluster.Node
	own   [2]string // the nodes' router addresses
	as    uint32    // of the nodes
}

// speak has node i speak with the router.
func (l *leaf) speak(t *testing.T, i int, flags ...string) {
	t.Helper()
	netctl(t, l.Cluster, append([]string{"bgp", "create", l.nodes[i].Name(), "--router-ip=" + l.own[i] + "/24", fmt.Sprintf("--as=%d", l.as),
		fmt.Sprintf("--neighbor-as=%d", l.router.as), "--neighbor=" + l.router.addr.String()}, flags...)...)
}

// from are containers' addresses as the router should have them: each by its node.
func (l *leaf) from(containers [2][]string) map[string]string {
	out := map[string]string{}
	for i, addrs := range containers {
		for _, a := range addrs {
			out[a+"/32"] = l.own[i]
		}
	}
	return out
}

// all are the routes that node i should learn where both nodes have these containers.
func (l *leaf) all(i int, containers [2][]string) map[string]string {
	out := map[string]string{"default": l.router.addr.String(), "60.1.1.0/24": l.router.addr.String(), "80.1.1.0/24": l.router.addr.String()}
	for _, a := range containers[1-i] {
		out[a] = l.own[1-i] // straight: the router passes the next hop on, as it is in one subnet with all
	}
	return out
}

// agreed waits until the router and both nodes know all.
func (l *leaf) agreed(t *testing.T, containers [2][]string) {
	t.Helper()
	l.router.has(t, l.from(containers))
	for i, n := range l.nodes {
		learns(t, n, l.all(i, containers))
	}
}

// reached is agreed, where the router may also stand for the other node: FRR does so at times for a neighbor of which it has just been told.
func (l *leaf) reached(t *testing.T, containers [2][]string) {
	t.Helper()
	l.router.has(t, l.from(containers))
	for i, n := range l.nodes {
		eventually(t, func() error {
			got, err := learnt(t.Context(), n)
			want := l.all(i, containers)
			for to, by := range got {
				if want[to] == l.own[1-i] && by == l.router.addr.String() {
					want[to] = by
				}
			}
			if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
				err = fmt.Errorf("%s has %v; want %v", n.Name(), got, want)
			}
			return err
		})
	}
}

// machines are such as no container is, in the prefixes of which the router tells.
var machines = []string{"50.1.1.200", "60.1.1.200", "80.1.1.200"}

// carries waits until containers of both nodes have reached each other and the machines.
func (l *leaf) carries(t *testing.T, containers [2][]string) {
	t.Helper()
	for _, to := range append(slices.Clone(machines), containers[1][0]) {
		reaches(t, l.nodes[0], "c1", to)
	}
	reaches(t, l.nodes[1], "c2", machines[1])
}

// The BGP scenarios of v1's system tests, on one fabric, one after the other; after each all reach all.
func TestNodesExchangeRoutesWithFRRByExternalBGP(t *testing.T) {
	t.Parallel()
	exchangesRoutes(t, frr, 500, 65001)
}

func TestNodesExchangeRoutesWithBIRDByInternalBGP(t *testing.T) {
	t.Parallel()
	exchangesRoutes(t, bird, 4200000001, 4200000001)
}

func exchangesRoutes(t *testing.T, kind routerKind, routerAS, nodesAS uint32) {
	c := startOnWire(t, cluster.Options{})
	l := &leaf{Cluster: c, nodes: [2]*cluster.Node{c.Nodes[0], c.Nodes[1]}, own: [2]string{"50.1.1.11", "50.1.1.12"}, as: nodesAS}
	l.router = newRouter(t, c, kind, "leaf", "50.1.1.2/24", routerAS,
		peerOf{addr: netip.MustParseAddr(l.own[0]), as: nodesAS}, peerOf{addr: netip.MustParseAddr(l.own[1]), as: nodesAS})
	network(t, c, "fabric", "-e", "vlan", "-p", "112", "-s", "20.1.0.0/16", "-g", "20.1.255.254")
	network(t, c, "tunnel", "-s", "10.1.0.0/16")
	run(t, l.nodes[0], "tunnelled", "tunnel")
	run(t, l.nodes[0], "c1", "fabric")
	run(t, l.nodes[1], "c2", "fabric")
	both := [2][]string{{address(t, l.nodes[0], "c1", "fabric")}, {address(t, l.nodes[1], "c2", "fabric")}}
	for _, a := range machines {
		must(t, l.router.Run(t.Context(), "ip", "addr", "add", a+"/32", "dev", "lo"))
	}
	step := func(name string, do func(*testing.T)) {
		t.Helper()
		if !t.Run(name, do) {
			t.FailNow() // the next ones begin where it ends
		}
	}

	step("peers are added and deleted again and again, and containers that were there before are announced", func(t *testing.T) {
		for range 2 {
			l.speak(t, 0)
			l.speak(t, 1)
			l.agreed(t, both)
			netctl(t, c, "bgp", "rm", l.nodes[0].Name())
			l.router.has(t, l.from([2][]string{nil, both[1]}))
			learns(t, l.nodes[0], map[string]string{})
			if out, err := l.nodes[0].Output(t.Context(), "ip", "-o", "addr", "show", "to", "50.1.1.0/24"); err != nil || out != "" {
				t.Errorf("a node that speaks no more has %s, %v", out, err)
			}
			netctl(t, c, "bgp", "rm", l.nodes[1].Name())
		}
		l.speak(t, 0)
		l.speak(t, 1)
		l.agreed(t, both)
		l.carries(t, both)
	})
	step("what is inspected is so", func(t *testing.T) {
		session(t, c, l.nodes[1].Name(), true)
		o := inspected(t, c, l.nodes[1].Name())
		if o.AdminStatus != "up" || o.NumRoutes != 4 || len(o.Routes) != 4 || fmt.Sprint(o.Announced) != "["+both[1][0]+"/32]" || o.Device != "eth2" {
			t.Errorf("the second node's BGP is %+v", o)
		}
		if s := o.Neighbors; len(s) != 1 || s[0].Neighbor != "50.1.1.2" || s[0].AS != routerAS || s[0].Sent != 1 || s[0].Since.IsZero() {
			t.Errorf("its sessions are %+v", s)
		}
	})
	step("containers come and go", func(t *testing.T) {
		run(t, l.nodes[1], "c3", "fabric")
		more := [2][]string{both[0], {both[1][0], address(t, l.nodes[1], "c3", "fabric")}}
		l.agreed(t, more)
		docker(t, l.nodes[1], "rm", "-f", "c3")
		l.agreed(t, both)
		l.carries(t, both)
	})
	step("the link goes down and comes up", func(t *testing.T) {
		must(t, l.nodes[0].Run(t.Context(), "ip", "link", "set", "eth2", "down"))
		session(t, c, l.nodes[0].Name(), false)
		l.router.has(t, l.from([2][]string{nil, both[1]}))
		must(t, l.nodes[0].Run(t.Context(), "ip", "link", "set", "eth2", "up"))
		session(t, c, l.nodes[0].Name(), true)
		l.agreed(t, both)
		l.carries(t, both)
	})
	step("somebody takes the router address away", func(t *testing.T) {
		must(t, l.nodes[1].Run(t.Context(), "ip", "addr", "del", l.own[1]+"/24", "dev", "eth2"))
		eventually(t, func() error {
			out, err := l.nodes[1].Output(t.Context(), "ip", "-o", "addr", "show", "to", l.own[1])
			if err == nil && out == "" {
				err = fmt.Errorf("the address is not back")
			}
			return err
		})
		session(t, c, l.nodes[1].Name(), true)
		l.agreed(t, both)
		l.carries(t, both)
	})
	step("a wrong AS, then a wrong neighbor, and the right ones after them", func(t *testing.T) {
		netctl(t, c, "bgp", "create", l.nodes[1].Name(), "--router-ip="+l.own[1]+"/24", "--as=64999", fmt.Sprintf("--neighbor-as=%d", routerAS+7), "--neighbor=50.1.1.2")
		session(t, c, l.nodes[1].Name(), false)
		l.router.has(t, l.from([2][]string{both[0], nil}))
		netctl(t, c, "bgp", "create", l.nodes[1].Name(), "--router-ip="+l.own[1]+"/24", fmt.Sprintf("--as=%d", nodesAS), fmt.Sprintf("--neighbor-as=%d", routerAS), "--neighbor=50.1.1.77")
		session(t, c, l.nodes[1].Name(), false)
		l.speak(t, 1)
		session(t, c, l.nodes[1].Name(), true)
		l.agreed(t, both)
		l.carries(t, both)
	})
	step("netplugin is restarted, with a word and without, and nobody forgets a route meanwhile", func(t *testing.T) {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			stop := l.steadfast(t, both)
			must(t, l.nodes[1].RestartAgent(t.Context(), s))
			session(t, c, l.nodes[1].Name(), true)
			l.agreed(t, both)
			l.router.heardAll(t)
			stop()
		}
		l.carries(t, both)
	})
	step("what is configured while netplugin is away holds when it comes", func(t *testing.T) {
		must(t, l.nodes[0].Agent.Stop(t.Context(), syscall.SIGTERM))
		netctl(t, c, "bgp", "rm", l.nodes[0].Name())
		l.own[0] = "50.1.1.21"
		l.router.write(t, "/etc/router.conf", kind.configure(l.router, []peerOf{{addr: netip.MustParseAddr(l.own[0]), as: nodesAS}, {addr: netip.MustParseAddr(l.own[1]), as: nodesAS}}))
		l.router.reload(t)
		l.speak(t, 0)
		must(t, l.nodes[0].StartAgent(t.Context()))
		session(t, c, l.nodes[0].Name(), true)
		l.reached(t, both)
		l.carries(t, both)
	})
	step("it is configured while the link is down", func(t *testing.T) {
		netctl(t, c, "bgp", "rm", l.nodes[0].Name())
		l.router.has(t, l.from([2][]string{nil, both[1]}))
		must(t, l.nodes[0].Run(t.Context(), "ip", "link", "set", "eth2", "down"))
		l.speak(t, 0)
		session(t, c, l.nodes[0].Name(), false)
		must(t, l.nodes[0].Run(t.Context(), "ip", "link", "set", "eth2", "up"))
		session(t, c, l.nodes[0].Name(), true)
		l.reached(t, both)
		l.carries(t, both)
	})
	step("nothing of it is left", func(t *testing.T) {
		for _, n := range l.nodes {
			netctl(t, c, "bgp", "rm", n.Name())
		}
		for _, n := range l.nodes {
			eventually(t, func() error {
				out, err := n.Output(t.Context(), "sh", "-c", "ip -o addr show to 50.1.1.0/24; ip route show table all proto 179; ip -6 route show table all proto 179; ls /run/contiv/netplugin/bgp.json 2>/dev/null || true")
				if err == nil && out != "" {
					err = fmt.Errorf("left on %s is %s", n.Name(), out)
				}
				return err
			})
		}
	})
}

// reload has the router read its configuration anew.
func (r *router) reload(t *testing.T) {
	t.Helper()
	for _, d := range []string{"bird", "bgpd", "zebra"} {
		if p, err := r.Process(d); err == nil {
			must(t, p.Kill())
		}
	}
	r.kind.start(t, r)
}

// steadfast watches until the returned function is called that neither the router nor the second node loses a route.
func (l *leaf) steadfast(t *testing.T, containers [2][]string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	looks := 0
	done.Go(func() {
		for ctx.Err() == nil {
			if got, err := l.router.kind.routes(ctx, l.router); err == nil {
				looks++
				if want := l.from(containers); !maps.Equal(got, want) {
					t.Errorf("%s, while netplugin restarts, the router has %v; want %v", time.Now(), got, want)
					return
				}
			}
			if got, err := learnt(ctx, l.nodes[1]); err == nil {
				if want := l.all(1, containers); !maps.Equal(got, want) {
					t.Errorf("%s, while netplugin restarts, the node has %v; want %v", time.Now(), got, want)
					return
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
		if looks == 0 {
			t.Error("nobody has looked at the router")
		}
	}
}

func TestNodeSpeaksWithTwoRoutersInBothFamiliesWithPasswords(t *testing.T) {
	t.Parallel()
	c := startOnWire(t, cluster.Options{})
	a := c.Nodes[0]
	v4, v6 := netip.MustParseAddr("50.1.1.11"), netip.MustParseAddr("2001:db8:50::11")
	first := newRouter(t, c, frr, "frr", "50.1.1.2/24", 500, peerOf{v4, 65001, "s3cret"}, peerOf{v6, 65001, "s3cret"})
	network(t, c, "fabric", "-e", "vlan", "-p", "112", "-s", "20.1.0.0/16", "-s6", "2001:db8:20::/64")
	run(t, a, "c1", "fabric")
	own4, own6 := address(t, a, "c1", "fabric"), address6(t, a, "c1", "fabric")
	create := func(flags ...string) {
		netctl(t, c, append([]string{"bgp", "create", a.Name(), "--router-ip=50.1.1.11/24", "--router-ip6=2001:db8:50::11/64", "--as=65001", "--hold-time=9"}, flags...)...)
	}
	create("--neighbor=50.1.1.2@500", "--neighbor=2001:db8:50::2@500", "--password=wrong")
	session(t, c, a.Name(), false)
	create("--neighbor=50.1.1.2@500", "--neighbor=2001:db8:50::2@500", "--password=s3cret")
	first.has(t, map[string]string{own4 + "/32": "50.1.1.11", own6 + "/128": "2001:db8:50::11"})
	learns(t, a, map[string]string{"default": "50.1.1.2", "60.1.1.0/24": "50.1.1.2", "80.1.1.0/24": "50.1.1.2", "2001:db8:60::/48": "2001:db8:50::2"})

	// Subnets instead of addresses, without a session that ends.
	since := inspected(t, c, a.Name()).Neighbors
	create("--neighbor=50.1.1.2@500", "--neighbor=2001:db8:50::2@500", "--password=s3cret", "--announce=subnets")
	first.has(t, map[string]string{"20.1.0.0/16": "50.1.1.11", "2001:db8:20::/64": "2001:db8:50::11"})
	for i, s := range inspected(t, c, a.Name()).Neighbors {
		if !s.Since.Equal(since[i].Since) || s.State != "established" {
			t.Errorf("the session with %s has become %+v, and was %+v", s.Neighbor, s, since[i])
		}
	}
	netctl(t, c, "bgp", "rm", a.Name())
	first.has(t, map[string]string{})
}
