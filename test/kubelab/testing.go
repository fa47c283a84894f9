// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// New starts a cluster for a test and takes it down afterwards. It skips where Kubernetes' programs are not there.
func New(t testing.TB, programs *cluster.Programs, o Options) *Cluster {
	t.Helper()
	kubernetes := os.Getenv(Programs)
	if kubernetes == "" {
		t.Skipf("%s names no directory with Kubernetes' programs: make test-k8s builds them", Programs)
	}
	if err := Missing(); err != nil {
		t.Skip(err)
	}
	c := &Cluster{programs: kubernetes, options: o}
	if err := c.certify(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if o.Bare {
		c.Cluster = on(netlab.New(t, o.lab(netlab.Options{})), kubernetes, programs.Dir(t), o).Cluster
	} else {
		c.Cluster = cluster.New(t, programs, len(o.hosts()), cluster.Options{
			Lab:         o.lab(netlab.Options{}),
			MasterFlags: []string{"--kubeconfig", c.authority.path(netmaster + ".conf")},
			AgentFlags:  append([]string{"--kubeconfig", c.authority.path(netplugin + ".conf")}, o.Agent...),
		})
	}
	c.contiv = programs.Dir(t)
	c.serveImages(t)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := c.start(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// serveImages answers containerds on the first host, until the test ends.
func (c *Cluster) serveImages(t testing.TB) {
	t.Helper()
	var l net.Listener
	if err := c.Nodes[0].Enter(func() (err error) {
		l, err = ListenForImages()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- ServeImages(l, c.Lab, c.options.Images) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}
