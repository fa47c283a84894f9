// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

// server is a running master with a client of it.
type server struct {
	*testing.T
	*master.Master
	url    string
	client *api.Client
	stop   func() // ends the master before the test does
}

// serve runs a master on the store until the test ends.
func serve(t *testing.T, s store.Store, o master.Options) server {
	t.Helper()
	o.Store, o.Log = s, slog.New(slog.DiscardHandler)
	if o.Patience == 0 {
		o.Patience = patience
	}
	m := master.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	h := httptest.NewServer(m)
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the master ended with %v", err)
		}
	})
	t.Cleanup(func() { stop(); h.Close() })
	select {
	case <-m.Ready():
	case <-time.After(patience):
		t.Fatal("the master is not ready in time")
	}
	c, err := api.NewClient(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server{t, m, h.URL, c, stop}
}

func alone(t *testing.T) server {
	t.Helper()
	return serve(t, memory.New(), master.Options{Version: api.Version{Version: "1.2.3"}})
}

// put writes what must be accepted.
func (s server) put(path string, in any) int64 {
	s.Helper()
	rev, err := s.client.Put(s.Context(), path, in, nil)
	if err != nil {
		s.Fatalf("PUT %s: %v", path, err)
	}
	return rev
}

// network makes tenant:name with the subnet.
func (s server) network(key, subnet, gateway string) int64 {
	s.Helper()
	return s.put(api.ObjectPath(api.Networks, key), api.Network{Subnet: subnet, Gateway: gateway})
}

// node makes a node that is up.
func (s server) node(name, vtep string) {
	s.Helper()
	s.put(api.ObjectPath(api.Nodes, name), api.Node{VtepIP: netip.MustParseAddr(vtep), VXLANPort: 4789})
	if _, err := s.client.Post(s.Context(), api.AlivePath(name), nil, nil); err != nil {
		s.Fatal(err)
	}
	s.until("node "+name+" is seen to be up", func() bool {
		var n api.Node
		return s.client.Get(s.Context(), api.ObjectPath(api.Nodes, name), &n) == nil && n.State == api.NodeUp
	})
}

// attach makes an endpoint on default:net.
func (s server) attach(id, node, addr string) (api.Endpoint, error) {
	s.Helper()
	e := api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: node, ContainerName: "c-" + id, IntfName: "vvport1"}
	if addr != "" {
		e.IPv4Address = netip.MustParseAddr(addr)
	}
	var out api.Endpoint
	_, err := s.client.Put(s.Context(), api.ObjectPath(api.Endpoints, id), e, &out)
	return out, err
}

// inspect reads a network's Oper.
func (s server) inspect(key string) api.NetworkOper {
	s.Helper()
	var out api.NetworkInspect
	if err := s.client.Get(s.Context(), api.InspectPath(api.Networks, key), &out); err != nil {
		s.Fatal(err)
	}
	return out.Oper
}

// raw sends a request as it stands.
func (s server) raw(method, path, body string) (int, string, http.Header) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

// refused checks that err is of the kind, about the field, and says each of the words.
func refused(t *testing.T, err error, kind error, field string, words ...string) {
	t.Helper()
	var e *api.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) || e.Field != field {
		t.Errorf("got %v (%+v), want %v about %q", err, e, kind, field)
		return
	}
	for _, w := range words {
		if !strings.Contains(e.Text, w) {
			t.Errorf("%q does not say %q", e.Text, w)
		}
	}
}

func TestWhatExistsFromTheStart(t *testing.T) {
	t.Parallel()
	s := serve(t, memory.New(), master.Options{ForwardMode: model.ForwardBridge, Version: api.Version{Version: "1.2.3"}, Address: "10.0.0.1:9999"})
	var g api.Global
	if err := s.client.Get(t.Context(), api.ObjectPath(api.Globals, "global"), &g); err != nil || g.FwdMode != "bridge" || g.Vxlans != "1-10000" {
		t.Errorf("global is %+v, %v", g, err)
	}
	var tenants []api.Tenant
	if err := s.client.Get(t.Context(), api.ListPath(api.Tenants), &tenants); err != nil || len(tenants) != 1 || tenants[0].Key != "default" {
		t.Errorf("tenants are %+v, %v", tenants, err)
	}
	var v api.Version
	if err := s.client.Get(t.Context(), api.VersionPath, &v); err != nil || v.Version != "1.2.3" {
		t.Errorf("version is %+v, %v", v, err)
	}
	var info map[string]any
	if err := s.client.Get(t.Context(), api.InfoPath, &info); err != nil || info["local-ip"] != "10.0.0.1:9999" {
		t.Errorf("info is %v, %v", info, err)
	}
}

func TestRequestsOutsideTheAPIAreRefusedInJSON(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, row := range []struct {
		method, path, body string
		status             int
		field, word        string
	}{
		{"GET", "/api/v1/nonsense/", "", 404, "", "nonsense"},
		{"GET", "/", "", 404, "", "/api/v1/"},
		{"PATCH", "/api/v1/tenants/blue", "{}", 405, "", "DELETE, GET, POST, PUT"},
		{"POST", "/version", "{}", 405, "", "GET"},
		{"PUT", "/api/v1/tenants/blue", `{"tenantNam":"blue"}`, 400, "tenantNam", "unknown"},
		{"PUT", "/api/v1/tenants/blue", `{"tenantName":7}`, 400, "tenantName", "7"},
		{"PUT", "/api/v1/nodes/n1", `{"vtepIP":"192.168.2.500","vxlanPort":4789}`, 400, "vtepIP", "192.168.2.500"},
		{"PUT", "/api/v1/tenants/blue", `{"tenantName":"red"}`, 400, "tenantName", "URL"},
		{"PUT", "/api/v1/tenants/blue", `nonsense`, 400, "", "JSON"},
		{"PUT", "/api/v1/tenants/blue", `{} {}`, 400, "", "more"},
		{"PUT", "/api/v1/tenants/blue", `[]`, 400, "", "JSON"},
		{"PUT", "/api/v1/tenants/bl_ue", `{}`, 400, "tenantName", "bl_ue"},
		{"PUT", "/api/v1/tenants/blue", `{"defaultNetwork":"` + strings.Repeat("x", api.MaxBody) + `"}`, 413, "", "1 MiB"},
		{"PUT", "/api/v1/networks/blue", `{}`, 400, "key", "tenant:network"},
		{"PUT", "/api/v1/networks/default:n?dry-run=perhaps", `{"subnet":"10.1.1.0/24"}`, 400, "dry-run", "perhaps"},
		{"GET", "/api/v1/watch?revision=x", "", 400, "revision", "x"},
	} {
		status, body, header := s.raw(row.method, row.path, row.body)
		var e api.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: the answer is no JSON: %s", row.method, row.path, body)
		}
		if status != row.status || e.Field != row.field || !strings.Contains(e.Text, row.word) {
			t.Errorf("%s %s: %d %q about %q; want %d about %q with %q", row.method, row.path, status, e.Text, e.Field, row.status, row.field, row.word)
		}
	}
	if _, _, h := s.raw("PATCH", "/api/v1/tenants/blue", ""); h.Get("Allow") != "DELETE, GET, POST, PUT" {
		t.Errorf("Allow is %q", h.Get("Allow"))
	}
}

func TestTrailingSlashMayBeLeftOut(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.1.0/24", "")
	for _, path := range []string{"/api/v1/networks", "/api/v1/networks/default:net", "/api/v1/networks/default%3Anet", "/api/v1/inspect/networks/default:net", "/version", "/info"} {
		for _, p := range []string{path, path + "/"} {
			if status, body, _ := s.raw("GET", p, ""); status != 200 {
				t.Errorf("GET %s: %d %s", p, status, body)
			}
		}
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	t.Parallel()
	s := alone(t)
	for _, plural := range []string{api.Networks, api.Endpoints, api.Nodes} {
		if status, body, _ := s.raw("GET", api.ListPath(plural), ""); status != 200 || strings.TrimSpace(body) != "[]" {
			t.Errorf("%s: %d %s", plural, status, body)
		}
	}
}

func TestWritesFailSoonAndReadsGoOnWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{Patience: 300 * time.Millisecond})
	s.network("default:net", "10.1.1.0/24", "")
	s.node("n1", "192.168.2.10")
	mem.SetAway(true)
	for what, path := range map[string]string{"a network": api.ObjectPath(api.Networks, "default:other"), "one that exists": api.ObjectPath(api.Networks, "default:net")} {
		_, err := s.client.Put(t.Context(), path, api.Network{Subnet: "10.2.1.0/24"}, nil)
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || !strings.Contains(e.Text, "etcd") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.client.Post(t.Context(), api.AlivePath("n1"), nil, nil); err == nil {
		t.Error("a node is marked alive without a store")
	}
	if oper := s.inspect("default:net"); oper.ExternalPktTag != 1 {
		t.Errorf("reads give %+v", oper)
	}
	mem.SetAway(false)
	s.network("default:other", "10.2.1.0/24", "")
}

// mumblingStore does what it is asked once, and does not say so.
type mumblingStore struct {
	store.Store
	mumble atomic.Bool
}

func (s *mumblingStore) Commit(ctx context.Context, t store.Txn) (int64, bool, error) {
	revision, ok, err := s.Store.Commit(ctx, t)
	if s.mumble.CompareAndSwap(true, false) {
		return 0, false, errors.New("no answer")
	}
	return revision, ok, err
}

// The answer of the store may be lost, and the write be done all the same. Deciding anew must come to the same.
func TestWriteWhoseAnswerWasLostIsDoneOnce(t *testing.T) {
	t.Parallel()
	m := &mumblingStore{Store: memory.New()}
	s := serve(t, m, master.Options{})
	s.node("n1", "192.168.2.10")
	for _, row := range []struct {
		plural, key string
		object      any
	}{
		{api.Tenants, "blue", api.Tenant{}},
		{api.Networks, "default:net", api.Network{Subnet: "10.1.1.0/24", Gateway: "10.1.1.1"}},
		{api.EndpointGroups, "default:web", api.EndpointGroup{NetworkName: "net", IPPool: "10.1.1.8-10.1.1.15"}},
		{api.Policies, "default:p", api.Policy{}},
		{api.Rules, "default:p:1", api.Rule{Direction: "in", Action: "deny"}},
		{api.ServiceLBs, "default:lb", web},
		{api.Endpoints, "e", api.Endpoint{TenantName: "default", NetworkName: "net", GroupName: "web", HomingHost: "n1"}},
	} {
		m.mumble.Store(true)
		if status, body, _ := s.raw("PUT", api.ObjectPath(row.plural, row.key), string(object(row.plural, row.object).Object)); status != 200 {
			t.Errorf("put %s %s: %d %s", row.plural, row.key, status, body)
		}
	}
	if net := s.inspect("default:net"); net.AllocatedIPAddresses != "10.1.1.1-10.1.1.2, 10.1.1.8-10.1.1.15" || net.AllocatedAddressesCount != 2 {
		t.Errorf("the network has %+v", net)
	}
	for _, path := range []string{
		api.ObjectPath(api.Endpoints, "e"), api.ObjectPath(api.ServiceLBs, "default:lb"), api.ObjectPath(api.EndpointGroups, "default:web"),
		api.ObjectPath(api.Rules, "default:p:1"), api.ObjectPath(api.Policies, "default:p"), api.ObjectPath(api.Networks, "default:net"), api.ObjectPath(api.Tenants, "blue"),
	} {
		m.mumble.Store(true)
		if status, body, _ := s.raw("DELETE", path, ""); status != 200 {
			t.Errorf("delete %s: %d %s", path, status, body)
		}
	}
	if status, body, _ := s.raw("DELETE", api.ObjectPath(api.Tenants, "blue"), ""); status != 404 {
		t.Errorf("delete what is not there: %d %s", status, body)
	}
}

// A second master's user sees what the first one has acknowledged, however late the second one's World is.
func TestWritesAreDecidedOnWhatOtherMastersAcknowledged(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	a := serve(t, mem, master.Options{})
	late := &lateStore{Store: mem, delay: 50 * time.Millisecond}
	b := serve(t, late, master.Options{})
	a.node("n1", "192.168.2.10")
	for i := range 5 {
		a.network("default:net", "10.1.1.0/24", "")
		if _, err := b.attach("e", "n1", ""); err != nil {
			t.Fatalf("round %d: the network is not seen: %v", i, err)
		}
		if _, err := a.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, "e")); err != nil {
			t.Fatal(err)
		}
		if _, err := b.client.Delete(t.Context(), api.ObjectPath(api.Networks, "default:net")); err != nil {
			t.Fatalf("round %d: the endpoint is still seen: %v", i, err)
		}
	}
}

// lateStore hands changes on late.
type lateStore struct {
	store.Store
	delay time.Duration
}

func (s *lateStore) Follow(ctx context.Context, handle func(model.Change) error) error {
	return s.Store.Follow(ctx, func(c model.Change) error {
		t := time.NewTimer(s.delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return handle(c)
		}
	})
}

func TestAnswerCarriesARevisionThatTheMasterHasReached(t *testing.T) {
	t.Parallel()
	s := alone(t)
	_, _, h := s.raw("PUT", "/api/v1/tenants/blue/", `{}`)
	first, err := strconv.ParseInt(h.Get(api.RevisionHeader), 10, 64)
	if err != nil || first < 1 {
		t.Fatalf("revision %q", h.Get(api.RevisionHeader))
	}
	status, body, h := s.raw("POST", "/api/v1/tenants/blue/", `{"tenantName":"blue"}`)
	if again, _ := strconv.ParseInt(h.Get(api.RevisionHeader), 10, 64); status != 200 || again != first {
		t.Errorf("posting it again: %d %s at revision %d, first %d", status, body, again, first)
	}
	if status, body, h := s.raw("DELETE", "/api/v1/tenants/blue", ""); status != 200 || strings.TrimSpace(body) != `"blue"` || h.Get(api.RevisionHeader) == fmt.Sprint(first) {
		t.Errorf("delete: %d %s at %s", status, body, h.Get(api.RevisionHeader))
	}
}
