// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// mark is in every frame of an attack, so that one that gets through is known wherever it turns up.
const mark = "an attack: "

// watchman notes attacks that arrive where it stands.
type watchman struct {
	mu   sync.Mutex
	seen map[string][]string // attack → where
}

// stand has the watchman look at all devices of a namespace but those that are left out.
func (w *watchman) stand(t *testing.T, place, namespace string, except func(device string) bool) {
	t.Helper()
	names := map[int]string{}
	err := netdev.Do(namespace, func() error {
		all, err := net.Interfaces()
		for _, i := range all {
			names[i.Index] = i.Name
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	newWire(t, namespace, "", allProtocols).listen(t, func(frame []byte, device int) {
		_, attack, found := bytes.Cut(frame, []byte(mark))
		if !found || except(names[device]) {
			return
		}
		name, _, _ := bytes.Cut(attack, []byte(";"))
		w.mu.Lock()
		defer w.mu.Unlock()
		if where := place + " " + names[device]; !slices.Contains(w.seen[string(name)], where) {
			w.seen[string(name)] = append(w.seen[string(name)], where)
		}
	})
}

func (w *watchman) arrived() map[string][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.seen)
}

// attack is what somebody sends who may send any frame.
type attack struct {
	name    string
	reasons []string // of the drop: one of these
	frames  [][]byte
}

// runPrivileged starts a container with --privileged, or, where the machine itself lacks capabilities, with those that networks are about.
func runPrivileged(t *testing.T, n *cluster.Node, name, network string, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "--name", name, "--net", network}, flags...)
	_, err := n.Docker(t.Context(), append(args, "--privileged", "alpine", "sleep", "100000")...)
	if err != nil && strings.Contains(err.Error(), "unable to apply caps") {
		docker(t, n, "rm", "-f", name)
		_, err = n.Docker(t.Context(), append(args, "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW", "alpine", "sleep", "100000")...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eth0MAC is a container's own, as it was given.
func eth0MAC(t *testing.T, namespace string) model.MAC {
	t.Helper()
	return deviceMAC(t, namespace, "eth0")
}

func deviceMAC(t *testing.T, namespace, device string) (mac model.MAC) {
	t.Helper()
	err := netdev.Do(namespace, func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			copy(mac[:], i.HardwareAddr)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mac
}

// Everything here is sent from a container's namespace through a packet socket, which is what CAP_NET_RAW (Docker gives it to every
// container) and --privileged allow. The datapath's own tests hold most of the reasons; here it is about the places that only a
// whole system has: the node's services, its engine's bridge, another tenant's containers, the other node.
func TestContainerThatSendsWhatItLikesReachesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64") // no gateway: what is sent to strangers goes nowhere
	network(t, c, "web", "-t", "blue", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	network(t, c, "vault", "-t", "blue", "-s", "10.9.9.0/24")
	netctl(t, c, "policy", "create", "closed")
	netctl(t, c, "policy", "rule-add", "closed", "1", "-direction=in", "-action=deny")
	netctl(t, c, "policy", "rule-add", "closed", "2", "-direction=in", "-protocol=udp", "-port=80", "-action=allow", "-priority=10")
	netctl(t, c, "policy", "rule-add", "closed", "3", "-direction=in", "-protocol=tcp", "-port=80", "-action=allow", "-priority=10")
	netctl(t, c, "group", "create", "web", "db", "-policy=closed")
	for _, n := range c.Nodes {
		eventually(t, func() error { _, err := n.Docker(t.Context(), "network", "inspect", "db.web"); return err })
	}
	run(t, a, "mallory", "web", "--ip", "10.1.2.10", "--ip6", "2001:db8:2::10")
	runPrivileged(t, b, "root", "web", "--ip", "10.1.2.11", "--ip6", "2001:db8:2::11")
	run(t, a, "near", "db", "--ip", "10.1.2.20", "--ip6", "2001:db8:2::20")
	run(t, b, "far", "db", "--ip", "10.1.2.21", "--ip6", "2001:db8:2::21")
	run(t, a, "other", "web", "--ip", "10.1.2.22", "--ip6", "2001:db8:2::22")
	run(t, a, "twin", "web/blue", "--ip", "10.1.2.30", "--ip6", "2001:db8:2::30")
	run(t, a, "safe", "vault/blue", "--ip", "10.9.9.1")
	run(t, b, "safe2", "vault/blue", "--ip", "10.9.9.2")
	reaches(t, a, "mallory", "10.1.2.22") // the flow is known: what is forged must not hit it
	reaches(t, a, "mallory", "2001:db8:2::22")
	reaches(t, b, "root", "10.1.2.22")

	addr := netip.MustParseAddr
	w := &watchman{seen: map[string][]string{}}
	inContainer := func(device string) bool { return device == "lo" }
	for name, n := range map[string]*cluster.Node{"near": a, "far": b, "other": a, "twin": a, "safe": a, "safe2": b} {
		w.stand(t, name, sandbox(t, n, name), inContainer)
	}
	for _, n := range c.Nodes {
		// What a container sends is seen on the node's side of its own pair, before any program has looked at it.
		w.stand(t, n.Name(), n.Netns(), func(device string) bool { return netdev.IsPortName(device) })
	}

	judgedThere := map[string]bool{} // attacks that a rule of the receiver's node stops, so they may cross the underlay
	vtepA, vtepB := a.Addr(), b.Addr()
	for _, who := range []struct {
		name string
		node *cluster.Node
		ip   netip.Addr
		ip6  netip.Addr
	}{{"mallory", a, addr("10.1.2.10"), addr("2001:db8:2::10")}, {"root", b, addr("10.1.2.11"), addr("2001:db8:2::11")}} {
		home := sandbox(t, who.node, who.name)
		mac := eth0MAC(t, home)
		otherMAC, nearMAC := eth0MAC(t, sandbox(t, a, "other")), eth0MAC(t, sandbox(t, a, "near"))
		safeMAC := eth0MAC(t, sandbox(t, a, "safe"))
		other, near, far, ip, ip6addr := addr("10.1.2.22"), addr("10.1.2.20"), addr("10.1.2.21"), who.ip, who.ip6
		other6, near6, far6 := addr("2001:db8:2::22"), addr("2001:db8:2::20"), addr("2001:db8:2::21")
		stranger := model.MAC{2, 2, 9, 9, 9, 9}
		everybody := model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
		all6 := model.MAC{0x33, 0x33, 0, 0, 0, 1}
		ports := uint16(20000)
		var list []attack
		say := func(name string) []byte { return []byte(mark + who.name + ", " + name + ";") }
		add := func(name, reasons string, frames ...[]byte) {
			list = append(list, attack{who.name + ", " + name, strings.Split(reasons, "|"), frames})
		}
		plain4 := func(name string, to model.MAC, from model.MAC, src, dst netip.Addr, port uint16) []byte {
			ports++
			return ethernet(to, from, unix.ETH_P_IP, ip4(src, dst, unix.IPPROTO_UDP, nil, piece{}, udp(ports, port, say(name))))
		}
		tcp4 := func(name string, to model.MAC, src, dst netip.Addr, port uint16) []byte {
			ports++
			return ethernet(to, mac, unix.ETH_P_IP, ip4(src, dst, unix.IPPROTO_TCP, nil, piece{}, syn(ports, port, say(name))))
		}
		plain6 := func(name string, from model.MAC, src, dst netip.Addr, port uint16) []byte {
			ports++
			return ethernet(model.RouterMAC, from, unix.ETH_P_IPV6, ip6(src, dst, unix.IPPROTO_UDP, 64, udp(ports, port, say(name))))
		}

		// Another's addresses.
		add("IPv4 of another", "spoofed_address", plain4("IPv4 of another", otherMAC, mac, near, other, 80))
		add("IPv4 of the node", "spoofed_address", plain4("IPv4 of the node", otherMAC, mac, vtepA, other, 80))
		add("IPv4 of the receiver", "spoofed_address", plain4("IPv4 of the receiver", otherMAC, mac, other, other, 80))
		add("loopback", "spoofed_address", plain4("loopback", otherMAC, mac, addr("127.0.0.1"), other, 80))
		add("IPv6 of another", "spoofed_address", plain6("IPv6 of another", mac, near6, other6, 80))
		add("MAC of another", "spoofed_mac", plain4("MAC of another", otherMAC, nearMAC, ip, other, 80))
		add("MAC of another, IPv6", "spoofed_mac", plain6("MAC of another, IPv6", nearMAC, ip6addr, other6, 80))
		add("MAC of the router", "spoofed_mac", plain4("MAC of the router", otherMAC, model.RouterMAC, ip, other, 80))

		// Poison for neighbours' caches.
		arp := func(name, reasons string, op uint16, to, ethFrom, senderMAC model.MAC, sender, target netip.Addr) {
			add(name, reasons, ethernet(to, ethFrom, unix.ETH_P_ARP, arpPacket(op, senderMAC, sender, model.MAC{}, target, say(name))))
		}
		arp("ARP reply for another", "spoofed_arp|arp_unsolicited", 2, otherMAC, mac, mac, near, other)
		arp("ARP reply for the gateway", "spoofed_arp|arp_unsolicited", 2, otherMAC, mac, mac, addr("10.1.2.254"), other)
		arp("ARP reply of its own", "arp_unsolicited", 2, otherMAC, mac, mac, ip, other)
		arp("ARP reply of its own with another MAC", "spoofed_arp|arp_unsolicited", 2, otherMAC, mac, stranger, ip, other)
		arp("gratuitous ARP for another", "spoofed_arp|arp_unsolicited", 1, everybody, mac, mac, near, near)
		arp("gratuitous ARP of its own", "arp_unsolicited|spoofed_arp", 1, everybody, mac, mac, ip, ip)
		arp("ARP request for another", "spoofed_arp", 1, everybody, mac, mac, near, other)
		arp("ARP request under another MAC", "spoofed_arp", 1, everybody, mac, stranger, ip, other)
		nd := func(name, reasons string, to model.MAC, src, dst netip.Addr, kind byte, body []byte) {
			m := append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, body...)
			add(name, reasons, ethernet(to, mac, unix.ETH_P_IPV6, ip6(src, dst, unix.IPPROTO_ICMPV6, 255, m, say(name))))
		}
		ownLL := append([]byte{2, 1}, mac[:]...) // target link-layer address
		allNodes := addr("ff02::1")
		nd("unsolicited advertisement for another", "spoofed_address|nd_unsolicited|multicast", all6, near6, allNodes, 136, append(near6.AsSlice(), ownLL...))
		nd("unsolicited advertisement under its own address", "nd_unsolicited|multicast", all6, ip6addr, allNodes, 136, append(near6.AsSlice(), ownLL...))
		nd("advertisement to one", "nd_unsolicited", otherMAC, ip6addr, other6, 136, append(near6.AsSlice(), ownLL...))
		nd("router advertisement", "nd_unsolicited|multicast|link_local|spoofed_address", all6, addr("fe80::1"), allNodes, 134, make([]byte, 8))
		nd("router advertisement to one", "nd_unsolicited", otherMAC, ip6addr, other6, 134, make([]byte, 8))
		nd("redirect", "nd_unsolicited", otherMAC, ip6addr, other6, 137, append(near6.AsSlice(), ip6addr.AsSlice()...))

		// The tunnels' port, of both nodes, by its own address and by theirs.
		for name, vni := range map[string]uint32{"own tenant": 1, "blue": 3} {
			inner := plain4("VXLAN, "+name, safeMAC, model.RouterMAC, addr("10.9.9.2"), addr("10.9.9.1"), 80)
			for i, x := range []struct{ from, to netip.Addr }{{ip, vtepA}, {ip, vtepB}, {vtepB, vtepA}, {vtepA, vtepB}} {
				title := fmt.Sprintf("VXLAN, %s, %d", name, i)
				reason := "unknown_destination"
				if x.from != ip {
					reason = "spoofed_address"
				}
				add(title, reason, ethernet(model.RouterMAC, mac, unix.ETH_P_IP, ip4(x.from, x.to, unix.IPPROTO_UDP, nil, piece{}, vxlanTo(vni, inner))))
			}
			title := "VXLAN to a container, " + name
			inner = plain4(title, safeMAC, model.RouterMAC, addr("10.9.9.2"), addr("10.9.9.1"), 80)
			add(title, "policy_in", ethernet(nearMAC, mac, unix.ETH_P_IP, ip4(ip, near, unix.IPPROTO_UDP, nil, piece{}, vxlanTo(vni, inner))))
		}

		// The nodes' services.
		for service, port := range map[string]uint16{"netmaster": 9999, "status": 9998, "etcd": 2379, "etcd's peers": 2380, "dockerd": 2375, "ssh": 22} {
			for _, to := range []string{vtepA.String(), vtepB.String(), "127.0.0.1", "172.18.0.1", "172.17.0.1", "10.1.2.254", "255.255.255.255"} {
				name := fmt.Sprintf("%s at %s", service, to)
				add(name, "unknown_destination|gateway|multicast", tcp4(name, model.RouterMAC, ip, addr(to), port))
			}
		}
		for _, to := range []string{"fe80::1", "::1", "2001:db8:2::1", "::ffff:192.168.2.10"} {
			name := "netmaster at " + to
			ports++
			add(name, "link_local|unknown_destination|gateway|malformed|multicast|spoofed_address",
				ethernet(model.RouterMAC, mac, unix.ETH_P_IPV6, ip6(ip6addr, addr(to), unix.IPPROTO_TCP, 64, syn(ports, 9999, say(name)))))
		}

		// Another tenant, by its MACs and by addresses that both have.
		for name, to := range map[string]netip.Addr{"another tenant's network": addr("10.9.9.1"), "its container on the other node": addr("10.9.9.2"), "another tenant's container in equal subnets": addr("10.1.2.30")} {
			add(name, "unknown_destination", plain4(name, safeMAC, mac, ip, to, 80))
		}
		add("a VLAN tag", "vlan_tag|ethertype", ethernet(safeMAC, mac, unix.ETH_P_8021Q, []byte{0, 3, 8, 0}, ip4(ip, addr("10.9.9.1"), unix.IPPROTO_UDP, nil, piece{}, udp(1, 80, say("a VLAN tag")))))
		add("two VLAN tags", "vlan_tag|ethertype", ethernet(safeMAC, mac, unix.ETH_P_8021AD, []byte{0, 3, 0x81, 0, 0, 3, 8, 0}, ip4(ip, addr("10.9.9.1"), unix.IPPROTO_UDP, nil, piece{}, udp(1, 80, say("two VLAN tags")))))
		add("another protocol", "ethertype", ethernet(everybody, mac, 0x88cc, say("another protocol"), make([]byte, 40)))
		add("broadcast", "multicast", plain4("broadcast", everybody, mac, ip, addr("10.1.2.255"), 80), plain4("broadcast", everybody, mac, ip, addr("255.255.255.255"), 80))
		list[len(list)-1].reasons = append(list[len(list)-1].reasons, "unknown_destination")

		// What might hide a port from the rules. 99 is denied.
		router := []byte{131, 7, 4, 10, 9, 9, 1, 0} // loose source route by way of another tenant's address
		record := []byte{7, 7, 4, 0, 0, 0, 0, 0}
		for _, to := range []struct {
			name string
			v4   netip.Addr
			v6   netip.Addr
		}{{"near", near, near6}, {"far", far, far6}} {
			four := func(name string, proto byte, options []byte, p piece, payload ...[]byte) []byte {
				return ethernet(nearMAC, mac, unix.ETH_P_IP, ip4(ip, to.v4, proto, options, p, payload...))
			}
			policy := func(name, more string, frame func(name string) [][]byte) {
				name += ", " + to.name
				add(name, strings.TrimSuffix("policy_in|policy_fragment|"+more, "|"), frame(name)...)
			}
			one := func(f []byte) [][]byte { return [][]byte{f} }
			policy("source route", "", func(n string) [][]byte { return one(four(n, unix.IPPROTO_UDP, router, piece{}, udp(1, 99, say(n)))) })
			policy("record route", "", func(n string) [][]byte { return one(four(n, unix.IPPROTO_UDP, record, piece{}, udp(2, 99, say(n)))) })
			policy("a first fragment", "", func(n string) [][]byte {
				return one(four(n, unix.IPPROTO_UDP, nil, piece{id: 7, more: true}, udp(3, 99, append(say(n), make([]byte, 64)...))[:72]))
			})
			policy("a later fragment alone", "", func(n string) [][]byte { return one(four(n, unix.IPPROTO_UDP, nil, piece{id: 8, offset: 64}, say(n))) })
			policy("a tiny first fragment of TCP", "malformed", func(n string) [][]byte {
				whole := syn(4, 99, append(say(n), make([]byte, 64)...))
				return [][]byte{four(n, unix.IPPROTO_TCP, nil, piece{id: 9, more: true}, whole[:8]), four(n, unix.IPPROTO_TCP, nil, piece{id: 9, offset: 8}, whole[8:])}
			})
			// The first fragment is for the open port, and another first one of the same datagram for the closed one.
			policy("an overlapping first fragment", "", func(n string) [][]byte {
				open := udp(5, 80, make([]byte, 64))
				closed := udp(5, 99, append(say(n), make([]byte, 64)...))[:72]
				return [][]byte{four(n, unix.IPPROTO_UDP, nil, piece{id: 10, more: true}, open), four(n, unix.IPPROTO_UDP, nil, piece{id: 10, more: true}, closed)}
			})
			// A later fragment that would write over the ports: offset 0 is the only one that could, as it counts in eights.
			six := func(next byte, payload ...[]byte) []byte {
				return ethernet(nearMAC, mac, unix.ETH_P_IPV6, ip6(ip6addr, to.v6, next, 64, payload...))
			}
			padded := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} } // hop-by-hop or destination options
			const hopByHop, routing, fragment, destination, nothing = 0, 43, 44, 60, 59
			policy("IPv6 hop-by-hop options", "", func(n string) [][]byte {
				return one(six(hopByHop, padded(unix.IPPROTO_UDP), udp(6, 99, say(n))))
			})
			policy("IPv6 destination options", "", func(n string) [][]byte {
				return one(six(destination, padded(unix.IPPROTO_UDP), udp(7, 99, say(n))))
			})
			policy("IPv6 routing header", "malformed", func(n string) [][]byte {
				return one(six(routing, append([]byte{unix.IPPROTO_UDP, 2, 0, 1, 0, 0, 0, 0}, near6.AsSlice()...), udp(8, 99, say(n))))
			})
			policy("IPv6, many headers", "malformed", func(n string) [][]byte {
				var chain []byte
				for range 20 {
					chain = append(chain, padded(destination)...)
				}
				return one(six(destination, append(chain, padded(unix.IPPROTO_UDP)...), udp(9, 99, say(n))))
			})
			policy("IPv6 first fragment", "", func(n string) [][]byte {
				return one(six(fragment, fragment6(unix.IPPROTO_UDP, piece{id: 11, more: true}), udp(10, 99, append(say(n), make([]byte, 64)...))[:72]))
			})
			policy("IPv6 fragment of nothing", "malformed", func(n string) [][]byte {
				return [][]byte{
					six(fragment, fragment6(destination, piece{id: 12, more: true}), padded(unix.IPPROTO_UDP)),
					six(fragment, fragment6(destination, piece{id: 12, offset: 8}), udp(11, 99, say(n))),
				}
			})
			policy("IPv6 later fragment alone", "", func(n string) [][]byte {
				return one(six(fragment, fragment6(unix.IPPROTO_UDP, piece{id: 13, offset: 64}), say(n)))
			})
			policy("IPv6 without an upper protocol", "", func(n string) [][]byte { return one(six(nothing, say(n))) })
			policy("another IP protocol", "", func(n string) [][]byte { return one(four(n, 47, nil, piece{}, []byte{0, 0, 8, 0}, say(n))) })
		}

		out := newWire(t, home, "eth0", 0)
		clients := map[*cluster.Node]func() map[string]uint64{}
		for _, n := range c.Nodes {
			client := inHost(n)
			clients[n] = func() map[string]uint64 { return dropsOf(t, client, n) }
		}
		total := func() map[string]uint64 {
			sum := map[string]uint64{}
			for _, counts := range clients {
				for reason, n := range counts() {
					sum[reason] += n
				}
			}
			return sum
		}
		before := total()
		for _, x := range list {
			if slices.Contains(x.reasons, "policy_in") {
				judgedThere[x.name] = true
			}
			for _, f := range x.frames {
				if err := out.send(f); err != nil {
					t.Fatalf("%s: %v", x.name, err)
				}
			}
			err := cluster.Eventually(t.Context(), 10*time.Second, func() error {
				now := total()
				if slices.ContainsFunc(x.reasons, func(r string) bool { return now[r] > before[r] }) {
					before = now
					return nil
				}
				for r, n := range before {
					if now[r] == n {
						delete(now, r)
					}
				}
				return fmt.Errorf("no drop is counted as %v; others that rose: %v", x.reasons, now)
			})
			if err != nil {
				t.Errorf("%s: %v", x.name, err)
			}
		}
	}
	for name, where := range w.arrived() {
		where = slices.DeleteFunc(where, func(place string) bool { return judgedThere[name] && strings.HasSuffix(place, " eth1") })
		if len(where) > 0 {
			t.Errorf("%q arrived at %q", name, where)
		}
	}
	// What is allowed still arrives, so the watchmen were awake.
	out := newWire(t, sandbox(t, a, "mallory"), "eth0", 0)
	good := ethernet(model.RouterMAC, eth0MAC(t, sandbox(t, a, "mallory")), unix.ETH_P_IP,
		ip4(addr("10.1.2.10"), addr("10.1.2.21"), unix.IPPROTO_UDP, nil, piece{}, udp(40000, 80, []byte(mark+"none;"))))
	if err := out.send(good); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if where := w.arrived()["none"]; !slices.Contains(where, "far eth0") || !slices.Contains(where, "n2 eth1") {
			return fmt.Errorf("a packet to an open port is seen at %q", where)
		}
		return nil
	})
	healthy(t, c)
}

// A container with --privileged changes its devices instead of its frames.
func TestPrivilegedContainerThatChangesItsDevicesReachesNothing(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "vault", "-t", "blue", "-s", "10.9.9.0/24")
	run(t, a, "safe", "vault/blue", "--ip", "10.9.9.1")
	run(t, b, "far", "web", "--ip", "10.1.2.20")
	runPrivileged(t, a, "root", "web", "--ip", "10.1.2.10")
	reaches(t, a, "root", "10.1.2.20")
	home := sandbox(t, a, "root")
	inside := func(line string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "nsenter", "--net="+home, "sh", "-ec", line).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
		return string(out)
	}
	mine := eth0MAC(t, home)
	inside("ip link set eth0 address 02:02:0a:01:02:14")
	reachesNot(t, a, "root", "10.1.2.20")
	inside("ip link set eth0 address " + mine.String() + "; ip addr add 10.9.9.77/24 dev eth0")
	reachesNot(t, a, "root", "10.9.9.1")
	inside("ip addr del 10.9.9.77/24 dev eth0")
	reaches(t, a, "root", "10.1.2.20")

	healthy(t, c)
}

// Docker gives a container of a network without a gateway a way out: its bridge, whose packets leave under the node's own address. So a
// tunnel's packet, sent through an ordinary socket, would come to the other node from a node that it knows, with whatever is in it.
func TestContainerDoesNotSpeakForItsNodeThroughDockersBridge(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "vault", "-t", "blue", "-s", "10.9.9.0/24")
	run(t, a, "safe", "vault/blue", "--ip", "10.9.9.1")
	run(t, b, "safe2", "vault/blue", "--ip", "10.9.9.2")
	runPrivileged(t, a, "root", "web", "--ip", "10.1.2.10")
	home := sandbox(t, a, "root")
	w := &watchman{seen: map[string][]string{}}
	for name, n := range map[string]*cluster.Node{"safe": a, "safe2": b} {
		w.stand(t, name, sandbox(t, n, name), func(device string) bool { return device == "lo" })
	}
	var tags []uint32
	for _, net := range []struct{ name, tenant string }{{"web", "default"}, {"vault", "blue"}} {
		tags = append(tags, uint32(oper(t, c, "-t", net.tenant, net.name).ExternalPktTag))
	}
	far := eth0MAC(t, sandbox(t, b, "safe2"))
	near := eth0MAC(t, sandbox(t, a, "safe"))
	for _, vtep := range []netip.Addr{a.Addr(), b.Addr()} {
		for i, x := range []struct{ from, to string }{{"10.9.9.1", "10.9.9.2"}, {"10.9.9.2", "10.9.9.1"}} {
			name := fmt.Sprintf("through Docker's bridge to %s, %d", vtep, i)
			inner := ethernet(far, near, unix.ETH_P_IP, ip4(netip.MustParseAddr(x.from), netip.MustParseAddr(x.to), unix.IPPROTO_UDP, nil, piece{}, udp(1, 80, []byte(mark+name+";"))))
			for _, tag := range tags {
				sendVXLAN(t, home, netip.AddrPortFrom(vtep, vxlanPort), tag, inner)
			}
		}
	}
	// And with the address of a node, the third one, written into the packet: nobody translates that.
	third := netip.MustParseAddr("192.168.2.77")
	client := inHost(a)
	put(t, c, client, api.ObjectPath(api.Nodes, "n3"), api.Node{VtepIP: third, VXLANPort: vxlanPort})
	put(t, c, client, api.ObjectPath(api.Endpoints, "away"), api.Endpoint{TenantName: "blue", NetworkName: "vault", HomingHost: "n3", IPv4Address: netip.MustParseAddr("10.9.9.3")})
	out := newWire(t, home, "eth1", 0)
	bridge, own := deviceMAC(t, a.Netns(), "docker_gwbridge"), deviceMAC(t, home, "eth1")
	for i, x := range []struct {
		as    netip.Addr
		inner string
	}{{third, "10.9.9.3"}, {a.Addr(), "10.9.9.1"}} {
		inner := ethernet(far, near, unix.ETH_P_IP, ip4(netip.MustParseAddr(x.inner), netip.MustParseAddr("10.9.9.2"), unix.IPPROTO_UDP, nil, piece{}, udp(1, 80, []byte(mark+fmt.Sprintf("forged, %d;", i)))))
		frame := ethernet(bridge, own, unix.ETH_P_IP, ip4(x.as, b.Addr(), unix.IPPROTO_UDP, nil, piece{}, vxlanTo(tags[1], inner)))
		if err := out.send(frame); err != nil {
			t.Fatal(err)
		}
	}
	// A packet that is right, from the node itself, says that all the others are through: the underlay keeps the order.
	reaches(t, a, "safe", "10.9.9.2")
	for name, where := range w.arrived() {
		t.Errorf("%q arrived at %q", name, where)
	}
	// A firewall that is loaded anew takes everybody's rules away. They come again.
	if out, err := a.Output(t.Context(), "nft", "delete", "table", "inet", "contiv"); err != nil {
		t.Fatal(out, err)
	}
	eventually(t, func() error {
		_, err := a.Output(t.Context(), "nft", "list", "table", "inet", "contiv")
		return err
	})
	remove(t, c, client, api.ObjectPath(api.Endpoints, "away"))
	remove(t, c, client, api.ObjectPath(api.Nodes, "n3"))
	healthy(t, c)
}

// sendVXLAN sends a tunnel's packet from an ordinary socket, three times.
func sendVXLAN(t *testing.T, namespace string, to netip.AddrPort, vni uint32, inner []byte) {
	t.Helper()
	var conn net.Conn
	if err := netdev.Do(namespace, func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(context.Background(), "udp", to.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		_, _ = conn.Write(vxlanTo(vni, inner)[8:]) // a refusal is what should come
	}
}

// A machine on the underlay that is no node is heard by nobody, whatever tenant's number it uses.
func TestStrangerOnTheUnderlayReachesNobody(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "vault", "-t", "blue", "-s", "10.9.9.0/24")
	run(t, a, "c1", "web", "--ip", "10.1.2.1")
	run(t, b, "c2", "web", "--ip", "10.1.2.2")
	run(t, a, "safe", "vault/blue", "--ip", "10.9.9.1")
	reaches(t, a, "c1", "10.1.2.2")
	w := &watchman{seen: map[string][]string{}}
	for name, n := range map[string]*cluster.Node{"c1": a, "c2": b, "safe": a} {
		w.stand(t, name, sandbox(t, n, name), func(device string) bool { return device == "lo" })
	}
	s, err := c.Lab.AddHost(t.Context(), netlab.HostOptions{Name: "stranger"})
	if err != nil {
		t.Fatal(err)
	}
	client := inHost(a)
	before := dropsOf(t, client, a)["unknown_peer"]
	sent := uint64(0)
	for tag := range uint32(5) {
		for _, x := range []struct{ from, to string }{{"10.1.2.2", "10.1.2.1"}, {"10.9.9.2", "10.9.9.1"}, {s.Addr().String(), "10.1.2.1"}} {
			name := fmt.Sprintf("network %d, %s", tag, x.from)
			to := netip.MustParseAddr(x.to)
			inner := ethernet(model.MACOf(to), model.RouterMAC, unix.ETH_P_IP, ip4(netip.MustParseAddr(x.from), to, unix.IPPROTO_UDP, nil, piece{}, udp(1, 80, []byte(mark+name+";"))))
			sendVXLAN(t, s.Netns(), netip.AddrPortFrom(a.Addr(), vxlanPort), tag, inner)
			sent += 3
		}
	}
	eventually(t, func() error {
		if got := dropsOf(t, client, a)["unknown_peer"] - before; got < sent {
			return fmt.Errorf("%d of %d packets of an unknown node are counted", got, sent)
		}
		return nil
	})
	for name, where := range w.arrived() {
		t.Errorf("%q arrived at %q", name, where)
	}
	// It becomes no router into the networks either: the nodes do not forward to containers.
	out, err := s.Command(t.Context(), "sh", "-c", "ip route add 10.1.2.0/24 via "+a.Addr().String()+" && ping -c 2 -W 1 10.1.2.1").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "100% packet loss") {
		t.Errorf("a ping from the stranger, %v: %s", err, out)
	}
	healthy(t, c)
}
