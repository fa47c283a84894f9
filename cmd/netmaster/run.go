// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/store"
)

// patience is how long the store may take to answer for the first time.
const patience = 30 * time.Second

// run serves until ctx ends.
func run(ctx context.Context, o options, v api.Version) (err error) {
	l, err := listen(o.listen)
	if err != nil {
		return err
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Answers come from the start: a client that waited here would not try another master.
	var front front
	server := &http.Server{
		Handler: &front, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
		cancel()
	}()
	err = front.serve(ctx, o, v, l.Addr())
	stopping, stopped := context.WithTimeout(context.Background(), time.Second)
	defer stopped()
	if server.Shutdown(stopping) != nil {
		err = errors.Join(err, server.Close()) // who is not done by now is cut off
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the API: %w", e))
	}
	return errors.Join(err, front.close())
}

// front answers that this master is starting until there is one.
type front struct {
	master     atomic.Pointer[master.Master]
	closeStore func() error
}

// serve opens the store and runs a master on it until ctx ends. A store that was not there before ctx ended is no error.
func (f *front) serve(ctx context.Context, o options, v api.Version, at net.Addr) error {
	kubernetes, err := o.kubernetes()
	if err != nil {
		return err
	}
	s, err := openStore(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	f.closeStore = s.close
	advertise := o.advertise
	if advertise == "" {
		advertise = reachable(at)
	}
	m := master.New(master.Options{Store: s, Log: o.log, Version: v, Address: advertise, NodeGC: o.nodeGC, ForwardMode: o.forwardMode})
	f.master.Store(m)
	o.log.Info("netmaster serves", "version", v.Version, "address", at.String(), "reached at", advertise, "node-gc", o.nodeGC)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-ctx.Done():
		case <-s.ended:
			cancel(s.why())
		}
	}()
	led := leadKubernetes(ctx, m, kubernetes)
	err = m.Run(ctx) // ends the watches when it ends
	cancel(nil)
	<-led
	if cause := context.Cause(ctx); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	o.log.Info("netmaster ends")
	return err
}

// close ends the store, after the last request.
func (f *front) close() error {
	if f.closeStore == nil {
		return nil
	}
	return f.closeStore()
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m := f.master.Load(); m != nil {
		m.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(`{"error":"netmaster is starting and its store is not there yet; try again in a moment, and see its log"}` + "\n")) // who has gone asks again
}

// opened is a store with its end.
type opened struct {
	store.Store
	close func() error
	ended <-chan struct{} // the store has ended by itself; nil: it does not
	why   func() error
}

// openStore connects to the etcd that was named, or starts one.
func openStore(ctx context.Context, o options) (opened, error) {
	if len(o.peers) > 0 {
		return openPeers(ctx, o)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if len(o.etcd) == 0 {
		return embed(ctx, o, nil)
	}
	secure, err := etcdTLS(o)
	if err != nil {
		return opened{}, err
	}
	o.log.Info("the state is in etcd", "endpoints", strings.Join(o.etcd, ","), "tls", secure != nil)
	s, err := store.Open(ctx, store.Dial{Endpoints: o.etcd, TLS: secure, Log: o.log})
	if err != nil {
		return opened{}, err
	}
	return opened{Store: s, close: s.Close}, nil
}

// openPeers waits for a majority of the masters as long as it takes.
func openPeers(ctx context.Context, o options) (opened, error) {
	local, err := localAddresses()
	if err != nil {
		return opened{}, err
	}
	peers, err := peersOf(o, local, func(host string) ([]netip.Addr, error) {
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		return addrs, err
	})
	if err != nil {
		return opened{}, err
	}
	if n := len(peers.All); n%2 == 0 {
		o.log.Warn("an even number of masters bears the loss of no more than one fewer; use 3 or 5", "peers", n)
	}
	return embed(ctx, o, peers)
}

func embed(ctx context.Context, o options, peers *store.Peers) (opened, error) {
	began := time.Now()
	s, err := store.Embed(ctx, store.Embedding{Dir: o.dataDir, ClientURL: o.etcdListen, Peers: peers, Log: o.log})
	if err != nil {
		return opened{}, err
	}
	o.log.Info("the state is in an embedded etcd", "data-dir", o.dataDir, "started in", time.Since(began).Round(time.Millisecond))
	return opened{s, s.Close, s.Ended(), s.Why}, nil
}

func etcdTLS(o options) (*tls.Config, error) {
	if o.caFile == "" && o.certFile == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.caFile != "" {
		b, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("--etcd-ca %s has no certificate in PEM form", o.caFile)
		}
	}
	if o.certFile != "" {
		pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-cert and --etcd-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("%s is taken by %s: stop that, or choose another with --external-address", addr, listener(addr))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is no address of this machine: choose another with --external-address", addr)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("%s may not be used by this user: run as root, or choose a port above 1023 with --external-address", addr)
	}
	return nil, fmt.Errorf("listen for the API: %w", err)
}

// reachable is where others find a listener that may listen at all addresses: this machine's on the way out.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	ip := "127.0.0.1"
	// Connecting a UDP socket sends nothing; the addresses for documentation (RFC 5737, RFC 3849) are behind the default route.
	for _, far := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if c, err := net.Dial("udp", far); err == nil {
			ip = c.LocalAddr().(*net.UDPAddr).IP.String()
			c.Close()
			break
		}
	}
	return net.JoinHostPort(ip, fmt.Sprint(tcp.Port))
}
