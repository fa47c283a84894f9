// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

func TestFirewallIsLoadedWhereIptablesFails(t *testing.T) {
	if !onNode(t) {
		return
	}
	programs := t.TempDir()
	for _, p := range []string{"iptables", "ip6tables"} {
		if err := os.WriteFile(filepath.Join(programs, p), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", programs+":"+os.Getenv("PATH"))
	a := &Agent{Options: Options{
		Node: model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}, Log: slog.New(slog.DiscardHandler),
	}}
	tables := compile.Tables{
		Outside: compile.Outside{IPv4: netip.MustParsePrefix("172.19.255.254/16"), IPv6: netip.MustParsePrefix("fd63::ffff/64")},
		Ports:   []compile.Port{{Private4: netip.MustParseAddr("172.19.0.1"), Private6: netip.MustParseAddr("fd63::1")}},
	}
	a.openOutside(tables)
	if a.outside.filter == nil {
		t.Error("nobody is told that iptables fails")
	}
	if a.outside.loaded == nil {
		t.Fatal("the firewall is not loaded")
	}
	if there, err := a.outside.loaded.Loaded(); !there || err != nil {
		t.Errorf("the firewall is there: %t, %v", there, err)
	}
}

// A snapshot is some minutes old at times: what was loaded since must not be undone for the moment until a master is heard, or for as long as none is.
func TestOlderSnapshotLeavesTheFirewallThatTheLastRunLoaded(t *testing.T) {
	if !onNode(t) {
		return
	}
	earlier := compile.Tables{Outside: compile.Outside{IPv4: netip.MustParsePrefix("172.19.255.254/16"), IPv6: netip.MustParsePrefix("fd63::ffff/64")}}
	later := earlier
	later.Infra = []compile.Infra{{Network: model.HostAccess, Addrs: []netip.Prefix{netip.MustParsePrefix("132.1.1.2/24")}}}
	run := func(snapshot compile.Tables) *Agent {
		a := &Agent{Options: Options{
			Node: model.Node{Name: "n1", VTEP: netip.MustParseAddr("192.0.2.1"), VXLANPort: 4789}, Log: slog.New(slog.DiscardHandler),
		}}
		a.outside.tables = snapshot
		return a
	}
	whole := func(what string, a *Agent, tables compile.Tables) {
		t.Helper()
		if there, err := a.firewall(tables, nil).Loaded(); !there || err != nil {
			t.Errorf("%s: the firewall is there: %t, %v", what, there, err)
		}
	}
	last := run(earlier)
	last.filterOutside(true)
	whole("nobody had loaded one", last, earlier)
	last.openOutside(later)
	whole("a network is new", last, later)
	next := run(earlier)
	for range 2 {
		next.filterOutside(true)
		whole("the next run has a snapshot only", next, later)
	}
	if next.guards(model.HostAccess) {
		t.Error("what another run loaded is taken for known")
	}
	if err := netdev.RemoveFirewall(); err != nil {
		t.Fatal(err)
	}
	next.filterOutside(true)
	whole("somebody removed it", next, earlier)
	next.openOutside(later)
	whole("a master is heard", next, later)
}

// busyKernel has something happen while tables are being applied.
type busyKernel struct {
	*kernel
	during atomic.Pointer[func(compile.Tables)]
}

func (k *busyKernel) Apply(t compile.Tables) error {
	if during := k.during.Load(); during != nil {
		(*during)(t)
	}
	return k.kernel.Apply(t)
}

// onBusyNode is an agent that is ready, on a node of the test's own; nil where the caller has nothing left to do.
func onBusyNode(t *testing.T) (*masters, *busyKernel, *Agent) {
	t.Helper()
	if !onNode(t) {
		return nil, nil, nil
	}
	ms := newMasters(t)
	s := newSite(t, ms)
	k := &busyKernel{kernel: s.kernel}
	s.o.Datapath = k
	return ms, k, s.ready()
}

func TestSweepWhileTablesAreAppliedLeavesTheirFirewall(t *testing.T) {
	ms, k, a := onBusyNode(t)
	if a == nil {
		return
	}
	var swept atomic.Bool
	sweep := func(tables compile.Tables) {
		if !slices.ContainsFunc(tables.Infra, func(i compile.Infra) bool { return i.Network == model.HostAccess }) {
			return
		}
		a.mendOutside()
		if !a.guards(model.HostAccess) {
			t.Error("others' containers may come by the node to the default tenant")
		}
		swept.Store(true)
	}
	k.during.Store(&sweep)
	ms.infra(model.HostAccess, "132.1.1.0/24")
	eventually(t, "a sweep meets the new network", swept.Load)
}

func TestTablesAreAppliedOnceMoreWhereThatIsAskedForMeanwhile(t *testing.T) {
	ms, k, a := onBusyNode(t)
	if a == nil {
		return
	}
	var turns atomic.Int32
	ask := func(compile.Tables) {
		if turns.Add(1) == 1 {
			a.applyAgain(errors.New("a device is new"))
		}
	}
	k.during.Store(&ask)
	ms.network("web", "10.1.2.0/24")
	eventually(t, "they are applied again", func() bool { _, err := a.Applied(); return turns.Load() > 1 && err == nil })
}

func TestKubeProxyThatIsKeptDoesItsOwnWork(t *testing.T) {
	t.Parallel()
	tables := compile.Tables{
		Entrances: []compile.Entrance{{Service: "shop/web", Addr: netip.MustParseAddr("10.96.0.7"), Protocol: 6, Port: 80}},
		Machines:  []compile.Machine{{Addr: netip.MustParseAddr("192.0.2.1"), Protocol: 6, Port: 6443}},
	}
	for keep, entrances := range map[bool]int{false: 1, true: 0} {
		a := &Agent{Options: Options{KubeProxy: keep}}
		// Containers reach what provides services either way: their own packets are the data path's.
		if f := a.firewall(tables, nil); len(f.Entrances) != entrances || len(f.Machines) != 1 {
			t.Errorf("kept: %t: %d entrances and %d machines", keep, len(f.Entrances), len(f.Machines))
		}
	}
}
