// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// router is a real one on the underlay: what a data centre's leaf is to a node.
type router struct {
	*netlab.Host
	kind routerKind
	addr netip.Addr // towards the nodes
	as   uint32
}

// routerKind is whose program it is.
type routerKind struct {
	name string
	// programs must be there; the first is looked for in PATH, where it is no path.
	programs []string
	// configure writes the configuration of a router that speaks with the nodes; start starts it.
	configure func(r *router, nodes []peerOf) string
	start     func(t *testing.T, r *router)
	// routes are the prefixes that it has from neighbors, with the next hop of each.
	routes func(ctx context.Context, r *router) (map[string]string, error)
	// status is a command, and stale the words in what it prints while the router keeps routes from before a neighbor's restart.
	status []string
	stale  string
}

// peerOf is a node as its router sees it.
type peerOf struct {
	addr     netip.Addr
	as       uint32
	password string
}

// beyond are prefixes that routers announce.
var beyond = []string{"0.0.0.0/0", "60.1.1.0/24", "80.1.1.0/24"}

var frr = routerKind{
	name: "FRR", programs: []string{"/usr/lib/frr/zebra", "/usr/lib/frr/bgpd", "vtysh"},
	configure: func(r *router, nodes []peerOf) string {
		var b strings.Builder
		fmt.Fprintf(&b, "log stdout\ndebug bgp neighbor-events\ndebug bgp graceful-restart\n") // shown where a test fails
		fmt.Fprintf(&b, "router bgp %d\n bgp router-id %s\n no bgp ebgp-requires-policy\n no bgp network import-check\n no bgp default ipv4-unicast\n bgp cluster-id %s\n timers bgp 3 9\n", r.as, r.id(), r.id())
		for _, n := range nodes {
			fmt.Fprintf(&b, " neighbor %s remote-as %d\n neighbor %s timers connect 1\n neighbor %s advertisement-interval 0\n", n.addr, n.as, n.addr, n.addr)
			if n.password != "" {
				fmt.Fprintf(&b, " neighbor %s password %s\n", n.addr, n.password)
			}
		}
		for _, v6 := range []bool{false, true} {
			family, prefixes := "ipv4", beyond
			if v6 {
				family, prefixes = "ipv6", []string{"2001:db8:60::/48"}
			}
			fmt.Fprintf(&b, " address-family %s unicast\n", family)
			for _, p := range prefixes {
				fmt.Fprintf(&b, "  network %s\n", p)
			}
			for _, n := range nodes {
				if n.addr.Is6() != v6 {
					continue
				}
				fmt.Fprintf(&b, "  neighbor %s activate\n", n.addr)
				if n.as == r.as {
					fmt.Fprintf(&b, "  neighbor %s route-reflector-client\n", n.addr)
				}
			}
			fmt.Fprintf(&b, " exit-address-family\n")
		}
		return b.String()
	},
	start: func(t *testing.T, r *router) {
		must(t, r.Run(t.Context(), "install", "-d", "-o", "frr", "-g", "frr", "/run/frr")) // its daemons are user frr
		for _, d := range []string{"zebra", "bgpd"} {
			args := []string{"-z", "/run/frr/zserv.api", "-i", "/run/frr/" + d + ".pid", "--vty_socket", "/run/frr", "-f", "/etc/router.conf", "-A", "127.0.0.1"}
			if _, err := r.Start(d, "/usr/lib/frr/"+d, args...); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error { return r.Run(t.Context(), "test", "-S", "/run/frr/"+d+".vty") })
		}
	},
	routes: func(ctx context.Context, r *router) (map[string]string, error) {
		out := map[string]string{}
		for _, family := range []string{"ipv4", "ipv6"} {
			text, err := r.Output(ctx, "vtysh", "--vty_socket", "/run/frr", "-c", "show bgp "+family+" unicast json")
			if err != nil {
				return nil, err
			}
			var table struct {
				Routes map[string][]struct {
					Bestpath bool
					PeerID   string `json:"peerId"`
					Nexthops []struct{ IP string }
				}
			}
			if err := json.Unmarshal([]byte(text), &table); err != nil {
				return nil, fmt.Errorf("vtysh says %s: %w", text, err)
			}
			for prefix, paths := range table.Routes {
				for _, p := range paths {
					if p.Bestpath && p.PeerID != "(unspec)" && len(p.Nexthops) > 0 {
						out[prefix] = p.Nexthops[0].IP
					}
				}
			}
		}
		return out, nil
	},
	status: []string{"vtysh", "--vty_socket", "/run/frr", "-c", "show bgp ipv4 unicast json"}, stale: `"stale":true`,
}

var bird = routerKind{
	name: "BIRD", programs: []string{"bird", "birdc"},
	configure: func(r *router, nodes []peerOf) string {
		var b strings.Builder
		fmt.Fprintf(&b, "log stderr all;\ndebug protocols { states, events };\nrouter id %s;\nprotocol device {}\nprotocol static { ipv4;\n", r.id())
		for _, p := range beyond {
			fmt.Fprintf(&b, "  route %s blackhole;\n", p)
		}
		fmt.Fprintf(&b, "}\nprotocol static { ipv6; route 2001:db8:60::/48 blackhole; }\n")
		fmt.Fprintf(&b, "protocol kernel { ipv4 { export where source = RTS_BGP; }; }\n")
		for i, n := range nodes {
			family := "ipv4"
			if n.addr.Is6() {
				family = "ipv6"
			}
			fmt.Fprintf(&b, "protocol bgp n%d {\n  local %s as %d;\n  neighbor %s as %d;\n  hold time 9;\n  connect delay time 1;\n  connect retry time 2;\n  error wait time 1, 2;\n  graceful restart on;\n",
				i, r.addrOf(n.addr), r.as, n.addr, n.as)
			if n.as == r.as {
				fmt.Fprintf(&b, "  rr client;\n")
			}
			if n.password != "" {
				fmt.Fprintf(&b, "  password %q;\n", n.password)
			}
			// A neighbor of internal BGP is far away for BIRD, unless told otherwise, and what it announces not to be reached without other routes.
			fmt.Fprintf(&b, "  direct;\n  %s { import all; export all; };\n}\n", family)
		}
		return b.String()
	},
	start: func(t *testing.T, r *router) {
		if _, err := r.Start("bird", "bird", "-f", "-c", "/etc/router.conf", "-s", "/run/bird.ctl"); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return r.Run(t.Context(), "birdc", "-s", "/run/bird.ctl", "show", "status") })
	},
	routes: func(ctx context.Context, r *router) (map[string]string, error) {
		text, err := r.Output(ctx, "birdc", "-s", "/run/bird.ctl", "show route all")
		if err != nil {
			return nil, err
		}
		out, prefix := map[string]string{}, ""
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) > 1 && strings.Contains(words[0], "/") && !strings.HasPrefix(line, "\t") {
				prefix = words[0]
			}
			if len(words) == 2 && words[0] == "BGP.next_hop:" && out[prefix] == "" {
				out[prefix] = words[1]
			}
		}
		return out, nil
	},
	status: []string{"birdc", "-s", "/run/bird.ctl", "show protocols all"}, stale: "graceful restart active",
}

// heardAll waits until neighbors that were restarted have told the router all. One that goes again before it has done so is forgotten
// (RFC 4724, section 4.2: what is stale already is deleted).
func (r *router) heardAll(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		out, err := r.Output(t.Context(), r.kind.status[0], r.kind.status[1:]...)
		if err == nil && strings.Contains(out, r.kind.stale) {
			err = fmt.Errorf("%s still waits for a neighbor that was restarted: %s", r.kind.name, out)
		}
		return err
	})
}

// id is the router's BGP identifier.
func (r *router) id() string { return r.addr.String() }

// addrOf is the router's address in the family of a node's.
func (r *router) addrOf(node netip.Addr) netip.Addr {
	if node.Is4() {
		return r.addr
	}
	return netip.MustParseAddr("2001:db8:50::2")
}

// newRouter puts a router on the underlay and starts it. Its address in IPv6 is 2001:db8:50::2.
func newRouter(t *testing.T, c *cluster.Cluster, kind routerKind, name, addr string, as uint32, nodes ...peerOf) *router {
	t.Helper()
	for _, p := range kind.programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is needed: test/prepare build installs it: %v", kind.name, err)
		}
	}
	h, err := c.Lab.AddHost(t.Context(), netlab.HostOptions{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	r := &router{Host: h, kind: kind, addr: netip.MustParsePrefix(addr).Addr(), as: as}
	must(t, r.Run(t.Context(), "ip", "addr", "add", addr, "dev", "eth2"))
	must(t, r.Run(t.Context(), "ip", "addr", "add", "2001:db8:50::2/64", "dev", "eth2", "nodad"))
	must(t, r.Run(t.Context(), "sysctl", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")) // as it may stand for a node
	r.write(t, "/etc/router.conf", kind.configure(r, nodes))
	kind.start(t, r)
	return r
}

// write puts a file into the router's own file system.
func (r *router) write(t *testing.T, path, text string) {
	t.Helper()
	c := r.Command(t.Context(), "tee", path)
	c.Stdin = strings.NewReader(text)
	if _, err := c.CombinedOutput(); err != nil {
		t.Fatal(err)
	}
}

// has waits until the router has exactly these prefixes from the nodes, each with its next hop.
func (r *router) has(t *testing.T, want map[string]string) {
	t.Helper()
	eventually(t, func() error {
		got, err := r.kind.routes(t.Context(), r)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("%s has %v; want %v", r.kind.name, got, want)
		}
		return err
	})
}

// learns waits until the node's table has exactly these routes, as prefix → next hops, beside those to its routers' subnets.
func learns(t *testing.T, n *cluster.Node, want map[string]string) {
	t.Helper()
	eventually(t, func() error {
		got, err := learnt(t.Context(), n)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("%s has %v; want %v", n.Name(), got, want)
		}
		return err
	})
}

// learnt are the routes of the node's table that go by a router.
func learnt(ctx context.Context, n *cluster.Node) (map[string]string, error) {
	out := map[string]string{}
	for _, family := range []string{"-4", "-6"} {
		text, err := n.Output(ctx, "ip", "-j", family, "route", "show", "table", "179")
		if err != nil {
			if strings.Contains(err.Error(), "does not exist") { // no route was ever in it
				continue
			}
			return nil, err
		}
		if text == "" {
			continue
		}
		var routes []struct {
			Dst, Gateway, Protocol string
			Nexthops               []struct{ Gateway string }
		}
		if err := json.Unmarshal([]byte(text), &routes); err != nil {
			return nil, fmt.Errorf("ip route says %s: %w", text, err)
		}
		for _, r := range routes {
			var via []string
			if r.Gateway != "" {
				via = append(via, r.Gateway)
			}
			for _, h := range r.Nexthops {
				via = append(via, h.Gateway)
			}
			if len(via) > 0 {
				out[r.Dst] = strings.Join(via, " ")
			}
		}
	}
	return out, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// netctlOn runs netctl on a host of one's choice.
func netctlOn(t *testing.T, c *cluster.Cluster, n *cluster.Node, args ...string) string {
	t.Helper()
	out, err := n.Output(t.Context(), filepath.Join(programs.Dir(t), "netctl"), append([]string{"--netmaster", c.MasterURL()}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
