// SPDX-License-Identifier: Apache-2.0

// Package cluster starts Contiv on a lab's hosts as an operator would: a master on the first, and on each a Docker
// engine and an agent, all real processes that can be killed one by one. The demo, the tests of whole systems and
// the benchmarks use the same.
//
// What bites: a killed host has lost its engine and agent. After Host.Boot start them again with StartNode.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/contivnet/contiv/test/netlab"
)

// Options say what a cluster is made of.
type Options struct {
	Lab netlab.Options
	// Bin is the directory with our programs.
	Bin string
	// Engine is which Docker engine; the machine's by default.
	Engine netlab.EngineOptions
	// Masters is on how many hosts there is a master; with more than one they have a store of their own. 0: one, on the first host.
	Masters int
	// MasterFlags and AgentFlags are more flags.
	MasterFlags, AgentFlags []string
	// Progress hears what is being started, before it is.
	Progress func(string)
}

// Cluster is a lab with Contiv on it.
type Cluster struct {
	Lab     *netlab.Lab
	Master  *netlab.Process // the first
	Masters []*netlab.Process
	Nodes   []*Node
	options Options
}

// Node is a host with an engine and an agent.
type Node struct {
	*netlab.Host
	Engine  *netlab.Engine
	Agent   *netlab.Process
	cluster *Cluster
}

// Up makes the lab and starts everything on it, the nodes at once.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	c := &Cluster{options: o}
	var names []string
	for _, h := range o.Lab.Hosts {
		names = append(names, h.Name)
	}
	c.progress("hosts " + strings.Join(names, " and "))
	lab, err := netlab.Up(ctx, o.Lab)
	if err != nil {
		return nil, err
	}
	c.on(lab)
	if err := c.Start(ctx); err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return c, nil
}

// On is a cluster of a lab on which nothing runs yet.
func On(lab *netlab.Lab, o Options) *Cluster {
	c := &Cluster{options: o}
	c.on(lab)
	return c
}

func (c *Cluster) on(lab *netlab.Lab) {
	c.Lab = lab
	c.Masters = make([]*netlab.Process, max(1, c.options.Masters))
	for _, h := range lab.Hosts() {
		c.Nodes = append(c.Nodes, &Node{Host: h, cluster: c})
	}
}

// AddNode adds a host, on which nothing runs yet. It is not among Nodes.
func (c *Cluster) AddNode(ctx context.Context, o netlab.HostOptions) (*Node, error) {
	h, err := c.Lab.AddHost(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Node{Host: h, cluster: c}, nil
}

func (c *Cluster) progress(what string) {
	if c.options.Progress != nil {
		c.options.Progress(what)
	}
}

// Start starts the master and all nodes, and gives each engine the image.
func (c *Cluster) Start(ctx context.Context) error {
	for i := range c.Masters {
		c.progress("netmaster on " + c.Nodes[i].Name())
		if err := c.launchMaster(i); err != nil {
			return err
		}
	}
	if err := c.awaitMasters(ctx); err != nil {
		return err
	}
	c.progress("a Docker engine and netplugin on each host")
	failed := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() {
			failed[i] = n.StartNode(ctx)
			if failed[i] == nil {
				failed[i] = n.LoadImage(ctx)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

func (c *Cluster) program(name string) string { return filepath.Join(c.options.Bin, name) }

// MasterURL is where the masters answer, as a list.
func (c *Cluster) MasterURL() string {
	var urls []string
	for i := range c.Masters {
		urls = append(urls, c.masterURL(i))
	}
	return strings.Join(urls, ",")
}

func (c *Cluster) masterURL(i int) string {
	return "http://" + netip.AddrPortFrom(c.Nodes[i].Addr(), 9999).String()
}

// StartMaster starts the master on the first host and waits until masters answer.
func (c *Cluster) StartMaster(ctx context.Context) error {
	if err := c.launchMaster(0); err != nil {
		return err
	}
	return c.awaitMasters(ctx)
}

// RestartMaster kills the master on the i-th host, where it still runs, starts it again and waits until it serves.
func (c *Cluster) RestartMaster(ctx context.Context, i int) error {
	if err := c.Masters[i].Kill(); err != nil {
		return err
	}
	if err := c.launchMaster(i); err != nil {
		return err
	}
	own := c.masterURL(i)
	return Eventually(ctx, 30*time.Second, func() error {
		_, err := c.Nodes[0].Output(ctx, c.program("netctl"), "--netmaster", own, "tenant", "ls")
		return err
	})
}

func (c *Cluster) launchMaster(i int) error {
	flags := c.options.MasterFlags
	if len(c.Masters) > 1 {
		var peers []string
		for j := range c.Masters {
			peers = append(peers, c.Nodes[j].Addr().String())
		}
		flags = append([]string{"--peers", strings.Join(peers, ",")}, flags...)
	}
	p, err := c.Nodes[i].Start("netmaster", c.program("netmaster"), flags...)
	if err != nil {
		return err
	}
	c.Masters[i] = p
	c.Master = c.Masters[0]
	return nil
}

// awaitMasters waits until one answers.
func (c *Cluster) awaitMasters(ctx context.Context) error {
	return Eventually(ctx, 30*time.Second, func() error {
		for _, p := range c.Masters {
			if !p.Running() {
				return hopeless{fmt.Errorf("a master ended: %s", tail(p.Log()))}
			}
		}
		_, err := c.Netctl(ctx, "tenant", "ls")
		return err
	})
}

// StartNode starts the agent and the engine of the host, in this order, and waits until both answer.
func (n *Node) StartNode(ctx context.Context) error {
	if err := n.StartAgent(ctx); err != nil {
		return err
	}
	return n.StartDocker(ctx)
}

// StartAgent starts netplugin and waits until the engine can call it.
func (n *Node) StartAgent(ctx context.Context) error {
	args := append([]string{"--netmaster", n.cluster.MasterURL()}, n.cluster.options.AgentFlags...)
	p, err := n.Start("netplugin", n.cluster.program("netplugin"), args...)
	if err != nil {
		return err
	}
	n.Agent = p
	return Eventually(ctx, 30*time.Second, func() error {
		if !p.Running() {
			return hopeless{fmt.Errorf("the agent of %s ended: %s", n.Name(), tail(p.Log()))}
		}
		conn, err := net.Dial("unix", filepath.Join(n.Root(), "run/docker/plugins/netplugin.sock"))
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// StartDocker starts the engine and waits until it answers.
func (n *Node) StartDocker(ctx context.Context) (err error) {
	n.Engine, err = n.StartEngine(ctx, n.cluster.options.Engine)
	return err
}

// RestartAgent ends the agent with the signal and starts it again.
func (n *Node) RestartAgent(ctx context.Context, s syscall.Signal) error {
	if err := n.Agent.Stop(ctx, s); err != nil {
		return err
	}
	return n.StartAgent(ctx)
}

// Shell runs a command line in the host as a user would and gives all that it printed. An exit code is no error.
func (n *Node) Shell(ctx context.Context, line string) (string, error) {
	c := n.Command(ctx, "sh", "-c", line)
	c.Env = append(c.Env, n.cluster.environment(c.Env)...)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		err = nil
	}
	return string(out), err
}

// environment is what a user of a host has set: where our programs and the master are.
func (c *Cluster) environment(env []string) []string {
	path := c.options.Bin
	for _, v := range env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = c.options.Bin + ":" + p
		}
	}
	return []string{"PATH=" + path, "NETMASTER=" + c.MasterURL(), "HOME=/root"}
}

// Environment is what a user's shell on the host should have set, as NAME=value.
func (n *Node) Environment() []string {
	return n.cluster.environment(n.Command(context.Background(), "true").Env)
}

// Netctl runs netctl on the first host and gives what it printed. An error holds what it said.
func (c *Cluster) Netctl(ctx context.Context, args ...string) (string, error) {
	return c.Nodes[0].Output(ctx, c.program("netctl"), append([]string{"--netmaster", c.MasterURL()}, args...)...)
}

// Doctor runs netplugin doctor on the node. The error says where intent, kernel and engine differ.
func (n *Node) Doctor(ctx context.Context, flags ...string) error {
	out, err := n.Command(ctx, n.cluster.program("netplugin"), append([]string{"doctor"}, flags...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Sandbox is the path, outside the host, of a container's network namespace.
func (n *Node) Sandbox(ctx context.Context, container string) (string, error) {
	key, err := n.Docker(ctx, "inspect", "--format", "{{.NetworkSettings.SandboxKey}}", container)
	if err != nil {
		return "", err
	}
	// /var/run is a link to /run, and an absolute link would lead out of the host.
	path := filepath.Join(n.Root(), strings.Replace(key, "/var/run/", "/run/", 1))
	if _, err := os.Stat(path); key == "" || err != nil {
		return "", fmt.Errorf("namespace %q of container %s: %w", key, container, errors.Join(err, fs.ErrNotExist))
	}
	return path, nil
}

// Eventually tries until it succeeds, and gives the last error when the time is up.
func Eventually(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil || errors.As(err, new(hopeless)) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %w", limit, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hopeless is an error that waiting does not mend.
type hopeless struct{ error }

func tail(log string) string { return log[max(0, len(log)-1500):] }
