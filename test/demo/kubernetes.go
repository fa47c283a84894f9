// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/kubelab"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/tutorial"
)

const (
	kubeName = "contiv-demo-k8s"
	kubeDir  = "/var/tmp/contiv-demo-k8s"
)

const kubeShells = `  make demo-k8s-shell NODE=kubeadm-master    a shell on a node: kubectl, netctl, netplugin doctor
  make demo-k8s-shell NODE=kubeadm-worker0
  make demo-k8s-down                         remove every trace
`

var errKubeInterrupted = errors.New("interrupted; make demo-k8s begins anew, make demo-k8s-down removes what is there")

// kubernetes starts a cluster of Kubernetes, installs Contiv on it as an administrator would, from the checkout, and types the tutorial. image is the
// archive of our programs' image.
func kubernetes(ctx context.Context, checkout, image string) error {
	began := time.Now()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	steps, err := tutorial.Parse(tutorials.Kubernetes)
	if err != nil {
		return err
	}
	c, err := kubelab.Up(ctx, kubeName, kubeDir, os.Getenv(kubelab.Programs), filepath.Dir(program), []string{program, "registry"}, kubelab.Options{
		Archives: []string{image}, Progress: func(what string) { fmt.Println("Starting", what, "...") },
	})
	if ctx.Err() != nil {
		return errKubeInterrupted
	}
	if err != nil {
		return err
	}
	fmt.Printf("The cluster is up after %.1f s. Its nodes wait for a network:\n\n", time.Since(began).Seconds())
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = c.Terminal(n)
	}
	if err := c.Install(ctx, checkout, os.Stdout); err != nil {
		if ctx.Err() != nil {
			return errKubeInterrupted
		}
		return fmt.Errorf("the cluster is left up; make demo-k8s-down removes it: %w", err)
	}
	fmt.Print("\nThe tutorial (docs/tutorials/kubernetes.md):\n\n")
	if err := tutorial.Run(ctx, steps, hosts, 10*time.Second, os.Stdout); err != nil {
		if ctx.Err() != nil {
			return errKubeInterrupted
		}
		return fmt.Errorf("the tutorial went wrong (the cluster is left up; make demo-k8s-down removes it): %w", err)
	}
	fmt.Printf(`
Done in %.0f s. Two nodes of Kubernetes are up, with pods of two tenants that have the same addresses.

%s
Try on kubeadm-master:  kubectl get pods -A -o wide
                        kubectl exec contiv-c1 -- ping -c 1 contiv-c2
                        netctl endpoint ls
`, time.Since(began).Seconds(), kubeShells)
	return nil
}

// registry answers the nodes' containerds, on the first of them, until it is killed.
func registry() error {
	lab, err := netlab.Open(kubeDir)
	if err != nil {
		return err
	}
	l, err := kubelab.ListenForImages()
	if err != nil {
		return err
	}
	return kubelab.ServeImages(l, lab, nil)
}

func kubernetesShell(node string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := kubelab.Open(kubeDir, os.Getenv(kubelab.Programs), filepath.Dir(program))
	if err != nil {
		return fmt.Errorf("no demo is up: make demo-k8s starts it (%w)", err)
	}
	environment := map[string][]string{}
	for _, n := range c.Nodes {
		environment[n.Name()] = c.Terminal(n).Environment()
	}
	return shellOn(c.Cluster, node, environment)
}
