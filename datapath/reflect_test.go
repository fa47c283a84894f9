// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// ofNetplugin has a socket send as netplugin does and, where it listens, take what it takes.
func ofNetplugin(network, _ string, c syscall.RawConn) error {
	level, option := unix.SOL_IP, unix.IP_TTL
	if strings.HasSuffix(network, "6") {
		level, option = unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS
	}
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, NamesHops) })
	return errors.Join(err, failed, TakeReflected(c))
}

// says answers whoever asks at the address, over UDP and TCP, with the word, the asker's address as it is seen and what was said.
func (c *container) says(word string, at netip.AddrPort, control func(string, string, syscall.RawConn) error) {
	c.t.Helper()
	var (
		pc net.PacketConn
		l  net.Listener
	)
	listen := net.ListenConfig{Control: control}
	listen.SetMultipathTCP(false)
	must(c.t, c.do(func() (err error) {
		if pc, err = listen.ListenPacket(context.Background(), "udp", at.String()); err == nil {
			l, err = listen.Listen(context.Background(), "tcp", at.String())
		}
		return err
	}))
	c.t.Cleanup(func() { _, _ = pc.Close(), l.Close() })
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := pc.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = pc.WriteTo([]byte(word+" "+from.String()+" "+string(b[:n])), from)
			}
		}
	}()
	accept(l, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(2 * patience))
		if _, err := io.WriteString(conn, word+" "+conn.RemoteAddr().String()+" "); err == nil {
			_, _ = io.Copy(conn, conn)
		}
	})
}

// hears asks, from a socket that takes answers of that address only, and gives what comes and the own address.
func (c *container) hears(network string, from, to netip.AddrPort, question []byte, wait time.Duration) (heard string, own netip.AddrPort, err error) {
	err = c.do(func() error {
		d := net.Dialer{Timeout: wait}
		if network == "tcp" {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
		d.SetMultipathTCP(false)
		conn, err := d.Dial(network, to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		own = netip.MustParseAddrPort(conn.LocalAddr().String())
		_ = conn.SetDeadline(time.Now().Add(wait))
		written := make(chan error, 1)
		go func() {
			_, err := conn.Write(question)
			written <- err
		}()
		b := make([]byte, 65536)
		var all []byte
		for !bytes.HasSuffix(all, question) {
			n, err := conn.Read(b)
			if err != nil {
				return errors.Join(err, <-written)
			}
			all = append(all, b[:n]...)
		}
		heard = string(bytes.TrimSuffix(all, question))
		return <-written
	})
	return heard, own, err
}

type names struct {
	n                     *node
	client, server, other *container
	at                    []netip.AddrPort // the server's, of both families
	own                   []netip.AddrPort // netplugin's in the client
}

// namesLab is a container with netplugin in it, a server that it asks, and another container.
func namesLab(t *testing.T, mode AttachMode) names {
	c, n := oneNode(t, mode, net46(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254", "fd01::/64", "fd01::fe"))
	x := names{n: n, client: n.start("red:web", "10.1.1.1", "fd01::1"), server: n.start("red:web", "10.1.1.2", "fd01::2"), other: n.start("red:web", "10.1.1.3", "fd01::3")}
	c.apply()
	for _, a := range x.server.endpoint.Addrs() {
		at := netip.AddrPortFrom(a, 53)
		x.at = append(x.at, at)
		x.server.says("server", at, nil)
	}
	for _, a := range x.client.endpoint.Addrs() {
		own := netip.AddrPortFrom(a, NamesPort)
		x.own = append(x.own, own)
		x.client.says("netplugin", own, ofNetplugin)
	}
	return x
}

// isAnsweredBy fails the test unless the client is, over UDP and TCP, by who sees it at the address of the server, or at its own.
func (x names) isAnsweredBy(who string, at netip.AddrPort, question []byte) {
	x.client.t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		heard, own, err := x.client.hears(network, netip.AddrPort{}, at, question, patience)
		want := "server " + own.String() + " "
		if who == "netplugin" {
			want = "netplugin " + netip.AddrPortFrom(at.Addr(), own.Port()).String() + " "
		}
		if err != nil || heard != want {
			x.client.t.Errorf("over %s, %s is asked: %q, %v; want %q; drops: %v", network, at, heard, err, want, x.n.dropped())
		}
	}
}

func TestQuestionsForNamesComeBackAndAnswersComeFromWhoWasAsked(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		x := namesLab(t, mode)
		const nobody = "198.51.100.53" // by the gateway, and nobody there
		for _, offload := range []bool{true, false} {
			x.client.setOffload(t, "eth0", setChecksum, offload)
			x.client.setOffload(t, "eth0", setTSO, offload)
			for _, at := range x.at {
				must(t, x.n.dp.Unreflect(x.client.endpoint.Port))
				x.isAnsweredBy("server", at, []byte("before"))
				must(t, x.n.dp.Reflect(x.client.endpoint.Port, time.Hour))
				x.isAnsweredBy("netplugin", at, []byte("who?"))
			}
			x.isAnsweredBy("netplugin", netip.MustParseAddrPort(nobody+":53"), []byte("who?"))
			x.isAnsweredBy("netplugin", netip.MustParseAddrPort("[2001:db8::53]:53"), []byte("who?"))
		}
		// Long streams come in segments that the kernel has yet to cut.
		for _, at := range x.at {
			long := bytes.Repeat([]byte("question"), 1<<17)
			if heard, _, err := x.client.hears("tcp", netip.AddrPort{}, at, long, patience); err != nil || !strings.HasPrefix(heard, "netplugin") {
				t.Errorf("a stream of %d bytes with %s: %q, %v", len(long), at, heard, err)
			}
		}
		// Others' questions are theirs, as are other ports.
		for _, at := range x.at {
			if heard, _, err := x.other.hears("udp", netip.AddrPort{}, at, []byte("who?"), patience); err != nil || !strings.HasPrefix(heard, "server") {
				t.Errorf("another container that asks %s hears %q, %v", at, heard, err)
			}
			if err := x.client.exchange(x.server.echo(at.Addr()), 100, patience); err != nil {
				t.Errorf("another port of %s: %v", at.Addr(), err)
			}
		}
	})
}

func TestDatagramsWithoutChecksumAndWithOptionsComeBackToo(t *testing.T) {
	t.Parallel()
	x := namesLab(t, AttachAuto)
	must(t, x.n.dp.Reflect(x.client.endpoint.Port, time.Hour))
	wire := x.client.raw(t, "eth0")
	mac, own, at := x.client.endpoint.MAC, x.client.endpoint.IPv4, x.at[0].Addr()
	question := append(udpHeader(4000, 53, 4), "who?"...) // its checksum is 0: there is none
	plain := ipv4(own, at, unix.IPPROTO_UDP, question)
	long := append(append(append([]byte{0x46}, plain[1:20]...), 1, 1, 1, 0), plain[20:]...)
	long[3], long[10], long[11] = byte(len(long)), 0, 0
	sum := internetChecksum(long[:24])
	long[10], long[11] = byte(sum>>8), byte(sum)
	for _, packet := range [][]byte{plain, long} {
		wire.send(ethernet(mac, x.server.endpoint.MAC, unix.ETH_P_IP, packet))
		back := wire.receive(patience, func(f []byte) bool {
			return len(f) > 42 && model.MAC(f[:6]) == mac && f[12] == 8 && f[13] == 0 && bytes.HasPrefix(f[42:], []byte("netplugin "+at.String()+":4000 who?"))
		})
		if back == nil {
			t.Fatalf("% x is not answered; drops: %v", packet, x.n.dropped())
		}
		if !bytes.Equal(back[26:34], append(at.AsSlice(), own.AsSlice()...)) || !bytes.Equal(back[34:38], []byte{0, 53, 4000 >> 8, 4000 & 0xff}) {
			t.Errorf("the answer is % x", back)
		}
	}
}

func TestWhatNetpluginAsksIsNotItsOwnToAnswer(t *testing.T) {
	t.Parallel()
	x := namesLab(t, AttachAuto)
	must(t, x.n.dp.Reflect(x.client.endpoint.Port, time.Hour))
	for _, at := range x.at {
		for _, network := range []string{"udp", "tcp"} {
			must(t, x.client.do(func() error {
				d := net.Dialer{Timeout: patience, Control: func(network, address string, c syscall.RawConn) error {
					return errors.Join(ofNetplugin(network, address, c), c.Control(func(fd uintptr) {
						_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
					}))
				}}
				d.SetMultipathTCP(false)
				conn, err := d.Dial(network, at.String())
				if err != nil {
					return err
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				b := make([]byte, 6)
				if _, err := conn.Write([]byte("who?")); err != nil {
					return err
				}
				if _, err := conn.Read(b); err != nil || string(b) != "server" {
					t.Errorf("%s over %s says %q, %v", at, network, b, err)
				}
				return nil
			}))
		}
	}
}

func TestNobodyElseReachesNetpluginInAContainer(t *testing.T) {
	t.Parallel()
	x := namesLab(t, AttachAuto)
	must(t, x.n.dp.Reflect(x.client.endpoint.Port, time.Hour))
	must(t, x.n.dp.Reflect(x.other.endpoint.Port, time.Hour))
	for _, own := range x.own {
		x.other.reaches(own.Addr())
		for _, network := range []string{"udp", "tcp"} {
			if heard, _, err := x.other.hears(network, netip.AddrPort{}, own, []byte("who?"), silence); !errors.Is(err, os.ErrDeadlineExceeded) && !isTimeout(err) {
				t.Errorf("another container asks %s over %s and hears %q, %v", own, network, heard, err)
			}
			// Nor as if it answered.
			heard, _, err := x.other.hears(network, netip.AddrPortFrom(x.other.ip(own.Addr()), 53), own, []byte("who?"), silence)
			if !isTimeout(err) {
				t.Errorf("from port 53, another container asks %s over %s and hears %q, %v", own, network, heard, err)
			}
		}
		x.isAnsweredBy("netplugin", netip.AddrPortFrom(x.server.ip(own.Addr()), 53), []byte("who?")) // it is there
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestQuestionsGoWhereTheyAreSentWhenNetpluginIsNoLongerHeardOf(t *testing.T) {
	t.Parallel()
	x := namesLab(t, AttachAuto)
	port := x.client.endpoint.Port
	must(t, x.n.dp.Reflect(port, time.Hour))
	x.isAnsweredBy("netplugin", x.at[0], []byte("who?"))
	// What is pinned goes on while a new netplugin starts.
	must(t, x.n.dp.Close())
	x.isAnsweredBy("netplugin", x.at[0], []byte("who?"))
	x.n.open()
	if x.n.dp.Reflects() {
		t.Error("the ports are said to run programs of this process before it has put them there")
	}
	must(t, x.n.dp.Apply(x.n.tables()))
	if !x.n.dp.Reflects() {
		t.Error("the ports are said to run programs of an earlier process for ever")
	}
	x.isAnsweredBy("netplugin", x.at[0], []byte("who?"))
	must(t, x.n.dp.Reflect(port, time.Millisecond))
	for _, at := range x.at {
		for end := deadline(); ; {
			// A question that comes back just before the end is answered just after it, to nobody.
			heard, _, err := x.client.hears("udp", netip.AddrPort{}, at, []byte("who?"), silence)
			if err == nil && strings.HasPrefix(heard, "server") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s is not asked: %q, %v", at, heard, err)
			}
		}
		x.isAnsweredBy("server", at, []byte("who?"))
	}
	// A container that goes leaves nothing.
	must(t, x.n.dp.Reflect(port, time.Hour))
	must(t, x.n.dp.Detach(port))
	var until uint64
	index, err := x.n.nl.LinkByName(port)
	must(t, err)
	if err := x.n.dp.objects.Reflected.Lookup(uint32(index.Attrs().Index), &until); err == nil {
		t.Error("the port that was detached is on record")
	}
	if err := x.n.dp.Reflect(port, time.Hour); err == nil {
		t.Error("what is not attached cannot reflect, and nobody says so")
	}
	must(t, x.n.dp.Unreflect(port))
}

func TestDatagramsInFragmentsGoWhereTheyAreSent(t *testing.T) {
	t.Parallel()
	x := namesLab(t, AttachAuto)
	must(t, x.n.dp.Reflect(x.client.endpoint.Port, time.Hour))
	for _, at := range x.at {
		heard, own, err := x.client.hears("udp", netip.AddrPort{}, at, make([]byte, 4000), patience)
		if err != nil || heard != "server "+own.String()+" " {
			t.Errorf("%s is asked in fragments: %q, %v; drops: %v", at, heard, err, x.n.dropped())
		}
	}
}
