// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// rawEtcd goes to a master's own etcd, past the master.
func rawEtcd(t *testing.T, dir string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// fill writes endpoints with their addresses, so many at once.
func fill(t *testing.T, raw *clientv3.Client, from, to, atOnce int, name string) {
	t.Helper()
	put := func(o model.Object) clientv3.Op {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return clientv3.OpPut("/contiv/v1/"+string(o.Kind())+"/"+o.Key(), string(b))
	}
	const nodes = 500 // or the masters would remove the endpoints of those that there are not
	var ops []clientv3.Op
	for i := range nodes {
		n := model.Node{Name: fmt.Sprint("n", i), VTEP: netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}), VXLANPort: 4789}
		ops = append(ops, put(n), put(model.Known{Node: n.Name}))
	}
	if _, err := raw.Txn(t.Context()).Then(ops...).Commit(); err != nil {
		t.Fatal(err)
	}
	first := netip.MustParseAddr("10.0.0.0").As4()
	for from < to {
		ops = ops[:0]
		for ; from < to && len(ops) < 2*atOnce; from++ {
			n := from + 2
			a := netip.AddrFrom4([4]byte{first[0], byte(n >> 16), byte(n >> 8), byte(n)})
			e := model.Endpoint{
				ID: fmt.Sprintf("%064x", from), Tenant: "default", Network: "net", Node: fmt.Sprint("n", from%nodes), Port: fmt.Sprint("vvport", from), IPv4: a, MAC: model.MACOf(a),
				Runtime: "docker", Container: fmt.Sprintf("%064x", ^from), Name: name,
			}
			ops = append(ops, put(e), put(model.Address{Network: "default:net", Addr: a, Owner: e.ID}))
		}
		if _, err := raw.Txn(t.Context()).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// serves waits until the master writes, and says when it did.
func (p program) serves(t *testing.T, c *api.Client) time.Duration {
	t.Helper()
	began := time.Now()
	for n := 0; ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := c.Put(ctx, api.ObjectPath(api.Tenants, fmt.Sprint("t", rand.Uint32())), api.Tenant{}, nil)
		cancel()
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > 2*patienceInTest {
			t.Fatalf("it does not serve: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMasterOf100000EndpointsServesSoonAfterAKill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("100,000 endpoints are not made by -short")
	}
	dir := shortDir(t)
	addr := loopbacks(1)[0] + ":9999"
	args := []string{"--data-dir", dir, "--external-address", addr}
	p := start(t, args...)
	c := client(t, addr)
	p.serves(t, c)
	if _, err := c.Put(t.Context(), api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.0.0.0/8", Gateway: "10.0.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
	const many = 100_000
	raw := rawEtcd(t, dir)
	fill(t, raw, 0, many, 2000, "first")
	kill := func() {
		t.Helper()
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait() // killed
	}
	kill()
	p = start(t, args...)
	took := p.serves(t, c)
	whole(t, c, many, "first")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	cpu := p.ProcessState.UserTime() + p.ProcessState.SystemTime()
	t.Logf("restarted with %d endpoints, it wrote after %s, and used %s of CPU time until all were listed once", many, took.Round(time.Millisecond), cpu.Round(time.Millisecond))
	// The machine may be busy with other tests; that it was is not the master's fault.
	if took > 5*time.Second && cpu > 5*time.Second || took > 30*time.Second {
		t.Errorf("it served after %s, with %s of CPU time; 5 s are allowed", took, cpu)
	}

	// What etcd does in the background may be cut off anywhere.
	for round := range 4 {
		p = start(t, args...)
		p.serves(t, c)
		name := fmt.Sprint("round", round)
		fill(t, raw, 0, many/4, 2000, name)
		at, err := raw.Get(t.Context(), "/none")
		if err != nil {
			t.Fatal(err)
		}
		began := make(chan struct{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		done := make(chan struct{})
		go func() {
			defer close(done)
			close(began)
			if _, err := raw.Compact(ctx, at.Header.Revision); err != nil {
				return // killed
			}
			_, _ = raw.Defragment(ctx, "unix://"+filepath.Join(dir, "client.sock")) // or here
		}()
		<-began
		wait := time.Duration(rand.IntN(300)) * time.Millisecond
		select {
		case <-done:
		case <-time.After(wait):
		}
		kill()
		cancel()
		<-done
		p = start(t, args...)
		p.serves(t, c)
		t.Logf("killed %s into compaction and defragmentation", wait)
		whole(t, c, many, name, "first")
		kill()
	}
}

// whole compares what the master lists with what was filled in: a quarter, or all, has the first name.
func whole(t *testing.T, c *api.Client, many int, names ...string) {
	t.Helper()
	var list []api.Endpoint
	if err := c.Get(t.Context(), api.ListPath(api.Endpoints), &list); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, e := range list {
		count[e.ContainerName]++
	}
	want := map[string]int{names[0]: many}
	if len(names) > 1 {
		want = map[string]int{names[0]: many / 4, names[1]: many - many/4}
	}
	for name, n := range want {
		if count[name] != n || len(list) != many {
			t.Errorf("%d endpoints, of which %d have the name %s; want %d and %d", len(list), count[name], name, many, n)
		}
	}
}

// A master that was stopped while more was written than etcd and connections buffer, and then forgotten, has it all in the end, and so
// have its watchers.
func TestMasterThatSleptThroughACompactionListsAgain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("20,000 endpoints are not made by -short")
	}
	dir := shortDir(t)
	awake := start(t, "--data-dir", dir, "--external-address", "127.0.0.1:0")
	a := client(t, awake.url(t))
	awake.serves(t, a)
	sleeper := start(t, "--etcd-endpoints", "unix://"+filepath.Join(dir, "client.sock"), "--external-address", "127.0.0.1:0")
	b := client(t, sleeper.url(t))
	sleeper.serves(t, b)
	if _, err := a.Put(t.Context(), api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.0.0.0/8", Gateway: "10.0.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
	worlds := make(chan model.World, 1)
	go func() {
		var w model.World
		_ = b.Follow(t.Context(), 0, func(c model.Change) error {
			w = w.With(c)
			select {
			case <-worlds:
			default:
			}
			worlds <- w
			return nil
		}, nil)
	}()
	<-worlds
	if err := sleeper.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const many = 20_000
	raw := rawEtcd(t, dir)
	fill(t, raw, 0, many, 25, strings.Repeat("x", 100))
	last, err := a.Put(t.Context(), api.ObjectPath(api.Tenants, "last"), api.Tenant{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := raw.Compact(t.Context(), last, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if err := sleeper.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(2 * patienceInTest)
	for {
		select {
		case w := <-worlds:
			if w.Revision < last {
				continue
			}
			if w.Endpoints.Len() != many || w.Addresses.Len() != many+1 {
				t.Errorf("a watcher has %d endpoints and %d addresses", w.Endpoints.Len(), w.Addresses.Len())
			}
			if !strings.Contains(sleeper.log.String(), "list all of etcd again") {
				t.Error("nothing was forgotten: the test shows nothing")
			}
			return
		case <-deadline:
			t.Fatal("the watcher never comes to what was written last")
		}
	}
}

// Without flags a master's state is where packages and units expect it.
func TestStateIsUnderVarLibByDefault(t *testing.T) {
	t.Parallel()
	o, _, err := parseOptions(nil, func(string) string { return "" }, new(strings.Builder), new(strings.Builder))
	if err != nil || o.dataDir != "/var/lib/contiv" || len(o.etcd)+len(o.peers) != 0 || o.listen != ":9999" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestSecondMasterOnOneDataDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	addrs := loopbacks(2)
	start(t, "--data-dir", dir, "--external-address", addrs[0]+":9999").url(t)
	p := start(t, "--data-dir", dir, "--external-address", addrs[1]+":9999")
	if err := p.Wait(); err == nil || p.ProcessState.ExitCode() != 2 || !strings.Contains(p.log.String(), dir+" is in use by another netmaster: stop that, or give another --data-dir") {
		t.Errorf("it ended with %v: %s", err, p.log)
	}
}
