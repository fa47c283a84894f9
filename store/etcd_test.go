// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/storetest"
)

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "contiv-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func embedded(t *testing.T, dir string) *store.Embedded {
	t.Helper()
	s, err := store.Embed(t.Context(), store.Embedding{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEmbeddedEtcdKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s := embedded(t, shortDir(t))
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

func TestEtcdOverAConnectionKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		dir := shortDir(t)
		server := embedded(t, dir)
		s, err := store.Open(t.Context(), store.Dial{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(s.Close(), server.Close()); err != nil {
				t.Error(err)
			}
		})
		return s
	})
}

func TestStateSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	s := embedded(t, dir)
	rev, ok, err := s.Commit(t.Context(), store.Txn{Put: []store.Put{{Object: model.Tenant{Name: "blue", Number: 2}}}})
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, err := store.Embed(t.Context(), store.Embedding{Dir: dir, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "another netmaster") {
		t.Errorf("a second etcd on one directory: %v", err)
	}
	for _, name := range []string{"client.sock", "peer.sock"} { // a socket without a path would be open to every process
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = embedded(t, dir)
	defer s.Close()
	enough := errors.New("enough")
	err = s.Follow(t.Context(), func(c model.Change) error {
		if !c.Reset || c.Revision < rev || len(c.Put) != 1 || c.Put[0].Key() != "blue" {
			t.Errorf("after a restart: %+v", c)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
}

// A follower that falls behind a compaction is given everything again.
func TestForgottenRevisionsAreListedAgain(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	server := embedded(t, dir)
	defer server.Close()
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()

	// The follower's connection goes through a proxy that can be cut.
	proxy := newProxy(t, filepath.Join(dir, "client.sock"))
	s, err := store.Open(t.Context(), store.Dial{Endpoints: []string{"http://" + proxy.addr()}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	changes := make(chan model.Change, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = s.Follow(ctx, func(c model.Change) error { changes <- c; return nil })
	}()
	await := func(what string, is func(model.Change) bool) {
		t.Helper()
		deadline := time.After(20 * time.Second)
		for {
			select {
			case c := <-changes:
				if is(c) {
					return
				}
			case <-deadline:
				t.Fatal("not seen in time: ", what)
			}
		}
	}
	await("the first list", func(c model.Change) bool { return c.Reset })
	proxy.cut(true)
	var rev int64
	for i := range 5 {
		if rev, _, err = server.Commit(t.Context(), store.Txn{Put: []store.Put{{Object: model.Tenant{Name: fmt.Sprint("t", i), Number: 1}}}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := raw.Compact(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
	proxy.cut(false)
	await("a second list", func(c model.Change) bool { return c.Reset && c.Revision >= rev && len(c.Put) == 5 })
}

// Where others write to the same etcd, a follower still reaches the revision that Revision gave.
func TestFollowerReachesRevisionsOfOtherUsers(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	server := embedded(t, dir)
	defer server.Close()
	raw, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	at := make(chan int64, 100)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = server.Follow(ctx, func(c model.Change) error { at <- c.Revision; return nil })
	}()
	<-at
	put, err := raw.Put(t.Context(), "/somebody/else", "1")
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(20 * time.Second)
	for {
		// A watch that has only just begun may miss the first request for its progress.
		want, err := server.Revision(t.Context())
		if err != nil || want < put.Header.Revision {
			t.Fatalf("revision %d, %v", want, err)
		}
		select {
		case got := <-at:
			if got >= put.Header.Revision {
				return
			}
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatal("the follower never came there")
		}
	}
}

func TestUnreachableEtcdIsNamed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := store.Open(ctx, store.Dial{Endpoints: []string{"http://127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "--etcd-endpoints") {
		t.Errorf("got %v", err)
	}
}

func TestUnwritableDataDirectoryIsNamed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := store.Embed(t.Context(), store.Embedding{Dir: filepath.Join(file, "dir"), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("got %v", err)
	}
	_, err = store.Embed(t.Context(), store.Embedding{Dir: filepath.Join(shortDir(t), strings.Repeat("long", 30)), Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("got %v", err)
	}
}

// What the Addresses table stands on: an IPv6 address's key comes back as it was.
func TestKeysWithColonsAndSlashesComeBack(t *testing.T) {
	t.Parallel()
	s := embedded(t, shortDir(t))
	defer s.Close()
	a := model.Address{Network: "default:net", Addr: netip.MustParseAddr("2001:db8::1"), Owner: "gateway"}
	e := model.Endpoint{ID: "box/eth0", Tenant: "default", Network: "net", Node: "n"}
	if _, ok, err := s.Commit(t.Context(), store.Txn{Put: []store.Put{{Object: a}, {Object: e}}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	enough := errors.New("enough")
	_ = s.Follow(t.Context(), func(c model.Change) error {
		w := model.World{}.With(c)
		if _, ok := w.Addresses.Get(a.Key()); !ok {
			t.Error("the address is lost")
		}
		if _, ok := w.Endpoints.Get(e.Key()); !ok {
			t.Error("the endpoint is lost")
		}
		return enough
	})
}

// proxy carries connections to a unix socket until it is cut.
type proxy struct {
	l     net.Listener
	cutCh chan bool
	done  chan struct{}
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, cutCh: make(chan bool), done: make(chan struct{})}
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case accepted <- c:
			case <-p.done:
				c.Close()
				return
			}
		}
	}()
	go func() {
		cut := false
		var open []net.Conn
		closeAll := func() {
			for _, c := range open {
				c.Close()
			}
			open = nil
		}
		defer closeAll()
		for {
			select {
			case <-p.done:
				return
			case cut = <-p.cutCh:
				if cut {
					closeAll()
				}
			case c := <-accepted:
				if cut {
					c.Close()
					continue
				}
				d, err := net.Dial("unix", to)
				if err != nil {
					c.Close()
					continue
				}
				open = append(open, c, d)
				go carry(c, d)
				go carry(d, c)
			}
		}
	}()
	t.Cleanup(func() { close(p.done); l.Close() })
	return p
}

func carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) cut(yes bool) { p.cutCh <- yes }
