// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sample is one measurement. Rate is Gbit/s of payload for streams, else round trips, connections or received
// datagrams a second. P50 and P99 are microseconds. CPU is the busy time of the whole machine in the window.
type sample struct {
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_us,omitempty"`
	P99      float64 `json:"p99_us,omitempty"`
	CPU      float64 `json:"cpu_s"`
	CPUPerGB float64 `json:"cpu_s_per_gb,omitempty"`
	Secs     float64 `json:"secs"`
	Other    float64 `json:"other_cpus"` // CPUs that other work took meanwhile
}

// sendSize is what one send carries, in bytes; packetSize the payload of a small packet.
const (
	sendSize   = 128 << 10
	packetSize = 18
)

func (j job) target(port uint16) *unix.RawSockaddrInet4 {
	a := rawAddress(netip.AddrPortFrom(j.to, port-uint16(j.shift)))
	return &a
}

// probe waits until the server answers over the path, for at most j.secs.
func probe(j job) error {
	to := j.target(echoPort)
	for c := newClock(); ; time.Sleep(20 * time.Millisecond) {
		s, err := dial(to)
		if err == nil {
			s.close()
			return nil
		}
		if c.seconds() > j.secs {
			return fmt.Errorf("no answer from %s within %.0f s: %w", j.to, j.secs, err)
		}
	}
}

// window is the measured part of a client's run, after the warm-up.
type window struct {
	clock      clock
	start      float64
	busy       float64
	warm, secs float64
	open       bool
}

func newWindow(j job) *window { return &window{clock: newClock(), warm: j.warm, secs: j.secs} }

// begin tells once that the warm-up is over.
func (w *window) begin(now float64) bool {
	if w.open || now < w.warm {
		return false
	}
	w.open = true
	return true
}

// mark sets the window's start to now.
func (w *window) mark() error {
	t, err := machineTime()
	w.busy, w.start = t.busy, w.clock.seconds()
	return err
}

func (w *window) over(now float64) bool { return w.open && now-w.start >= w.secs }

// sample closes the window; amount is what was done in it.
func (w *window) sample(amount float64) (sample, error) {
	secs := w.clock.seconds() - w.start
	t, err := machineTime()
	if err != nil {
		return sample{}, err
	}
	return sample{Rate: amount / secs, CPU: t.busy - w.busy, Secs: secs}, nil
}

// roundTrips sends a byte and waits for it, over and over on one connection.
func roundTrips(j job) (sample, error) {
	if err := pin(j.cpu); err != nil {
		return sample{}, err
	}
	s, err := dial(j.target(echoPort))
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	buf := []byte{echoing}
	return timed(j, 400_000, func() error {
		if _, errno := s.send(buf); errno != 0 {
			return fmt.Errorf("send: %w", errno)
		}
		n, errno := s.receive(buf)
		if errno != 0 {
			return fmt.Errorf("receive: %w", errno)
		}
		if n != 1 {
			return errors.New("the server closed")
		}
		return nil
	})
}

// connections connects, exchanges a byte each way and sees the server close.
func connections(j job) (sample, error) {
	if err := pin(j.cpu); err != nil {
		return sample{}, err
	}
	to, buf := j.target(echoPort), []byte{closing}
	return timed(j, 100_000, func() error {
		s, err := dial(to)
		if err != nil {
			return err
		}
		defer s.close()
		buf[0] = closing
		if _, errno := s.send(buf); errno != 0 {
			return fmt.Errorf("send: %w", errno)
		}
		if n, errno := s.receive(buf); errno != 0 || n != 1 {
			return fmt.Errorf("receive %d bytes: %w", n, errno)
		}
		if n, errno := s.receive(buf); errno != 0 || n != 0 {
			return fmt.Errorf("wait for the end, got %d bytes: %w", n, errno)
		}
		return nil
	})
}

// timed does an exchange over and over. rate, in exchanges a second, is more than any machine does.
func timed(j job, rate int, exchange func() error) (sample, error) {
	took := make([]float32, 0, int(float64(rate)*(j.warm+j.secs)))
	w := newWindow(j)
	for last := 0.0; ; {
		if err := exchange(); err != nil {
			return sample{}, err
		}
		now := w.clock.seconds()
		if len(took) < cap(took) {
			took = append(took, float32(now-last))
		}
		last = now
		if w.begin(now) {
			if err := w.mark(); err != nil {
				return sample{}, err
			}
			took, last = took[:0], w.start
		}
		if w.over(now) {
			break
		}
	}
	s, err := w.sample(float64(len(took)))
	if err != nil {
		return s, err
	}
	slices.Sort(took)
	s.P50, s.P99 = float64(took[len(took)/2])*1e6, float64(took[len(took)*99/100])*1e6
	return s, nil
}

// throughput sends on all streams as fast as they take it; what the server received counts.
func throughput(j job, received *counters) (sample, error) {
	if err := pin(j.cpu); err != nil {
		return sample{}, err
	}
	port := uint16(freePort)
	if j.cpu >= 0 {
		port = sinkPort
	}
	var stop atomic.Bool
	ended := make(chan error, j.streams)
	for range j.streams {
		s, err := dial(j.target(port)) // here: this thread is in the namespace
		if err != nil {
			return sample{}, err
		}
		go func() {
			runtime.LockOSThread()
			defer s.close()
			if err := pin(j.cpu); err != nil {
				ended <- err
				return
			}
			ended <- blast(s, &stop)
		}()
	}
	w := newWindow(j)
	time.Sleep(seconds(j.warm))
	before := received.bytes.Load()
	if err := w.mark(); err != nil {
		return sample{}, err
	}
	select {
	case err := <-ended:
		return sample{}, fmt.Errorf("a stream ended early: %w", err)
	case <-time.After(seconds(j.secs)):
	}
	got := float64(received.bytes.Load() - before)
	s, err := w.sample(got * 8 / 1e9)
	stop.Store(true)
	s.CPUPerGB = s.CPU / (got / 1e9)
	return s, err
}

func blast(s socket, stop *atomic.Bool) error {
	buf := make([]byte, sendSize)
	for !stop.Load() {
		if _, errno := s.send(buf); errno != 0 && errno != syscall.EINTR {
			return fmt.Errorf("send: %w", errno)
		}
	}
	return nil
}

// smallPackets sends datagrams as fast as it can; those that the server received count.
func smallPackets(j job, received *counters) (sample, error) {
	if err := pin(j.cpu); err != nil {
		return sample{}, err
	}
	s, err := open(unix.SOCK_DGRAM)
	if err != nil {
		return sample{}, err
	}
	defer s.close()
	if err := s.connect(j.target(packetsPort)); err != nil {
		return sample{}, err
	}
	m := messages(32, packetSize)
	before := uint64(0)
	w := newWindow(j)
	for {
		switch _, errno := s.sendMessages(m); errno {
		case 0, syscall.EINTR, syscall.EAGAIN, syscall.ENOBUFS:
		default:
			return sample{}, fmt.Errorf("send: %w", errno)
		}
		now := w.clock.seconds()
		if w.begin(now) {
			before = received.datagrams.Load()
			if err := w.mark(); err != nil {
				return sample{}, err
			}
		}
		if w.over(now) {
			break
		}
	}
	got := received.datagrams.Load() - before
	if got == 0 {
		return sample{}, errors.New("no datagram arrived")
	}
	return w.sample(float64(got))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
