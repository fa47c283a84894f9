// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
)

// lanWeb is web in the VLAN of lan.
func lanWeb(tenant string) model.Service {
	s := web()
	s.Tenant, s.Network, s.IPv4, s.IPv6 = tenant, "lan", netip.MustParseAddr("10.1.3.99"), netip.MustParseAddr("fd03::99")
	return s
}

// wantProviders dials until all of them have answered, and each time wants its own address to have been seen.
func (c *container) wantProviders(to netip.AddrPort, names ...string) {
	c.t.Helper()
	met := map[string]int{}
	for range 20 * len(names) {
		conn, name, seen := c.greeting(to)
		met[name]++
		if mine := conn.LocalAddr().(*net.TCPAddr).AddrPort(); seen != mine && seen.Addr() != to.Addr() {
			c.t.Fatalf("%s sees %s, and it is %s", name, seen, mine)
		}
		wantEcho(c.t, conn, 20000)
		conn.Close()
	}
	if len(met) != len(names) {
		c.t.Errorf("%s: %d connections met %v, not %v", to, 20*len(names), met, names)
	}
}

func TestServiceOfAVLANIsReachedFromItsContainersOnBothNodes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{model.ARPProxy, model.ARPFlood} {
		t.Run("ARP mode "+mode, func(t *testing.T) {
			t.Parallel()
			g := model.DefaultGlobal()
			g.ARPMode = mode
			c, w, a, b := twoNodesOnWire(t, AttachAuto, g, lan(t), redWeb(t), lanWeb("red"))
			near, far := a.start("red:lan", "10.1.3.1", "fd03::1"), b.start("red:lan", "10.1.3.2", "fd03::2")
			p1 := a.start("red:lan", "10.1.3.11", "fd03::11").label("app", "web")
			p2 := b.start("red:lan", "10.1.3.12", "fd03::12").label("app", "web")
			other := b.startDual(5, "app", "web") // of a network that the VLAN does not reach
			c.apply()
			for name, p := range map[string]*container{"p1": p1, "p2": p2, "other": other} {
				p.provide(name)
			}
			m := w.machine(112, "10.1.3.200/24", "fd03::c8/64")
			for _, to := range families(lanWeb("red"), 80) {
				for _, client := range []*container{near, far, p1, p2} { // providers reach themselves, too
					client.wantProviders(to, "p1", "p2")
					client.reaches(to.Addr())
				}
				udp := near.asks(netip.AddrPortFrom(to.Addr(), 53))
				udp.Write(make([]byte, 4000))
				must(t, udp.SetReadDeadline(deadline()))
				if n, err := udp.Read(make([]byte, 8000)); err != nil || n != 4003 {
					t.Errorf("%s: an answer of %d bytes, %v", to, n, err)
				}
				err := near.do(func() error {
					_, err := net.DialTimeout("tcp", netip.AddrPortFrom(to.Addr(), 81).String(), patience)
					return err
				})
				if !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("port 81 of %s: %v", to.Addr(), err)
				}
				m.doesNotReach(to.Addr()) // nobody on the wire has it
				b.wantDrop("other_network", func() { other.doesNotReach(to.Addr()) })
			}
			m.reaches(near.endpoint.IPv4)
			near.reaches(m.endpoint.IPv6)
		})
	}
}

func TestMachineOnAWireIsNotBelievedToBeAService(t *testing.T) {
	t.Parallel()
	c, w, a, _ := twoNodesOnWire(t, AttachAuto, lan(t), lanWeb("red"))
	one := a.start("red:lan", "10.1.3.1", "fd03::1")
	p := a.start("red:lan", "10.1.3.11", "fd03::11").label("app", "web")
	c.apply()
	p.provide("p")
	vip := lanWeb("red").IPv4
	m := w.machine(112, "10.1.3.99/24")
	eth0, err := m.nl.LinkByName("eth0")
	must(t, err)
	mac := model.MACOf(vip)
	must(t, m.nl.LinkSetHardwareAddr(eth0, mac[:]))
	m.endpoint.IPv4, m.endpoint.MAC = vip, mac
	a.wantDrop("spoofed_arp", m.announce)
	must(t, m.nl.NeighAdd(&netlink.Neigh{
		LinkIndex: eth0.Attrs().Index, State: netlink.NUD_PERMANENT, IP: one.endpoint.IPv4.AsSlice(), HardwareAddr: one.endpoint.MAC[:],
	}))
	a.wantDrop("spoofed_wire", func() { m.doesNotReach(one.endpoint.IPv4) })
	one.wantProviders(netip.AddrPortFrom(vip, 80), "p")
}

func TestServiceOfARoutedVLANHasProvidersInAllOfThem(t *testing.T) {
	t.Parallel()
	c, a, b, _ := routedNodes(t, AttachAuto)
	one := a.start("default:lan", "10.1.3.1", "fd03::1").label("app", "web")
	two := b.start("default:dmz", "10.1.4.2", "fd04::2").label("app", "web")
	same := a.start("default:dmz", "10.1.4.3", "fd04::3")
	s := lanWeb(model.DefaultTenant)
	c.put(s)
	c.apply()
	must(t, a.dp.SetRoutes([]Route{route("10.1.4.2/32", "172.30.0.2"), route("fd04::2/128", "fd30::2")}))
	must(t, b.dp.SetRoutes([]Route{route("10.1.3.1/32", "172.30.0.1"), route("fd03::1/128", "fd30::1"), route("10.1.4.3/32", "172.30.0.1"), route("fd04::3/128", "fd30::1")}))
	one.provide("one")
	two.provide("two")
	for _, to := range families(s, 80) {
		for _, client := range []*container{one, two, same} {
			client.wantProviders(to, "one", "two")
		}
	}
}
