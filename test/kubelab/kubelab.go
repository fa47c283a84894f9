// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// Programs names, in the environment, the directory that test/kubernetes has filled.
const Programs = "CONTIV_TEST_KUBERNETES"

// Options say what a cluster is made of.
type Options struct {
	Bare      bool             // nothing of Contiv is on the hosts, so that it can be installed; nodes are not ready before. Conflist and Agent mean nothing then
	Archives  []string         // paths of images that every containerd has from the start
	Progress  func(string)     // hears what is being started, before it is
	Conflist  string           // path of the CNI configuration
	Manifests []string         // paths of what is applied before the nodes start
	Agent     []string         // more flags for netplugin
	Images    map[string]Image // by the last part of their names, over the test image. Any other name is the test image
	DualStack bool             // nodes and services have IPv6 addresses too
	Untainted bool             // the first node takes any pod
	Workers   int              // how many nodes there are besides the first; 0: one
	IPv6      bool             // nodes and services have IPv6 addresses alone
	Lists     bool             // the API server knows no watch that begins with a list, as many before 1.34
	KubeProxy bool             // a kube-proxy runs on each node: on the first by iptables, on others by nftables
}

// Cluster is a cluster of Kubernetes: kubeadm-master, kubeadm-worker0 and so on, as in the tutorial.
type Cluster struct {
	*cluster.Cluster
	programs  string // Kubernetes'
	contiv    string // ours
	authority *authority
	options   Options
}

const registryPort = "5000"

// master is the first host, called and numbered as in the tutorial.
func (o Options) master() netlab.HostOptions {
	addr := "192.168.2.54/24"
	if o.IPv6 {
		addr = "fd00:192:168:2::54/64"
	}
	return netlab.HostOptions{Name: "kubeadm-master", Addr: netip.MustParsePrefix(addr)}
}

// hosts are all, the workers behind the first.
func (o Options) hosts() []netlab.HostOptions {
	all := []netlab.HostOptions{o.master()}
	for i := range max(1, o.Workers) {
		all = append(all, netlab.HostOptions{Name: fmt.Sprintf("kubeadm-worker%d", i), Addr: netip.PrefixFrom(all[i].Addr.Addr().Next(), all[i].Addr.Bits())})
	}
	return all
}

// lab says what the hosts of a cluster have.
func (o Options) lab(l netlab.Options) netlab.Options {
	l.Hosts, l.Subnet, l.Disk = o.hosts(), o.master().Addr.Masked(), []string{"/opt", "/var/log", "/var/lib/kubelet", "/var/lib/etcd"}
	return l
}

// Missing names the package to install when this machine lacks a program that nodes need; nil when it lacks none.
func Missing() error {
	return errors.Join(netlab.Missing(), netlab.Has("containerd", "containerd"), netlab.Has("runc", "runc"))
}

func names(hosts []netlab.HostOptions) (out []string) {
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}

// certify makes the cluster's certificates in a directory.
func (c *Cluster) certify(dir string) (err error) {
	addr := c.options.master().Addr.Addr()
	if c.authority, err = newAuthority(dir, "https://"+net.JoinHostPort(addr.String(), apiPort)); err != nil {
		return err
	}
	return c.issueAll(addr.AsSlice(), names(c.options.hosts()))
}

// Up starts a cluster on which nothing of Contiv is, in the directory. A lab of that name which was there before is removed first. registry, a command that
// calls ServeImages, is started on the first host.
func Up(ctx context.Context, name, dir, kubernetes, contiv string, registry []string, o Options) (*Cluster, error) {
	if err := Missing(); err != nil {
		return nil, err
	}
	if o.Progress != nil {
		o.Progress("hosts " + strings.Join(names(o.hosts()), " and "))
	}
	lab, err := netlab.Up(ctx, o.lab(netlab.Options{Name: name, Dir: dir}))
	if err != nil {
		return nil, err
	}
	o.Bare = true
	c := on(lab, kubernetes, contiv, o)
	pki := filepath.Join(dir, "pki")
	if err = os.Mkdir(pki, 0o700); err == nil {
		err = c.certify(pki)
	}
	if err == nil {
		_, err = c.Nodes[0].Start("registry", registry[0], registry[1:]...)
	}
	if err == nil {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return c, nil
}

// Open finds a cluster that Up has started.
func Open(dir, kubernetes, contiv string) (*Cluster, error) {
	lab, err := netlab.Open(dir)
	if err != nil {
		return nil, err
	}
	c := on(lab, kubernetes, contiv, Options{Bare: true})
	c.authority = &authority{dir: filepath.Join(dir, "pki")}
	return c, nil
}

func on(lab *netlab.Lab, kubernetes, contiv string, o Options) *Cluster {
	return &Cluster{Cluster: cluster.On(lab, cluster.Options{Bin: contiv}), programs: kubernetes, contiv: contiv, options: o}
}

// start starts Kubernetes on the hosts and waits until its nodes are ready.
func (c *Cluster) start(ctx context.Context) error {
	c.progress("Kubernetes' API server, controllers and scheduler on " + c.Nodes[0].Name())
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
	c.progress("containerd and a kubelet on each host")
	failed := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() {
			if failed[i] = c.equip(ctx, n); failed[i] == nil {
				failed[i] = c.startNode(ctx, n)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	err := cluster.Eventually(ctx, 2*time.Minute, func() error {
		// What a pod needs before it can be created, and where it may go.
		if _, err := c.Kubectl(ctx, "get", "serviceaccount", "default"); err != nil {
			return err
		}
		_, err := c.Kubectl(ctx, "label", "--overwrite", "node", c.Nodes[0].Name(), MasterLabel+"=")
		return err
	})
	if err != nil || c.options.Bare {
		return err
	}
	return c.AwaitNodes(ctx)
}

// AwaitNodes waits until all nodes are ready, which they are when they have a network.
func (c *Cluster) AwaitNodes(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "node", "--all", "--timeout=2m")
	return err
}

func (c *Cluster) progress(what string) {
	if c.options.Progress != nil {
		c.options.Progress(what)
	}
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
	return t.node.Shell(ctx, "export "+strings.Join(t.set(), " ")+":$PATH\n"+line)
}

// set is what the shell has set besides what any of a host has, as NAME=value; the last is the beginning of its PATH.
func (t Terminal) set() []string {
	return []string{"KUBECONFIG=" + t.cluster.Kubeconfig(), "PATH=" + t.cluster.programs}
}

// Environment is what a user's shell on the node should have set, as NAME=value.
func (t Terminal) Environment() []string {
	env := slices.DeleteFunc(t.node.Environment(), func(v string) bool { return strings.HasPrefix(v, "PATH=") })
	env = append(env, t.set()...)
	for _, v := range t.node.Environment() {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			env[len(env)-1] += ":" + path
		}
	}
	return env
}
