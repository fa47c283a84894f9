// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
	"github.com/contivnet/contiv/test/traffic"
	"github.com/contivnet/contiv/test/tutorial"
)

// names are those of the image, which all are the same.
var imageNames = []string{"contiv/contiv:latest", "contiv/contiv:next"}

// bare makes a cluster of Kubernetes on which nothing of Contiv is but its image.
func bare(t *testing.T, o kubelab.Options) *kubelab.Cluster {
	t.Helper()
	archive := filepath.Join(t.TempDir(), "image.tar")
	args := []string{"run", "../deploy/image", "-o", archive, "-names", strings.Join(imageNames, ",")}
	for _, p := range []string{"netmaster", "netplugin", "netctl", "contivk8s"} {
		args = append(args, filepath.Join(programs.Dir(t), p))
	}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("make the image: %v: %s", err, out)
	}
	o.Bare, o.Archives = true, []string{archive}
	return kubelab.New(t, &programs, o)
}

// script runs one of deploy/k8s on the first host as its administrator would.
func script(t *testing.T, c *kubelab.Cluster, line string) string {
	t.Helper()
	return scriptBy(t, c, "", line)
}

// scriptBy is script by a program that runs it, or by none. What the script keeps is beside the cluster's kubeconfig.
func scriptBy(t *testing.T, c *kubelab.Cluster, by, line string) string {
	t.Helper()
	dir, err := filepath.Abs("../deploy/k8s")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Terminal(c.Nodes[0]).Shell(t.Context(), "export XDG_STATE_HOME=$(dirname $KUBECONFIG)\nif "+by+" "+dir+"/"+line+"; then echo it went well; fi")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s", line, out)
	return out
}

// install installs Contiv on a bare cluster, with masters on those nodes.
func install(t *testing.T, c *kubelab.Cluster, masters ...*cluster.Node) {
	t.Helper()
	var addrs []string
	for _, n := range masters {
		addrs = append(addrs, n.Addr().String())
	}
	if out := script(t, c, "install.sh -n "+strings.Join(addrs, ",")); !strings.HasSuffix(out, "it went well\n") {
		t.Fatal("it cannot be installed")
	}
	if err := c.AwaitNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestContivIsInstalledAndUninstalledByTheManifestsOfKubernetes(t *testing.T) {
	t.Parallel()
	c := bare(t, kubelab.Options{})
	before := map[*cluster.Node][]string{}
	for _, n := range c.Nodes {
		eventually(t, func() error { // the kubelet has made its own chains, of both families, which end with these
			before[n] = traces(t, n)
			made := 0
			for _, line := range before[n] {
				if strings.HasSuffix(line, ":KUBE-KUBELET-CANARY -") || strings.HasSuffix(line, ":KUBE-IPTABLES-HINT -") {
					made++
				}
			}
			if made != 8 {
				return fmt.Errorf("the kubelet of %s has made %d chains", n.Name(), made)
			}
			return nil
		})
	}
	if out := script(t, c, "install.sh -n 192.168.2.99"); !strings.Contains(out, "no node has the address 192.168.2.99") || strings.Contains(out, "it went well") {
		t.Errorf("an address of nobody: %s", out)
	}
	install(t, c, c.Nodes[0])
	steps, err := tutorial.Parse(tutorials.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = c.Terminal(n)
	}
	if err := tutorial.Run(t.Context(), steps, hosts, patience, os.Stdout); err != nil {
		t.Fatal(err)
	}
	healthy(t, c.Cluster)

	if out := script(t, c, "uninstall.sh"); !strings.Contains(out, "default/contiv-c1") || strings.Contains(out, "it went well") {
		t.Errorf("with pods it says %s", out)
	}
	kubectl(t, c, "delete", "pod", "--all", "--wait", "--timeout=2m")
	for range 2 { // the second finds nothing
		if out := script(t, c, "uninstall.sh"); !strings.HasSuffix(out, "it went well\n") {
			t.Fatal("it cannot be uninstalled")
		}
	}
	if out := kubectl(t, c, "get", "all,serviceaccounts,configmaps,clusterroles,clusterrolebindings", "-A", "-o", "name"); strings.Contains(out, "contiv") {
		t.Errorf("left at the API server is %s", out)
	}
	for _, n := range c.Nodes {
		eventually(t, func() error { // the kernel takes its time for what goes with a device
			after := traces(t, n)
			only := func(in, notIn []string) string {
				return strings.Join(slices.DeleteFunc(slices.Clone(in), func(line string) bool { return slices.Contains(notIn, line) }), "\n")
			}
			if left, lost := only(after, before[n]), only(before[n], after); left != "" || lost != "" {
				return fmt.Errorf("left on %s is:\n%s\nlost is:\n%s", n.Name(), left, lost)
			}
			return nil
		})
	}
}

// podNamespace is the path, outside of the node, of a pod's network namespace.
func podNamespace(t *testing.T, c *kubelab.Cluster, n *cluster.Node, pod string) string {
	t.Helper()
	container := strings.TrimPrefix(kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"), "containerd://")
	tasks, err := n.Output(t.Context(), "ctr", "-n", "k8s.io", "tasks", "ls")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(tasks) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == container {
			return filepath.Join(n.Root(), "proc", f[1], "ns/net")
		}
	}
	t.Fatalf("pod %s, container %s, runs not on %s: %s", pod, container, n.Name(), tasks)
	return ""
}

func TestRollingUpdateAndKilledAgentOfKubernetesLoseNoPacket(t *testing.T) {
	t.Parallel()
	c := bare(t, kubelab.Options{})
	install(t, c, c.Nodes[0])
	netctl(t, c.Cluster, "net", "create", "-s", "20.1.1.0/24", "-g", "20.1.1.1", "default-net")
	apply(t, c, manifest("far", nil, nil, onMaster), manifest("server", nil, nil, ""), manifest("near", nil, nil, ""))
	ready(t, c, "far", "server", "near")
	master, worker := c.Nodes[0], c.Nodes[1]
	to, err := netip.ParseAddr(kubectl(t, c, "get", "pod", "server", "-o", "jsonpath={.status.podIP}"))
	must(t, err)
	must(t, traffic.Responder(t.Context(), podNamespace(t, c, worker, "server"), to))
	flows := map[string]*traffic.Flow{}
	for pod, n := range map[string]*cluster.Node{"far": master, "near": worker} {
		flows[pod], err = traffic.Start(podNamespace(t, c, n, pod), to)
		must(t, err)
	}

	agents := func() string {
		return kubectl(t, c, "-n", "kube-system", "get", "pod", "-l", "app=contiv-netplugin", "-o", "jsonpath={.items[*].metadata.uid}")
	}
	rollout := func(what string) {
		t.Helper()
		kubectl(t, c, "-n", "kube-system", "rollout", "status", what, "--timeout=2m")
	}
	old := agents()
	kubectl(t, c, "-n", "kube-system", "set", "image", "daemonset/contiv-netplugin", "netplugin="+imageNames[1])
	rollout("daemonset/contiv-netplugin")
	if images := kubectl(t, c, "-n", "kube-system", "get", "pod", "-l", "app=contiv-netplugin", "-o", "jsonpath={.items[*].spec.containers[0].image}"); images != imageNames[1]+" "+imageNames[1] || agents() == old {
		t.Errorf("the agents' images are %s", images)
	}
	apply(t, c, manifest("updated", nil, nil, ""))
	ready(t, c, "updated")

	for _, n := range c.Nodes {
		killContainer(t, c, n, "netplugin")
	}
	eventually(t, func() error {
		out, err := c.Kubectl(t.Context(), "-n", "kube-system", "get", "pod", "-l", "app=contiv-netplugin", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}")
		if err == nil && out != "1 1" {
			err = fmt.Errorf("the agents have started again %s times", out)
		}
		return err
	})
	old = agents()
	kubectl(t, c, "-n", "kube-system", "delete", "pod", "-l", "app=contiv-netplugin", "--grace-period=0", "--force")
	eventually(t, func() error {
		if agents() == old {
			return errors.New("the agents' pods are there still")
		}
		return nil
	})
	rollout("daemonset/contiv-netplugin")
	kubectl(t, c, "-n", "kube-system", "rollout", "restart", "deployment/contiv-netmaster")
	rollout("deployment/contiv-netmaster")
	apply(t, c, manifest("after", nil, nil, onMaster))
	ready(t, c, "after")
	pings(t, c, "after", to.String())
	for pod, f := range flows {
		if lost := f.Stop().Lost(); lost != "" {
			t.Errorf("pod %s: %s", pod, lost)
		}
	}
	healthy(t, c.Cluster)
}
