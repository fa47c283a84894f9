// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

// openings is a stream of UDP packets from one container to a port of another, each from a source port of its own: so each opens a connection
// and is asked about. Which of them came, and when each was sent, is kept.
type openings struct {
	name   string
	pause  time.Duration
	stop   context.CancelFunc
	done   sync.WaitGroup
	close  func() // ends the stream and gives its port back
	mu     sync.Mutex
	sentAt []time.Time // by number
	came   map[uint64]bool
}

// place is a container as a stream needs it.
type place struct {
	sandbox string
	mac     model.MAC
	ip      netip.Addr
}

// placeOf is where a container is, by its address in the network.
func placeOf(t *testing.T, n *cluster.Node, container, network string, six bool) place {
	t.Helper()
	p := place{sandbox: sandbox(t, n, container)}
	p.mac = eth0MAC(t, p.sandbox)
	text := address(t, n, container, network)
	if six {
		text = address6(t, n, container, network)
	}
	p.ip = netip.MustParseAddr(text)
	return p
}

// datagram is a whole frame.
func datagram(from, to place, source, port uint16, payload []byte) []byte {
	u := udp(source, port, payload)
	if from.ip.Is4() {
		return ethernet(model.RouterMAC, from.mac, unix.ETH_P_IP, ip4(from.ip, to.ip, unix.IPPROTO_UDP, nil, piece{}, u))
	}
	binary.BigEndian.PutUint16(u[6:], checksum(from.ip, to.ip, unix.IPPROTO_UDP, u)) // which UDP over IPv6 must have (RFC 8200 section 8.1)
	return ethernet(model.RouterMAC, from.mac, unix.ETH_P_IPV6, ip6(from.ip, to.ip, unix.IPPROTO_UDP, 64, u))
}

// checksum is that of TCP and UDP, of a packet whose own field is zero.
func checksum(from, to netip.Addr, proto byte, packet []byte) uint16 {
	pseudo := append(append([]byte{}, from.AsSlice()...), to.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(packet)))
	pseudo = append(append(pseudo, 0, 0, 0, proto), packet...)
	var sum uint32
	for i := 0; i < len(pseudo); i += 2 {
		sum += uint32(pseudo[i]) << 8
		if i+1 < len(pseudo) {
			sum += uint32(pseudo[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// openStream begins a stream. It ends with end, or with the test.
func openStream(t *testing.T, name string, from, to place, port uint16, pause time.Duration) *openings {
	t.Helper()
	var in *net.UDPConn
	err := netdev.Do(to.sandbox, func() (err error) {
		in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.ip, port)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := in.SetReadBuffer(16 << 20); err != nil {
		t.Fatal(err)
	}
	out := newWire(t, from.sandbox, "eth0", 0)
	ctx, stop := context.WithCancel(context.Background())
	s := &openings{name: name, pause: pause, stop: stop, came: map[uint64]bool{}}
	var reading sync.WaitGroup
	reading.Go(func() {
		b := make([]byte, 100)
		for {
			n, err := in.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if n == 8 {
				s.mu.Lock()
				s.came[binary.BigEndian.Uint64(b)] = true
				s.mu.Unlock()
			}
		}
	})
	s.done.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := uint64(0); ctx.Err() == nil; n++ {
			f := datagram(from, to, uint16(1024+n%60000), port, binary.BigEndian.AppendUint64(nil, n))
			s.mu.Lock()
			s.sentAt = append(s.sentAt, time.Now())
			s.mu.Unlock()
			if err := out.send(f); err != nil && ctx.Err() == nil {
				t.Errorf("%s: send: %v", name, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	s.close = func() { stop(); s.done.Wait(); in.Close(); reading.Wait() }
	t.Cleanup(s.close)
	return s
}

// count is how many packets were sent and how many came.
func (s *openings) count() (sent, came int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sentAt), len(s.came)
}

// end stops the stream and waits for what is under way.
func (s *openings) end() (sent, came int) {
	s.stop()
	s.done.Wait()
	sent, came = s.count()
	for end := time.Now().Add(2 * time.Second); came < sent && time.Now().Before(end); _, came = s.count() {
		time.Sleep(20 * time.Millisecond) // packets that are under way have until then
		if _, now := s.count(); now == came && came == 0 {
			break
		}
	}
	return sent, came
}

// span tells when the first and the last of the packets were sent that came and were sent in the time given. A zero end is now.
func (s *openings) span(from, to time.Time) (first, last time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.sentAt) - 1; n >= 0 && !s.sentAt[n].Before(from); n-- {
		if at := s.sentAt[n]; s.came[uint64(n)] && (to.IsZero() || at.Before(to)) {
			first = at
			if last.IsZero() {
				last = at
			}
		}
	}
	return first, last
}

// all fails the test unless every packet of the stream came, and none unless none did.
func (s *openings) all(t *testing.T) {
	t.Helper()
	if sent, came := s.end(); came != sent || sent < 10 {
		t.Errorf("%s: %d of %d packets came, all were allowed", s.name, came, sent)
	}
}

func (s *openings) none(t *testing.T) {
	t.Helper()
	if sent, came := s.end(); came != 0 || sent < 10 {
		t.Errorf("%s: %d of %d packets came, all were forbidden", s.name, came, sent)
	}
}

// settled waits until a stream's next packets come, or do not, as wanted, so that what follows begins with that.
func settled(t *testing.T, s *openings, pass bool) {
	t.Helper()
	eventually(t, func() error {
		sent, before := s.count()
		time.Sleep(30 * s.pause) // for so long it is looked at
		now, came := s.count()
		if now-sent < 10 || pass && came-before < (now-sent)/2 || !pass && came > before {
			return fmt.Errorf("%s: %d of %d packets came, pass is wanted %v", s.name, came-before, now-sent, pass)
		}
		return nil
	})
}

// long tells whether tests may take minutes: CONTIV_TEST_CHURN is set.
func long() bool { return os.Getenv("CONTIV_TEST_CHURN") != "" }
