// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

const mbit = 1e6 // bits per second

// A rate is measured for measured, after warmUp, in which bursts are spent and TCP finds its speed.
const (
	warmUp   = time.Second
	measured = 2500 * time.Millisecond
)

// load is traffic that fills whatever is between two containers.
type load struct {
	name    string
	udp     bool
	streams int
}

var loads = []load{{"TCP, 1 stream", false, 1}, {"TCP, 4 streams", false, 4}, {"UDP", true, 1}}

// loading is a load that is under way.
type loading struct {
	came   atomic.Int64 // bytes of payload
	broken atomic.Pointer[error]
	work   sync.WaitGroup
	stop   context.CancelFunc
}

// begin has a load go from one container to the other. UDP is offered at the rate given, so that it does not take the machine from others.
func (l load) begin(t *testing.T, from, to place, offered float64) *loading {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop) // where the test fails before it ends the load
	g := &loading{stop: stop}
	closeLater := func(c io.Closer) { context.AfterFunc(ctx, func() { c.Close() }) }
	broke := func(err error) {
		if ctx.Err() == nil {
			g.broken.Store(&err)
		}
	}
	drain := func(r io.Reader) {
		b := make([]byte, 1<<17)
		for ctx.Err() == nil {
			n, err := r.Read(b)
			g.came.Add(int64(n))
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				broke(err)
				return
			}
		}
	}
	var at net.Addr
	err := netdev.Do(to.sandbox, func() error {
		here := netip.AddrPortFrom(to.ip, 0)
		if l.udp {
			in, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(here))
			if err != nil {
				return err
			}
			closeLater(in)
			at = in.LocalAddr()
			g.work.Go(func() { drain(in) })
			return in.SetReadBuffer(4 << 20)
		}
		in, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(here))
		if err != nil {
			return err
		}
		closeLater(in)
		at = in.Addr()
		g.work.Go(func() {
			for {
				c, err := in.Accept()
				if err != nil {
					return
				}
				closeLater(c)
				g.work.Go(func() { drain(c) })
			}
		})
		return nil
	})
	for i := 0; i < l.streams && err == nil; i++ {
		var out net.Conn
		err = netdev.Do(from.sandbox, func() (err error) {
			out, err = net.DialTimeout(at.Network(), at.String(), patience)
			return err
		})
		if err != nil {
			break
		}
		closeLater(out)
		g.work.Go(func() {
			if !l.udp {
				b := make([]byte, 1<<16)
				for {
					if _, err := out.Write(b); err != nil {
						broke(err)
						return
					}
				}
			}
			const size, pause = 1400, 4 * time.Millisecond
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for b, n := make([]byte, size), 0.0; ctx.Err() == nil; {
				for n += offered * pause.Seconds() / 8; n >= size; n -= size {
					_, _ = out.Write(b) // what is dropped is no error
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	if err != nil {
		g.end(t)
		t.Fatal(err)
	}
	return g
}

// rate is how many bits of payload come per second while something is done.
func (g *loading) rate(during func()) float64 {
	begin, before := time.Now(), g.came.Load()
	during()
	return float64(g.came.Load()-before) * 8 / time.Since(begin).Seconds()
}

// end fails the test where a connection has broken before.
func (g *loading) end(t *testing.T) {
	t.Helper()
	if err := g.broken.Load(); err != nil {
		t.Errorf("what was under way has ended: %v", *err)
	}
	g.stop()
	g.work.Wait()
}

// passes waits for d, or until the test ends.
func passes(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// rate is how many bits of payload per second come from one container to the other, as begin has them go.
func (l load) rate(t *testing.T, from, to place, offered float64) float64 {
	t.Helper()
	g := l.begin(t, from, to, offered)
	defer g.end(t)
	passes(t, warmUp)
	return g.rate(func() { passes(t, measured) })
}

// tries is how often a rate is measured at most until it is as wanted: the machine does something else meanwhile.
const tries = 6

// within measures until the rate is within 5 % of what is wanted.
func within(t *testing.T, what string, want float64, rate func() float64) {
	t.Helper()
	var got []string
	for range tries {
		rate := rate()
		got = append(got, fmt.Sprintf("%.2f", rate/mbit))
		if math.Abs(rate/want-1) <= 0.05 {
			t.Logf("%s: %q of %.0f Mbit/s, %.3f", what, got, want/mbit, rate/want)
			return
		}
	}
	t.Errorf("%s: %q Mbit/s, want %.0f", what, got, want/mbit)
}

func (l load) within(t *testing.T, what string, from, to place, want float64) {
	t.Helper()
	within(t, what+", "+l.name, want, func() float64 { return l.rate(t, from, to, 2.5*want) })
}

// within is that of a load which is under way, from some time after the last change.
func (g *loading) within(t *testing.T, what string, want float64) {
	t.Helper()
	within(t, what, want, func() float64 {
		passes(t, warmUp)
		return g.rate(func() { passes(t, measured) })
	})
}

// above measures that the rate is more than a limit.
func above(t *testing.T, what string, from, to place, limit float64) {
	t.Helper()
	l := loads[0]
	for range tries {
		if l.rate(t, from, to, 0) > 2*limit {
			return
		}
	}
	t.Errorf("%s is held back", what)
}

func TestNetprofilesHoldTheirMembersToTheirRates(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64")
	netctl(t, c, "netprofile", "create", "out", "--bandwidth=20mbps")
	netctl(t, c, "netprofile", "create", "in", "--ingress-bandwidth=12mbps")
	netctl(t, c, "group", "create", "contiv-net", "senders", "--networkprofile=out")
	netctl(t, c, "group", "create", "contiv-net", "receivers", "--networkprofile=in")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "senders.contiv-net", "senders", "receivers.contiv-net", "receivers")
	}
	run(t, a, "sender", "senders")
	run(t, a, "receiver", "receivers")
	run(t, a, "near", "contiv-net")
	run(t, b, "far", "contiv-net")
	sender, receiver := placeOf(t, a, "sender", "senders", false), placeOf(t, a, "receiver", "receivers", false)
	near, far := placeOf(t, a, "near", "contiv-net", false), placeOf(t, b, "far", "contiv-net", false)
	for _, l := range loads {
		l.within(t, "sent to its own node", sender, near, 20*mbit)
		l.within(t, "sent to another node", sender, far, 20*mbit)
		l.within(t, "received from its own node", near, receiver, 12*mbit)
		l.within(t, "received from another node", far, receiver, 12*mbit)
	}
	loads[0].within(t, "the smaller limit", sender, receiver, 12*mbit)
	loads[0].within(t, "sent over IPv6", placeOf(t, a, "sender", "senders", true), placeOf(t, b, "far", "contiv-net", true), 20*mbit)
	above(t, "what a sender receives", far, sender, 20*mbit)
	above(t, "what a receiver sends", receiver, far, 12*mbit)
	above(t, "a container without a profile", near, far, 20*mbit)
	healthy(t, c)
}

func TestNetprofilesAreFollowedLiveAndByRestartedAgents(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24")
	netctl(t, c, "netprofile", "create", "gold", "--bandwidth=10mbps", "--burst=80")
	netctl(t, c, "netprofile", "create", "silver", "--bandwidth=6mbps")
	netctl(t, c, "group", "create", "contiv-net", "web")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "web.contiv-net", "web")
	}
	run(t, a, "web1", "web")
	run(t, a, "web2", "web")
	run(t, b, "far", "contiv-net")
	web1, far := placeOf(t, a, "web1", "web", false), placeOf(t, b, "far", "contiv-net", false)
	tcp := loads[0]
	attach := func(profile ...string) {
		t.Helper()
		netctl(t, c, append([]string{"group", "create", "contiv-net", "web"}, profile...)...)
	}

	above(t, "a group without a profile", web1, far, 10*mbit)
	// One connection goes on, whatever queue it stands in.
	going := tcp.begin(t, web1, far, 0)
	attach("--networkprofile=gold")
	going.within(t, "a profile attached", 10*mbit)
	netctl(t, c, "netprofile", "create", "gold", "--bandwidth=18Mb")
	going.within(t, "a profile changed", 18*mbit)
	attach("--networkprofile=silver")
	going.within(t, "another profile", 6*mbit)
	going.end(t)
	// Each member has the whole rate for itself.
	var both sync.WaitGroup
	both.Go(func() { tcp.within(t, "one of two members", web1, far, 6*mbit) })
	both.Go(func() { tcp.within(t, "the other member", placeOf(t, a, "web2", "web", false), far, 6*mbit) })
	both.Wait()

	// A container that is started again, an agent that is killed, and a change that it does not hear of before it is back.
	docker(t, a, "restart", "-t", "0", "web1")
	web1 = placeOf(t, a, "web1", "web", false)
	going = tcp.begin(t, web1, far, 0)
	going.within(t, "a restarted container", 6*mbit)
	within(t, "while the agent is killed and comes back", 6*mbit, func() float64 {
		return going.rate(func() {
			must(t, a.RestartAgent(t.Context(), syscall.SIGKILL))
			passes(t, measured)
		})
	})
	must(t, a.Agent.Stop(t.Context(), syscall.SIGKILL))
	netctl(t, c, "netprofile", "create", "silver", "--bandwidth=14mbps", "--ingress-bandwidth=8mbps")
	going.within(t, "without an agent", 6*mbit)
	must(t, a.StartAgent(t.Context()))
	going.within(t, "changed while the agent was down, sent", 14*mbit)
	going.end(t)
	tcp.within(t, "changed while the agent was down, received", far, web1, 8*mbit)

	// Who may administer the network inside takes the queue away: the data path still holds it to little more than its rate.
	withoutQueue(t, web1.sandbox)
	if err := a.Doctor(t.Context()); err == nil || !strings.Contains(err.Error(), "queue") {
		t.Errorf("the doctor says nothing of a queue that is gone: %v", err)
	}
	if rate := loads[2].rate(t, web1, far, 40*mbit); rate > 14*mbit*1.07 {
		t.Errorf("a container without its queue sends %.1f Mbit/s", rate/mbit)
	}
	if err := a.Doctor(t.Context(), "--repair"); err != nil {
		t.Error(err)
	}
	if err := hasQueue(web1.sandbox, true); err != nil {
		t.Error(err)
	}
	tcp.within(t, "a queue that was taken away", web1, far, 14*mbit)

	netctl(t, c, "netprofile", "create", "silver")
	above(t, "a profile without a bandwidth, sent", web1, far, 14*mbit)
	above(t, "a profile without a bandwidth, received", far, web1, 8*mbit)
	eventually(t, func() error { return hasQueue(web1.sandbox, false) })
	netctl(t, c, "netprofile", "create", "silver", "--bandwidth=14mbps", "--ingress-bandwidth=8mbps")
	eventually(t, func() error { return hasQueue(web1.sandbox, true) })
	attach()
	above(t, "a profile detached", web1, far, 14*mbit)
	healthy(t, c)
}

// queue is the token bucket on the namespace's eth0; nil when there is none.
func queue(sandbox string) (found netlink.Qdisc, err error) {
	err = netdev.Do(sandbox, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := netlink.QdiscList(link)
		for _, q := range all {
			if q.Type() == "tbf" {
				found = q
			}
		}
		return err
	})
	return found, err
}

func hasQueue(sandbox string, want bool) error {
	q, err := queue(sandbox)
	if err == nil && (q != nil) != want {
		err = fmt.Errorf("eth0 has the queue %v; want one: %t", q, want)
	}
	return err
}

func withoutQueue(t *testing.T, sandbox string) {
	t.Helper()
	q, err := queue(sandbox)
	if err == nil && q == nil {
		err = errors.New("it has none")
	}
	if err == nil {
		err = netdev.Do(sandbox, func() error { return netlink.QdiscDel(q) })
	}
	if err != nil {
		t.Fatalf("take the queue away: %v", err)
	}
}

func TestNetprofileMarksPacketsLive(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64")
	netctl(t, c, "netprofile", "create", "voice", "--dscp=10")
	netctl(t, c, "netprofile", "create", "video", "--dscp=40")
	netctl(t, c, "group", "create", "contiv-net", "phones", "--networkprofile=voice")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "phones.contiv-net", "phones")
	}
	run(t, a, "phone", "phones")
	run(t, b, "far", "contiv-net")
	var v4, v6, outer atomic.Int32 // the DSCP of the last packet
	newWire(t, sandbox(t, b, "far"), "eth0", allProtocols).listen(t, func(f []byte, _ int) {
		switch {
		case len(f) < 60:
		case f[12] == 0x08 && f[13] == 0x00 && f[23] == unix.IPPROTO_ICMP && f[34] == 8: // echo requests, which the phone sends
			v4.Store(int32(f[15] >> 2))
		case f[12] == 0x86 && f[13] == 0xdd && f[20] == unix.IPPROTO_ICMPV6 && f[54] == 128:
			v6.Store(int32((f[14]<<4 | f[15]>>4) >> 2))
		}
	})
	from := a.Addr().As4()
	newWire(t, b.Netns(), "eth1", allProtocols).listen(t, func(f []byte, _ int) {
		if len(f) > 64 && f[12] == 0x08 && f[23] == unix.IPPROTO_UDP && [4]byte(f[26:30]) == from && f[36] == 4789>>8 && f[37] == 4789&0xff {
			outer.Store(int32(f[15] >> 2))
		}
	})
	marked := func(want int32) {
		t.Helper()
		eventually(t, func() error {
			reaches(t, a, "phone", address(t, b, "far", "contiv-net"))
			reaches(t, a, "phone", address6(t, b, "far", "contiv-net"))
			if v4.Load() != want || v6.Load() != want || outer.Load() != want {
				return fmt.Errorf("marked %d, IPv6 %d, tunnel %d; want %d", v4.Load(), v6.Load(), outer.Load(), want)
			}
			return nil
		})
	}
	marked(10)
	netctl(t, c, "netprofile", "create", "voice", "--dscp=20")
	marked(20)
	netctl(t, c, "netprofile", "create", "voice")
	marked(0)
	netctl(t, c, "group", "create", "contiv-net", "phones", "--networkprofile=video")
	marked(40)
	netctl(t, c, "group", "create", "contiv-net", "phones")
	marked(0)
	healthy(t, c)
}
