// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

// onNet is a master with node n1, n2 and network default:net.
func onNet(t *testing.T) server {
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.node("n2", "192.168.2.11")
	s.network("default:net", "10.1.1.0/24", "10.1.1.254")
	return s
}

// hold asks for an address of default:net.
func (s server) hold(node, addr string) (string, error) {
	s.Helper()
	req := api.AddressRequest{Node: node}
	if addr != "" {
		req.IPAddress = netip.MustParseAddr(addr)
	}
	var out api.Address
	_, err := s.client.Post(s.Context(), api.AddressesPath("default:net"), req, &out)
	if err == nil && out.Length != 24 {
		s.Errorf("%+v has not the network's length", out)
	}
	return out.IPAddress.String(), err
}

func (s server) release(node, addr string) {
	s.Helper()
	if _, err := s.client.Delete(s.Context(), api.AddressPath("default:net", netip.MustParseAddr(addr))+"?owner="+node); err != nil {
		s.Fatal(err)
	}
}

func TestAddressesAreHeldForTheNodeThatAsked(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	if a, err := s.hold("n1", ""); err != nil || a != "10.1.1.1" {
		t.Errorf("first: %s, %v", a, err)
	}
	if a, err := s.hold("n2", "10.1.1.9"); err != nil || a != "10.1.1.9" {
		t.Errorf("asked for: %s, %v", a, err)
	}
	if a, err := s.hold("n2", "10.1.1.9"); err != nil || a != "10.1.1.9" {
		t.Errorf("asked for again: %s, %v", a, err)
	}
	_, err := s.hold("n1", "10.1.1.9")
	refused(t, err, model.ErrExists, "ipAddress", "10.1.1.9", "node n2")
	_, err = s.attach("e", "n1", "10.1.1.9")
	refused(t, err, model.ErrExists, "ipv4Address", "10.1.1.9", "node n2")
	for addr, kind := range map[string]error{
		"10.1.1.0": model.ErrInvalid, "10.1.1.255": model.ErrInvalid, "10.1.2.1": model.ErrInvalid, "10.1.1.254": model.ErrExists, "2001:db8::1": model.ErrInvalid,
	} {
		_, err := s.hold("n1", addr)
		refused(t, err, kind, "ipAddress", addr)
	}
	s.release("n2", "10.1.1.1") // not its own
	if _, err := s.hold("n2", "10.1.1.1"); !errors.Is(err, model.ErrExists) {
		t.Errorf("another node's was released: %v", err)
	}
	s.release("n1", "10.1.1.1")
	s.release("n1", "10.1.1.1") // again
	if a, err := s.hold("n2", ""); err != nil || a != "10.1.1.1" {
		t.Errorf("after the release: %s, %v", a, err)
	}
	if _, err := s.client.Delete(t.Context(), api.AddressPath("default:net", netip.MustParseAddr("10.1.1.1"))); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("a release without owner: %v", err)
	}
	_, err = s.client.Post(t.Context(), api.AddressesPath("default:net"), api.AddressRequest{Node: "n1", IPv6: true}, nil)
	refused(t, err, model.ErrInvalid, "ipv6", "IPv6")
	_, err = s.client.Post(t.Context(), api.AddressesPath("default:other"), api.AddressRequest{Node: "n1"}, nil)
	refused(t, err, model.ErrNotFound, "networkName", "default:other")
}

func TestHeldAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	if _, err := s.hold("n1", "10.1.1.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.hold("n1", "10.1.1.2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.attach("e", "n1", "10.1.1.2"); err != nil {
		t.Fatal(err)
	}
	mem.Advance((model.HoldSeconds - 1) * time.Second)
	if got := s.inspect("default:net").AllocatedIPAddresses; got != "10.1.1.1-10.1.1.2" {
		t.Errorf("too soon: %s", got)
	}
	if _, err := s.hold("n1", "10.1.1.1"); err != nil { // the wait begins anew
		t.Fatal(err)
	}
	mem.Advance(2 * time.Second)
	if got := s.inspect("default:net").AllocatedIPAddresses; got != "10.1.1.1-10.1.1.2" {
		t.Errorf("asked for again, and forgotten: %s", got)
	}
	mem.Advance(model.HoldSeconds * time.Second)
	s.until("the held address is forgotten and the endpoint's is not", func() bool {
		return s.inspect("default:net").AllocatedIPAddresses == "10.1.1.2"
	})
}

// until polls for what happens soon.
func (s server) until(what string, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not seen in time: %s", what)
		}
	}
}

func TestEndpointGetsWhatItLeavesOut(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.put(api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.1.1.0/24", IPv6Subnet: "2001:db8::/64", IPv6Gateway: "2001:db8::1"})
	e, err := s.attach("e", "n1", "")
	if err != nil || e.IPv4Address.String() != "10.1.1.1" || e.IPv6Address.String() != "2001:db8::2" || e.MACAddress.String() != "02:02:0a:01:01:01" {
		t.Errorf("got %+v, %v", e, err)
	}
	again, err := s.attach("e", "n1", "")
	if err != nil || again.IPv4Address != e.IPv4Address || again.IPv6Address != e.IPv6Address {
		t.Errorf("again: %+v, %v", again, err)
	}
	s.network("default:other", "10.1.2.0/24", "")
	_, err = s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, "x"), api.Endpoint{TenantName: "default", NetworkName: "other", HomingHost: "n1", IPv6Address: netip.MustParseAddr("2001:db8::9")}, nil)
	refused(t, err, model.ErrInvalid, "ipv6Address", "no subnet")
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, "e")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, "e")); err != nil {
		t.Errorf("deleting again: %v", err)
	}
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "" {
		t.Errorf("after the delete: %+v", oper)
	}
}

func TestEndpointNeedsWhatItNames(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	good := api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1"}
	for _, row := range []struct {
		change func(*api.Endpoint)
		kind   error
		field  string
	}{
		{func(e *api.Endpoint) { e.TenantName = "red" }, model.ErrNotFound, "tenantName"},
		{func(e *api.Endpoint) { e.NetworkName = "other" }, model.ErrNotFound, "networkName"},
		{func(e *api.Endpoint) { e.HomingHost = "n9" }, model.ErrNotFound, "homingHost"},
		{func(e *api.Endpoint) { e.HomingHost = "" }, model.ErrInvalid, "homingHost"},
		{func(e *api.Endpoint) { e.IPv4Address = netip.MustParseAddr("10.9.1.1") }, model.ErrInvalid, "ipv4Address"},
		{func(e *api.Endpoint) { e.IPv4Address = netip.MustParseAddr("2001:db8::5") }, model.ErrInvalid, "ipv4Address"},
		{func(e *api.Endpoint) { e.IPv6Address = netip.MustParseAddr("10.1.1.5") }, model.ErrInvalid, "ipv6Address"},
		{func(e *api.Endpoint) { e.IPv6Address = netip.MustParseAddr("2001:db8::5") }, model.ErrInvalid, "ipv6Address"},
	} {
		e := good
		row.change(&e)
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, "e"), e, nil)
		refused(t, err, row.kind, row.field)
	}
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "10.1.1.254" {
		t.Errorf("refused endpoints leave %+v", oper)
	}
}

func TestEndpointsPlaceCannotBeChanged(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	s.network("default:other", "10.1.2.0/24", "")
	if _, err := s.attach("e", "n1", "10.1.1.5"); err != nil {
		t.Fatal(err)
	}
	path := api.ObjectPath(api.Endpoints, "e")
	var now api.Endpoint
	if err := s.client.Get(t.Context(), path, &now); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*api.Endpoint){
		"networkName": func(e *api.Endpoint) { e.NetworkName = "other" }, "homingHost": func(e *api.Endpoint) { e.HomingHost = "n2" },
		"ipv4Address": func(e *api.Endpoint) { e.IPv4Address = netip.MustParseAddr("10.1.1.6") },
		"ipv6Address": func(e *api.Endpoint) { e.IPv6Address = netip.MustParseAddr("2001:db8::1") },
		"macAddress":  func(e *api.Endpoint) { e.MACAddress = model.MAC{2, 0, 0, 0, 0, 1} },
	} {
		e := now
		change(&e)
		_, err := s.client.Put(t.Context(), path, e, nil)
		refused(t, err, model.ErrExists, field, "cannot be changed")
	}
	now.ContainerName, now.Aliases, now.Labels, now.IntfName = "web", []string{"www"}, map[string]string{"b": "2", "a": "1"}, "vvport7"
	rev := s.put(path, now)
	if again := s.put(path, now); again != rev {
		t.Errorf("the same again is revision %d after %d", again, rev)
	}
	var in api.EndpointInspect
	if err := s.client.Get(t.Context(), api.InspectPath(api.Endpoints, "web"), &in); err != nil || in.Oper.Labels != "map[a:1 b:2]" || in.Oper.IntfName != "vvport7" {
		t.Errorf("inspection: %+v, %v", in, err)
	}
}

func TestRequestedMACIsGivenOnce(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	with := func(id, mac string) error {
		m, err := model.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.client.Put(t.Context(), api.ObjectPath(api.Endpoints, id), api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1", MACAddress: m}, nil)
		return err
	}
	if err := with("a", "02:42:00:00:00:01"); err != nil {
		t.Fatal(err)
	}
	refused(t, with("b", "02:42:00:00:00:01"), model.ErrExists, "macAddress", "endpoint a")
	refused(t, with("b", "02:02:0a:01:01:63"), model.ErrInvalid, "macAddress", "02:02:0a:01:01:63")
	refused(t, with("b", model.RouterMAC.String()), model.ErrInvalid, "macAddress")
	if err := with("b", "02:02:0a:01:01:02"); err != nil { // what follows from its address anyway
		t.Error(err)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, "a")); err != nil {
		t.Fatal(err)
	}
	if err := with("c", "02:42:00:00:00:01"); err != nil {
		t.Errorf("a MAC that came free: %v", err)
	}
}

func TestEndpointIsFoundByPartsOfItsNames(t *testing.T) {
	t.Parallel()
	s := onNet(t)
	for id, container := range map[string]string{"aaaa1111": "web", "aaaa2222": "web2", "bbbb": "db"} {
		s.put(api.ObjectPath(api.Endpoints, id), api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1", ContainerName: container, ContainerID: "id-of-" + container})
	}
	for key, want := range map[string]string{"aaaa1111": "aaaa1111", "web": "aaaa1111", "bb": "bbbb", "of-db": "bbbb", "web2": "aaaa2222"} {
		var in api.EndpointInspect
		if err := s.client.Get(t.Context(), api.InspectPath(api.Endpoints, key), &in); err != nil || in.Oper.EndpointID != want {
			t.Errorf("%s: %s, %v; want %s", key, in.Oper.EndpointID, err, want)
		}
	}
	refused(t, s.client.Get(t.Context(), api.InspectPath(api.Endpoints, "aaaa"), nil), model.ErrInvalid, "endpointID", "aaaa1111", "aaaa2222", "container web2")
	refused(t, s.client.Get(t.Context(), api.InspectPath(api.Endpoints, "nothing"), nil), model.ErrNotFound, "endpointID", "nothing")
}

func TestRangesOfOneSubnetKeepApart(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.10-10.1.1.20/24", "")
	s.network("default:other", "10.1.1.30-10.1.1.40/24", "")
	_, err := s.hold("n1", "10.1.1.35")
	refused(t, err, model.ErrExists, "ipAddress", "default:other")
	if a, err := s.hold("n1", "10.1.1.55"); err != nil || a != "10.1.1.55" {
		t.Errorf("outside all ranges: %s, %v", a, err)
	}
	_, err = s.client.Put(t.Context(), api.ObjectPath(api.Networks, "default:third"), api.Network{Subnet: "10.1.1.50-10.1.1.60/24"}, nil)
	refused(t, err, model.ErrExists, "subnet", "10.1.1.55")
}

func TestAddressesAreGivenOnceAndToTheLast(t *testing.T) {
	t.Parallel()
	onceAndToTheLast(t, alone(t))
}

// The same with two masters of which each knows nothing of what the other is about to write.
func TestTwoMastersGiveAddressesOnceAndToTheLast(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	onceAndToTheLast(t, serve(t, mem, master.Options{}), serve(t, mem, master.Options{}))
}

// onceAndToTheLast has 16 clients fill a /26, half of them through Docker's two steps.
func onceAndToTheLast(t *testing.T, masters ...server) {
	t.Helper()
	const free = 61 // 64 less network, broadcast and gateway
	s := masters[0]
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/26", "10.1.1.1")
	var mu sync.Mutex
	given, full := map[netip.Addr]string{}, 0
	note := func(id string, a netip.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, model.ErrInUse):
			full++
		case err != nil:
			t.Errorf("%s: %v", id, err)
		case given[a] != "":
			t.Errorf("%s was given to %s and %s", a, given[a], id)
		default:
			given[a] = id
		}
	}
	var all sync.WaitGroup
	for client := range 16 {
		all.Go(func() {
			m := masters[client%len(masters)]
			for i := range 5 {
				id := fmt.Sprintf("e-%d-%d", client, i)
				e := api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1"}
				if client%2 == 0 {
					var held api.Address
					if _, err := m.client.Post(t.Context(), api.AddressesPath("default:net"), api.AddressRequest{Node: "n1"}, &held); err != nil {
						note(id, netip.Addr{}, err)
						continue
					}
					e.IPv4Address = held.IPAddress
				}
				var out api.Endpoint
				_, err := m.client.Put(t.Context(), api.ObjectPath(api.Endpoints, id), e, &out)
				note(id, out.IPv4Address, err)
			}
		})
	}
	all.Wait()
	if len(given) != free || full != 80-free {
		t.Errorf("%d addresses were given and %d requests refused; want %d and %d", len(given), full, free, 80-free)
	}
	oper := s.inspect("default:net")
	if oper.AllocatedIPAddresses != "10.1.1.1-10.1.1.62" || oper.AvailableIPAddresses != "" || oper.NumEndpoints != free {
		t.Errorf("the full network: %s, %s, %d", oper.AllocatedIPAddresses, oper.AvailableIPAddresses, oper.NumEndpoints)
	}
	for a, id := range given {
		if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Endpoints, id)); err != nil {
			t.Errorf("%s: %v", a, err)
		}
	}
	if oper := s.inspect("default:net"); oper.AllocatedIPAddresses != "10.1.1.1" {
		t.Errorf("the empty network: %s", oper.AllocatedIPAddresses)
	}
}

// What was acknowledged is there after the master and its etcd have gone and come again.
func TestMasterOnEtcdComesBackWithEverything(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "contiv-master-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	open := func(t *testing.T) store.Store {
		s, err := store.Embed(t.Context(), store.Embedding{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	t.Run("before", func(t *testing.T) {
		s := serve(t, open(t), master.Options{})
		onceAndToTheLast(t, s)
		if _, err := s.attach("first", "n1", ""); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		s := serve(t, open(t), master.Options{})
		e, err := s.attach("e", "n1", "")
		if err != nil || e.IPv4Address.String() != "10.1.1.3" {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}
