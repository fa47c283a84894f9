// SPDX-License-Identifier: Apache-2.0

package master

import (
	"context"
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

func testNetwork(t *testing.T, subnet string) model.Network {
	t.Helper()
	pool, err := model.ParsePool(subnet, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return model.Network{Tenant: "default", Name: "net", IPv4: pool}
}

// The search for a free address does not begin at the lowest each time; it must come back to what was not used after all.
func TestClaimThatBecameNoWriteIsGivenNext(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "10.1.2.0/24")
	l := newLedger(1)
	if err := l.apply(model.Change{Revision: 1, Reset: true, Put: []model.Object{n}}); err != nil {
		t.Fatal(err)
	}
	nobodys := func(netip.Addr) bool { return false }
	next := func() string {
		t.Helper()
		a, _, ok := l.claim(n, "", n.IPv4, nobodys)
		if !ok {
			t.Fatal("no address is free")
		}
		return a.String()
	}
	for _, want := range []string{"10.1.2.1", "10.1.2.2", "10.1.2.3"} {
		if got := next(); got != want {
			t.Fatalf("claimed %s, want %s", got, want)
		}
	}
	second, third := claim{n.Key(), netip.MustParseAddr("10.1.2.2")}, claim{n.Key(), netip.MustParseAddr("10.1.2.3")}
	written := model.Address{Network: n.Key(), Addr: third.addr, Owner: "e3"}
	if err := l.apply(model.Change{Revision: 2, Put: []model.Object{written}}); err != nil {
		t.Fatal(err)
	}
	l.drop([]claim{second, third})
	for _, want := range []string{"10.1.2.2", "10.1.2.4"} {
		if got := next(); got != want {
			t.Errorf("claimed %s, want %s", got, want)
		}
	}
	if err := l.apply(model.Change{Revision: 3, Delete: []model.Ref{model.RefOf(written)}}); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "10.1.2.3" {
		t.Errorf("claimed %s, want what came free", got)
	}
}

// What an asker has taken itself it passes over, but nobody else does.
func TestAddressPassedOverByOneIsGivenToAnother(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "10.1.2.0/30")
	l := newLedger(1)
	if err := l.apply(model.Change{Revision: 1, Reset: true, Put: []model.Object{n}}); err != nil {
		t.Fatal(err)
	}
	first := netip.MustParseAddr("10.1.2.1")
	a, _, ok := l.claim(n, "", n.IPv4, func(a netip.Addr) bool { return a == first })
	if !ok || a != first.Next() {
		t.Fatalf("claimed %s, %v, want the second address", a, ok)
	}
	if a, _, ok := l.claim(n, "", n.IPv4, func(netip.Addr) bool { return false }); !ok || a != first {
		t.Errorf("claimed %s, %v, want the first address", a, ok)
	}
	if _, busy, ok := l.claim(n, "", n.IPv4, func(netip.Addr) bool { return false }); ok || !busy {
		t.Errorf("with all addresses claimed: ok %v, busy %v; one may yet come free", ok, busy)
	}
}

// Who finds nothing free waits for claims of others that may come free, and is refused where those could not be its own.
func TestOnlyClaimsThatMayComeFreeAreWaitedFor(t *testing.T) {
	t.Parallel()
	n := testNetwork(t, "10.1.2.0/29")
	pooled, err := model.ParseRange("ipPool", "10.1.2.1-10.1.2.2")
	if err != nil {
		t.Fatal(err)
	}
	g := model.Group{Tenant: n.Tenant, Name: "g", Network: n.Name, Pool: pooled}
	l := newLedger(1)
	if err := l.apply(model.Change{Revision: 1, Reset: true, Put: []model.Object{n, g}}); err != nil {
		t.Fatal(err)
	}
	mine := map[netip.Addr]bool{}
	take := func(g model.Group, of func(netip.Addr) bool) (netip.Addr, bool, bool) {
		pool, group := poolFor(n, g, false)
		return l.claim(n, group, pool, of)
	}
	nobodys := func(netip.Addr) bool { return false }
	own := func(a netip.Addr) bool { return mine[a] }
	for range 2 {
		a, _, ok := take(g, own)
		if !ok {
			t.Fatal("the pool has no address")
		}
		mine[a] = true
	}
	if _, _, ok := take(model.Group{}, nobodys); !ok {
		t.Fatal("the network has no address")
	}
	if a, busy, ok := take(g, own); ok || busy {
		t.Errorf("with the pool claimed by the asker: %s, busy %v", a, busy)
	}
	if a, busy, ok := take(g, nobodys); ok || !busy {
		t.Errorf("with the pool claimed by another: %s, busy %v", a, busy)
	}
	for range 3 {
		a, _, ok := take(model.Group{}, nobodys)
		if !ok {
			t.Fatal("the network has no address")
		}
		mine[a] = true
	}
	mine[netip.MustParseAddr("10.1.2.3")] = true
	delete(mine, netip.MustParseAddr("10.1.2.1"))
	if a, busy, ok := take(model.Group{}, own); ok || busy {
		t.Errorf("with another's claim in a group's pool only: %s, busy %v", a, busy)
	}
}

func TestWaitersAreWokenAtTheirRevision(t *testing.T) {
	t.Parallel()
	l := newLedger(1)
	got := make(chan int64)
	for _, revision := range []int64{3, 2} {
		go func() {
			w, err := l.wait(t.Context(), revision)
			if err != nil {
				t.Error(err)
			}
			got <- w.Revision
		}()
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := l.wait(gone, 9); err == nil {
		t.Error("waited for a revision that is not there, without an error")
	}
	for _, revision := range []int64{1, 2} {
		if err := l.apply(model.Change{Revision: revision}); err != nil {
			t.Fatal(err)
		}
	}
	if r := <-got; r != 2 {
		t.Errorf("the first to be woken saw revision %d, want 2", r)
	}
	if err := l.apply(model.Change{Revision: 5}); err != nil { // 3 and 4 were others' in the store
		t.Fatal(err)
	}
	if r := <-got; r != 5 {
		t.Errorf("the second to be woken saw revision %d, want 5", r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiters) != 0 {
		t.Errorf("%d waiters are left", len(l.waiters))
	}
}
