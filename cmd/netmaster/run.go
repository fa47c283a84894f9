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
	"os"
	"strings"
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
	s, closeStore, err := openStore(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	advertise := o.advertise
	if advertise == "" {
		advertise = reachable(l.Addr())
	}
	o.log.Info("netmaster serves", "version", v.Version, "address", l.Addr().String(), "reached at", advertise, "node-gc", o.nodeGC)

	m := master.New(master.Options{Store: s, Log: o.log, Version: v, Address: advertise, NodeGC: o.nodeGC, ForwardMode: o.forwardMode})
	server := &http.Server{
		Handler: m, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(o.log.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
		cancel()
	}()
	err = m.Run(ctx) // ends the watches when it ends
	stopping, stopped := context.WithTimeout(context.Background(), time.Second)
	defer stopped()
	if server.Shutdown(stopping) != nil {
		err = errors.Join(err, server.Close()) // who is not done by now is cut off
	}
	if e := <-served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve the API: %w", e))
	}
	o.log.Info("netmaster ends")
	return err
}

// openStore connects to the etcd that was named, or starts one.
func openStore(ctx context.Context, o options) (store.Store, func() error, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if len(o.etcd) == 0 {
		began := time.Now()
		s, err := store.Embed(ctx, store.Embedding{Dir: o.dataDir, ClientURL: o.etcdListen, Log: o.log})
		if err != nil {
			return nil, nil, err
		}
		o.log.Info("the state is in an embedded etcd", "data-dir", o.dataDir, "started in", time.Since(began).Round(time.Millisecond))
		return s, s.Close, nil
	}
	secure, err := etcdTLS(o)
	if err != nil {
		return nil, nil, err
	}
	o.log.Info("the state is in etcd", "endpoints", strings.Join(o.etcd, ","), "tls", secure != nil)
	s, err := store.Open(ctx, store.Dial{Endpoints: o.etcd, TLS: secure, Log: o.log})
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
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
	// Connecting a UDP socket sends nothing; TEST-NET-1 (RFC 5737) is behind the default route.
	if c, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		ip = c.LocalAddr().(*net.UDPAddr).IP.String()
		c.Close()
	}
	return net.JoinHostPort(ip, fmt.Sprint(tcp.Port))
}
