// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// profile has the container be in a group of its own with the netprofile.
func (c *container) profile(p model.Netprofile) {
	p.Tenant, p.Name = c.endpoint.Tenant, "of-"+c.endpoint.ID
	c.endpoint.Group = "g-" + c.endpoint.ID
	c.node.c.put(p, model.Group{Tenant: p.Tenant, Name: c.endpoint.Group, Network: c.endpoint.Network, Netprofile: p.Name}, c.endpoint)
}

// serviceClass is a frame's traffic class or TOS.
func serviceClass(frame []byte) byte {
	if ip := frame[14:]; ip[0]>>4 == 6 {
		return ip[0]<<4 | ip[1]>>4
	}
	return frame[15]
}

func TestNetprofileMarksWhatItsMembersSendAndNothingElse(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	marked, plain := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b")
	far := n2.start("red:web", "10.1.1.3", "fd01::c")
	marked.profile(model.Netprofile{DSCP: 46})
	c.apply()
	underlay := n2.raw(t, "ul0")
	port := uint16(5000)
	// sent gives the packet as it arrives in the other container, and the TOS of the tunnel that brought it.
	sent := func(from, to *container, v6 bool, class byte) (inner []byte, outer int) {
		t.Helper()
		ip, level, option := to.endpoint.IPv4, unix.IPPROTO_IP, unix.IP_TOS
		if v6 {
			ip, level, option = to.endpoint.IPv6, unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		port++
		there := to.raw(t, "eth0")
		conn := from.asks(netip.AddrPortFrom(ip, port))
		raw, err := conn.SyscallConn()
		must(t, err)
		must(t, raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, int(class)) }))
		must(t, err)
		_, err = conn.Write([]byte("a mark"))
		must(t, err)
		isIt := func(f []byte) bool {
			header := 20
			if len(f) > 14 && f[14]>>4 == 6 {
				header = 40
			}
			return len(f) == 14+header+8+6 && binary.BigEndian.Uint16(f[14+header+2:]) == port
		}
		inner = there.receive(patience, isIt)
		if inner == nil {
			t.Fatalf("nothing arrives at %s", ip)
		}
		outer = -1
		if to.node != from.node {
			frame := underlay.receive(patience, func(f []byte) bool { return len(f) > 64 && isIt(f[outerHeaders:]) })
			if frame == nil {
				t.Fatal("no tunnel brought it")
			}
			outer = int(serviceClass(frame))
			if internetChecksum(frame[14:34]) != 0 {
				t.Error("the tunnel's header has a wrong checksum")
			}
		}
		if !v6 && internetChecksum(inner[14:34]) != 0 {
			t.Error("the header has a wrong checksum")
		}
		return inner, outer
	}
	check := func(what string, from, to *container, class, want byte, wantOuter int) {
		t.Helper()
		for _, v6 := range []bool{false, true} {
			inner, outer := sent(from, to, v6, class)
			if got := serviceClass(inner); got != want || to.node != from.node && outer != wantOuter {
				t.Errorf("%s, IPv6 %t: %#x arrives in a tunnel of %#x; want %#x, %#x", what, v6, got, outer, want, wantOuter)
			}
		}
	}
	const ef, ect0, own = 46 << 2, 2, 10 << 2
	check("a member, on its node", marked, plain, 0, ef, 0)
	check("a member, to another node", marked, far, 0, ef, ef)
	check("a member with a mark and ECN of its own", marked, far, own|ect0, ef|ect0, ef)
	check("another container", plain, far, own|ect0, own|ect0, 0)
	check("what a member receives", far, marked, own, own, 0)
	marked.profile(model.Netprofile{DSCP: 10})
	c.apply()
	check("another mark, live", marked, far, 0, 10<<2, 10<<2)
	marked.profile(model.Netprofile{})
	c.apply()
	check("no mark any more", marked, far, own, own, 0)
}

// outerHeaders is what VXLAN puts in front of a frame.
const outerHeaders = 50

// flood sends full datagrams to the container as fast as it is let, until the time is over, and gives the bytes per second that came in the second half.
func flood(t *testing.T, from, to *container, d time.Duration) float64 {
	t.Helper()
	var in *net.UDPConn
	must(t, to.do(func() (err error) {
		in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.endpoint.IPv4, 0)))
		return err
	}))
	defer in.Close()
	must(t, in.SetReadBuffer(8<<20))
	out := from.asks(in.LocalAddr().(*net.UDPAddr).AddrPort())
	stop := time.Now().Add(d)
	done := make(chan struct{})
	go func() {
		defer close(done)
		payload := make([]byte, 1400)
		for time.Now().Before(stop) {
			for range 20 {
				_, _ = out.Write(payload) // what is dropped is no error
			}
			time.Sleep(2 * time.Millisecond) // 112 Mbit/s at most: the machine has other work
		}
	}()
	bytes, b := 0, make([]byte, 2000)
	var begin, last time.Time
	must(t, in.SetReadDeadline(stop))
	for {
		n, err := in.Read(b)
		if err != nil {
			break
		}
		last = time.Now()
		if begin.IsZero() && stop.Sub(last) < d/2 {
			begin = last
			continue
		}
		if !begin.IsZero() {
			bytes += n + 28 // the IP packet
		}
	}
	<-done
	if begin.IsZero() || !last.After(begin) {
		t.Fatal("nothing came")
	}
	return float64(bytes) / last.Sub(begin).Seconds()
}

func TestContainerWithoutAQueueIsHeldToItsRateAllTheSame(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	limited, free := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2")
	limited.profile(model.Netprofile{Bandwidth: "8 mbps", Burst: 2})
	c.apply()
	const want = 1e6 * 17 / 16 // bytes per second
	// atLeast tells whether so much passes in one of three tries. A busy machine lets the sender sleep for longer than its burst lasts.
	atLeast := func(least float64, from, to *container) (got float64, ok bool) {
		for range 3 {
			if got = flood(t, from, to, 2*time.Second); got >= least {
				return got, true
			}
		}
		return got, false
	}
	if got, ok := atLeast(0.9*want, limited, free); !ok || got > 1.05*want {
		t.Errorf("%.0f bytes a second pass, want %.0f", got, want)
	}
	if n.drops("rate") == 0 {
		t.Error("nothing is counted")
	}
	before := n.drops("rate")
	if got, ok := atLeast(1.5*want, free, limited); !ok || n.drops("rate") != before {
		t.Errorf("%.0f bytes a second pass in the other direction, with %d drops", got, n.drops("rate")-before)
	}
	limited.profile(model.Netprofile{})
	c.apply()
	if got, ok := atLeast(1.5*want, limited, free); !ok || n.drops("rate") != before {
		t.Errorf("%.0f bytes a second pass without the limit, with %d drops", got, n.drops("rate")-before)
	}
}

func TestWhatALimitedContainerReceivesGoesThroughItsQueue(t *testing.T) {
	t.Parallel()
	c, n1, n2 := twoNodes(t, AttachAuto, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::1"))
	limited, free := n1.start("red:web", "10.1.1.1", "fd01::a"), n1.start("red:web", "10.1.1.2", "fd01::b")
	far := n2.start("red:web", "10.1.1.3", "fd01::c")
	queued := func() uint64 {
		l, err := n1.nl.LinkByName(limited.endpoint.Port)
		must(t, err)
		return l.Attrs().Statistics.TxBytes
	}
	through := func(want bool) {
		t.Helper()
		for _, from := range []*container{free, far} {
			for _, v6 := range []bool{false, true} {
				before := queued()
				sendsMuch(t, from, limited, v6)
				if got := queued() - before; got >= 1<<20 != want {
					t.Errorf("from %s, IPv6 %t: %d bytes went through the queue", from.endpoint.IPv4, v6, got)
				}
			}
		}
		limited.reaches(far.endpoint.IPv4)
		far.reaches(limited.endpoint.IPv6)
	}
	c.apply()
	through(false)
	limited.profile(model.Netprofile{IngressBandwidth: "1 gbps"})
	c.apply()
	through(true)
	limited.profile(model.Netprofile{Bandwidth: "100 gbps", DSCP: 1})
	c.apply()
	through(false)
}

func TestLimitsAreReadBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
	limited := n.start("red:web", "10.1.1.1")
	limited.profile(model.Netprofile{Bandwidth: "1000000 gbps", IngressBandwidth: "20 mbps", Burst: 10486, DSCP: 63})
	c.apply()
	held, err := n.dp.Held()
	must(t, err)
	if d := Differences(n.tables(), held); len(d) != 0 {
		t.Errorf("%q", d)
	}
	limited.profile(model.Netprofile{Bandwidth: "10 mbps"})
	if d := Differences(n.tables(), held); len(d) != 1 {
		t.Errorf("other limits differ in %q", d)
	}
}

func TestNetprofileHoldsAndMarksContainersOfAVLAN(t *testing.T) {
	t.Parallel()
	c, w, a, b := twoNodesOnWire(t, AttachAuto, lan(t))
	one, far := a.start("red:lan", "10.1.3.1", "fd03::1"), b.start("red:lan", "10.1.3.2", "fd03::2")
	one.profile(model.Netprofile{Bandwidth: "8 mbps", Burst: 2, DSCP: 46})
	far.profile(model.Netprofile{IngressBandwidth: "1 gbps"})
	c.apply()
	machine := w.machine(112, "10.1.3.254/24", "fd03::fe/64")
	for name, to := range map[string]*container{"a machine": machine, "another node": far} {
		there := to.raw(t, "eth0")
		for _, ip := range []netip.Addr{to.endpoint.IPv4, to.endpoint.IPv6} {
			must(t, one.sendUDP(ip, 7000))
			frame := there.receive(patience, func(f []byte) bool {
				header := 20
				if f[14]>>4 == 6 {
					header = 40
				}
				return len(f) == 14+header+8+1 && binary.BigEndian.Uint16(f[14+header+2:]) == 7000
			})
			if frame == nil || serviceClass(frame) != 46<<2 {
				t.Errorf("%s at %s receives % x", name, ip, frame)
			}
		}
	}
	const want = 1e6 * 17 / 16 // bytes per second
	if got := flood(t, one, machine, 2*time.Second); got > 1.05*want || a.drops("rate") == 0 {
		t.Errorf("%.0f bytes a second go to the wire, want %.0f", got, want)
	}
	port, err := b.nl.LinkByName(far.endpoint.Port)
	must(t, err)
	before := port.Attrs().Statistics.TxBytes
	flood(t, machine, far, 500*time.Millisecond)
	if port, err = b.nl.LinkByName(far.endpoint.Port); err != nil || port.Attrs().Statistics.TxBytes-before < 100000 {
		t.Errorf("what a limited container receives from the wire does not go through its queue: %v", err)
	}
}

func TestNetprofileMarksWhatItsMembersSendOutside(t *testing.T) {
	t.Parallel()
	n, red, _, f := outsideLab(t, AttachAuto)
	red.profile(model.Netprofile{DSCP: 46})
	n.c.apply()
	for _, at := range []netip.Addr{f.endpoint.IPv4, f.endpoint.IPv6} {
		const port = 5001
		there := f.raw(t, "eth0")
		_, err := red.asks(netip.AddrPortFrom(at, port)).Write([]byte("a mark"))
		must(t, err)
		frame := there.receive(patience, func(f []byte) bool {
			header := 20
			if len(f) > 14 && f[14]>>4 == 6 {
				header = 40
			}
			return len(f) == 14+header+8+6 && binary.BigEndian.Uint16(f[14+header+2:]) == port
		})
		if frame == nil {
			t.Fatalf("nothing arrives at %s; drops: %v", at, n.dropped())
		}
		if got := serviceClass(frame); got != 46<<2 {
			t.Errorf("%#x arrives at %s, want %#x", got, at, 46<<2)
		}
		if at.Is4() && internetChecksum(frame[14:34]) != 0 {
			t.Error("the header has a wrong checksum")
		}
	}
}
