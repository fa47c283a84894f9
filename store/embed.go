// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Embedding is an etcd of one member that runs in this process, for a lone master.
type Embedding struct {
	// Dir is where its data is. It is made when absent, and one process can have it at a time.
	Dir string
	// ClientURL is where others reach this etcd, as http://10.0.0.1:2379; "": nobody but root
	// on this machine, through the unix socket Dir/client.sock.
	ClientURL string
	Log       *slog.Logger
}

// Embedded is a Store in an etcd of its own.
type Embedded struct {
	*Etcd
	server  *embed.Etcd
	lock    *os.File
	closing *atomic.Bool
}

// maxSocketPath is what fits into a unix socket's address, in bytes (unix(7)).
const maxSocketPath = 107

// Embed starts an etcd, with what its directory holds from earlier runs, and waits until it serves. The member's
// writes are on disk before they count.
func Embed(ctx context.Context, e Embedding) (_ *Embedded, err error) {
	dir, err := filepath.Abs(e.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory %s: %w", e.Dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = lock.Close() // the error that is on its way says more
		}
	}()
	closing := new(atomic.Bool)
	config, err := embedConfig(dir, e, zap.New(zapCore{e.Log, closing}))
	if err != nil {
		return nil, err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		server.Close()
		return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("etcd on %s is not ready in time: %w", dir, ctx.Err())
	}
	// Requests of this process go to the member without a connection in between.
	return &Embedded{&Etcd{v3client.New(server.Server), e.Log}, server, lock, closing}, nil
}

// Close stops the etcd.
func (e *Embedded) Close() error {
	e.closing.Store(true)
	err := e.Etcd.Close()
	if errors.Is(err, context.Canceled) {
		err = nil // how the client says that it was closed
	}
	e.server.Close()
	return errors.Join(err, e.lock.Close())
}

func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w; give one that can be written with --data-dir", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write to the data directory: %w; give one that can be written with --data-dir", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data directory %s is in use by another netmaster: stop that, or give another --data-dir", dir), lock.Close())
	}
	return lock, nil
}

func embedConfig(dir string, e Embedding, log *zap.Logger) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Name, c.Dir = "contiv", filepath.Join(dir, "etcd")
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	c.EnableGRPCGateway = false
	// A lone member votes for itself; the sooner it does, the sooner the master serves.
	c.TickMs, c.ElectionMs = 20, 100
	c.MaxTxnOps, c.MaxRequestBytes = 10000, 8<<20 // a request of 1 MiB may bring so many objects, each with its conditions
	c.QuotaBackendBytes = 4 << 30
	// Followers that were cut off for longer list everything again.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"

	peer, err := socketURL(filepath.Join(dir, "peer.sock"))
	if err != nil {
		return nil, err
	}
	client, err := socketURL(filepath.Join(dir, "client.sock"))
	if e.ClientURL != "" {
		client, err = url.Parse(e.ClientURL)
	}
	if err != nil {
		return nil, fmt.Errorf("read the URL for etcd's clients: %w", err)
	}
	// etcd takes a peer listener's path from the URL's host. With none there it would listen on a socket without a
	// path, which every process of the machine can reach.
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{{Scheme: peer.Scheme, Host: peer.Path}}, []url.URL{*peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	return c, nil
}

// socketURL is the URL of a unix socket at path, where no socket of an earlier run is in the way.
func socketURL(path string) (*url.URL, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of socket %s has %d bytes; the system takes %d: give a shorter --data-dir", path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the last run's socket: %w", err)
	}
	return &url.URL{Scheme: "unix", Path: path}, nil
}
