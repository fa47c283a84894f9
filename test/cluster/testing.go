// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

// EnginePath names another Docker engine for the tests: a directory with dockerd and what goes with it.
const EnginePath = "CONTIV_TEST_ENGINE_PATH"

// Programs builds our programs once for all tests of a package.
type Programs struct {
	once sync.Once
	dir  string
	err  error
}

// Dir is the directory with the programs; they are built when they are not.
func (p *Programs) Dir(t testing.TB) string {
	t.Helper()
	return p.build(t)
}

func (p *Programs) build(t testing.TB) string {
	p.once.Do(func() {
		// Outlives the test that built it; the operating system clears it away.
		p.dir = filepath.Join(os.TempDir(), fmt.Sprintf("contiv-programs-%d", os.Getuid()))
		c := exec.Command("go", "build", "-o", p.dir+"/", "github.com/contivnet/contiv/cmd/...")
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("build the programs: %w: %s", err, out)
		}
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.dir
}

// New starts a cluster of so many hosts, n1, n2 …, for a test and takes it down afterwards.
func New(t testing.TB, programs *Programs, hosts int, o Options) *Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("whole systems are not started by -short")
	}
	for i := len(o.Lab.Hosts); i < hosts; i++ {
		o.Lab.Hosts = append(o.Lab.Hosts, netlab.HostOptions{Name: fmt.Sprintf("n%d", i+1)})
	}
	if dir := os.Getenv(EnginePath); dir != "" && o.Engine.Path == "" {
		o.Engine.Path, o.Engine.Binary = dir, filepath.Join(dir, "dockerd")
	}
	own := !o.Lab.Resolver.IsValid() && !o.Lab.Subnet.IsValid()
	if own {
		o.Lab.Resolver = netip.MustParseAddr("192.168.2.10") // the first host
	}
	lab := netlab.New(t, o.Lab)
	if own {
		nameserver(t, lab.Hosts()[0])
	}
	o.Bin = programs.build(t)
	c := On(lab, o)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// nameserver answers on the host for names that no container has, until the test ends; Outside is the host itself.
func nameserver(t testing.TB, h *netlab.Host) {
	t.Helper()
	var conn net.PacketConn
	err := h.Enter(func() (err error) {
		// Not at any address: the answer would come from another one than was asked, for containers of this host.
		conn, err = net.ListenPacket("udp4", net.JoinHostPort(h.Addr().String(), "53"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- ServeNames(conn, h.Addr()) }()
	t.Cleanup(func() {
		conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
