// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// fakeMaster keeps a World and answers like a netmaster, with just the checks that the driver passes on.
type fakeMaster struct {
	*httptest.Server
	mu       sync.Mutex
	world    model.World
	changed  chan struct{}
	away     bool
	tag      uint32
	released []string // addresses that were given back
}

func newFakeMaster(t *testing.T) *fakeMaster {
	m := &fakeMaster{changed: make(chan struct{})}
	m.apply(model.Change{Revision: 1, Reset: true, Put: []model.Object{model.Tenant{Name: "default", Number: 1}, model.Tenant{Name: "blue", Number: 2}}})
	m.Server = httptest.NewServer(m.handler())
	t.Cleanup(m.Close)
	return m
}

// apply makes the next revision; the one in c is for the first alone.
func (m *fakeMaster) apply(c model.Change) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applyLocked(c)
}

func (m *fakeMaster) applyLocked(c model.Change) int64 {
	c.Revision = m.world.Revision + 1
	m.world = m.world.With(c)
	close(m.changed)
	m.changed = make(chan struct{})
	return c.Revision
}

func (m *fakeMaster) now() model.World {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.world
}

func (m *fakeMaster) setAway(away bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.away = away
}

// create is netctl net create.
func (m *fakeMaster) create(t *testing.T, n model.Network) model.Network {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tag++
	n.Type, n.Tag = model.NetworkData, m.tag
	if n.Encap == "" {
		n.Encap = model.EncapVXLAN
	}
	if err := n.Check(); err != nil {
		t.Fatal(err)
	}
	m.applyLocked(model.Change{Put: []model.Object{n}})
	return n
}

// group is netctl group create.
func (m *fakeMaster) group(t *testing.T, g model.Group) {
	t.Helper()
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	m.apply(model.Change{Put: []model.Object{g}})
}

func (m *fakeMaster) removeGroup(key string) {
	m.apply(model.Change{Delete: []model.Ref{{Kind: model.KindGroup, Key: key}}})
}

func (m *fakeMaster) remove(key string) {
	m.apply(model.Change{Delete: []model.Ref{{Kind: model.KindNetwork, Key: key}}})
}

func (m *fakeMaster) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, revision int64, v any, err error) {
		if err != nil {
			e := api.ErrorOf(err)
			w.WriteHeader(e.Status)
			_ = json.NewEncoder(w).Encode(e)
			return
		}
		w.Header().Set(api.RevisionHeader, fmt.Sprint(revision))
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("PUT /api/v1/networks/{key}/", func(w http.ResponseWriter, r *http.Request) {
		var in api.Network
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			answer(w, 0, nil, err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		n, err := m.checkNetwork(in)
		if err == nil && r.URL.Query().Get("dry-run") != "true" {
			m.applyLocked(model.Change{Put: []model.Object{n}})
		}
		answer(w, m.world.Revision, in, err)
	})
	mux.HandleFunc("DELETE /api/v1/networks/{key}/", func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, e := range m.world.Endpoints.All() {
			if e.NetworkKey() == r.PathValue("key") {
				answer(w, 0, nil, model.InUse("", "network %s is in use by %s on %s; stop it first", r.PathValue("key"), e.Name, e.Node))
				return
			}
		}
		answer(w, m.applyLocked(model.Change{Delete: []model.Ref{{Kind: model.KindNetwork, Key: r.PathValue("key")}}}), nil, nil)
	})
	mux.HandleFunc("POST /api/v1/addresses/{key}/", func(w http.ResponseWriter, r *http.Request) {
		var in api.AddressRequest
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			answer(w, 0, nil, err)
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		a, err := m.give(r.PathValue("key"), in)
		answer(w, m.world.Revision, a, err)
	})
	mux.HandleFunc("DELETE /api/v1/addresses/{key}/{addr}/", func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.released = append(m.released, r.PathValue("addr")+" by "+r.URL.Query().Get("owner"))
		answer(w, m.applyLocked(model.Change{Delete: []model.Ref{{Kind: model.KindAddress, Key: r.PathValue("key") + "/" + r.PathValue("addr")}}}), nil, nil)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		away := m.away
		m.mu.Unlock()
		if away {
			panic(http.ErrAbortHandler)
		}
		mux.ServeHTTP(w, r)
	})
}

func (m *fakeMaster) checkNetwork(in api.Network) (model.Network, error) {
	n, err := in.Model()
	if err != nil {
		return n, err
	}
	if _, ok := m.world.Tenants.Get(n.Tenant); !ok {
		return n, model.NotFound("tenantName", "tenant %s does not exist; create it with netctl tenant create %s", n.Tenant, n.Tenant)
	}
	if old, ok := m.world.Networks.Get(n.Key()); ok {
		n.Tag = old.Tag
		if fmt.Sprint(n) != fmt.Sprint(old) {
			return n, model.Exists("", "network %s exists with other settings", n.Key())
		}
		return old, nil
	}
	for _, other := range m.world.Networks.All() {
		if other.Tenant == n.Tenant && other.IPv4.Overlaps(n.IPv4) {
			return n, model.Exists("subnet", "network %s conflicts with subnet %s of %s", n.Key(), other.IPv4, other.Name)
		}
		if n.Requested != 0 && n.Requested == other.Tag {
			return n, model.Exists("pktTag", "pktTag %d is taken by network %s", n.Requested, other.Key())
		}
	}
	if n.Tag = n.Requested; n.Tag == 0 {
		m.tag++
		n.Tag = m.tag
	}
	return n, nil
}

func (m *fakeMaster) give(key string, in api.AddressRequest) (api.Address, error) {
	n, ok := m.world.Networks.Get(key)
	if !ok {
		return api.Address{}, model.NotFound("", "network %s does not exist", key)
	}
	p := n.IPv4
	if in.IPv6 {
		p = n.IPv6
	}
	g, grouped := m.world.Groups.Get(model.GroupKey(n.Tenant, in.GroupName))
	if in.GroupName != "" && (!grouped || g.Network != n.Name) {
		return api.Address{}, model.NotFound("groupName", "group %s is not in network %s", in.GroupName, key)
	}
	if !g.Pool.IsZero() && !in.IPv6 {
		p.First, p.Last = g.Pool.First, g.Pool.Last
	}
	a := in.IPAddress
	if !a.IsValid() {
		first, last, _ := p.Bounds()
		for a = first; ; a = a.Next() {
			if _, taken := m.world.Addresses.Get(model.AddressKey(key, a)); !taken && a != p.Gateway {
				break
			}
			if a == last {
				return api.Address{}, model.InUse("", "network %s has no free address", key)
			}
		}
	}
	if owner, taken := m.world.Addresses.Get(model.AddressKey(key, a)); taken {
		return api.Address{}, model.Exists("ipAddress", "address %s is in use by %s", a, owner.Owner)
	}
	m.applyLocked(model.Change{Put: []model.Object{model.Address{Network: key, Addr: a, Owner: in.Node, Held: true}}})
	return api.Address{IPAddress: a, Length: p.Prefix.Bits()}, nil
}

// fakeAgent attaches containers in memory alone.
type fakeAgent struct {
	node   string
	master *fakeMaster
	client *api.Client

	mu       sync.Mutex
	stale    bool
	prepared map[string]model.Endpoint
	sandbox  map[string]string
	refuse   error // of Attach
	ports    int

	failedUpdates int
	stopping      map[string]bool // containers
	published     map[string][]agent.Publishing
}

func (a *fakeAgent) Stopping(_ context.Context, container string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopping == nil {
		a.stopping = map[string]bool{}
	}
	a.stopping[container] = true
	return nil
}

func (a *fakeAgent) told(container string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopping[container]
}

func (a *fakeAgent) NodeName() string     { return a.node }
func (a *fakeAgent) Masters() *api.Client { return a.client }
func (a *fakeAgent) World() model.World   { return a.master.now() }
func (a *fakeAgent) Fresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.stale
}

func (a *fakeAgent) Changed() <-chan struct{} {
	a.master.mu.Lock()
	defer a.master.mu.Unlock()
	return a.master.changed
}

func (a *fakeAgent) WaitWorld(context.Context, int64) error { return nil }

func (a *fakeAgent) Prepare(_ context.Context, e model.Endpoint) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prepared[e.ID] = e
	return nil
}

func (a *fakeAgent) Prepared(id string) (model.Endpoint, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.prepared[id]
	return e, ok
}

func (a *fakeAgent) Attach(_ context.Context, e model.Endpoint, sandbox string) (model.Endpoint, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return e, a.refuse
	}
	a.ports++
	e.Port = fmt.Sprintf("vvport%d", a.ports)
	a.prepared[e.ID], a.sandbox[e.ID] = e, sandbox
	put := []model.Object{e}
	for _, addr := range e.Addrs() {
		put = append(put, model.Address{Network: e.NetworkKey(), Addr: addr, Owner: e.ID})
	}
	a.master.apply(model.Change{Put: put})
	return e, nil
}

func (a *fakeAgent) InSandbox(sandbox string) (out []model.Endpoint) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, e := range a.prepared {
		if a.sandbox[id] == sandbox {
			out = append(out, e)
		}
	}
	return out
}

func (a *fakeAgent) PeerOf(port string) string { return strings.TrimPrefix(port, "v") }

func (a *fakeAgent) Detach(_ context.Context, id string) error {
	a.mu.Lock()
	e, ok := a.prepared[id]
	delete(a.prepared, id)
	a.mu.Unlock()
	if !ok || e.Port == "" {
		return nil
	}
	gone := []model.Ref{model.RefOf(e)}
	for _, addr := range e.Addrs() {
		gone = append(gone, model.Ref{Kind: model.KindAddress, Key: model.AddressKey(e.NetworkKey(), addr)})
	}
	a.master.apply(model.Change{Delete: gone})
	return nil
}

func (a *fakeAgent) Publish(_ context.Context, id string, ask []agent.Publishing) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.published == nil {
		a.published = map[string][]agent.Publishing{}
	}
	a.published[id] = ask
	return nil
}

func (a *fakeAgent) Update(_ context.Context, id string, change func(*model.Endpoint)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.prepared[id]
	if !ok {
		return nil
	}
	a.master.mu.Lock()
	away := a.master.away
	a.master.mu.Unlock()
	if away {
		a.failedUpdates++
		return &api.UnreachableError{Masters: a.client.Masters(), Err: errTest}
	}
	change(&e)
	a.prepared[id] = e
	a.master.apply(model.Change{Put: []model.Object{e}})
	return nil
}

// node is one machine: an engine, an agent and the driver between them.
type node struct {
	t      *testing.T
	dir    string
	engine *fakeEngine
	agent  *fakeAgent
	driver *Driver
	stop   func()
}

func newNode(t *testing.T, m *fakeMaster, name string) *node {
	t.Helper()
	dir := shortDir(t)
	n := &node{t: t, dir: dir, engine: newFakeEngine(t, dir, dir+"/netplugin.sock")}
	n.agent = &fakeAgent{node: name, master: m, client: newClient(t, m), prepared: map[string]model.Endpoint{}, sandbox: map[string]string{}}
	n.start()
	return n
}

func newClient(t *testing.T, m *fakeMaster) *api.Client {
	t.Helper()
	client, err := api.NewClient(m.URL)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// start runs the driver until the test's end or stop.
func (n *node) start() {
	n.t.Helper()
	d, err := New(Options{Agent: n.agent, Engine: NewEngine(n.engine.socket, "netplugin"), Socket: n.dir + "/netplugin.sock", StateDir: n.dir + "/state", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	var once sync.Once
	n.driver, n.stop = d, func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				n.t.Errorf("the driver ended: %v", err)
			}
			n.engine.plugin.CloseIdleConnections()
		})
	}
	n.t.Cleanup(n.stop)
	eventually(n.t, "the plugin's socket is there", func() bool {
		return n.engine.call("Plugin.Activate", nil, nil) == nil
	})
	n.engine.sequence()
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("it did not come about that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func cluster(t *testing.T) (*fakeMaster, *node) {
	t.Helper()
	m := newFakeMaster(t)
	return m, newNode(t, m, "node1")
}

func network4(tenant, name, subnet, gateway string) model.Network {
	p, err := model.ParsePool(subnet, gateway, false)
	if err != nil {
		panic(err)
	}
	return model.Network{Tenant: tenant, Name: name, Type: model.NetworkData, Encap: model.EncapVXLAN, IPv4: p}
}

// userNetwork is what the docker command sends for docker network create -d netplugin --ipam-driver netplugin.
func userNetwork(name, subnet string, options map[string]string) newNetwork {
	n := newNetwork{Name: name, CheckDuplicate: true, Driver: "netplugin", IPAM: engineIPAM{Driver: "netplugin"}, Options: options}
	if subnet != "" {
		n.IPAM.Config = []ipamConfig{{Subnet: subnet}}
	}
	return n
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var errTest = errors.New("the data path is broken")
