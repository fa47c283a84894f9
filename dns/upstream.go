// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

const (
	// patience is how long Docker's resolver has for an answer. Stub resolvers ask again after 5 s.
	patience = 5 * time.Second
	// maxPending bounds what one container waits for. What comes on top is not taken; the client asks again.
	maxPending = 256
	// idle is how long the socket to Docker's resolver stays open without use.
	idle = 30 * time.Second
)

// upstream carries queries over UDP to Docker's resolver in one container and its answers back. All share one socket,
// told apart by their ids, because opening one in another namespace costs a thread. It is opened by the first.
type upstream struct {
	path   string // of the network namespace
	answer func(client netip.AddrPort, packet []byte)

	mu      sync.Mutex
	closed  bool
	conn    *net.UDPConn
	pending map[uint16]*query
	readers sync.WaitGroup
}

// query waits for its answer.
type query struct {
	client netip.AddrPort
	packet []byte // as the client sent it
	timer  *time.Timer
	retry  bool // has been sent on a second socket
}

// send passes a client's query on. It does not keep packet.
func (u *upstream) send(client netip.AddrPort, packet []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || len(u.pending) >= maxPending {
		return nil
	}
	return u.sendLocked(&query{client: client, packet: append([]byte(nil), packet...)})
}

func (u *upstream) sendLocked(q *query) error {
	if u.conn == nil {
		if err := u.open(); err != nil {
			return err
		}
	}
	id := uint16(rand.Uint32())
	for u.pending[id] != nil { // ends soon: at most maxPending of 65536 are taken
		id++
	}
	out := append([]byte(nil), q.packet...)
	binary.BigEndian.PutUint16(out, id)
	switch _, err := u.conn.Write(out); {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, net.ErrClosed):
		// That is what became of an earlier packet. The reader ends, and drop sees to this one too.
		_ = u.conn.Close()
	case err != nil:
		return fmt.Errorf("ask Docker's resolver: %w", err)
	}
	_ = u.conn.SetReadDeadline(time.Now().Add(idle))
	q.timer = time.AfterFunc(patience, func() { u.giveUp(id, q) })
	u.pending[id] = q
	return nil
}

func (u *upstream) open() error {
	var conn net.Conn
	err := netdev.Do(u.path, func() (err error) {
		conn, err = dialer().Dial("udp4", resolverAddr())
		return err
	})
	if err != nil {
		return fmt.Errorf("open a socket to Docker's resolver: %w", err)
	}
	u.conn = conn.(*net.UDPConn)
	u.pending = map[uint16]*query{}
	c := u.conn
	u.readers.Go(func() { u.read(c) })
	return nil
}

// read hands out the answers that come on c until that is closed.
func (u *upstream) read(c *net.UDPConn) {
	rc, err := c.SyscallConn()
	for err == nil {
		err = receive(rc, func(packet []byte, _ netip.AddrPort) {
			q := u.take(c, packet)
			if q == nil {
				return
			}
			copy(packet, q.packet[:2]) // its own id again
			u.answer(q.client, packet)
		})
		if errors.Is(err, os.ErrDeadlineExceeded) && u.busy(c) {
			err = nil
		}
	}
	u.drop(c)
}

// take finds the query that a packet answers.
func (u *upstream) take(c *net.UDPConn, packet []byte) *query {
	if len(packet) < headerLen {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	id := binary.BigEndian.Uint16(packet)
	q := u.pending[id]
	if u.conn != c || q == nil || !sameQuestion(q.packet, packet) {
		return nil
	}
	delete(u.pending, id)
	q.timer.Stop()
	return q
}

// busy tells whether answers are still awaited on c, and then gives it more time.
func (u *upstream) busy(c *net.UDPConn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn != c || len(u.pending) == 0 {
		return false
	}
	return c.SetReadDeadline(time.Now().Add(idle)) == nil
}

// drop ends c. Where that was not by our own will, Docker's resolver refused: NAT may have kept our flow at the port of
// one that is no more, so what waits is sent once more from a new socket, and then it is a failure.
func (u *upstream) drop(c *net.UDPConn) {
	_ = c.Close()
	u.mu.Lock()
	if u.conn != c {
		u.mu.Unlock()
		return
	}
	waiting := u.pending
	u.conn, u.pending = nil, nil
	var failed []*query
	for _, q := range waiting {
		q.timer.Stop()
		if q.retry || u.closed {
			failed = append(failed, q)
			continue
		}
		q.retry = true
		if u.sendLocked(q) != nil {
			failed = append(failed, q)
		}
	}
	closed := u.closed
	u.mu.Unlock()
	if closed {
		return
	}
	for _, q := range failed {
		u.fail(q)
	}
}

func (u *upstream) giveUp(id uint16, q *query) {
	u.mu.Lock()
	mine := u.pending[id] == q
	if mine {
		delete(u.pending, id)
	}
	u.mu.Unlock()
	if mine {
		u.fail(q)
	}
}

func (u *upstream) fail(q *query) {
	if b := failure(q.packet); b != nil {
		u.answer(q.client, b)
	}
}

// close forgets what waits and returns when nothing runs any more.
func (u *upstream) close() {
	u.mu.Lock()
	u.closed = true
	if u.conn != nil {
		_ = u.conn.Close()
	}
	for _, q := range u.pending {
		q.timer.Stop()
	}
	u.mu.Unlock()
	u.readers.Wait()
}
