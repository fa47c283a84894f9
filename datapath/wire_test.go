// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/access"
)

// wire is a switch on which nodes' uplinks for VLANs are, and machines behind its access ports.
type wire struct {
	*space
	t     testing.TB
	ports int
}

func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{space: newSpace(t), t: t}
	snooping := false
	must(t, w.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}, MulticastSnooping: &snooping}))
	setUp(t, w.space, "switch")
	return w
}

// plug lays a cable from the switch to a device of the namespace, and gives the name of the switch's port.
func (w *wire) plug(s *space, device string) string {
	w.t.Helper()
	w.ports++
	port := "port" + string(rune('a'+w.ports))
	veth(w.t, w.space, port, s, device)
	bridge, err := w.nl.LinkByName("switch")
	must(w.t, err)
	l, err := w.nl.LinkByName(port)
	must(w.t, err)
	must(w.t, w.nl.LinkSetMaster(l, bridge))
	must(w.t, w.nl.LinkSetUp(l))
	return port
}

// machine is a plain host in a VLAN of the wire.
func (w *wire) machine(vlan uint16, addrs ...string) *container {
	w.t.Helper()
	m := &container{space: newSpace(w.t), t: w.t, node: &node{c: &cluster{t: w.t}}}
	port := w.plug(m.space, "eth0")
	must(w.t, w.do(func() error { return access.Port(port, vlan) }))
	for _, a := range addrs {
		if ip := netip.MustParsePrefix(a).Addr(); ip.Is4() {
			m.endpoint.IPv4 = ip
		} else {
			m.endpoint.IPv6 = ip
		}
	}
	l := setUp(w.t, m.space, "eth0", addrs...)
	copy(m.endpoint.MAC[:], l.Attrs().HardwareAddr)
	return m
}

// twoNodesOnWire are two nodes with an underlay and an uplink for VLANs, wl0, on one wire.
func twoNodesOnWire(t testing.TB, attach AttachMode, objects ...model.Object) (*cluster, *wire, *node, *node) {
	t.Helper()
	c := newCluster(t, objects...)
	w := newWire(t)
	a, b := newSpace(t), newSpace(t)
	veth(t, a, "ul0", b, "ul0")
	setUp(t, a, "ul0", "192.168.2.10/24")
	setUp(t, b, "ul0", "192.168.2.11/24")
	c.uplinks = []string{"wl0"}
	for _, s := range []*space{a, b} {
		w.plug(s, "wl0")
		setUp(t, s, "wl0")
	}
	return c, w, c.newNode("ul0", "192.168.2.10", a, attach), c.newNode("ul0", "192.168.2.11", b, attach)
}

func vlan46(t testing.TB, tenant, name string, tag uint32, subnet, gateway, subnet6, gateway6 string) model.Network {
	t.Helper()
	n := net46(t, tenant, name, tag, subnet, gateway, subnet6, gateway6)
	n.Encap = model.EncapVLAN
	return n
}

func lan(t testing.TB) model.Network {
	return vlan46(t, "red", "lan", 112, "10.1.3.0/24", "10.1.3.254", "fd03::/64", "fd03::fe")
}

func TestContainersOfAVLANAndMachinesOnItsWireReachEachOther(t *testing.T) {
	t.Parallel()
	c, w, a, b := twoNodesOnWire(t, AttachAuto, lan(t))
	one := a.start("red:lan", "10.1.3.1", "fd03::1")
	two := b.start("red:lan", "10.1.3.2", "fd03::2")
	same := a.start("red:lan", "10.1.3.3", "fd03::3")
	c.apply()
	m := w.machine(112, "10.1.3.254/24", "fd03::fe/64")
	for _, to := range []*container{two, same, m} {
		one.reaches(to.endpoint.IPv4)
		one.reaches(to.endpoint.IPv6)
	}
	for _, to := range []*container{one, two, same} {
		m.reaches(to.endpoint.IPv4)
		m.reaches(to.endpoint.IPv6)
	}
	for name, from := range map[string]*container{"a machine": m, "another node": two, "the same node": same} {
		for _, ip := range []netip.Addr{one.endpoint.IPv4, one.endpoint.IPv6} {
			conn := from.dial(one.serve(ip, "one"))
			buf := make([]byte, 3)
			if _, err := conn.Read(buf); err != nil || string(buf) != "one" {
				t.Errorf("%s reads %q at %s: %v", name, buf, ip, err)
			}
		}
	}
	for _, n := range c.nodes {
		if all, err := n.dp.Drops(); err != nil || len(nonZero(all)) > 0 {
			t.Logf("drops on %s: %v, %v", n.name, nonZero(all), err)
		}
	}
}

func TestMachinesInAnotherVLANReachNobody(t *testing.T) {
	t.Parallel()
	c, w, a, _ := twoNodesOnWire(t, AttachAuto, lan(t), vlan46(t, "blue", "lan", 113, "10.1.3.0/24", "", "fd03::/64", ""))
	one := a.start("red:lan", "10.1.3.1", "fd03::1")
	blue := a.start("blue:lan", "10.1.3.1", "fd03::1")
	c.apply()
	here, there := w.machine(112, "10.1.3.9/24", "fd03::9/64"), w.machine(113, "10.1.3.9/24", "fd03::9/64")
	other := w.machine(114, "10.1.3.9/24", "fd03::9/64")
	for _, ip := range []netip.Addr{one.endpoint.IPv4, one.endpoint.IPv6} {
		// The address is there twice, and each machine meets that of its VLAN.
		for name, machine := range map[string]*container{"red": here, "blue": there} {
			server := map[string]*container{"red": one, "blue": blue}[name]
			conn := machine.dial(server.serve(ip, name))
			buf := make([]byte, len(name))
			if _, err := conn.Read(buf); err != nil || string(buf) != name {
				t.Errorf("the machine in the VLAN of %s reads %q: %v", name, buf, err)
			}
		}
		other.doesNotReach(ip)
	}
}

func TestAContainerLearnsOfAMachineThatTakesOverAnAddress(t *testing.T) {
	t.Parallel()
	c, w, a, _ := twoNodesOnWire(t, AttachAuto, lan(t))
	one := a.start("red:lan", "10.1.3.1", "fd03::1")
	c.apply()
	first := w.machine(112, "10.1.3.254/24")
	one.reaches(first.endpoint.IPv4)
	eth0, err := first.nl.LinkByName("eth0")
	must(t, err)
	must(t, first.nl.LinkSetDown(eth0))
	second := w.machine(112, "10.1.3.254/24")
	second.announce()
	one.reaches(second.endpoint.IPv4)
}

// announce sends a gratuitous ARP request.
func (c *container) announce() {
	c.t.Helper()
	ip := c.endpoint.IPv4.As4()
	mac := c.endpoint.MAC[:]
	frame := append(bytes.Repeat([]byte{0xff}, 6), mac...)
	frame = append(frame, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	frame = append(append(frame, mac...), ip[:]...)
	frame = append(append(frame, 0, 0, 0, 0, 0, 0), ip[:]...)
	c.raw(c.t, "eth0").send(frame)
}

func TestSpoofedFramesFromAWireAreDropped(t *testing.T) {
	t.Parallel()
	c, w, a, b := twoNodesOnWire(t, AttachAuto, lan(t))
	one := a.start("red:lan", "10.1.3.1", "fd03::1")
	two := b.start("red:lan", "10.1.3.2", "fd03::2")
	c.apply()
	m := w.machine(112, "10.1.3.254/24")
	m.reaches(one.endpoint.IPv4)
	// The machine takes the address of a container: its packets and its ARP are not believed.
	eth0, err := m.nl.LinkByName("eth0")
	must(t, err)
	must(t, m.nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: two.endpoint.IPv4.AsSlice(), Mask: net.CIDRMask(32, 32)}}))
	m.endpoint.IPv4 = two.endpoint.IPv4
	a.wantDrop("spoofed_wire", func() { m.doesNotReach(one.endpoint.IPv4) })
	a.wantDrop("spoofed_arp", m.announce)
	one.reaches(two.endpoint.IPv4)
	// Nor is it a kubelet that probes its pods.
	probe := model.ProbeSources()[0]
	must(t, m.nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: probe.AsSlice(), Mask: net.CIDRMask(32, 32)}}))
	m.endpoint.IPv4 = probe
	a.wantDrop("spoofed_wire", func() { m.doesNotReach(one.endpoint.IPv4) })
}

// routedNodes are two nodes that are routed to each other on the wire, at 172.30.0.1 and .2, and a router at .254.
func routedNodes(t *testing.T, attach AttachMode) (*cluster, *node, *node, *container) {
	t.Helper()
	first := vlan46(t, model.DefaultTenant, "lan", 112, "10.1.3.0/24", "10.1.3.254", "fd03::/64", "fd03::fe")
	other := vlan46(t, model.DefaultTenant, "dmz", 113, "10.1.4.0/24", "10.1.4.254", "fd04::/64", "fd04::fe")
	c, w, a, b := twoNodesOnWire(t, attach, model.Tenant{Name: model.DefaultTenant, Number: 3}, first, other, model.BGP{Node: "n1"})
	for i, n := range []*node{a, b} {
		l, err := n.nl.LinkByName("wl0")
		must(t, err)
		for _, at := range []string{"172.30.0.%d/24", "fd30::%d/64"} {
			addr, err := netlink.ParseAddr(fmt.Sprintf(at, i+1))
			must(t, err)
			addr.Flags = unix.IFA_F_NODAD
			if addr.IP.To4() != nil {
				addr.Flags = 0
			}
			must(t, n.nl.AddrAdd(l, addr))
		}
	}
	r := &container{space: newSpace(t), t: t, node: a}
	w.plug(r.space, "eth0")
	r.endpoint.IPv4, r.endpoint.IPv6 = netip.MustParseAddr("172.30.0.254"), netip.MustParseAddr("fd30::fe")
	eth0 := setUp(t, r.space, "eth0", "172.30.0.254/24", "fd30::fe/64")
	copy(r.endpoint.MAC[:], eth0.Attrs().HardwareAddr)
	for prefix, via := range map[string]string{"10.1.3.1/32": "172.30.0.1", "10.1.4.2/32": "172.30.0.2", "fd03::1/128": "fd30::1", "fd04::2/128": "fd30::2"} {
		p := netip.MustParsePrefix(prefix)
		must(t, r.nl.RouteAdd(&netlink.Route{
			LinkIndex: eth0.Attrs().Index, Gw: net.IP(netip.MustParseAddr(via).AsSlice()),
			Dst: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		}))
	}
	return c, a, b, r
}

func route(prefix, via string) Route {
	r := Route{Prefix: netip.MustParsePrefix(prefix), Device: "wl0"}
	if via != "" {
		r.Via = []netip.Addr{netip.MustParseAddr(via)}
	}
	return r
}

func TestContainersOfRoutedVLANsReachEachOtherAndTheOutsideByRoutes(t *testing.T) {
	t.Parallel()
	c, a, b, r := routedNodes(t, AttachAuto)
	one := a.start("default:lan", "10.1.3.1", "fd03::1")
	two := b.start("default:dmz", "10.1.4.2", "fd04::2")
	same := a.start("default:dmz", "10.1.4.3", "fd04::3")
	c.apply()
	one.reaches(same.endpoint.IPv4) // no route is needed on one node
	a.wantDrop("no_route", func() { one.doesNotReach(two.endpoint.IPv4) })
	must(t, a.dp.SetRoutes([]Route{route("10.1.4.2/32", "172.30.0.2"), route("fd04::2/128", "fd30::2"), route("172.30.0.0/24", ""), route("fd30::/64", "")}))
	must(t, b.dp.SetRoutes([]Route{route("10.1.3.0/24", "172.30.0.1"), route("fd03::/64", "fd30::1"), route("0.0.0.0/0", "172.30.0.254"), route("::/0", "fd30::fe")}))
	wire := r.raw(t, "eth0")
	for _, to := range []netip.Addr{two.endpoint.IPv4, two.endpoint.IPv6, r.endpoint.IPv4, r.endpoint.IPv6} {
		one.reaches(to)
	}
	two.reaches(r.endpoint.IPv4)
	r.reaches(one.endpoint.IPv4)
	r.reaches(two.endpoint.IPv6)
	// It does not pass for a kubelet that probes its pods.
	router, probe := r.endpoint.IPv6, model.ProbeSources()[1]
	eth0, err := r.nl.LinkByName("eth0")
	must(t, err)
	must(t, r.nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: probe.AsSlice(), Mask: net.CIDRMask(128, 128)}, Flags: unix.IFA_F_NODAD}))
	r.endpoint.IPv6 = probe
	a.wantDrop("spoofed_wire", func() { r.doesNotReach(one.endpoint.IPv6) })
	r.endpoint.IPv6 = router
	if f := wire.receive(silence, func(f []byte) bool { return bytes.Equal(f[6:12], one.endpoint.MAC[:]) }); f != nil {
		t.Errorf("a routed container's own MAC is on the wire: %x", f)
	}
	// When the way that was better is gone, flows take the other; without any they end.
	forward(t, r.space)
	must(t, a.dp.SetRoutes([]Route{route("172.30.0.0/24", ""), route("10.1.4.0/24", "172.30.0.254")}))
	one.reaches(two.endpoint.IPv4) // by the router now
	must(t, a.dp.SetRoutes(nil))
	a.wantDrop("no_route", func() { one.doesNotReach(two.endpoint.IPv4) })
	// A router of IPv6 is no way for IPv4.
	must(t, a.dp.SetRoutes([]Route{route("fd30::/64", ""), route("::/0", "fd30::fe")}))
	one.reaches(r.endpoint.IPv6)
	a.wantDrop("no_route", func() { one.doesNotReach(two.endpoint.IPv4) })
}

func TestRoutedContainersAreNotReachedUnderTheirNodesContainersAddresses(t *testing.T) {
	t.Parallel()
	c, a, b, r := routedNodes(t, AttachClsact)
	one := a.start("default:lan", "10.1.3.1", "fd03::1")
	b.start("default:dmz", "10.1.4.2", "fd04::2")
	a.start("default:dmz", "10.1.4.3", "fd04::3")
	c.apply()
	a.wantDrop("no_route", func() { r.doesNotReach(one.endpoint.IPv4) }) // there is no way back
	must(t, a.dp.SetRoutes([]Route{route("172.30.0.0/24", "")}))
	r.reaches(one.endpoint.IPv4)
	eth0, err := r.nl.LinkByName("eth0")
	must(t, err)
	must(t, r.nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 1, 4, 3), Mask: net.CIDRMask(32, 32)}}))
	r.endpoint.IPv4 = netip.MustParseAddr("10.1.4.3")
	a.wantDrop("spoofed_wire", func() { r.doesNotReach(one.endpoint.IPv4) })
}

func TestUplinksAreAsBeforeWhenTheDataPathIsRemoved(t *testing.T) {
	t.Parallel()
	for _, attach := range []AttachMode{AttachAuto, AttachClsact} {
		_, _, a, _ := twoNodesOnWire(t, attach, lan(t))
		promiscuous := func() bool {
			l, err := a.nl.LinkByName("wl0")
			must(t, err)
			return l.Attrs().RawFlags&unix.IFF_PROMISC != 0
		}
		if !promiscuous() {
			t.Error("the uplink does not take frames for containers")
		}
		// A restart finds it as it left it, and still knows that it was its own doing.
		must(t, a.dp.Close())
		a.open()
		must(t, a.dp.Close())
		must(t, a.do(func() error { return Remove(a.opts.PinDir) }))
		if promiscuous() {
			t.Error("the uplink still takes frames for containers")
		}
		a.open()
	}
}

func TestUplinksThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	_, n := oneNode(t, AttachClsact)
	must(t, n.dp.Close())
	defer n.open()
	for uplinks, word := range map[string]string{"nosuch": "does not exist", "ul0": "own address", "lo": "not an Ethernet"} {
		o := n.opts
		o.Uplinks = []string{uplinks}
		err := n.do(func() error {
			d, err := Open(o)
			if err == nil {
				d.Close()
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), uplinks) {
			t.Errorf("uplink %s: %v; want a text with %q", uplinks, err, word)
		}
	}
}

func TestFlowsOfAVLANFollowTheUplinkInUse(t *testing.T) {
	t.Parallel()
	c := newCluster(t, lan(t))
	w, s := newWire(t), newSpace(t)
	veth(t, s, "ul0", newSpace(t), "ul0")
	setUp(t, s, "ul0", "192.168.2.10/24")
	c.uplinks = []string{"wl0", "wl1"}
	for _, device := range c.uplinks {
		w.plug(s, device)
		setUp(t, s, device)
	}
	n := c.newNode("ul0", "192.168.2.10", s, AttachAuto)
	one := n.start("red:lan", "10.1.3.1", "fd03::1")
	c.apply()
	m := w.machine(112, "10.1.3.254/24", "fd03::fe/64")
	for _, uplink := range []string{"wl1", "wl0", "wl1"} {
		must(t, n.dp.UseUplink(uplink))
		seen := n.raw(t, uplink)
		one.reaches(m.endpoint.IPv4)
		one.reaches(m.endpoint.IPv6)
		if seen.receive(patience, func(f []byte) bool { return bytes.Equal(f[6:12], one.endpoint.MAC[:]) }) == nil {
			t.Errorf("no frame leaves by %s", uplink)
		}
	}
	if err := n.dp.UseUplink("ul0"); err == nil || !strings.Contains(err.Error(), "ul0") {
		t.Errorf("the underlay's device is used as an uplink: %v", err)
	}
}
