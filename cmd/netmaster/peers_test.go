// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/store"
)

// peer is a master of several on this machine, with a loopback address of its own.
type peer struct {
	program
	dir, addr string
	flags     []string
}

// loopbacks are n addresses that no other test has.
func loopbacks(n int) (out []string) {
	a, b := 1+rand.IntN(250), rand.IntN(250)
	for i := range n {
		out = append(out, fmt.Sprintf("127.%d.%d.%d", a, b, i+1))
	}
	return out
}

func newPeers(t *testing.T, n int, flags ...string) []*peer {
	var out []*peer
	addrs := loopbacks(n)
	for _, a := range addrs {
		dir := shortDir(t)
		out = append(out, &peer{dir: dir, addr: a, flags: append([]string{"--peers", strings.Join(addrs, ","), "--data-dir", dir, "--external-address", a + ":9999"}, flags...)})
	}
	return out
}

func (p *peer) up(t *testing.T) {
	t.Helper()
	p.program = start(t, p.flags...)
}

func (p *peer) kill(t *testing.T) {
	t.Helper()
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // killed
}

func (p *peer) loseData(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(p.dir, "etcd")); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) says(t *testing.T, words string) {
	t.Helper()
	eventually(t, p.addr+" says "+words, func() error {
		if !strings.Contains(p.log.String(), words) {
			return fmt.Errorf("it says %s", p.log)
		}
		return nil
	})
}

func (p *peer) make(t *testing.T, tenant string) {
	t.Helper()
	c := client(t, p.addr+":9999")
	eventually(t, p.addr+" writes", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.Put(ctx, api.ObjectPath(api.Tenants, tenant), api.Tenant{}, nil)
		return err
	})
}

// has waits until this master knows exactly these tenants, besides the default one.
func (p *peer) has(t *testing.T, tenants ...string) {
	t.Helper()
	c := client(t, p.addr+":9999")
	eventually(t, p.addr+" has "+fmt.Sprint(tenants), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var list []api.Tenant
		if err := c.Get(ctx, api.ListPath(api.Tenants), &list); err != nil {
			return err
		}
		var got []string
		for _, n := range list {
			if n.TenantName != "default" {
				got = append(got, n.TenantName)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, tenants) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

func TestMastersFormAStoreOfTheirOwn(t *testing.T) {
	t.Parallel()
	three := newPeers(t, 3)
	a, b, c := three[0], three[1], three[2]
	a.up(t)
	b.up(t)
	// Two of three are a majority, but perhaps the third is the one with the state.
	a.says(t, c.addr+":2380 does not answer")
	if _, err := client(t, a.addr+":9999").Put(t.Context(), api.ObjectPath(api.Tenants, "early"), api.Tenant{}, nil); err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("before there is a store: %v", err)
	}
	c.up(t)
	for i, p := range three {
		p.make(t, fmt.Sprint("t", i))
	}
	for _, p := range three {
		p.has(t, "t0", "t1", "t2")
	}

	// Any one may die.
	for i, p := range three {
		p.kill(t)
		three[(i+1)%3].make(t, "while-dead")
		p.up(t)
		p.has(t, "t0", "t1", "t2", "while-dead")
		if _, err := client(t, p.addr+":9999").Delete(t.Context(), api.ObjectPath(api.Tenants, "while-dead")); err != nil {
			t.Fatal(err)
		}
	}

	// All may.
	for _, p := range three {
		p.kill(t)
	}
	a.up(t)
	a.says(t, "a majority")
	b.up(t)
	a.has(t, "t0", "t1", "t2")
	b.make(t, "t3")

	// A lost disk: it comes back empty, and is a full member again.
	c.loseData(t)
	c.up(t)
	c.has(t, "t0", "t1", "t2", "t3")
	eventually(t, "the new member votes", func() error {
		if !strings.Contains(a.log.String()+b.log.String(), c.addr+":2380 votes") {
			return fmt.Errorf("nobody says so")
		}
		return nil
	})
	a.kill(t)
	c.make(t, "t4")
	b.has(t, "t0", "t1", "t2", "t3", "t4")
}

// Two masters that have lost their data are a majority, and must not begin a new, empty store without the third.
func TestMajorityWithoutDataDoesNotBeginAnew(t *testing.T) {
	t.Parallel()
	three := newPeers(t, 3)
	for _, p := range three {
		p.up(t)
	}
	three[0].make(t, "blue")
	three[0].make(t, "green")
	three[2].has(t, "blue", "green")
	for _, p := range three {
		p.kill(t)
	}
	for _, p := range three[1:] {
		p.loseData(t)
		p.up(t)
	}
	three[1].says(t, three[0].addr+":2380 does not answer")
	three[0].up(t)
	three[1].says(t, "the data of "+three[1].addr)
	if first := three[0]; strings.Contains(first.log.String(), "netmaster serves") {
		t.Error("one of three serves alone")
	}
	var list []api.Tenant
	if err := client(t, three[1].addr+":9999").Get(t.Context(), api.ListPath(api.Tenants), &list); err == nil {
		t.Errorf("a master whose data are gone serves %+v", list)
	}

	// The operator knows that they will not come back.
	first := three[0]
	first.kill(t)
	flags := first.flags
	first.flags = append(slices.Clone(flags), "--peers-lost")
	first.up(t)
	// That the last write counts may have been known to the others only.
	eventually(t, "it serves", func() error {
		_, err := client(t, first.addr+":9999").Delete(t.Context(), api.ObjectPath(api.Tenants, "green"))
		return err
	})
	for _, p := range three {
		p.has(t, "blue")
	}
	three[2].make(t, "red")
	first.kill(t)
	first.up(t) // with the flag, which would now make two stores
	if err := first.Wait(); err == nil || !strings.Contains(first.log.String(), "start without --peers-lost") {
		t.Errorf("it ended with %v: %s", err, first.log)
	}
	for _, p := range three[1:] {
		p.kill(t)
	}
	first.up(t) // with the flag, before the others are there again
	if err := first.Wait(); err == nil || !strings.Contains(first.log.String(), "gone on alone already") {
		t.Errorf("it ended with %v: %s", err, first.log)
	}
	first.flags = flags
	for _, p := range three {
		p.up(t)
	}
	first.has(t, "blue", "red")
	if _, err := os.Stat(filepath.Join(first.dir, "peers-lost")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was noted stays, so that the flag would not work when it is needed again: %v", err)
	}
}

func TestLoneMasterGetsPeersAndKeepsItsState(t *testing.T) {
	t.Parallel()
	three := newPeers(t, 3)
	a := three[0]
	withPeers := a.flags
	alone := []string{"--data-dir", a.dir, "--external-address", a.addr + ":9999"}
	a.flags = alone
	a.up(t)
	a.make(t, "blue")
	a.kill(t)
	for _, p := range three[1:] {
		p.up(t)
		p.says(t, a.addr+":2380 does not answer")
	}
	a.flags = withPeers
	a.up(t)
	for _, p := range three {
		p.has(t, "blue")
	}
	three[1].make(t, "red")
	eventually(t, "both vote", func() error {
		if strings.Count(a.log.String()+three[1].log.String(), " votes") < 2 {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	a.kill(t)
	three[2].make(t, "yellow")
	three[1].has(t, "blue", "red", "yellow")

	a.flags = alone // again, which would make it wait for the others for ever
	a.up(t)
	if err := a.Wait(); err == nil || !strings.Contains(a.log.String(), "is that of 3 masters") {
		t.Errorf("without its peers it ended with %v: %s", err, a.log)
	}
}

// A machine is gone for good and another takes its place, under another address.
func TestMasterIsReplacedByAnotherMachine(t *testing.T) {
	t.Parallel()
	four := newPeers(t, 4)
	list := func(of ...*peer) {
		var addrs []string
		for _, p := range of {
			addrs = append(addrs, p.addr)
		}
		for _, p := range of {
			p.flags[1] = strings.Join(addrs, ",")
		}
	}
	a, b, c, d := four[0], four[1], four[2], four[3]
	list(a, b, c)
	for _, p := range four[:3] {
		p.up(t)
	}
	a.make(t, "blue")
	c.has(t, "blue")
	c.kill(t)
	list(a, b, d)
	d.up(t)
	d.says(t, "they need it in their --peers")
	for _, p := range []*peer{a, b} {
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
		p.up(t)
		p.has(t, "blue")
	}
	d.has(t, "blue")
	d.make(t, "red")
	eventually(t, "it votes", func() error {
		if !strings.Contains(a.log.String()+b.log.String(), d.addr+":2380 votes") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	// The old one comes back with what it knew, and is told.
	c.up(t)
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(c.log.String(), "taken this one's place") {
			t.Errorf("it ended with %v: %s", err, c.log)
		}
	case <-time.After(patienceInTest):
		t.Error("the replaced master goes on")
	}
	a.kill(t)
	d.make(t, "yellow")
	b.has(t, "blue", "red", "yellow")
}

func TestPeersAreReadAndThisOneIsFound(t *testing.T) {
	t.Parallel()
	local := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("10.9.0.2")}
	lookup := func(host string) ([]netip.Addr, error) {
		if addr, ok := map[string]string{"m1": "10.0.0.1", "m2": "10.0.0.2", "m3": "10.0.0.3"}[host]; ok {
			return []netip.Addr{netip.MustParseAddr(addr)}, nil
		}
		return nil, fmt.Errorf("no such name")
	}
	for _, row := range []struct {
		peers, internal string
		want            store.Peers
		says            string
	}{
		{peers: "10.0.0.1,10.0.0.2,10.0.0.3", want: store.Peers{All: []string{"10.0.0.1:2380", "10.0.0.2:2380", "10.0.0.3:2380"}, Self: "10.0.0.2:2380", Listen: "10.0.0.2:2380"}},
		{peers: "m1,m2:99,m3", want: store.Peers{All: []string{"m1:2380", "m2:99", "m3:2380"}, Self: "m2:99", Listen: "10.0.0.2:99"}},
		{peers: "fd00::1,fd00::2", want: store.Peers{All: []string{"[fd00::1]:2380", "[fd00::2]:2380"}, Self: "[fd00::2]:2380", Listen: "[fd00::2]:2380"}},
		{peers: "10.0.0.2,10.9.0.2", says: "--internal-address"},
		{peers: "10.0.0.2,10.9.0.2", internal: "10.9.0.2:9999", want: store.Peers{All: []string{"10.0.0.2:2380", "10.9.0.2:2380"}, Self: "10.9.0.2:2380", Listen: "10.9.0.2:2380"}},
		{peers: "10.0.0.1,10.0.0.3", says: "none of --peers"},
		{peers: "10.0.0.2,10.0.0.2:2380", says: "twice"},
		{peers: "10.0.0.2,m9", says: "m9"},
	} {
		got, err := peersOf(options{peers: strings.Split(row.peers, ","), listen: "0.0.0.0:9999", advertise: row.internal}, local, lookup)
		switch {
		case row.says != "":
			if err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%s: %v", row.peers, err)
			}
		case err != nil || got.Self != row.want.Self || got.Listen != row.want.Listen || !slices.Equal(got.All, row.want.All):
			t.Errorf("%s: %+v, %v", row.peers, got, err)
		}
	}
}
