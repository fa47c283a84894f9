// SPDX-License-Identifier: Apache-2.0

// Command demo runs a cluster of two hosts on this machine and the tutorial on it, for `make demo`, `make demo-shell`
// and `make demo-down`; and the same with Kubernetes, for `make demo-k8s`.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/tutorial"
)

const (
	name = "contiv-demo"
	dir  = "/var/tmp/contiv-demo"
)

const shells = `  make demo-shell NODE=tutorial-node1   a shell on a host: docker, netctl, netplugin doctor
  make demo-shell NODE=tutorial-node2
  make demo-down                        remove every trace
`

var errInterrupted = errors.New("interrupted; make demo begins anew, make demo-down removes what is there")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "up":
		return up(ctx, true)
	case len(args) == 1 && args[0] == "hosts":
		return up(ctx, false)
	case len(args) == 1 && args[0] == "down":
		return down(name, dir)
	case len(args) == 3 && args[0] == "kubernetes":
		return kubernetes(ctx, args[1], args[2])
	case len(args) == 2 && args[0] == "kubernetes-shell":
		return kubernetesShell(args[1])
	case len(args) == 1 && args[0] == "kubernetes-down":
		return down(kubeName, kubeDir)
	case len(args) == 1 && args[0] == "registry": // started by kubernetes, on its first node
		return registry()
	case len(args) == 1 && args[0] == "nameserver": // started by up, on a host
		conn, err := net.ListenPacket("udp", ":53")
		if err != nil {
			return err
		}
		return cluster.ServeNames(conn, netip.Addr{})
	case len(args) == 2 && args[0] == "shell":
		return shell(args[1])
	}
	return fmt.Errorf("usage: demo up | hosts | shell NODE | down | kubernetes CHECKOUT IMAGE | kubernetes-shell NODE | kubernetes-down")
}

// up starts the cluster, and types the tutorial on it if asked to.
func up(ctx context.Context, typing bool) error {
	began := time.Now()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	steps, err := tutorial.Parse(tutorials.Docker)
	if err != nil {
		return err
	}
	if len(netlab.Leftovers(name, dir)) > 0 {
		fmt.Println("A demo is here already: it goes first, with its containers.")
	}
	c, err := cluster.Up(ctx, cluster.Options{
		Lab: netlab.Options{Name: name, Dir: dir, Hosts: []netlab.HostOptions{{Name: "tutorial-node1"}, {Name: "tutorial-node2"}},
			// The first host, for names that no container has.
			Resolver: netip.MustParseAddr("192.168.2.10")},
		Bin:      filepath.Dir(program),
		Progress: func(what string) { fmt.Println("Starting", what, "...") },
	})
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if _, err := c.Nodes[0].Start("nameserver", program, "nameserver"); err != nil {
		return err
	}
	fmt.Printf("The cluster is up after %.1f s.", time.Since(began).Seconds())
	if !typing {
		fmt.Printf(" Type the tutorial (docs/tutorials/docker.md) on it, a terminal for each host:\n\n%s", shells)
		return nil
	}
	fmt.Print(" The tutorial (docs/tutorials/docker.md):\n\n")
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = n
	}
	// What the tutorial takes down at its end stays, to play with.
	if err := tutorial.Run(ctx, steps[:takingDown(steps)], hosts, 10*time.Second, os.Stdout); err != nil {
		if ctx.Err() != nil {
			return errInterrupted
		}
		return fmt.Errorf("the tutorial went wrong (the cluster is left up; make demo-down removes it): %w", err)
	}
	fmt.Printf(`
Done in %.0f s. Two hosts are up, with containers of two tenants that have the same addresses.

%s
Try on tutorial-node1:  netctl endpoint ls
                        docker exec contiv-c1 ping -c 1 contiv-c2
                        netplugin doctor
`, time.Since(began).Seconds(), shells)
	return nil
}

// takingDown is the first step that removes something.
func takingDown(steps []tutorial.Step) int {
	for i, s := range steps {
		if strings.Contains(s.Command, " rm ") {
			return i
		}
	}
	return len(steps)
}

func shell(node string) error {
	lab, err := netlab.Open(dir)
	if err != nil {
		return fmt.Errorf("no demo is up: make demo starts it (%w)", err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c := cluster.On(lab, cluster.Options{Bin: filepath.Dir(program)})
	environment := map[string][]string{}
	for _, n := range c.Nodes {
		environment[n.Name()] = n.Environment()
	}
	return shellOn(c, node, environment)
}

// shellOn is a user's shell on a node, with what is set there.
func shellOn(c *cluster.Cluster, node string, environment map[string][]string) error {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name())
		if n.Name() == node && n.On() {
			args := append(environment[node], "PS1="+node+"$ ", "bash", "--norc")
			err := n.Host.Shell(context.Background(), "env", args...)
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				return nil // how the last command in it ended is nobody's concern
			}
			return err
		}
	}
	return fmt.Errorf("there is no host %s, or it is down; the hosts are %s", node, strings.Join(names, ", "))
}

func down(name, dir string) error {
	if err := netlab.Remove(context.Background(), name, dir); err != nil {
		return err
	}
	if left := netlab.Leftovers(name, dir); len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, "; "))
	}
	fmt.Println("The demo is gone: no process, namespace, mount, cgroup or file of it is left.")
	return nil
}
