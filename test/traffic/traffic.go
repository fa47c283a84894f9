// SPDX-License-Identifier: Apache-2.0

// Package traffic sends packets between containers from inside their network namespaces and counts what is lost.
// A Flow is what a user would notice: ICMP echo each 5 ms, UDP datagrams with sequence numbers each 2 ms, and a
// TCP connection on which bytes go there and back without a pause.
//
// What bites: a namespace is named by a path, and that of a container lies in its host's mount namespace. Reach it
// as /proc/<pid of the host>/root/run/docker/netns/….
package traffic

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/contivnet/contiv/netdev"
)

const (
	port      = 7777
	icmpPause = 5 * time.Millisecond
	udpPause  = 2 * time.Millisecond
	// lateness is how long an answer may take before its packet counts as lost.
	lateness = 2 * time.Second
)

// Responder answers the flows that are sent to addr in the namespace, until ctx ends.
func Responder(ctx context.Context, namespace string, addr netip.Addr) error {
	var u *net.UDPConn
	var l *net.TCPListener
	err := netdev.Do(namespace, func() (err error) {
		at := netip.AddrPortFrom(addr, port)
		if u, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		return fmt.Errorf("answer at %s: %w", addr, err)
	}
	context.AfterFunc(ctx, func() { u.Close(); l.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := u.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = u.WriteToUDPAddrPort(b[:n], from) // lost answers are the sender's to count
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { c.Close() })
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	return nil
}

// Report is what became of a flow.
type Report struct {
	ICMPSent, ICMPLost int
	UDPSent, UDPLost   int
	TCPBytes           int64 // that came back
	TCPError           error // the connection broke
}

// Lost tells, in words, what a user would have noticed; "" when nothing.
func (r Report) Lost() string {
	if r.ICMPLost == 0 && r.UDPLost == 0 && r.TCPError == nil && r.TCPBytes > 0 && r.ICMPSent > 0 && r.UDPSent > 0 {
		return ""
	}
	return fmt.Sprintf("ICMP %d of %d lost, UDP %d of %d lost, TCP %d bytes, error %v", r.ICMPLost, r.ICMPSent, r.UDPLost, r.UDPSent, r.TCPBytes, r.TCPError)
}

// Flow is steady traffic between two containers.
type Flow struct {
	stop   context.CancelFunc
	done   sync.WaitGroup
	report Report
}

// Start begins a flow from the namespace to a Responder's address. It returns when one packet of each kind has come back.
func Start(namespace string, to netip.Addr) (*Flow, error) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Flow{stop: cancel}
	var u *net.UDPConn
	var t net.Conn
	var p *pinger
	err := netdev.Do(namespace, func() (err error) {
		at := netip.AddrPortFrom(to, port)
		if u, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at)); err != nil {
			return err
		}
		if t, err = net.DialTimeout("tcp", at.String(), 10*time.Second); err != nil {
			return err
		}
		p, err = newPinger(to)
		return err
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start a flow to %s: %w", to, err)
	}
	var begun sync.WaitGroup
	begun.Add(3)
	f.done.Go(func() {
		f.report.UDPSent, f.report.UDPLost = sequence(ctx, udpPause, u.Write, u, begun.Done)
		u.Close()
	})
	f.done.Go(func() {
		f.report.ICMPSent, f.report.ICMPLost = sequence(ctx, icmpPause, p.Write, p, begun.Done)
		p.Close()
	})
	f.done.Go(func() { f.report.TCPBytes, f.report.TCPError = stream(ctx, t, begun.Done); t.Close() })
	begun.Wait()
	return f, nil
}

// Stop ends the flow, waits for what is under way, and reports.
func (f *Flow) Stop() Report {
	f.stop()
	f.done.Wait()
	return f.report
}

type reader interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
}

// sequence sends numbered packets and counts those that do not come back.
func sequence(ctx context.Context, pause time.Duration, write func([]byte) (int, error), r reader, begun func()) (sent, lost int) {
	var back atomic.Int64
	once := sync.OnceFunc(begun)
	defer once() // a flow that never begins is counted as lost, not waited for
	received := make(chan struct{})
	go func() {
		defer close(received)
		b := make([]byte, 2048)
		seen := map[uint64]bool{}
		for {
			n, err := r.Read(b)
			if errors.Is(err, net.ErrClosed) || isTimeout(err) {
				return
			}
			if err != nil || n < 8 {
				continue // an ICMP error about a packet, which then is lost
			}
			if k := binary.BigEndian.Uint64(b); !seen[k] {
				seen[k] = true
				back.Add(1)
				once()
			}
		}
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	b := make([]byte, 64)
	for ctx.Err() == nil {
		binary.BigEndian.PutUint64(b, uint64(sent))
		if _, err := write(b); err == nil || ctx.Err() == nil {
			sent++ // one that could not be sent was lost too
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	deadline := time.Now().Add(lateness)
	for int(back.Load()) < sent && time.Now().Before(deadline) {
		time.Sleep(pause)
	}
	_ = r.SetReadDeadline(time.Now())
	<-received
	return sent, sent - int(back.Load())
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// stream has bytes go there and back without a pause, and checks each.
func stream(ctx context.Context, c net.Conn, begun func()) (back int64, err error) {
	once := sync.OnceFunc(begun)
	defer once()
	out, in := make([]byte, 4096), make([]byte, 4096)
	for ctx.Err() == nil {
		for i := range out {
			out[i] = byte(int64(i) + back)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(out); err != nil {
			return back, fmt.Errorf("send: %w", err)
		}
		if _, err := io.ReadFull(c, in); err != nil {
			return back, fmt.Errorf("receive: %w", err)
		}
		for i := range in {
			if in[i] != out[i] {
				return back, fmt.Errorf("byte %d came back changed", back+int64(i))
			}
		}
		back += int64(len(in))
		once()
	}
	return back, nil
}
