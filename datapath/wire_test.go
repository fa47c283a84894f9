// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

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
}
