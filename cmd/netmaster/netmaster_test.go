// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/journal"
)

const (
	patienceInTest = 20 * time.Second
	// actAsNetmaster in the environment has the test's binary be the program.
	actAsNetmaster = "CONTIV_TEST_ACT_AS_NETMASTER"
)

func TestMain(m *testing.M) {
	if os.Getenv(actAsNetmaster) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a netmaster in a process of its own.
type program struct {
	*exec.Cmd
	log *journal.Journal
}

func start(t *testing.T, args ...string) program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := program{exec.Command(exe, args...), &journal.Journal{}}
	p.Env = append(os.Environ(), actAsNetmaster+"=1")
	p.Stdout, p.Stderr = p.log, p.log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill() // it may have ended by itself
			_ = p.Wait()
		}
		if t.Failed() {
			t.Logf("netmaster %v said:\n%s", args, p.log)
		}
	})
	return p
}

// url finds in the log where the program serves.
func (p program) url(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(patienceInTest); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for line := range strings.Lines(p.log.String()) {
			if _, rest, ok := strings.Cut(line, `msg="netmaster serves"`); ok {
				_, rest, _ = strings.Cut(rest, " address=")
				addr, _, _ := strings.Cut(rest, " ")
				return "http://" + addr
			}
		}
	}
	t.Fatalf("netmaster does not serve:\n%s", p.log)
	return ""
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "contiv-nm-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// eventually calls until it succeeds.
func eventually(t *testing.T, what string, do func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(patienceInTest); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func client(t *testing.T, url string) *api.Client {
	t.Helper()
	c, err := api.NewClient(url)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What was acknowledged before a SIGKILL is there after it, nothing is there twice, and nothing else is left.
func TestKilledMasterLosesNothing(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	p := start(t, "-data-dir", dir, "-listen-url", "127.0.0.1:0")
	url := p.url(t)
	c := client(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	eventually(t, "make a network", func() error {
		_, err := c.Put(ctx, api.ObjectPath(api.Networks, "default:net"), api.Network{Subnet: "10.1.0.0/16"}, nil)
		return err
	})
	if _, err := c.Put(ctx, api.ObjectPath(api.Nodes, "n1"), api.Node{VtepIP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789}, nil); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	acknowledged := map[string]netip.Addr{} // the zero address: deleted
	addr := strings.TrimPrefix(url, "http://")
	for round := range 3 {
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				for j := 0; j < 10000; j++ {
					id := fmt.Sprintf("e-%d-%d-%d", round, i, j)
					var out api.Endpoint
					if _, err := c.Put(ctx, api.ObjectPath(api.Endpoints, id), api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1"}, &out); err != nil {
						return // killed
					}
					mu.Lock()
					acknowledged[id] = out.IPv4Address
					mu.Unlock()
					if j%3 == 0 {
						if _, err := c.Delete(ctx, api.ObjectPath(api.Endpoints, id)); err != nil {
							mu.Lock()
							delete(acknowledged, id) // either is right
							mu.Unlock()
							return
						}
						mu.Lock()
						acknowledged[id] = netip.Addr{}
						mu.Unlock()
					}
				}
			})
		}
		eventually(t, "write for a while", func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(acknowledged) < 100*(round+1) {
				return fmt.Errorf("only %d writes", len(acknowledged))
			}
			return nil
		})
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		clients.Wait()
		p = start(t, "-data-dir", dir, "-listen-url", addr)
		var list []api.Endpoint
		eventually(t, "list endpoints after the kill", func() error { return c.Get(ctx, api.ListPath(api.Endpoints), &list) })
		there, owner := map[string]api.Endpoint{}, map[netip.Addr]string{}
		for _, e := range list {
			if other, twice := owner[e.IPv4Address]; twice {
				t.Errorf("%s belongs to %s and %s", e.IPv4Address, other, e.Key)
			}
			there[e.Key], owner[e.IPv4Address] = e, e.Key
		}
		for id, want := range acknowledged {
			if got := there[id].IPv4Address; got != want {
				t.Errorf("%s has %s, acknowledged was %s", id, got, want)
			}
		}
		var in api.NetworkInspect
		if err := c.Get(ctx, api.InspectPath(api.Networks, "default:net"), &in); err != nil || in.Oper.AllocatedAddressesCount != len(list) {
			t.Errorf("%d addresses are given for %d endpoints, %v", in.Oper.AllocatedAddressesCount, len(list), err)
		}
		t.Logf("round %d: %d endpoints", round, len(list))
	}
}

// What one master acknowledges, the other decides on; when the one that has the etcd is gone, the other says so, and goes
// on when it is back.
func TestMastersShareAnEtcd(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	args := []string{"--data-dir", dir, "--external-address", "127.0.0.1:0"}
	first := start(t, args...)
	a := client(t, first.url(t))
	second := start(t, "--etcd-endpoints", "unix://"+filepath.Join(dir, "client.sock"), "--external-address", "127.0.0.1:0")
	b := client(t, second.url(t))
	put := func(c *api.Client, name string) error {
		_, err := c.Put(t.Context(), api.ObjectPath(api.Tenants, name), api.Tenant{}, nil)
		return err
	}
	eventually(t, "the first serves", func() error { return put(a, "t0") })
	eventually(t, "the second serves", func() error { return put(b, "t0") })
	for i := range 20 {
		name := fmt.Sprint("t", i)
		if err := put(a, name); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), api.ObjectPath(api.Networks, name+":net"), api.Network{Subnet: "10.1.1.0/24"}, nil); err != nil {
			t.Fatalf("the second does not see what the first acknowledged: %v", err)
		}
		if _, err := a.Delete(t.Context(), api.ObjectPath(api.Tenants, name)); !errors.Is(err, model.ErrInUse) {
			t.Fatalf("the first does not see what the second acknowledged: %v", err)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	began := time.Now()
	var refusal *api.Error
	if err := put(b, "away"); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable || !strings.Contains(err.Error(), "etcd") || time.Since(began) > 6*time.Second {
		t.Errorf("without etcd, after %v: %v", time.Since(began), err)
	}
	var list []api.Network
	if err := b.Get(t.Context(), api.ListPath(api.Networks), &list); err != nil || len(list) != 20 {
		t.Errorf("reads without etcd: %d networks, %v", len(list), err)
	}
	start(t, args...)
	eventually(t, "the second writes again", func() error { return put(b, "back") })
}

func TestMasterEndsSoonWhenTold(t *testing.T) {
	t.Parallel()
	p := start(t, "--data-dir", shortDir(t), "--external-address", "127.0.0.1:0", "--mode", "docker")
	c := client(t, p.url(t))
	watching := make(chan struct{}, 1)
	go func() {
		_ = c.Follow(t.Context(), 0, func(model.Change) error {
			select {
			case watching <- struct{}{}:
			default:
			}
			return nil
		}, nil)
	}()
	select {
	case <-watching:
	case <-time.After(patienceInTest):
		t.Fatal("the watch says nothing")
	}
	began := time.Now()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("it ended with %v after %v", err, time.Since(began))
	}
	if !strings.Contains(p.log.String(), "--mode has no effect") {
		t.Error("the log does not say that --mode has no effect")
	}
}

func TestWhatKeepsTheMasterFromStartingIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(shortDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"--external-address", taken.Addr().String()}, 2, []string{taken.Addr().String(), fmt.Sprintf("process %d", os.Getpid()), "--external-address"}},
		{[]string{"--external-address", "192.0.2.1:0"}, 2, []string{"no address of this machine"}},
		{[]string{"--external-address", "127.0.0.1:0", "--data-dir", filepath.Join(file, "d")}, 2, []string{"--data-dir"}},
		{[]string{"--external-address", "127.0.0.1:0", "--etcd-endpoints", "http://127.0.0.1:1", "--etcd-ca", file}, 2, []string{"--etcd-ca"}},
		{[]string{"--external-address", "127.0.0.1:0", "--kubeconfig", filepath.Join(file, "k")}, 2, []string{"--kubeconfig", "API server"}},
		{[]string{"--nonsense"}, 1, []string{"nonsense"}},
		{[]string{"--consul", "http://127.0.0.1:8500"}, 1, []string{"--etcd-endpoints"}},
		{[]string{"--version"}, 0, []string{"netmaster devel"}},
		{[]string{"-h"}, 0, []string{"CONTIV_NETMASTER_LOG_LEVEL", "--external-address"}},
	} {
		p := start(t, append(row.args, "--log-level=ERROR")...)
		err := p.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) != (row.code != 0) || p.ProcessState.ExitCode() != row.code {
			t.Errorf("%v: ended with %v, want code %d", row.args, err, row.code)
		}
		for _, w := range row.words {
			if !strings.Contains(p.log.String(), w) {
				t.Errorf("%v: %q does not say %q", row.args, p.log, w)
			}
		}
	}
}

func TestOptionsAreCheckedAndHaveOldSpellings(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	for args, want := range map[string]string{
		"--external-address=nonsense": "address:port", "--internal-address=10.0.0.1:0": "address:port", "--node-gc=1s": "1m",
		"--fwdmode=odd": "routing or bridge", "--etcd-cert=x": "both", "--etcd=http://a:1 --etcd-listen=http://b:1": "one of them", "--log-level=LOUD": "DEBUG",
	} {
		if _, _, err := parseOptions(strings.Fields(args), none, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	env := func(name string) string {
		return map[string]string{"CONTIV_NETMASTER_ETCD_ENDPOINTS": "http://a:1,http://b:2", "CONTIV_NETMASTER_NET_MODE": "vxlan", "CONTIV_NETMASTER_FORWARD_MODE": "routing"}[name]
	}
	var log bytes.Buffer
	o, _, err := parseOptions([]string{"-fwd-mode", "bridge", "-listen-url", ":8888", "-control-url=10.0.0.1:8888", "-cluster-mode", "docker"}, env, io.Discard, &log)
	if err != nil || o.listen != ":8888" || o.advertise != "10.0.0.1:8888" || len(o.etcd) != 2 || o.forwardMode != "bridge" {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, w := range []string{"--mode has no effect", "--netmode has no effect"} {
		if !strings.Contains(log.String(), w) {
			t.Errorf("the log does not say %q: %s", w, &log)
		}
	}
}
