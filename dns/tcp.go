// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/contivnet/contiv/netdev"
)

const (
	// maxStreams bounds a container's TCP connections that are served; more wait in the listener's queue.
	maxStreams = 16
	// streamIdle is how long a connection may be silent (RFC 7766 6.2.3: a few seconds).
	streamIdle = 10 * time.Second
)

func (s *sandbox) serveTCP() {
	places := make(chan struct{}, maxStreams)
	for {
		select {
		case places <- struct{}{}:
		case <-s.ctx.Done():
			return
		}
		c, err := s.tcp.Accept()
		switch {
		case err == nil:
			s.running.Go(func() {
				defer func() { <-places }()
				s.serveStream(c)
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

// serveStream answers one query after the other until the client leaves.
func (s *sandbox) serveStream(c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(s.ctx, func() { _ = c.Close() })()
	up := stream{ctx: s.ctx, path: s.path}
	defer up.close()
	for {
		_ = c.SetDeadline(time.Now().Add(streamIdle))
		query, err := readFrame(c)
		if err != nil || !isQuery(query) {
			return
		}
		answer := s.reply(*s.endpoints.Load(), query, tcp)
		if answer == nil {
			if answer, err = up.ask(query); err != nil {
				s.log.Debug("a DNS question cannot be passed on", "netns", s.path, "err", err)
				answer = failure(query)
			}
		}
		if writeFrame(c, answer) != nil {
			return
		}
	}
}

// stream is a TCP connection to Docker's resolver in a container, made when it is needed and kept for the next query.
type stream struct {
	ctx  context.Context
	path string
	conn net.Conn
	stop func() bool
}

// ask gives Docker's answer as it came.
func (u *stream) ask(query []byte) ([]byte, error) {
	if u.conn != nil {
		if answer, err := u.exchange(query); err == nil {
			return answer, nil
		}
		u.close() // it may have been closed while it was idle
	}
	err := netdev.Do(u.path, func() (err error) {
		u.conn, err = dialer().DialContext(u.ctx, "tcp4", resolverAddr())
		return err
	})
	if err != nil {
		u.conn = nil
		return nil, fmt.Errorf("connect to Docker's resolver: %w", err)
	}
	c := u.conn
	u.stop = context.AfterFunc(u.ctx, func() { _ = c.Close() })
	answer, err := u.exchange(query)
	if err != nil {
		u.close()
		return nil, fmt.Errorf("ask Docker's resolver: %w", err)
	}
	return answer, nil
}

func (u *stream) exchange(query []byte) ([]byte, error) {
	_ = u.conn.SetDeadline(time.Now().Add(patience))
	if err := writeFrame(u.conn, query); err != nil {
		return nil, err
	}
	return readFrame(u.conn)
}

func (u *stream) close() {
	if u.conn != nil {
		u.stop()
		_ = u.conn.Close()
		u.conn = nil
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
