// SPDX-License-Identifier: Apache-2.0

// Package storetest is the contract of store.Store as a test that each implementation passes.
//
// What bites: one case waits for a lease of a second to run out, and etcd looks for those twice a second.
package storetest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/store"
)

// patience is how long a test waits for what should happen at once.
const patience = 10 * time.Second

// Run holds the stores that open gives to the contract. Each must be empty.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, check := range map[string]func(*testing.T, store.Store){
		"AGuardThatDoesNotHoldStopsTheWholeTransaction": guardsHold,
		"ATransactionThatPutsAKeyTwiceIsRefused":        keysOnce,
		"NoneNewerSeesOnlyItsOwnPrefix":                 noneNewer,
		"AFollowerSeesOneChangeForEachTransaction":      oneChangeEach,
		"AFollowerThatComesLateSeesEverything":          lateFollower,
		"WhatIsLeasedIsForgottenUnlessKeptAlive":        leases,
		"KeepAliveRespectsItsGuards":                    guardedKeepAlive,
		"AHandlersErrorEndsFollow":                      handlerEnds,
		"ConcurrentCreationSucceedsOnce":                createdOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}

func tenant(name string, number uint32) model.Tenant { return model.Tenant{Name: name, Number: number} }

func put(objects ...model.Object) store.Txn {
	var t store.Txn
	for _, o := range objects {
		t.Put = append(t.Put, store.Put{Object: o})
	}
	return t
}

// commit does a transaction that must succeed.
func commit(t *testing.T, s store.Store, txn store.Txn) int64 {
	t.Helper()
	rev, ok, err := s.Commit(t.Context(), txn)
	if err != nil || !ok {
		t.Fatalf("commit: ok %v, %v", ok, err)
	}
	return rev
}

// follower collects what Follow says.
type follower struct {
	mu      sync.Mutex
	world   model.World
	changes []model.Change
	moved   chan struct{}
}

func follow(t *testing.T, s store.Store) *follower {
	t.Helper()
	f := &follower{moved: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, func(c model.Change) error {
			f.mu.Lock()
			f.world = f.world.With(c)
			f.changes = append(f.changes, c)
			f.mu.Unlock()
			select {
			case f.moved <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow ended with %v", err)
		}
	})
	f.until(t, "the first World", func(w model.World) bool { return w.Revision > 0 })
	return f
}

func (f *follower) until(t *testing.T, what string, seen func(model.World) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		f.mu.Lock()
		ok := seen(f.world)
		f.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-f.moved:
		case <-deadline:
			t.Fatalf("not seen in time: %s", what)
		}
	}
}

func guardsHold(t *testing.T, s store.Store) {
	a, b := tenant("a", 1), tenant("b", 2)
	first := commit(t, s, store.Txn{Guards: []store.Guard{store.Absent(model.RefOf(a))}, Put: put(a).Put})
	for name, g := range map[string]store.Guard{
		"absent":           store.Absent(model.RefOf(a)),
		"unchanged, older": store.Unchanged(model.RefOf(a), first-1),
		"unchanged, never": store.Unchanged(model.RefOf(b), first),
		"none newer":       store.NoneNewer(model.KindTenant, "", first-1),
	} {
		txn := put(b)
		txn.Guards = []store.Guard{store.Unchanged(model.RefOf(a), first), g}
		if _, ok, err := s.Commit(t.Context(), txn); ok || err != nil {
			t.Errorf("%s: ok %v, %v", name, ok, err)
		}
	}
	rev := commit(t, s, store.Txn{
		Guards: []store.Guard{store.Unchanged(model.RefOf(a), first), store.Absent(model.RefOf(b)), store.NoneNewer(model.KindTenant, "", first)},
		Put:    put(b).Put, Delete: []model.Ref{model.RefOf(a)},
	})
	if rev <= first {
		t.Errorf("revision %d does not follow %d", rev, first)
	}
	f := follow(t, s)
	if _, there := f.world.Tenants.Get("a"); there || f.world.Tenants.Len() != 1 {
		t.Errorf("the World has %d tenants, a is %v", f.world.Tenants.Len(), there)
	}
}

func keysOnce(t *testing.T, s store.Store) {
	a := tenant("a", 1)
	commit(t, s, put(a))
	for name, txn := range map[string]store.Txn{
		"put and put":           put(tenant("a", 2), tenant("a", 3)),
		"put and delete":        {Put: put(tenant("a", 2)).Put, Delete: []model.Ref{model.RefOf(a)}},
		"put and delete of all": {Put: put(tenant("a", 2)).Put, DeleteAll: []model.Ref{{Kind: model.KindTenant}}},
	} {
		if _, ok, err := s.Commit(t.Context(), txn); ok || err == nil {
			t.Errorf("%s: ok %v, %v", name, ok, err)
		}
	}
	f := follow(t, s)
	if got, _ := f.world.Tenants.Get("a"); got != a {
		t.Errorf("the tenant is %+v", got)
	}
}

func noneNewer(t *testing.T, s store.Store) {
	addr := func(network, a string) model.Address {
		return model.Address{Network: network, Addr: netip.MustParseAddr(a), Owner: "x"}
	}
	first := commit(t, s, put(addr("t:a", "10.0.0.1"), addr("t:ab", "10.0.0.1")))
	commit(t, s, put(addr("t:ab", "10.0.0.2")))
	commit(t, s, store.Txn{Guards: []store.Guard{store.NoneNewer(model.KindAddress, "t:a/", first)}, Put: put(tenant("z", 1)).Put})
	// All addresses of one network go, the other's stay.
	commit(t, s, store.Txn{DeleteAll: []model.Ref{{Kind: model.KindAddress, Key: "t:a/"}}})
	f := follow(t, s)
	if n := f.world.Addresses.Len(); n != 2 {
		t.Errorf("%d addresses are left, want 2", n)
	}
}

func oneChangeEach(t *testing.T, s store.Store) {
	f := follow(t, s)
	commit(t, s, put(tenant("a", 1), tenant("b", 2)))
	last := commit(t, s, store.Txn{Put: put(tenant("c", 3)).Put, Delete: []model.Ref{{Kind: model.KindTenant, Key: "a"}}})
	f.until(t, "the last transaction", func(w model.World) bool { return w.Revision >= last })
	f.mu.Lock()
	defer f.mu.Unlock()
	var sizes [][2]int
	for _, c := range f.changes[1:] {
		if !c.Empty() {
			sizes = append(sizes, [2]int{len(c.Put), len(c.Delete)})
		}
	}
	if len(sizes) != 2 || sizes[0] != [2]int{2, 0} || sizes[1] != [2]int{1, 1} {
		t.Errorf("changes have puts and deletes %v", sizes)
	}
	if !f.changes[0].Reset {
		t.Error("the first change is no reset")
	}
}

func lateFollower(t *testing.T, s store.Store) {
	var txn store.Txn
	for i := range 100 {
		txn.Put = append(txn.Put, store.Put{Object: tenant("t"+string(rune('a'+i/26))+string(rune('a'+i%26)), uint32(i+1))})
	}
	rev := commit(t, s, txn)
	if seen, err := s.Revision(t.Context()); err != nil || seen < rev {
		t.Errorf("the store is at revision %d, %v; want %d", seen, err, rev)
	}
	f := follow(t, s)
	if f.world.Revision < rev || f.world.Tenants.Len() != 100 {
		t.Errorf("a late follower sees %d tenants at %d", f.world.Tenants.Len(), f.world.Revision)
	}
}

func leases(t *testing.T, s store.Store) {
	f := follow(t, s)
	a := model.Alive{Node: "kept"}
	if ok, err := s.KeepAlive(t.Context(), a, 2); err != nil || !ok {
		t.Fatalf("keep alive: %v, %v", ok, err)
	}
	commit(t, s, store.Txn{Put: []store.Put{{Object: model.Alive{Node: "left"}, Seconds: 1}}})
	f.until(t, "both", func(w model.World) bool { return w.Alive.Len() == 2 })
	keeping, stop := context.WithCancel(t.Context())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		for keeping.Err() == nil {
			if ok, err := s.KeepAlive(keeping, a, 2); keeping.Err() == nil && (err != nil || !ok) {
				t.Errorf("keep alive: %v, %v", ok, err)
			}
			select {
			case <-keeping.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	f.until(t, "the end of the lease", func(w model.World) bool { _, there := w.Alive.Get("left"); return !there })
	began := time.Now()
	f.mu.Lock()
	_, there := f.world.Alive.Get("kept")
	changes := len(f.changes)
	f.mu.Unlock()
	if !there {
		t.Error("what was kept alive has gone")
	}
	stop()
	<-kept
	f.until(t, "the end of the other lease", func(w model.World) bool { return w.Alive.Len() == 0 })
	if d := time.Since(began); d < time.Second {
		t.Errorf("the kept one went after %v", d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.changes) != changes+1 {
		t.Errorf("keeping alive wrote: %d changes, then %d", changes, len(f.changes))
	}
}

func guardedKeepAlive(t *testing.T, s store.Store) {
	node := model.Node{Name: "n", VTEP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789}
	guard := store.Unchanged(model.RefOf(node), 1<<40)
	if ok, err := s.KeepAlive(t.Context(), model.Alive{Node: "n"}, 5, guard); ok || err != nil {
		t.Errorf("an unknown node is kept alive: %v, %v", ok, err)
	}
	commit(t, s, put(node))
	if ok, err := s.KeepAlive(t.Context(), model.Alive{Node: "n"}, 5, guard); !ok || err != nil {
		t.Errorf("a known node is not kept alive: %v, %v", ok, err)
	}
}

func handlerEnds(t *testing.T, s store.Store) {
	enough := errors.New("enough")
	if err := s.Follow(t.Context(), func(model.Change) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Follow ended with %v", err)
	}
}

func createdOnce(t *testing.T, s store.Store) {
	var won, lost int
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			o := tenant("same", uint32(i+1))
			_, ok, err := s.Commit(t.Context(), store.Txn{Guards: []store.Guard{store.Absent(model.RefOf(o))}, Put: put(o).Put})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case ok:
				won++
			default:
				lost++
			}
		})
	}
	all.Wait()
	if won != 1 || lost != 15 {
		t.Errorf("%d created it and %d did not", won, lost)
	}
}
