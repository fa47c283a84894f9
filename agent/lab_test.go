// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/store/memory"
)

// patience is how long a test waits for what has to happen. It is generous, because the machine may be busy.
const patience = 30 * time.Second

// onNode tells whether this process is a node of the test's own: a network namespace in which no other test makes ports. Where it
// is not, it runs the test once more in one, and the caller has nothing left to do.
func onNode(t *testing.T) bool {
	t.Helper()
	const variable = "CONTIV_TEST_ON_NODE"
	if os.Getenv(variable) == t.Name() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return false
}

// container is a network namespace that goes with the test.
func container(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("ag%x", rand.Uint64())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		t.Fatalf("ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return "/run/netns/" + name
}

// masters are at one address, and may be replaced or away.
type masters struct {
	t      *testing.T
	client *api.Client
	serves atomic.Pointer[master.Master] // nil: away
	store  *memory.Store
	stop   func()
}

func newMasters(t *testing.T) *masters {
	t.Helper()
	ms := &masters{t: t, stop: func() {}}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := ms.serves.Load(); m != nil {
			m.ServeHTTP(w, r)
			return
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(h.Close)
	var err error
	if ms.client, err = api.NewClient(h.URL); err != nil {
		t.Fatal(err)
	}
	ms.start()
	return ms
}

// start puts a master with an empty store in the place of the one before.
func (ms *masters) start() {
	ms.t.Helper()
	ms.serves.Store(nil)
	ms.stop()
	ms.store = memory.New()
	m := master.New(master.Options{Store: ms.store, Log: slog.New(slog.DiscardHandler), Patience: time.Second})
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() {
		if err := m.Run(ctx); err != nil {
			ms.t.Error(err)
		}
	})
	ms.stop = func() { cancel(); ran.Wait() }
	ms.t.Cleanup(ms.stop)
	select {
	case <-m.Ready():
	case <-time.After(patience):
		ms.t.Fatal("the master is not ready in time")
	}
	ms.serves.Store(m)
}

// network makes a network of the default tenant.
func (ms *masters) network(name, subnet string) {
	ms.t.Helper()
	key := model.NetworkKey(model.DefaultTenant, name)
	if _, err := ms.client.Put(ms.t.Context(), api.ObjectPath(api.Networks, key), api.Network{Subnet: subnet}, nil); err != nil {
		ms.t.Fatal(err)
	}
}

// endpoint is what the masters have under the id.
func (ms *masters) endpoint(id string) (e api.Endpoint, ok bool) {
	ms.t.Helper()
	err := ms.client.Get(ms.t.Context(), api.ObjectPath(api.Endpoints, id), &e)
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		ms.t.Fatal(err)
	}
	return e, err == nil
}

// kernel is a data path that only remembers.
type kernel struct {
	mu     sync.Mutex
	ports  map[string]bool
	tables compile.Tables
	times  int // that tables were applied
}

func (k *kernel) Attach(port string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ports[port] = true
	return nil
}

func (k *kernel) Detach(port string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.ports, port)
	return nil
}

func (k *kernel) AttachOutside() error { return nil }

func (k *kernel) Apply(t compile.Tables) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tables, k.times = t, k.times+1
	return nil
}

func (k *kernel) held() (compile.Tables, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tables, k.times
}

// site is where a node's agents live, one after the other.
type site struct {
	t      *testing.T
	ms     *masters
	kernel *kernel
	o      Options
	ended  chan error
	stop   func()
}

func newSite(t *testing.T, ms *masters) *site {
	t.Helper()
	s := &site{t: t, ms: ms, kernel: &kernel{ports: map[string]bool{}}}
	s.o = Options{
		Node:   model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789, MTU: 1500},
		Client: ms.client, Datapath: s.kernel, MTU: 1450, RunDir: t.TempDir(), StateDir: t.TempDir(),
		SweepEvery: time.Hour, Patience: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	return s
}

// onWeb runs an agent that is ready on a node of the test's own, with masters that have a network web. The agent is nil where the caller has
// nothing left to do, see onNode.
func onWeb(t *testing.T) (*masters, *site, *Agent) {
	t.Helper()
	if !onNode(t) {
		return nil, nil, nil
	}
	ms := newMasters(t)
	ms.network("web", "10.1.2.0/24")
	s := newSite(t, ms)
	return ms, s, s.ready()
}

// start runs an agent until stop, or the end of the test.
func (s *site) start() *Agent {
	s.t.Helper()
	a, err := New(s.o)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.ended = make(chan error, 1)
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-s.ended; err != nil {
			s.t.Errorf("the agent ended with %v", err)
		}
	})
	s.t.Cleanup(s.stop)
	go func() { s.ended <- a.Run(ctx) }()
	return a
}

// ready starts an agent that is ready.
func (s *site) ready() *Agent {
	s.t.Helper()
	a := s.start()
	select {
	case <-a.Ready():
	case <-time.After(patience):
		s.t.Fatal("the agent is not ready in time")
	}
	return a
}

// attach gives a new container an endpoint of network web.
func (s *site) attach(a *Agent, id, addr string) (model.Endpoint, string) {
	s.t.Helper()
	path := container(s.t)
	e, err := a.Attach(s.t.Context(), web(id, addr), path)
	if err == nil {
		err = a.Equip(id, path, Device{Name: "eth0", Addrs: []netip.Prefix{netip.PrefixFrom(e.IPv4, 24)}})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return e, path
}

func web(id, addr string) model.Endpoint {
	return model.Endpoint{ID: id, Tenant: model.DefaultTenant, Network: "web", IPv4: netip.MustParseAddr(addr), Runtime: "cni"}
}

// port is what the kernel has of the endpoint.
func port(t *testing.T, id string) (netdev.Port, bool) {
	t.Helper()
	all, err := netdev.Ports()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Endpoint == id {
			return p, true
		}
	}
	return netdev.Port{}, false
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
