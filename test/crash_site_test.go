// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/journal"
)

// site is three masters on this machine, each with a loopback address of its own, and an etcd: that of their own, or three
// more processes. Everything can be killed and started again.
type site struct {
	t       *testing.T
	masters []*mortal
	etcds   []*mortal
	etcd    *clientv3.Client // to look at what is really there
}

// mortal is a process that is killed and started again.
type mortal struct {
	name string
	path string
	args []string
	env  []string
	url  string // a master's
	log  *journal.Journal

	mu  sync.Mutex
	cmd *exec.Cmd // nil: it is dead
}

func (m *mortal) start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		return nil
	}
	c := exec.Command(m.path, m.args...)
	c.Env = append(os.Environ(), m.env...)
	c.Stdout, c.Stderr = m.log, m.log
	if err := c.Start(); err != nil {
		return fmt.Errorf("start %s: %w", m.name, err)
	}
	m.cmd = c
	return nil
}

// kill is what a power failure is to the process.
func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended by itself, which its log then says
	_ = m.cmd.Wait()
	m.cmd = nil
}

func (m *mortal) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// shortTemp is a directory whose path leaves room for sockets.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "contiv-cr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newSite starts everything. With external, the masters share an etcd that asks for certificates; without, their own members
// do among themselves.
func newSite(t *testing.T, external bool) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("whole systems are not started by -short")
	}
	bin := programs.Dir(t)
	s := &site{t: t}
	ca := newAuthority(t)
	a, b := 1+rand.IntN(250), rand.IntN(250)
	addr := func(i int) string { return fmt.Sprintf("127.%d.%d.%d", a, b, i+1) }
	look := clientv3.Config{DialTimeout: 5 * time.Second, Logger: zap.NewNop()}
	var peers, clients, initial []string
	for i := range 3 {
		peers = append(peers, addr(i))
		clients = append(clients, fmt.Sprintf("https://%s:2379", addr(i)))
		initial = append(initial, fmt.Sprintf("m%d=https://%s:2380", i, addr(i)))
	}
	for i := range 3 {
		dir := shortTemp(t)
		p := ca.issue(t, fmt.Sprint("member", i), addr(i), "127.0.0.1") // what connects is seen as the latter
		m := &mortal{name: fmt.Sprint("master ", i+1), path: filepath.Join(bin, "netmaster"), url: "http://" + addr(i) + ":9999", log: new(journal.Journal)}
		m.args = []string{"--external-address", addr(i) + ":9999", "--etcd-ca", p.ca, "--etcd-cert", p.cert, "--etcd-key", p.key}
		s.masters = append(s.masters, m)
		if !external {
			m.args = append(m.args, "--data-dir", dir, "--peers", strings.Join(peers, ","))
			look.Endpoints = append(look.Endpoints, "unix://"+filepath.Join(dir, "client.sock"))
			continue
		}
		m.args = append(m.args, "--etcd-endpoints", strings.Join(clients, ","))
		o, err := json.Marshal(etcdOptions{
			Name: fmt.Sprint("m", i), Dir: dir, Initial: strings.Join(initial, ","), Client: clients[i], Peer: "https://" + addr(i) + ":2380",
			CA: p.ca, Cert: p.cert, Key: p.key,
		})
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		s.etcds = append(s.etcds, &mortal{name: fmt.Sprint("etcd ", i+1), path: self, env: []string{actAsEtcd + "=" + string(o)}, log: new(journal.Journal)})
	}
	if external {
		look.Endpoints = clients
		p := ca.issue(t, "looker")
		cert, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(ca.cert)
		look.TLS = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}
	}
	t.Cleanup(func() {
		for _, m := range s.all() {
			m.kill()
			if t.Failed() {
				log := m.log.String()
				t.Logf("%s said: …%s", m.name, log[max(0, len(log)-3000):])
			}
		}
	})
	s.up()
	var err error
	if s.etcd, err = clientv3.New(look); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.etcd.Close() })
	s.ready()
	return s
}

func (s *site) all() []*mortal { return append(append([]*mortal(nil), s.etcds...), s.masters...) }

func (s *site) up() {
	s.t.Helper()
	for _, m := range s.all() {
		if err := m.start(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// ready waits until every master serves. One that ended by itself, as where its etcd was away for too long, is started again as
// systemd would.
func (s *site) ready() {
	s.t.Helper()
	for _, m := range s.masters {
		c := s.client(m)
		err := cluster.Eventually(s.t.Context(), patience, func() error {
			s.revive()
			ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
			defer cancel()
			var list []api.Tenant
			return c.Get(ctx, api.ListPath(api.Tenants), &list)
		})
		if err != nil {
			s.t.Fatalf("%s does not serve: %v", m.name, err)
		}
	}
}

// revive starts again what has ended by itself.
func (s *site) revive() {
	for _, m := range s.all() {
		m.mu.Lock()
		over := m.cmd != nil && m.cmd.Process.Signal(syscall.Signal(0)) == nil && zombie(m.cmd.Process.Pid)
		m.mu.Unlock()
		if over {
			m.kill()
			if err := m.start(); err != nil {
				s.t.Error(err)
			}
		}
	}
}

// zombie tells whether a child has ended and has not been waited for.
func zombie(pid int) bool { return strings.HasPrefix(state(pid), "Z") }

// state is a child's, as ps shows it.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "Z"
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest
}

// stopped waits until a SIGSTOP has come to every thread.
func (m *mortal) stopped(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	pid := m.cmd.Process.Pid
	m.mu.Unlock()
	err := cluster.Eventually(t.Context(), patience, func() error {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, dir := range threads {
			var id int
			if _, err := fmt.Sscan(filepath.Base(dir), &id); err != nil {
				return err
			}
			if s := state(id); !strings.HasPrefix(s, "T") {
				return fmt.Errorf("thread %d is in state %.1s", id, s)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// client speaks to the masters in this order.
func (s *site) client(masters ...*mortal) *api.Client {
	s.t.Helper()
	var urls []string
	for _, m := range masters {
		urls = append(urls, m.url)
	}
	c, err := api.NewClient(urls...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// put makes an object, and waits for masters that are not there yet.
func (s *site) put(plural, key string, object any) {
	s.t.Helper()
	err := cluster.Eventually(s.t.Context(), patience, func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
		defer cancel()
		_, err := s.client(s.masters...).Put(ctx, api.ObjectPath(plural, key), object, nil)
		if err != nil && !gone(err) {
			s.t.Fatal(err)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// gone tells whether a request was not answered, so that nobody knows what came of it.
func gone(err error) bool {
	return err != nil && api.ErrorOf(err).Status >= http.StatusInternalServerError
}
