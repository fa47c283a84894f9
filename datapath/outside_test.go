// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// far is a machine outside, to which the node is the router of the private subnet: it sees the addresses that no masquerading hides.
type far struct{ *container }

var farAddr = netip.MustParseAddr("203.0.113.9")

// openOutside gives the node its end of the way to the outside, and a machine beyond it.
func (n *node) openOutside() far {
	t := n.c.t
	t.Helper()
	o := n.tables().Outside
	veth(t, n.space, model.OutsideDevice, n.space, model.OutsidePort)
	out, err := n.nl.LinkByName(model.OutsideDevice)
	must(t, err)
	must(t, n.nl.LinkSetHardwareAddr(out, o.MAC[:]))
	must(t, n.nl.LinkSetARPOff(out))
	setUp(t, n.space, model.OutsidePort)
	setUp(t, n.space, model.OutsideDevice, o.IPv4.String(), o.IPv6.String())
	f := far{&container{space: newSpace(t), t: t, node: n, endpoint: model.Endpoint{IPv4: farAddr, IPv6: netip.MustParseAddr("2001:db8::9")}}}
	veth(t, n.space, "ext0", f.space, "eth0")
	setUp(t, n.space, "ext0", "203.0.113.1/24", "2001:db8::1/64")
	eth0 := setUp(t, f.space, "eth0", "203.0.113.9/24", "2001:db8::9/64")
	for _, r := range []struct{ to, by string }{{"172.19.0.0/16", "203.0.113.1"}, {"fd63:6f6e:7469:7600::/112", "2001:db8::1"}} {
		_, to, err := net.ParseCIDR(r.to)
		must(t, err)
		must(t, f.nl.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Dst: to, Gw: net.ParseIP(r.by)}))
	}
	must(t, n.do(func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	}))
	must(t, n.dp.AttachOutside())
	n.c.apply()
	return f
}

// private are the container's addresses as the outside sees them.
func (c *container) private() (v4, v6 netip.Addr) {
	c.t.Helper()
	for _, p := range c.node.tables().Ports {
		if p.Name == c.endpoint.Port {
			return p.Private4, p.Private6
		}
	}
	c.t.Fatalf("%s has no port", c.endpoint.ID)
	return v4, v6
}

// whoAsks answers one UDP datagram and tells whose it was.
func (f far) whoAsks(at netip.Addr, from *container) netip.Addr {
	f.t.Helper()
	var conn net.PacketConn
	must(f.t, f.do(func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(at, 0).String())
		return err
	}))
	defer conn.Close()
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	asked := make(chan netip.Addr, 1)
	go func() {
		b := make([]byte, 2048)
		for { // until the socket is closed
			n, who, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(b[:n], who)
			select {
			case asked <- who.(*net.UDPAddr).AddrPort().Addr().Unmap():
			default: // it was told before
			}
		}
	}()
	if err := from.exchange(to, 1000, patience); err != nil {
		f.t.Fatalf("%s gets no answer from outside: %v; drops: %v", from.ip(at), err, from.node.dropped())
	}
	return <-asked
}

func (n *node) dropped() map[string]uint64 {
	all, err := n.dp.Drops()
	must(n.c.t, err)
	return nonZero(all)
}

// exchange sends a datagram of size bytes until one comes back: the kernel has one queue between devices for each processor, and what
// other tests fill it with costs this one a datagram.
func (c *container) exchange(to netip.AddrPort, size int, wait time.Duration) error {
	return c.do(func() error {
		conn, err := net.Dial("udp", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		for end := time.Now().Add(wait); ; {
			if _, err := conn.Write(make([]byte, size)); err != nil {
				return err
			}
			conn.SetReadDeadline(time.Now().Add(silence))
			_, err = conn.Read(make([]byte, 65536))
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
				return err
			}
		}
	})
}

// outsideLab is a node with a network that has a gateway in each of two tenants, of equal subnets.
func outsideLab(t *testing.T, attach AttachMode) (n *node, red, blue *container, f far) {
	c, n := oneNode(t, attach, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::fe"),
		net46(t, "blue", "web", 2, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::fe"))
	red, blue = n.start("red:web", "10.1.1.1", "fd01::1"), n.start("blue:web", "10.1.1.1", "fd01::1")
	c.apply()
	return n, red, blue, n.openOutside()
}

func TestTenantsWithEqualAddressesGoOutApart(t *testing.T) {
	t.Parallel()
	for _, attach := range []AttachMode{AttachTCX, AttachClsact} {
		t.Run(string(attach), func(t *testing.T) {
			t.Parallel()
			if attach == AttachTCX {
				needTCX(t)
			}
			_, red, blue, f := outsideLab(t, attach)
			for _, at := range []netip.Addr{f.endpoint.IPv4, f.endpoint.IPv6} {
				for _, c := range []*container{red, blue} {
					want, want6 := c.private()
					if at.Is6() {
						want = want6
					}
					if got := f.whoAsks(at, c); got != want {
						t.Errorf("the outside sees %s as %s, want %s", c.endpoint.ID, got, want)
					}
					c.reaches(at)
				}
			}
		})
	}
}

func TestStreamsGoOutAndComeIn(t *testing.T) {
	t.Parallel()
	_, red, _, f := outsideLab(t, AttachAuto)
	p4, p6 := red.private()
	for _, x := range []struct {
		from *container
		to   *container
		at   netip.Addr // where the server listens
		dial netip.Addr // how the client calls it
	}{
		{red, f.container, f.endpoint.IPv4, f.endpoint.IPv4}, {red, f.container, f.endpoint.IPv6, f.endpoint.IPv6},
		{f.container, red, red.endpoint.IPv4, p4}, {f.container, red, red.endpoint.IPv6, p6},
	} {
		if err := stream(x.from, x.to, x.at, x.dial, 8<<20); err != nil {
			t.Errorf("%s to %s: %v; drops: %v", x.from.ip(x.dial), x.dial, err, red.node.dropped())
		}
	}
}

// stream has a server send size bytes, and the client the same back.
func stream(client, server *container, at, dial netip.Addr, size int) error {
	var l net.Listener
	if err := server.do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	}); err != nil {
		return err
	}
	defer l.Close()
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		written := make(chan error, 1)
		go func() {
			_, err := conn.Write(data)
			written <- err
		}()
		served <- errors.Join(readAll(conn, data), <-written) // before it is closed
	}()
	return client.do(func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(dial, l.Addr().(*net.TCPAddr).AddrPort().Port()).String(), patience)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		go func() { _, _ = conn.Write(data) }()
		return errors.Join(readAll(conn, data), <-served)
	})
}

func readAll(conn net.Conn, want []byte) error {
	b := make([]byte, 1<<16)
	for at := 0; at < len(want); {
		n, err := conn.Read(b)
		if err != nil {
			return err
		}
		for i := range n {
			if b[i] != want[at+i] {
				return errors.New("another byte came than was sent")
			}
		}
		at += n
	}
	return nil
}

func TestErrorsFromOutsideReachTheirConnection(t *testing.T) {
	t.Parallel()
	_, red, _, f := outsideLab(t, AttachAuto)
	p4, p6 := red.private()
	for _, x := range []struct {
		from *container
		to   netip.Addr
	}{{red, f.endpoint.IPv4}, {red, f.endpoint.IPv6}, {f.container, p4}, {f.container, p6}} {
		// Nobody listens there, which an ICMP error says that quotes the datagram.
		if err := x.from.exchange(netip.AddrPortFrom(x.to, 9), 10, patience); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s to %s: %v, want a refusal; drops: %v", x.from.ip(x.to), x.to, err, red.node.dropped())
		}
	}
}

func TestNothingButTheOutsideIsReachedByTheWayOut(t *testing.T) {
	t.Parallel()
	n, red, blue, f := outsideLab(t, AttachAuto)
	n.c.put(net4(t, "red", "inner", 3, "10.9.9.0/24", ""))
	inner := n.start("red:inner", "10.9.9.1")
	n.c.apply()
	b4, b6 := blue.private()
	for _, x := range []struct {
		from   *container
		to     netip.Addr
		reason string
	}{
		{red, n.tables().Outside.IPv4.Addr(), "private"}, {red, n.tables().Outside.IPv6.Addr(), "private"},
		{red, b4, "private"}, {red, b6, "private"},
		{red, netip.MustParseAddr("10.9.9.7"), "unknown_destination"}, // in a network of the tenant
		{red, netip.MustParseAddr("10.1.1.7"), ""},                    // in its own, where nobody answers ARP
		{inner, f.endpoint.IPv4, ""},                                  // its network has no gateway
	} {
		before := n.dropped()
		if err := x.from.ping(x.to, 64, silence); err == nil {
			t.Errorf("%s reaches %s", x.from.endpoint.IPv4, x.to)
		}
		if x.reason != "" && n.dropped()[x.reason] == before[x.reason] {
			t.Errorf("%s to %s was not dropped for %s: %v", x.from.endpoint.IPv4, x.to, x.reason, n.dropped())
		}
	}
	red.reaches(netip.MustParseAddr("192.168.2.10")) // the node itself
	if got := f.whoAsks(f.endpoint.IPv4, red); !got.IsValid() {
		t.Error("nobody asks")
	}
}

func TestOutsideMayNotSpeakForTheTenant(t *testing.T) {
	t.Parallel()
	n, red, _, f := outsideLab(t, AttachAuto)
	p4, _ := red.private()
	// A machine outside has the address of one inside.
	eth0, err := f.nl.LinkByName("eth0")
	must(t, err)
	must(t, f.nl.AddrAdd(eth0, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 1, 1, 2), Mask: net.CIDRMask(32, 32)}}))
	n.wantDrop("spoofed_outside", func() {
		must(t, f.do(func() error {
			conn, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(10, 1, 1, 2)}}).Dial("udp", netip.AddrPortFrom(p4, 80).String())
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write([]byte("x"))
			return err
		}))
	})
}

func TestRulesHoldForTheOutside(t *testing.T) {
	t.Parallel()
	n, red, _, f := outsideLab(t, AttachAuto)
	p4, p6 := red.private()
	red.listen(red.endpoint.IPv4, 80)
	red.listen(red.endpoint.IPv6, 80)
	f.listen(f.endpoint.IPv4, 80)
	f.listen(f.endpoint.IPv6, 80)
	red.join("web")
	deny := func(direction, prefix string) model.Rule {
		r := model.Rule{Direction: direction, Action: model.Deny, Protocol: "tcp", Port: 80}
		if p := netip.MustParsePrefix(prefix); direction == model.In {
			r.From = p
		} else {
			r.To = p
		}
		return r
	}
	for _, x := range []struct {
		name     string
		rules    []model.Rule
		in4, in6 bool // whether the outside reaches the container, and it the outside
		out4     bool
		out6     bool
	}{
		{"none", nil, true, true, true, true},
		{"in", []model.Rule{deny(model.In, "203.0.113.0/24")}, false, true, true, true},
		{"out", []model.Rule{deny(model.Out, "2001:db8::/32")}, true, true, true, false},
		{"the longest prefix", []model.Rule{
			deny(model.In, "203.0.112.0/20"), {Direction: model.In, Action: model.Allow, Protocol: "tcp", Port: 80, From: netip.MustParsePrefix("203.0.113.9/32"), Priority: 2},
			deny(model.Out, "203.0.113.8/29"),
		}, true, true, false, true},
	} {
		for i := range 3 {
			n.c.remove(model.Rule{Tenant: "red", Policy: "p", ID: string(rune('1' + i))})
		}
		n.c.withPolicy("web", "web", "p", x.rules...)
		n.c.apply()
		for _, y := range []struct {
			from *container
			to   netip.Addr
			want bool
		}{{f.container, p4, x.in4}, {f.container, p6, x.in6}, {red, f.endpoint.IPv4, x.out4}, {red, f.endpoint.IPv6, x.out6}} {
			wait := patience
			if !y.want {
				wait = silence
			}
			conn, err := y.from.connect(netip.AddrPortFrom(y.to, 80), wait)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != y.want {
				t.Errorf("%s: %s to %s: %v; drops: %v", x.name, y.from.ip(y.to), y.to, err, n.dropped())
			}
		}
	}
}
