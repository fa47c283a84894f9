// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// Programs names, in the environment, the directory that test/kubernetes has filled.
const Programs = "CONTIV_TEST_KUBERNETES"

// Options say what a cluster is made of.
type Options struct {
	Conflist  string           // path of the CNI configuration
	Manifests []string         // paths of what is applied before the nodes start
	Agent     []string         // more flags for netplugin
	Images    map[string]Image // by the last part of their names, over the test image. Any other name is the test image
	DualStack bool             // nodes and services have IPv6 addresses too
	Untainted bool             // the first node takes any pod
}

// Cluster is a cluster of Kubernetes: kubeadm-master and kubeadm-worker0, as in the tutorial.
type Cluster struct {
	*cluster.Cluster
	programs  string // Kubernetes'
	contiv    string // ours
	authority *authority
	options   Options
}

const registryPort = "5000"

// New starts a cluster for a test and takes it down afterwards. It skips where Kubernetes' programs are not there.
func New(t testing.TB, programs *cluster.Programs, o Options) *Cluster {
	t.Helper()
	c := &Cluster{programs: os.Getenv(Programs), options: o}
	if c.programs == "" {
		t.Skipf("%s names no directory with Kubernetes' programs: make test-k8s builds them", Programs)
	}
	for program, pkg := range map[string]string{"containerd": "containerd", "runc": "runc"} {
		if err := netlab.Has(program, pkg); err != nil {
			t.Skip(err)
		}
	}
	subnet := netip.MustParsePrefix("192.168.2.0/24")
	hosts := []netlab.HostOptions{
		{Name: "kubeadm-master", Addr: netip.MustParsePrefix("192.168.2.54/24")}, {Name: "kubeadm-worker0", Addr: netip.MustParsePrefix("192.168.2.55/24")},
	}
	master := hosts[0].Addr.Addr()
	var err error
	if c.authority, err = newAuthority(t.TempDir(), "https://"+net.JoinHostPort(master.String(), apiPort)); err != nil {
		t.Fatal(err)
	}
	if err := c.issueAll(master.AsSlice(), []string{hosts[0].Name, hosts[1].Name}); err != nil {
		t.Fatal(err)
	}
	c.Cluster = cluster.New(t, programs, len(hosts), cluster.Options{
		Lab:         netlab.Options{Hosts: hosts, Subnet: subnet, Disk: []string{"/opt", "/var/log", "/var/lib/kubelet", "/var/lib/etcd"}},
		MasterFlags: []string{"--kubeconfig", c.authority.path(netmaster + ".conf")},
		AgentFlags:  append([]string{"--kubeconfig", c.authority.path(netplugin + ".conf")}, o.Agent...),
	})
	c.contiv = programs.Dir(t)
	if err := c.serveImages(t, o.Images); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := c.start(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// start starts Kubernetes on the hosts and waits until its nodes are ready.
func (c *Cluster) start(ctx context.Context) error {
	conflist, err := os.ReadFile(c.options.Conflist)
	if err != nil {
		return err
	}
	if err := c.startControl(ctx); err != nil {
		return err
	}
	for _, path := range c.options.Manifests {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, string(text)); err != nil {
			return err
		}
	}
	failed := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() {
			if failed[i] = c.equip(ctx, n, conflist); failed[i] == nil {
				failed[i] = c.startNode(ctx, n)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	err = cluster.Eventually(ctx, 2*time.Minute, func() error {
		// What a pod needs before it can be created, and where it may go.
		if _, err := c.Kubectl(ctx, "get", "serviceaccount", "default"); err != nil {
			return err
		}
		_, err := c.Kubectl(ctx, "label", "--overwrite", "node", c.Nodes[0].Name(), MasterLabel+"=")
		return err
	})
	if err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "wait", "--for=condition=Ready", "node", "--all", "--timeout=2m")
	return err
}

// serveImages answers containerds on the first host, until the test ends.
func (c *Cluster) serveImages(t testing.TB, more map[string]Image) error {
	root, err := c.Lab.Image()
	if err != nil {
		return err
	}
	layer := [][]byte{root}
	images := map[string]Image{"": {Layers: layer, Command: []string{"sh"}}, "pause": {Layers: layer, Command: []string{"sleep", "1000000000"}}}
	for name, i := range more {
		i.Layers = append(slices.Clone(layer), i.Layers...)
		images[name] = i
	}
	r, err := newRegistry(images)
	if err != nil {
		return err
	}
	h := c.Nodes[0]
	var l net.Listener
	if err := h.Enter(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(h.Addr().String(), registryPort))
		return err
	}); err != nil {
		return err
	}
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return nil
}

func (c *Cluster) program(name string) string { return filepath.Join(c.programs, name) }

func (c *Cluster) own(name string) string { return filepath.Join(c.contiv, name) }

// Kubeconfig is the path of the administrator's, on the hosts as outside of them.
func (c *Cluster) Kubeconfig() string { return c.authority.path(admin + ".conf") }

// Kubectl runs kubectl on the first host as the cluster's administrator and gives what it printed. An error holds what it said.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.Nodes[0].Output(ctx, c.program("kubectl"), append([]string{"--kubeconfig", c.Kubeconfig()}, args...)...)
}

// Apply makes what the manifests say.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	cmd := c.Nodes[0].Command(ctx, c.program("kubectl"), "--kubeconfig", c.Kubeconfig(), "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifests)
	_, err := cmd.CombinedOutput()
	return err
}

// Exec runs a command line in a pod and gives what it printed.
func (c *Cluster) Exec(ctx context.Context, pod, line string) (string, error) {
	return c.Kubectl(ctx, "exec", pod, "--", "sh", "-c", line)
}

// Ready waits until the pods are.
func (c *Cluster) Ready(ctx context.Context, pods ...string) error {
	args := []string{"wait", "--for=condition=Ready", "--timeout=2m"}
	for _, p := range pods {
		args = append(args, "pod/"+p)
	}
	if _, err := c.Kubectl(ctx, args...); err != nil {
		said, _ := c.Kubectl(ctx, "get", "events") // the reason; the error is enough where they cannot be had
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// Terminal is a user's shell on a node, in which kubectl is the administrator's.
type Terminal struct {
	node    *cluster.Node
	cluster *Cluster
}

// Terminal opens one.
func (c *Cluster) Terminal(n *cluster.Node) Terminal { return Terminal{n, c} }

// Shell runs a command line as a user would and gives all that it printed. An exit code is no error.
func (t Terminal) Shell(ctx context.Context, line string) (string, error) {
	set := fmt.Sprintf("export KUBECONFIG=%s PATH=%s:$PATH\n", t.cluster.authority.path(admin+".conf"), t.cluster.programs)
	return t.node.Shell(ctx, set+line)
}
