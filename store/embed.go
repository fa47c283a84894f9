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
	"strings"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Embedding is an etcd that runs in this process: of one member, for a lone master, or one of several.
type Embedding struct {
	// Dir is where its data is. It is made when absent, and one process can have it at a time.
	Dir string
	// ClientURL is where others reach this etcd, as http://10.0.0.1:2379; "": nobody but root
	// on this machine, through the unix socket Dir/client.sock.
	ClientURL string
	// Peers are the other members; nil: none.
	Peers *Peers
	Log   *slog.Logger
}

// Embedded is a Store in an etcd of its own.
type Embedded struct {
	*Etcd
	server   *embed.Etcd
	lock     *os.File
	closing  *atomic.Bool
	stop     context.CancelFunc // of admitting
	admitted chan error
}

// maxSocketPath is what fits into a unix socket's address, in bytes (unix(7)).
const maxSocketPath = 107

// Embed starts an etcd, with what its directory holds from earlier runs, and waits until it serves; one of several members
// serves when a majority of them is there. The member's writes are on disk before they count.
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
	if e.Peers != nil && e.Peers.Lost {
		if !hasData(dir) {
			return nil, fmt.Errorf("--peers-lost goes on from a master's state, and there is none in %s: give it to the master that has some", dir)
		}
		if _, err := os.Stat(wentOn(dir)); err == nil {
			return nil, errors.New("this master has gone on alone already, and its peers may have its state by now: start without --peers-lost")
		}
		if err := e.Peers.alone(ctx); err != nil {
			return nil, err
		}
		config.ForceNewCluster = true
	}
	if e.Peers != nil && !hasData(dir) {
		begin, err := e.Peers.await(ctx, e.Log)
		if err != nil {
			return nil, err
		}
		config.ClusterState, config.InitialCluster = begin.state, begin.initial
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, notStarted(dir, err)
	}
	if e.Peers != nil {
		e.Log.Info("this master has joined its peers' store, which serves when a majority of them is up", "peers", strings.Join(e.Peers.All, ","))
	}
	if all := server.Server.Cluster().Members(); e.Peers == nil && len(all) > 1 { // it would wait for them for ever, and say nothing
		server.Close()
		return nil, fmt.Errorf("the state in %s is that of %d masters: start this one with --peers, as they are; to have it alone, bring what netctl export writes of them by netctl apply, and before move %s away",
			dir, len(all), config.Dir)
	}
	select {
	case <-server.Server.ReadyNotify():
	case <-server.Server.StopNotify():
		server.Close()
		return nil, ended(dir)
	case err := <-server.Err():
		server.Close()
		return nil, notStarted(dir, err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("etcd on %s is not ready in time: %w", dir, ctx.Err())
	}
	if err := noteLost(dir, e.Peers != nil && e.Peers.Lost); err != nil {
		server.Close()
		return nil, err
	}
	// Requests of this process go to the member without a connection in between.
	s := &Embedded{&Etcd{v3client.New(server.Server), e.Log}, server, lock, closing, func() {}, make(chan error, 1)}
	if e.Peers == nil {
		s.admitted <- nil
		return s, nil
	}
	admitting, stop := context.WithCancel(context.Background())
	s.stop = stop
	go func() { s.admitted <- s.admit(admitting, e.Peers) }()
	return s, nil
}

// hasData tells whether there is an etcd's data from an earlier run.
func hasData(dir string) bool {
	logs, err := filepath.Glob(filepath.Join(dir, "etcd/member/wal/*.wal"))
	return err == nil && len(logs) > 0
}

// wentOn is a file that is there from a start with --peers-lost to the next one without. Were the flag forgotten in a unit file, a power
// failure of all masters would make two stores: this one would not hear those that it let in and that start a little later.
func wentOn(dir string) string { return filepath.Join(dir, "peers-lost") }

func noteLost(dir string, lost bool) error {
	if lost {
		if err := os.WriteFile(wentOn(dir), nil, 0o600); err != nil {
			return fmt.Errorf("note that this master went on alone: %w", err)
		}
		return nil
	}
	if err := os.Remove(wentOn(dir)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("forget that this master went on alone: %w", err)
	}
	return nil
}

// Ended is closed when the etcd has stopped by itself; Why then says why.
func (e *Embedded) Ended() <-chan struct{} { return e.server.Server.StopNotify() }

// Why is what an operator is told when the etcd has ended.
func (e *Embedded) Why() error { return ended(e.server.Config().Dir) }

func notStarted(dir string, err error) error {
	if strings.Contains(err.Error(), "server is stopping") { // as etcd says when it learns at once that it is no member any more
		return ended(dir)
	}
	return fmt.Errorf("start etcd on %s: %w", dir, err)
}

func ended(dir string) error {
	return fmt.Errorf("the embedded etcd in %s has stopped: its disk fails, or another master has taken this one's place; in that case move the directory away and start again", dir)
}

// Close stops the etcd.
func (e *Embedded) Close() error {
	e.closing.Store(true)
	e.stop()
	admitted := <-e.admitted
	err := e.Etcd.Close()
	if errors.Is(err, context.Canceled) {
		err = nil // how the client says that it was closed
	}
	e.server.Close()
	return errors.Join(admitted, err, e.lock.Close())
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
	c.MaxTxnOps, c.MaxRequestBytes = 10000, 8<<20 // an apply may bring so many objects, each with its conditions
	c.QuotaBackendBytes = 4 << 30
	// Followers that were cut off for longer list everything again.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"

	client, err := socketURL(filepath.Join(dir, "client.sock"))
	if e.ClientURL != "" {
		client, err = url.Parse(e.ClientURL)
	}
	if err != nil {
		return nil, fmt.Errorf("read the URL for etcd's clients: %w", err)
	}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	if p := e.Peers; p != nil {
		c.Name, c.InitialCluster = p.Self, p.initial()
		c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{p.url(p.Listen)}, []url.URL{p.url(p.Self)}
		c.PeerTLSInfo = p.tls()
		// Over a network, and with a disk that may take its time, a member must not be taken for dead too soon.
		c.TickMs, c.ElectionMs = 100, 1000
		return c, nil
	}
	peer, err := socketURL(filepath.Join(dir, "peer.sock"))
	if err != nil {
		return nil, err
	}
	// etcd takes a peer listener's path from the URL's host. With none there it would listen on a socket without a
	// path, which every process of the machine can reach.
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{{Scheme: peer.Scheme, Host: peer.Path}}, []url.URL{*peer}
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
