// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

func eachAttachMode(t *testing.T, test func(t *testing.T, mode AttachMode)) {
	for _, mode := range []AttachMode{AttachTCX, AttachClsact} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			if mode == AttachTCX {
				needTCX(t)
			}
			test(t, mode)
		})
	}
}

// sendsMuch streams a megabyte there and back.
func sendsMuch(t *testing.T, from, to *container, v6 bool) {
	t.Helper()
	ip := to.endpoint.IPv4
	if v6 {
		ip = to.endpoint.IPv6
	}
	conn := from.dial(to.serve(ip, "hello"))
	greeted(t, conn)
	streams(t, conn)
}

// greeted reads what the container says that serves.
func greeted(t *testing.T, conn net.Conn) {
	t.Helper()
	greeting := make([]byte, 5)
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "hello" {
		t.Fatalf("greeting %q: %v", greeting, err)
	}
}

// streams sends a megabyte over a connection and wants it back.
func streams(t *testing.T, conn net.Conn) {
	t.Helper()
	const much = 1 << 20
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, much))
		wrote <- err
	}()
	if _, err := io.ReadFull(conn, make([]byte, much)); err != nil {
		t.Fatalf("stream: %v", err)
	}
	must(t, <-wrote)
}

func TestContainersOnANodeReachEachOther(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n := oneNode(t, mode, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
		a, b := n.start("red:web", "10.1.1.1", "fd01::a"), n.start("red:web", "10.1.1.2", "fd01::b")
		c.apply()
		a.reaches(b.endpoint.IPv4)
		a.reaches(b.endpoint.IPv6)
		b.reaches(a.endpoint.IPv6)
		sendsMuch(t, a, b, false)
		sendsMuch(t, b, a, true)
	})
}

func TestNodesReachEachOtherOverVXLAN(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n1, n2 := twoNodes(t, mode,
			net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"),
			net46(t, "red", "db", 2, "10.1.2.0/24", "10.1.2.254", "fd02::/64", "fd02::1"))
		a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
		d := n2.start("red:db", "10.1.2.1", "fd02::a")
		c.apply()
		a.reaches(b.endpoint.IPv4)
		b.reaches(a.endpoint.IPv6)
		a.reaches(d.endpoint.IPv4)
		d.reaches(a.endpoint.IPv6)
		sendsMuch(t, a, b, false)
		sendsMuch(t, d, a, true)
	})
}

// A veth underlay hides wrong headers and MTUs, because segments cross it uncut.
func TestStreamsPassAnUnderlayThatCutsSegments(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	for _, n := range []*node{n1, n2} {
		n.setOffload(t, "ul0", setTSO, false)
		n.setOffload(t, "ul0", setGSO, false)
	}
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	sendsMuch(t, a, b, false)
	sendsMuch(t, a, b, true)
}

func TestTenantsWithEqualAddressesNeverMeet(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto,
		net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"), net4(t, "blue", "web", 2, "10.1.1.0/24", "10.1.1.254"))
	red, blue := n1.start("red:web", "10.1.1.1"), n1.start("blue:web", "10.1.1.1")
	redThere, blueThere := n2.start("red:web", "10.1.1.2"), n2.start("blue:web", "10.1.1.2")
	onlyRed, onlyBlue := n1.start("red:web", "10.1.1.3"), n2.start("blue:web", "10.1.1.4")
	c.apply()
	for _, x := range []struct {
		from, to *container
		name     string
	}{{red, redThere, "red"}, {blue, blueThere, "blue"}, {onlyRed, red, "red"}, {onlyBlue, blueThere, "blue"}} {
		conn := x.from.dial(x.to.serve(x.to.endpoint.IPv4, x.name))
		got := make([]byte, len(x.name))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != x.name {
			t.Errorf("%s talks to %q (%v)", x.name, got, err)
		}
	}
	blue.doesNotReach(onlyRed.endpoint.IPv4)
	red.doesNotReach(onlyBlue.endpoint.IPv4)
}

func TestBridgeModeReachesOnlyTheOwnNetwork(t *testing.T) {
	t.Parallel()
	g := model.DefaultGlobal()
	g.ForwardMode = model.ForwardBridge
	c, n := oneNode(t, AttachAuto, g, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"), net4(t, "red", "db", 2, "10.1.2.0/24", "10.1.2.254"))
	a, b, d := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2"), n.start("red:db", "10.1.2.1")
	c.apply()
	a.reaches(b.endpoint.IPv4)
	n.wantDrop("other_network", func() { a.doesNotReach(d.endpoint.IPv4) })
	g.ForwardMode = model.ForwardRouting
	c.put(g)
	c.apply()
	a.reaches(d.endpoint.IPv4)
	g.ForwardMode = model.ForwardBridge
	c.put(g)
	c.apply()
	a.doesNotReach(d.endpoint.IPv4) // though the flow was known
}

func TestGatewayAnswersEchoAndNothingElse(t *testing.T) {
	t.Parallel()
	network := net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1")
	c, n := oneNode(t, AttachAuto, network)
	a := n.start("red:web", "10.1.1.1", "fd01::a")
	c.apply()
	a.reaches(network.IPv4.Gateway)
	a.reaches(network.IPv6.Gateway)
	n.wantDrop("gateway", func() { must(t, a.sendUDP(network.IPv4.Gateway, 53)) })
}

func TestFragmentsFollowEachOther(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	near := n1.start("red:web", "10.1.1.3", "fd01::c")
	c.apply()
	for _, to := range []*container{b, near} {
		for _, ip := range to.endpoint.Addrs() {
			if err := a.ping(ip, 4000, patience); err != nil {
				t.Errorf("4000 bytes to %s: %v", ip, err)
			}
		}
		answers(t, a, to, 5000)
	}
}

// answers sends a datagram of the size and wants it back.
func answers(t *testing.T, from, to *container, size int) {
	t.Helper()
	conn := from.asks(to.echo(to.endpoint.IPv4))
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	if n, err := conn.Read(make([]byte, 65536)); err != nil || n != size {
		t.Errorf("%d bytes of %d came back: %v", n, size, err)
	}
}

func TestPacketsTooBigForThePathAreAnswered(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	a, b := n1.start("red:web", "10.1.1.1", "fd01::a"), n2.start("red:web", "10.1.1.2", "fd01::b")
	c.apply()
	learnsPath(t, a, b, 1500, 1450)
}

// learnsPath gives both containers devices that take more than the path between them, and wants them to be told.
func learnsPath(t *testing.T, a, b *container, device, want int) {
	t.Helper()
	for _, x := range []*container{a, b} {
		x.setMTU(device)
	}
	for _, v6 := range []bool{false, true} {
		ip, level, discover, do, mtu, headers := b.endpoint.IPv4, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU, 28
		if v6 {
			ip, level, discover, do, mtu, headers = b.endpoint.IPv6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU, 48
		}
		conn := a.asks(b.echo(ip))
		control, err := conn.SyscallConn()
		must(t, err)
		must(t, control.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, discover, do) }))
		must(t, err)
		deadline := time.Now().Add(patience)
		for path := 0; path != want; {
			if _, err := conn.Write(make([]byte, device-headers)); err == nil && time.Now().After(deadline) {
				t.Fatalf("no word of the path's MTU: it is thought to be %d", path)
			}
			must(t, control.Control(func(fd uintptr) { path, err = unix.GetsockoptInt(int(fd), level, mtu) }))
			must(t, err)
		}
		// A TCP stream finds its size too, with segments that the kernel cuts.
		sendsMuch(t, a, b, v6)
	}
}

func TestPacketTooBigWithoutAnswerIsCounted(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	a, b := n1.start("red:web", "10.1.1.1"), n2.start("red:web", "10.1.1.2")
	a.setMTU(1500)
	c.apply()
	later := udp4(a.endpoint.MAC, model.RouterMAC, a.endpoint.IPv4, b.endpoint.IPv4, 1500-28)
	later[21] = 100 // its fragment offset, which the header's checksum need not know of
	n1.wantDrop("too_big", func() { a.raw(t, "eth0").send(later) })
}

func TestEndpointThatIsRemovedIsNotReachedByKnownFlows(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	a, near, far := n1.start("red:web", "10.1.1.1"), n1.start("red:web", "10.1.1.2"), n2.start("red:web", "10.1.1.3")
	c.apply()
	a.reaches(near.endpoint.IPv4)
	a.reaches(far.endpoint.IPv4)
	c.remove(near.endpoint)
	c.remove(far.endpoint)
	c.apply()
	n1.wantDrop("unknown_destination", func() { a.doesNotReach(near.endpoint.IPv4) })
	a.doesNotReach(far.endpoint.IPv4)
	if err := near.ping(a.endpoint.IPv4, 64, silence); err == nil {
		t.Error("a removed endpoint may still send")
	}
}
