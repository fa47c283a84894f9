// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/contivnet/contiv/cmd/internal/sockets"
)

// maxReaders is how many connections the status port takes at once. More wait, which is a master's own concern.
const maxReaders = 64

// listenStatus takes the port at which masters ask what this node has seen, on the address that they are told.
func listenStatus(ctrl netip.Addr, port uint16) (net.Listener, error) {
	at := netip.AddrPortFrom(ctrl, port)
	l, err := net.Listen("tcp", at.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := sockets.OwnerOfTCP(port)
		if who == "" {
			who = "another process"
		}
		return nil, fmt.Errorf("the status port %s is taken by %s: stop it, or choose another with --status-port (0: any that is free): %w", at, who, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("the control address %s is not one of this machine: give one that is with --ctrl-ip: %w", ctrl, err)
	case err != nil:
		return nil, fmt.Errorf("listen at the status port %s: %w", at, err)
	}
	return &limited{Listener: l, free: make(chan struct{}, maxReaders)}, nil
}

// portOf is the port that a listener has.
func portOf(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

// serveObserved answers masters until ctx ends.
func serveObserved(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve at the status port: %w", err)
	}
	return nil
}

// limited is a listener of which no more than cap(free) connections are open.
type limited struct {
	net.Listener
	free chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.free <- struct{}{} // the next is not accepted before there is room; the kernel's queue bounds how many wait
	return &counted{Conn: c, done: sync.OnceFunc(func() { <-l.free })}, nil
}

type counted struct {
	net.Conn
	done func()
}

func (c *counted) Close() error {
	defer c.done()
	return c.Conn.Close()
}
