// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// infra46 is a network of nodes.
func infra46(t *testing.T) model.Network {
	t.Helper()
	n := net46(t, "red", "host", 9, "132.1.1.0/24", "132.1.1.254", "fd09::/64", "fd09::ff")
	n.Type = model.NetworkInfra
	return n
}

// place gives the node itself a place in an infra network, with routes to subnets. It is what a container is, but for its namespace.
func (n *node) place(networkKey, addr, addr6 string, routes ...string) *container {
	t := n.c.t
	t.Helper()
	network, ok := n.c.world.Networks.Get(networkKey)
	if !ok {
		t.Fatalf("no network %s", networkKey)
	}
	ip := netip.MustParseAddr(addr)
	e := model.Endpoint{
		ID: model.InfraEndpoint(network.Name, n.name), Tenant: network.Tenant, Network: network.Name, Node: n.name, Runtime: model.RuntimeNode,
		Port: model.InfraPort(network.Name), IPv4: ip, IPv6: netip.MustParseAddr(addr6), MAC: model.MACOf(ip),
	}
	veth(t, n.space, network.Name, n.space, e.Port)
	device, err := n.nl.LinkByName(network.Name)
	must(t, err)
	must(t, n.nl.LinkSetHardwareAddr(device, e.MAC[:]))
	must(t, n.nl.LinkSetMTU(device, 1450))
	setUp(t, n.space, e.Port)
	setUp(t, n.space, network.Name, netip.PrefixFrom(ip, 24).String(), netip.PrefixFrom(e.IPv6, 64).String())
	for _, r := range routes {
		to := netip.MustParsePrefix(r)
		gateway := network.Pool(to.Addr()).Gateway
		must(t, n.nl.RouteAdd(&netlink.Route{
			LinkIndex: device.Attrs().Index, Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}, Gw: net.IP(gateway.AsSlice()),
		}))
	}
	must(t, n.dp.Attach(e.Port))
	n.c.put(e)
	return &container{space: n.space, t: t, node: n, endpoint: e}
}

func TestNodesAndContainersReachEachOther(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, a, b := twoNodes(t, mode, infra46(t),
			net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"), net4(t, "blue", "web", 2, "10.1.1.0/24", "10.1.1.254"))
		hostA := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24", "fd01::/64")
		hostB := b.place("red:host", "132.1.1.2", "fd09::2", "10.1.1.0/24", "fd01::/64")
		here, there := a.start("red:web", "10.1.1.1", "fd01::a"), b.start("red:web", "10.1.1.2", "fd01::b")
		stranger := a.start("blue:web", "10.1.1.3")
		c.apply()
		for _, to := range []*container{here, there, hostB} {
			hostA.reaches(to.endpoint.IPv4)
			hostA.reaches(to.endpoint.IPv6)
			for _, v6 := range []bool{false, true} {
				sendsMuch(t, hostA, to, v6)
				sendsMuch(t, to, hostA, v6)
			}
		}
		for _, host := range []*container{hostA, hostB} {
			here.reaches(host.endpoint.IPv4)
			here.reaches(host.endpoint.IPv6)
			stranger.doesNotReach(host.endpoint.IPv4)
		}
		hostA.reaches(netip.MustParseAddr("132.1.1.254")) // its network's gateway is everywhere
		hostA.doesNotReach(stranger.endpoint.IPv4)
	})
}

// What is not from the node's own address would come back to nobody, or be somebody else's.
func TestNodeCannotSendUnderOthersAddresses(t *testing.T) {
	t.Parallel()
	c, a, b := twoNodes(t, AttachClsact, infra46(t), net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	host := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24")
	there := b.start("red:web", "10.1.1.2")
	c.apply()
	setUp(t, a.space, "lo", "203.0.113.1/32")
	host.reaches(there.endpoint.IPv4) // and has found out the gateway's MAC
	a.wantDrop("spoofed_address", func() {
		stranger := *host
		stranger.endpoint.IPv4 = netip.MustParseAddr("203.0.113.1")
		stranger.doesNotReach(there.endpoint.IPv4)
	})
	host.reaches(there.endpoint.IPv4)
}

func TestNodeMeetsPolicyAsAMemberOfItsNetwork(t *testing.T) {
	t.Parallel()
	c, a, b := twoNodes(t, AttachClsact, infra46(t), redWeb(t))
	host := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24", "fd01::/64")
	here, there, other := a.startDual(1), b.startDual(2), a.startDual(3)
	open := with(in(model.Allow, "tcp", 8080), 10)
	open.FromNetwork = "host"
	c.withPolicy("g", "web", "p", with(in(model.Deny, "tcp", 0), 1), open)
	here.join("g")
	there.join("g")
	c.apply()
	for _, to := range []*container{here, there} {
		for _, addr := range to.endpoint.Addrs() {
			to.listen(addr, 8080)
			to.listen(addr, 8081)
			host.connects(netip.AddrPortFrom(addr, 8080))
			host.doesNotConnect(netip.AddrPortFrom(addr, 8081))
			other.doesNotConnect(netip.AddrPortFrom(addr, 8080))
		}
	}
}

func TestNodeIsAClientOfServices(t *testing.T) {
	t.Parallel()
	c, a, b := twoNodes(t, AttachAuto, infra46(t), redWeb(t), web())
	host := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24", "fd01::/64")
	p1, p2 := a.startDual(11, "app", "web"), b.startDual(12, "app", "web")
	c.apply()
	p1.provide("p1")
	p2.provide("p2")
	for _, to := range families(web(), 80) {
		met := map[string]bool{}
		for range 40 {
			conn, name, seen := host.greeting(to)
			met[name] = true
			if mine := conn.LocalAddr().(*net.TCPAddr).AddrPort(); seen != mine {
				t.Fatalf("the provider sees %s, and it is %s", seen, mine)
			}
			wantEcho(t, conn, 10000)
			conn.Close()
		}
		if !met["p1"] || !met["p2"] {
			t.Errorf("%s: 40 connections met %v", to, met)
		}
		host.reaches(to.Addr()) // answered on the node
	}
}

// In a VLAN the node is a station on the wire, as its containers are.
func TestNodeInAVLANReachesNodesAndMachinesOnTheWire(t *testing.T) {
	t.Parallel()
	network := infra46(t)
	network.Encap, network.Tag = model.EncapVLAN, 112
	c, w, a, b := twoNodesOnWire(t, AttachAuto, network)
	one, two := a.place("red:host", "132.1.1.1", "fd09::1"), b.place("red:host", "132.1.1.2", "fd09::2")
	c.apply()
	m := w.machine(112, "132.1.1.254/24", "fd09::ff/64")
	all := []*container{one, two, m}
	for _, from := range all {
		for _, to := range all {
			if from != to {
				from.reaches(to.endpoint.IPv4)
				from.reaches(to.endpoint.IPv6)
			}
		}
	}
	sendsMuch(t, one, m, false)
	sendsMuch(t, m, two, true)
}

// marked is a dialer whose packets have the mark, as netfilter gives it to them.
func marked(mark uint32) net.Dialer {
	return net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark)) })
		return errors.Join(err, failed)
	}}
}

// As a kubelet, whose probes pass. What comes by a node's port has the same addresses when it leaves the node's stack.
func TestOnlyWhatTheNodeItselfSendsPassesPoliciesOfItsPods(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, a, b := twoNodes(t, mode, infra46(t), redWeb(t))
		host, other := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24", "fd01::/64"), b.place("red:host", "132.1.1.2", "fd09::2", "10.1.1.0/24", "fd01::/64")
		pod := a.startDual(1).pod()
		all := model.NetworkPolicyRule{Ports: []model.PolicyPort{{Protocol: "TCP", Port: 8081}}, Peers: []model.NetworkPolicyPeer{
			{Block: &model.IPBlock{CIDR: netip.MustParsePrefix("132.1.1.0/24")}}, {Block: &model.IPBlock{CIDR: netip.MustParsePrefix("fd09::/64")}},
		}}
		c.put(model.NetworkPolicy{Namespace: "shop", Name: "some", IsolatesIngress: true, Ingress: []model.NetworkPolicyRule{all}})
		c.apply()
		own := marked(OwnMark | 0x4000) // others' bits mean nothing
		for _, addr := range pod.endpoint.Addrs() {
			pod.listen(addr, 8080)
			pod.listen(addr, 8081)
			for range 2 { // the same addresses, by turns
				var probe net.Conn
				must(t, host.do(func() (err error) {
					probe, err = own.Dial("tcp", netip.AddrPortFrom(addr, 8080).String())
					return err
				}))
				must(t, echoes(probe, patience))
				a.wantDrop("policy_in", func() { host.doesNotConnect(netip.AddrPortFrom(addr, 8080)) })
				host.connects(netip.AddrPortFrom(addr, 8081)) // as the address that it shows
				must(t, echoes(probe, patience))
				probe.Close()
			}
			other.doesNotConnect(netip.AddrPortFrom(addr, 8080))
			other.connects(netip.AddrPortFrom(addr, 8081))
		}
	})
}

// The pod answers the node's address, whoever has lent it: its answers must not have the connection count as the node's.
func TestConnectionUnderALentAddressEndsWhenRulesAreAskedAgain(t *testing.T) {
	t.Parallel()
	c, a, _ := twoNodes(t, AttachAuto, infra46(t), redWeb(t))
	host := a.place("red:host", "132.1.1.1", "fd09::1", "10.1.1.0/24", "fd01::/64")
	pod := a.startDual(1).pod()
	g := c.world.Global()
	g.Established = model.EstablishedRecheck
	c.put(g)
	c.put(model.NetworkPolicy{Namespace: "shop", Name: "all", IsolatesIngress: true, Ingress: []model.NetworkPolicyRule{{}}})
	c.apply()
	for _, addr := range pod.endpoint.Addrs() {
		served := make(chan net.Conn, 1)
		var l net.Listener
		must(t, pod.do(func() (err error) {
			l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 8080).String())
			return err
		}))
		accept(l, func(conn net.Conn) {
			served <- conn
			_, _ = io.Copy(conn, conn)
		})
		client := host.connects(netip.AddrPortFrom(addr, 8080))
		c.put(model.NetworkPolicy{Namespace: "shop", Name: "all", IsolatesIngress: true})
		c.apply()
		_, err := (<-served).Write([]byte{1})
		must(t, err)
		a.wantDrop("policy_in", func() {
			if err := echoes(client, silence); err == nil { // what was sent unasked
				err = echoes(client, silence)
				if err == nil {
					t.Errorf("%s: a connection that no policy lets in goes on", addr)
				}
			}
		})
		c.put(model.NetworkPolicy{Namespace: "shop", Name: "all", IsolatesIngress: true, Ingress: []model.NetworkPolicyRule{{}}})
		c.apply()
		client.Close()
		l.Close()
	}
}
