// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/contivnet/contiv/netdev"
)

const (
	// maxStreams bounds a container's TCP connections that are served; more wait in the listener's queue.
	maxStreams = 16
	// streamIdle is how long a connection may be silent (RFC 7766 6.2.3: a few seconds).
	streamIdle = 10 * time.Second
	// patience is how long a server has for an answer. Stub resolvers ask again after 5 s.
	patience = 5 * time.Second
)

func (s *sandbox) serveTCP(d door) {
	places := make(chan struct{}, maxStreams)
	for {
		select {
		case places <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := d.tcp.Accept()
		switch {
		case err == nil:
			s.running.Go(func() {
				defer func() { <-places }()
				s.serveStream(d, c.(*net.TCPConn))
			})
		case errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil:
			return
		default: // out of file descriptors, for one: it may pass
			<-places
			s.log.Warn("cannot take a DNS connection", "netns", s.path, "err", err)
			select {
			case <-time.After(time.Second):
			case <-s.ctx.Done():
				return
			}
		}
	}
}

// serveStream answers the queries of one connection until the client leaves.
func (s *sandbox) serveStream(d door, c *net.TCPConn) {
	// When this process ends or is killed, the connection is reset: glibc asks again then, and takes an orderly end for a failure.
	_ = c.SetLinger(0)
	defer context.AfterFunc(s.ctx, func() { _ = c.Close() })()
	defer func() {
		if s.ctx.Err() == nil {
			_ = c.SetLinger(-1)
		}
		_ = c.Close()
	}()
	_, server := d.ends(addrPortOf(c.RemoteAddr()), addrPortOf(c.LocalAddr()).Addr())
	up := upstream{ctx: s.ctx, path: s.path, device: d.device, server: server.String(), client: c}
	defer up.close()
	for {
		_ = c.SetReadDeadline(time.Now().Add(streamIdle))
		query, err := readFrame(c)
		if errors.Is(err, io.EOF) {
			up.finish() // it may have asked all that it wants to know
		}
		if err != nil {
			return
		}
		answer, wanted := s.reply(*s.endpoints.Load(), query, tcp, outer{})
		if wanted != "" {
			answer = s.replyWith(wanted, query, tcp)
		}
		if answer == nil {
			if err = up.send(query); err == nil {
				continue
			}
			s.log.Debug("a DNS question cannot be passed on", "netns", s.path, "err", err)
			answer = failure(query)
		}
		if answer == nil || up.answer(answer) != nil {
			return
		}
	}
}

func addrPortOf(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// upstream is the connection to the server that a client means, made when it is needed. Its answers go to the client as they
// come, any number to a question: it may be a zone that is transferred.
type upstream struct {
	ctx    context.Context
	path   string // of the network namespace
	device int    // of the door at which the client is
	server string

	writing sync.Mutex // to the client
	client  *net.TCPConn

	mu   sync.Mutex
	conn *net.TCPConn  // nil when there is none
	done chan struct{} // closed when no more answers come on conn
	open int           // questions that have had no answer
}

// send passes a query on.
func (u *upstream) send(query []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn != nil {
		if u.write(query) == nil {
			return nil
		}
		u.drop() // it was closed while it was idle
	}
	err := netdev.Do(u.path, func() error {
		conn, err := dialer(u.device).DialContext(u.ctx, "tcp", u.server)
		if err == nil {
			u.conn = conn.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", u.server, err)
	}
	u.done, u.open = make(chan struct{}), 0
	go u.read(u.conn, u.done)
	if err := u.write(query); err != nil {
		u.drop()
		return fmt.Errorf("ask %s: %w", u.server, err)
	}
	return nil
}

func (u *upstream) write(query []byte) error {
	_ = u.conn.SetWriteDeadline(time.Now().Add(patience))
	u.open++
	return writeFrame(u.conn, query)
}

// read passes on what the server says until it ends.
func (u *upstream) read(c *net.TCPConn, done chan struct{}) {
	defer close(done)
	defer context.AfterFunc(u.ctx, func() { _ = c.Close() })()
	for {
		answer, err := readFrame(c)
		if err != nil || u.answer(answer) != nil {
			break
		}
		_ = u.client.SetReadDeadline(time.Now().Add(streamIdle)) // it may be listening only
		u.mu.Lock()
		u.open--
		u.mu.Unlock()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn == c {
		u.drop()
		if u.open > 0 {
			_ = u.client.Close() // as the server did
		}
	}
}

func (u *upstream) answer(b []byte) error {
	u.writing.Lock()
	defer u.writing.Unlock()
	_ = u.client.SetWriteDeadline(time.Now().Add(patience))
	return writeFrame(u.client, b)
}

// finish tells the server that no more questions come, and waits for its last answers.
func (u *upstream) finish() {
	u.mu.Lock()
	c, done := u.conn, u.done
	u.mu.Unlock()
	if c == nil {
		return
	}
	_ = c.CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	<-done
}

// drop is called with mu held.
func (u *upstream) drop() {
	_ = u.conn.Close()
	u.conn = nil
}

// close ends the connection and waits until nothing of it runs.
func (u *upstream) close() {
	u.mu.Lock()
	done := u.done
	if u.conn != nil {
		u.drop()
	}
	u.mu.Unlock()
	if done != nil {
		<-done
	}
}

// Over TCP two bytes, big-endian, tell the length of each message (RFC 1035 4.2.2).

func readFrame(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}
