// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

func TestEndpointLivesFromAttachToDetach(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	e, _ := s.attach(a, "e1", "10.1.2.1")
	if tables, _ := s.kernel.held(); len(tables.Ports) != 1 || tables.Ports[0].Name != e.Port || !s.kernel.ports[e.Port] {
		t.Errorf("the kernel holds %s", tables)
	}
	for range 2 {
		if err := a.Detach(t.Context(), "e1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := port(t, "e1"); ok {
		t.Error("its port is left")
	}
	if _, ok := ms.endpoint("e1"); ok {
		t.Error("the masters have it still")
	}
	if left, err := a.Leftovers(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// CNI names an attachment by its container, so one id may come, go and come again.
func TestEndpointThatComesAgainIsNotTakenForTheOneThatWent(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "e1", "10.1.2.1")
	m := ms.serves.Swap(nil)
	if err := a.Detach(t.Context(), "e1"); err != nil {
		t.Fatalf("detaching waits for masters: %v", err)
	}
	call, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := a.Attach(call, web("e1", "10.1.2.1"), "/nowhere"); err == nil {
		t.Fatal("attached without masters")
	}
	ms.serves.Store(m)
	s.attach(a, "e1", "10.1.2.9") // another address than the masters still have under that id
	if a.detached.has("e1") {
		t.Error("what lives is noted as gone")
	}
	// Whatever would have been told late is told now.
	for range 3 {
		if err := a.flush(t.Context(), "e1"); err != nil {
			t.Fatal(err)
		}
		if err := a.Repair(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := ms.endpoint("e1"); !ok || got.IPv4Address.String() != "10.1.2.9" {
		t.Errorf("the masters have %+v", got)
	}
	if _, ok := port(t, "e1"); !ok {
		t.Error("its port was removed")
	}
}

func TestEndpointWhoseContainerVanishedIsAttachedAnew(t *testing.T) {
	_, s, a := onWeb(t)
	if a == nil {
		return
	}
	before, path := s.attach(a, "e1", "10.1.2.1")
	old, _ := port(t, "e1")
	if out, err := exec.Command("ip", "netns", "del", filepath.Base(path)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "the port goes with its container", func() bool { _, ok := port(t, "e1"); return !ok })
	_, applied := s.kernel.held()
	after, _ := s.attach(a, "e1", "10.1.2.1")
	now, ok := port(t, "e1")
	if !ok || now.Index == old.Index || after.IPv4 != before.IPv4 {
		t.Errorf("port %+v, before %+v", now, old)
	}
	// The device is another, so the kernel's tables have to be written anew.
	if _, times := s.kernel.held(); times == applied {
		t.Error("nothing was applied")
	}
}

// Each row is a place at which an agent may have been killed.
func TestWhatAKilledAgentLeavesIsCleared(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "noted-as-gone", "10.1.2.1")
	s.attach(a, "device-removed", "10.1.2.2")
	s.attach(a, "lives", "10.1.2.3")
	s.stop()

	// Before it removed the device.
	if err := a.detached.add("noted-as-gone"); err != nil {
		t.Fatal(err)
	}
	// After that.
	gone, _ := a.records.get("device-removed")
	if err := errors.Join(a.detached.add("device-removed"), netdev.RemovePort(gone.Endpoint.Port)); err != nil {
		t.Fatal(err)
	}
	// While it made a device.
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = "vvport9", model.RouterMAC[:]
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "vport9"}); err != nil {
		t.Fatal(err)
	}
	// Before it wrote down for whom a device is.
	if err := netdev.CreatePort("vvport8", "unrecorded", model.MAC{2, 2, 10, 1, 2, 8}, 1450); err != nil {
		t.Fatal(err)
	}
	// After it had a device that nobody came for, and whose endpoint no master knows.
	lost := web("lost", "10.1.2.7")
	lost.Node, lost.Port = "n1", "vvport7"
	if err := a.records.put(record{Endpoint: lost}); err != nil {
		t.Fatal(err)
	}

	b := s.ready()
	if err := b.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "only what lives is left", func() bool {
		ports, err := netdev.Ports()
		if err != nil {
			t.Fatal(err)
		}
		_, one := ms.endpoint("noted-as-gone")
		_, two := ms.endpoint("device-removed")
		return len(ports) == 1 && ports[0].Endpoint == "lives" && !one && !two && len(b.detached.list()) == 0 && len(b.records.list()) == 1
	})
	if _, ok := ms.endpoint("lives"); !ok {
		t.Error("what lives was removed")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ports) != 1 {
		t.Errorf("port names are taken: %v", b.ports)
	}
}

func TestEmptyStoreDoesNotCutContainersOff(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	e, _ := s.attach(a, "e1", "10.1.2.1")
	eventually(t, "the World is on disk", func() bool { w, err := loadSnapshot(s.o.StateDir); return err == nil && w.Networks.Len() == 1 })
	doubts := func(a *Agent) {
		t.Helper()
		eventually(t, "the store is doubted", func() bool { _, err := a.Applied(); return errors.Is(err, errHollow) })
		if err := a.Sweep(t.Context()); !errors.Is(err, errNoWord) {
			t.Errorf("a sweep rests on it: %v", err)
		}
		if err := a.Reapply(t.Context()); !errors.Is(err, errNoWord) {
			t.Errorf("it is applied: %v", err)
		}
		if tables, _ := s.kernel.held(); len(tables.Ports) != 1 || tables.Ports[0].Name != e.Port {
			t.Errorf("the kernel holds %s", tables)
		}
		if a.World().Networks.Len() != 1 {
			t.Error("the node has forgotten its networks")
		}
	}
	ms.start()
	doubts(a)
	s.stop()
	a = s.start() // it doubts it as well if it is all that it ever hears
	doubts(a)
	// Nor does it help that the World on disk is from before the network.
	s.stop()
	if err := saveSnapshot(s.o.StateDir, model.World{}.With(model.Change{Revision: 2, Reset: true})); err != nil {
		t.Fatal(err)
	}
	a = s.start()
	eventually(t, "the store is doubted", func() bool { _, err := a.Applied(); return errors.Is(err, errHollow) })
	// The operator mends it, and the container's endpoint comes back by itself.
	ms.network("web", "10.1.2.0/24")
	eventually(t, "the endpoint is put again", func() bool { got, ok := ms.endpoint("e1"); return ok && got.IntfName == e.Port })
	eventually(t, "it is applied", func() bool { _, err := a.Applied(); return err == nil })
}

func TestEmptyStoreIsTheTruthWhereNoContainerIs(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "e1", "10.1.2.1")
	if err := a.Detach(t.Context(), "e1"); err != nil {
		t.Fatal(err)
	}
	ms.start()
	eventually(t, "it is applied", func() bool {
		tables, _ := s.kernel.held()
		_, err := a.Applied()
		return err == nil && a.Fresh() && len(tables.Networks) == 0
	})
}

func TestNodeThatWasRemovedComesBackWithItsEndpoints(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "e1", "10.1.2.1")
	if _, err := ms.client.Delete(t.Context(), api.ObjectPath(api.Nodes, "n1")); err != nil {
		t.Fatal(err)
	}
	// At once: not at the next word that it lives, nor at the next sweep, which is an hour away here.
	began := time.Now()
	eventually(t, "the endpoint is back", func() bool { _, ok := ms.endpoint("e1"); return ok })
	if took := time.Since(began); took > aliveEvery-time.Second {
		t.Errorf("it took %s", took)
	}
	eventually(t, "the kernel holds it", func() bool { tables, _ := s.kernel.held(); return len(tables.Ports) == 1 })
}

func TestAgentEndsWhenAnotherMachineTookItsName(t *testing.T) {
	if !onNode(t) {
		return
	}
	ms := newMasters(t)
	s := newSite(t, ms)
	s.ready()
	other := s.o.Node
	other.VTEP = netip.MustParseAddr("192.168.2.99")
	// It is silent for long enough to be taken for dead, and the other comes; until one of the two has the name for good.
	var end error
	eventually(t, "one of two machines of one name ends", func() bool {
		ms.store.Advance(2 * model.AliveSeconds * time.Second)
		_, err := ms.client.Put(t.Context(), api.ObjectPath(api.Nodes, "n1"), api.NodeOf(other), nil)
		if err == nil {
			_, err = ms.client.Post(t.Context(), api.AlivePath("n1"), nil, nil)
		}
		if err != nil && !errors.Is(err, model.ErrExists) {
			t.Fatal(err)
		}
		select {
		case end = <-s.ended:
			s.ended <- nil // for stop
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	if !errors.Is(end, model.ErrExists) || !strings.Contains(end.Error(), "--host-label") {
		t.Errorf("it ended with %v", end)
	}
}

func TestNodeIsNotRenamedUnderItsContainers(t *testing.T) {
	_, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "e1", "10.1.2.1")
	s.stop()
	s.o.Node.Name = "n2"
	if _, err := New(s.o); err == nil || !strings.Contains(err.Error(), "--host-label n1") {
		t.Errorf("the error is %v", err)
	}
}

func TestRepairWithoutAMasterChangesNothing(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	s.attach(a, "e1", "10.1.2.1")
	eventually(t, "the World is on disk", func() bool { w, err := loadSnapshot(s.o.StateDir); return err == nil && w.Networks.Len() == 1 })
	s.stop()
	ms.serves.Store(nil)
	before, times := s.kernel.held()
	a = s.start()
	if err := a.Repair(t.Context()); !errors.Is(err, errNoWord) {
		t.Errorf("repaired: %v", err)
	}
	if err := a.Reapply(t.Context()); !errors.Is(err, errNoWord) {
		t.Errorf("applied: %v", err)
	}
	if after, now := s.kernel.held(); now != times || !equalJSON(after.Ports, before.Ports) {
		t.Errorf("the kernel holds %s", after)
	}
	// What the doctor compares with is the last that was known, not nothing.
	if tables := a.Tables(); len(tables.Networks) != 1 {
		t.Errorf("it would compare with %s", tables)
	}
}
