// SPDX-License-Identifier: Apache-2.0

package master_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/master"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
	"github.com/contivnet/contiv/store/memory"
)

func (s server) nodes() map[string]api.Node {
	s.Helper()
	var list []api.Node
	if err := s.client.Get(s.Context(), api.ListPath(api.Nodes), &list); err != nil {
		s.Fatal(err)
	}
	out := map[string]api.Node{}
	for _, n := range list {
		out[n.Key] = n
	}
	return out
}

func TestNodeIsUpWhileItSaysSo(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.put(api.ObjectPath(api.Nodes, "n1"), api.Node{VtepIP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789, MTU: 1500})
	if n := s.nodes()["n1"]; n.State != "down" || n.MTU != 1500 {
		t.Errorf("before its first word: %+v", n)
	}
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	if _, err := s.attach("e", "n1", ""); err != nil {
		t.Fatal(err)
	}
	if n := s.nodes()["n1"]; n.State != "up" || n.NumEndpoints != 1 {
		t.Errorf("after it: %+v", n)
	}
	mem.Advance((model.AliveSeconds - 1) * time.Second)
	if _, err := s.client.Post(t.Context(), api.AlivePath("n1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	mem.Advance(2 * time.Second)
	if n := s.nodes()["n1"]; n.State != "up" {
		t.Errorf("after another: %+v", n)
	}
	mem.Advance(model.AliveSeconds * time.Second)
	s.until("it is down and keeps its endpoint", func() bool { n := s.nodes()["n1"]; return n.State == "down" && n.NumEndpoints == 1 })
	if oper := s.inspect("default:net"); oper.Endpoints[0].NodeState != "down" {
		t.Errorf("its endpoint: %+v", oper.Endpoints[0])
	}
	var in struct {
		Config api.Node
		Oper   struct {
			State     string
			Endpoints []api.EndpointOper
		}
	}
	if err := s.client.Get(t.Context(), api.InspectPath(api.Nodes, "n1"), &in); err != nil || in.Oper.State != "down" || len(in.Oper.Endpoints) != 1 {
		t.Errorf("inspection: %+v, %v", in, err)
	}
}

func TestWordFromAnUnknownNodeIsRefused(t *testing.T) {
	t.Parallel()
	s := alone(t)
	_, err := s.client.Post(t.Context(), api.AlivePath("n9"), nil, nil)
	refused(t, err, model.ErrNotFound, "nodeName", "n9")
}

func TestLiveNodesNameAndAddressAreItsOwn(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	put := func(name, vtep string) error {
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Nodes, name), api.Node{VtepIP: netip.MustParseAddr(vtep), VXLANPort: 4789}, nil)
		return err
	}
	refused(t, put("n2", "192.168.2.10"), model.ErrExists, "vtepIP", "node n1", "--vtep-ip")
	refused(t, put("n1", "192.168.2.99"), model.ErrExists, "nodeName", "192.168.2.10", "--host-label")
	refused(t, put("n3", "127.0.0.1"), model.ErrInvalid, "vtepIP", "127.0.0.1")
	if err := put("n1", "192.168.2.10"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	mem.Advance((model.AliveSeconds + 1) * time.Second)
	refused(t, put("n2", "192.168.2.10"), model.ErrExists, "vtepIP", "node n1", "down", "netctl node rm n1")
	if err := put("n1", "192.168.2.99"); err != nil {
		t.Errorf("a dead one's name: %v", err)
	}
	if err := put("n2", "192.168.2.10"); err != nil {
		t.Errorf("the address that came free: %v", err)
	}
}

func TestNodesThatNoTunnelCanJoinAreNotLetIn(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	put := func(name, vtep string) error {
		_, err := s.client.Put(t.Context(), api.ObjectPath(api.Nodes, name), api.Node{VtepIP: netip.MustParseAddr(vtep), VXLANPort: 4789}, nil)
		return err
	}
	refused(t, put("n2", "fd00:2::11"), model.ErrExists, "vtepIP", "n1", "IPv4", "IPv6", "--vtep-ip")
	refused(t, put("n2", "fe80::11"), model.ErrInvalid, "vtepIP", "fe80::11", "fd00::/8")
	if err := put("n2", "::ffff:192.168.2.11"); err != nil {
		t.Errorf("an IPv4 address in another spelling: %v", err)
	}
	// All are stopped, and come back on the other underlay.
	mem.Advance((model.AliveSeconds + 1) * time.Second)
	s.node("n1", "fd00:2::10")
	if err := put("n2", "fd00:2::11"); err != nil {
		t.Error(err)
	}
	refused(t, put("n3", "192.168.2.12"), model.ErrExists, "vtepIP", "IPv6")
}

func TestRemovedNodeTakesEverythingWithIt(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.node("n1", "192.168.2.10")
	s.node("n2", "192.168.2.11")
	s.network("default:net", "10.1.0.0/16", "")
	const n = 75 // more than a batch
	for i := range n {
		if _, err := s.attach(fmt.Sprint("e", i), "n1", ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.attach("other", "n2", "10.1.9.9"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Post(t.Context(), api.AddressesPath("default:net"), api.AddressRequest{Node: "n1"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Nodes, "n1")); err != nil {
		t.Fatal(err)
	}
	if oper := s.inspect("default:net"); oper.NumEndpoints != 1 || oper.AllocatedIPAddresses != "10.1.9.9" {
		t.Errorf("left: %d endpoints, %s", oper.NumEndpoints, oper.AllocatedIPAddresses)
	}
	if _, there := s.nodes()["n1"]; there {
		t.Error("the node is left")
	}
	if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Nodes, "n1")); err != nil {
		t.Errorf("again: %v", err)
	}
	_, err := s.client.Post(t.Context(), api.AlivePath("n1"), nil, nil)
	refused(t, err, model.ErrNotFound, "nodeName", "n1")
}

// Endpoints that are attached while their node is removed go with it or are refused; none stays behind.
func TestNodeIsNotRemovedUnderAnEndpoint(t *testing.T) {
	t.Parallel()
	s := alone(t)
	s.network("default:net", "10.1.0.0/16", "")
	for round := range 20 {
		s.node("n1", "192.168.2.10")
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				if _, err := s.attach(fmt.Sprint("e", i), "n1", ""); err != nil && !errors.Is(err, model.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		all.Go(func() {
			if _, err := s.client.Delete(t.Context(), api.ObjectPath(api.Nodes, "n1")); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		if oper := s.inspect("default:net"); oper.NumEndpoints != 0 || oper.AllocatedIPAddresses != "" {
			t.Fatalf("round %d: %d endpoints, %s", round, oper.NumEndpoints, oper.AllocatedIPAddresses)
		}
	}
}

func TestNodeThatIsSilentForLongIsGivenUp(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{NodeGC: time.Hour, Sweep: 10 * time.Millisecond})
	other := serve(t, mem, master.Options{NodeGC: time.Hour, Sweep: 10 * time.Millisecond})
	s.node("dead", "192.168.2.10")
	s.node("live", "192.168.2.11")
	s.network("default:net", "10.1.1.0/24", "")
	for _, e := range [][2]string{{"a", "dead"}, {"b", "dead"}, {"c", "live"}} {
		if _, err := s.attach(e[0], e[1], ""); err != nil {
			t.Fatal(err)
		}
	}
	mem.Advance(50 * time.Minute)
	if _, err := other.client.Post(t.Context(), api.AlivePath("live"), nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, there := s.nodes()["dead"]; !there {
		t.Error("it is given up too soon")
	}
	mem.Advance(20 * time.Minute)
	s.until("the dead node and its endpoints are gone", func() bool {
		_, there := s.nodes()["dead"]
		return !there && s.inspect("default:net").AllocatedIPAddresses == "10.1.1.3"
	})
	if n := s.nodes()["live"]; n.NumEndpoints != 1 {
		t.Errorf("the live node: %+v", n)
	}
}

// What a master leaves behind that dies while it removes a node is removed by any other.
func TestHalfRemovedNodeIsFinishedByAnotherMaster(t *testing.T) {
	t.Parallel()
	mem := memory.New()
	s := serve(t, mem, master.Options{})
	s.node("n1", "192.168.2.10")
	s.network("default:net", "10.1.1.0/24", "")
	if _, err := s.attach("e", "n1", ""); err != nil {
		t.Fatal(err)
	}
	// As far as the first master came.
	if _, ok, err := mem.Commit(context.Background(), store.Txn{Delete: []model.Ref{{Kind: model.KindNode, Key: "n1"}}}); !ok || err != nil {
		t.Fatal(ok, err)
	}
	serve(t, mem, master.Options{Sweep: 10 * time.Millisecond})
	s.until("the endpoint is gone", func() bool { return s.inspect("default:net").AllocatedIPAddresses == "" })
}
