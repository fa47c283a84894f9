// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/kubelab"
	"github.com/contivnet/contiv/test/tutorial"
)

// deployed is a cluster as our manifests make it.
var deployed = kubelab.Options{Conflist: "../deploy/k8s/10-contiv.conflist", Manifests: []string{"../deploy/k8s/netmaster-rbac.yaml", "../deploy/k8s/netplugin-rbac.yaml"}}

func TestTutorialOfKubernetesRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	steps, err := tutorial.Parse(tutorials.Kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	c := kubelab.New(t, &programs, deployed)
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = c.Terminal(n)
	}
	if err := tutorial.Run(t.Context(), steps, hosts, patience, os.Stdout); err != nil {
		t.Fatal(err)
	}
	healthy(t, c.Cluster)
}

// startKubernetes makes a cluster of Kubernetes with the networks of the tutorial, that goes with the test.
func startKubernetes(t *testing.T) *kubelab.Cluster {
	t.Helper()
	c := kubelab.New(t, &programs, deployed)
	network(t, c.Cluster, "default-net", "-s", "20.1.1.0/24", "-g", "20.1.1.1")
	network(t, c.Cluster, "contiv-net", "-s", "10.1.2.0/24", "-g", "10.1.2.1")
	return c
}

// onMaster is what a pod says that may run on the first node, and on no other.
const onMaster = `, "tolerations": [{"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}], "nodeSelector": {"node-role.kubernetes.io/master": ""}`

// manifest is a pod with labels and annotations, which may have more in its spec.
func manifest(name string, labels, annotations map[string]string, more string) string {
	meta, err := json.Marshal(map[string]any{"name": name, "labels": labels, "annotations": annotations})
	if err != nil {
		panic(err) // strings alone
	}
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": %s, "spec": {"terminationGracePeriodSeconds": 0,
		"containers": [{"name": "alpine", "image": "contiv/alpine", "command": ["sleep", "6000"]}]%s}}`, meta, more)
}

// inNetwork labels a pod for a network of a tenant.
func inNetwork(tenant, network string) map[string]string {
	return map[string]string{"io.contiv.tenant": tenant, "io.contiv.network": network}
}

func apply(t *testing.T, c *kubelab.Cluster, manifests ...string) {
	t.Helper()
	if err := c.Apply(t.Context(), strings.Join(manifests, "")); err != nil {
		t.Fatal(err)
	}
}

func ready(t *testing.T, c *kubelab.Cluster, pods ...string) {
	t.Helper()
	if err := c.Ready(t.Context(), pods...); err != nil {
		t.Fatal(err)
	}
}

func kubectl(t *testing.T, c *kubelab.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shows runs a command line in a pod, whose output has to have all the words.
func shows(t *testing.T, c *kubelab.Cluster, pod, line string, words ...string) {
	t.Helper()
	out, err := c.Exec(t.Context(), pod, line)
	for _, w := range words {
		if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
			t.Errorf("%s in pod %s: %s, %v; want %q", line, pod, out, err, w)
		}
	}
}

// pings waits until a pod gets answers from the address or name.
func pings(t *testing.T, c *kubelab.Cluster, pod, to string) {
	t.Helper()
	eventually(t, func() error {
		_, err := c.Exec(t.Context(), pod, "ping -c 1 -W 1 "+to)
		return err
	})
}

func TestPodsOfKubernetesJoinTheNetworksOfTheirLabels(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	master, worker := c.Nodes[0], c.Nodes[1]
	if nodes := kubectl(t, c, "get", "nodes", "-o", "name"); nodes != "node/kubeadm-master\nnode/kubeadm-worker0" {
		t.Fatalf("the nodes are %s", nodes)
	}

	// The tutorial's chapters 1 and 2: its addresses, MACs and MTU.
	apply(t, c, manifest("vanilla-c", nil, nil, ""))
	ready(t, c, "vanilla-c")
	apply(t, c, manifest("contiv-c1", inNetwork("default", "contiv-net"), nil, onMaster))
	ready(t, c, "contiv-c1")
	apply(t, c, manifest("contiv-c2", inNetwork("default", "contiv-net"), nil, ""))
	ready(t, c, "contiv-c2")
	for pod, want := range map[string]string{"vanilla-c": "20.1.1.2 kubeadm-worker0", "contiv-c1": "10.1.2.2 kubeadm-master", "contiv-c2": "10.1.2.3 kubeadm-worker0"} {
		if got := kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP} {.spec.nodeName}"); got != want {
			t.Errorf("pod %s is %s, want %s", pod, got, want)
		}
	}
	shows(t, c, "vanilla-c", "ifconfig eth0", "HWaddr 02:02:14:01:01:02", "inet addr:20.1.1.2", "Mask:255.255.255.0", "UP BROADCAST RUNNING MULTICAST MTU:1450")
	shows(t, c, "vanilla-c", "ip route", "default via 20.1.1.1 dev eth0", "20.1.1.0/24 dev eth0")
	shows(t, c, "contiv-c1", "ifconfig eth0", "HWaddr 02:02:0A:01:02:02", "inet addr:10.1.2.2", "MTU:1450")
	shows(t, c, "contiv-c2", "ifconfig eth0", "HWaddr 02:02:0A:01:02:03", "inet addr:10.1.2.3", "MTU:1450")
	if out, err := worker.Shell(t.Context(), "ip -o link"); err != nil || !strings.Contains(out, " vvport1@") || !strings.Contains(out, " vvport2@") {
		t.Errorf("the worker has %s, %v", out, err)
	}
	pings(t, c, "contiv-c1", "10.1.2.3")
	pings(t, c, "contiv-c2", "10.1.2.2")
	pings(t, c, "contiv-c1", "contiv-c2")
	pings(t, c, "vanilla-c", "10.1.2.2")

	// Chapter 3: another tenant has the same addresses, and never a path.
	netctl(t, c.Cluster, "tenant", "create", "blue")
	network(t, c.Cluster, "contiv-net", "-t", "blue", "-s", "10.1.2.0/24", "-g", "10.1.2.1")
	apply(t, c, manifest("contiv-blue-c1", inNetwork("blue", "contiv-net"), nil, ""))
	ready(t, c, "contiv-blue-c1")
	apply(t, c, manifest("contiv-blue-c2", inNetwork("blue", "contiv-net"), nil, onMaster))
	ready(t, c, "contiv-blue-c2")
	shows(t, c, "contiv-blue-c1", "ifconfig eth0", "inet addr:10.1.2.2")
	shows(t, c, "contiv-blue-c2", "ifconfig eth0", "inet addr:10.1.2.3")
	pings(t, c, "contiv-blue-c1", "10.1.2.3")
	if out, err := c.Exec(t.Context(), "contiv-blue-c1", "ping -c 1 -W 1 20.1.1.2"); err == nil {
		t.Errorf("tenant blue reaches tenant default: %s", out)
	}

	// Docker's containers are in the same networks.
	run(t, master, "c3", "contiv-net")
	pings(t, c, "contiv-c2", address(t, master, "c3", "contiv-net"))
	pings(t, c, "contiv-c2", "c3")
	reaches(t, master, "c3", "contiv-c2")

	// Nodes that are in the network for them reach pods, so probes pass.
	netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
	apply(t, c, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probed", "labels": {"io.contiv.network": "contiv-net"}}, "spec": {"terminationGracePeriodSeconds": 0,
		"containers": [{"name": "alpine", "image": "contiv/alpine", "command": ["httpd", "-f", "-p", "8080", "-h", "/etc"],
			"startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 60},
			"readinessProbe": {"httpGet": {"path": "/os-release", "port": 8080}, "periodSeconds": 1}}]}}`)
	ready(t, c, "probed")
	probed := kubectl(t, c, "get", "pod", "probed", "-o", "jsonpath={.status.podIP}")
	for _, n := range c.Nodes {
		eventually(t, func() error { return n.Run(t.Context(), "ping", "-c", "1", "-W", "1", probed) })
	}

	// Labels that a pod gets later make it a provider of services, and those that it loses no more.
	netctl(t, c.Cluster, "service", "create", "shop", "-s", "contiv-net", "-l", "app=web", "-p", "80:8080:TCP", "--preferred-ip", "10.1.2.100")
	shows(t, c, "contiv-c2", "mkdir /tmp/www && echo hello > /tmp/www/index.html && httpd -p 8080 -h /tmp/www && echo started", "started")
	bought := func(want bool) {
		t.Helper()
		eventually(t, func() error {
			out, err := c.Exec(t.Context(), "contiv-c1", "timeout 2 wget -qO- http://10.1.2.100/")
			if got := err == nil && out == "hello"; got != want {
				return fmt.Errorf("the service answers %q, %v", out, err)
			}
			return nil
		})
	}
	kubectl(t, c, "label", "pod", "contiv-c2", "app=web")
	bought(true)
	kubectl(t, c, "label", "pod", "contiv-c2", "app-")
	bought(false)
	netctl(t, c.Cluster, "service", "rm", "shop")

	// An agent that is killed knows its pods again.
	if err := worker.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pings(t, c, "contiv-c1", "10.1.2.3")
	healthy(t, c.Cluster)

	// Pods that go leave nothing.
	docker(t, master, "rm", "-f", "c3")
	kubectl(t, c, "delete", "pod", "--all", "--wait", "--timeout=2m")
	allocated(t, c.Cluster, "10.1.2.1", "contiv-net")
	allocated(t, c.Cluster, "20.1.1.1", "default-net")
	allocated(t, c.Cluster, "10.1.2.1", "-t", "blue", "contiv-net")
	healthy(t, c.Cluster)
}

func TestPodsOfKubernetesAreToldWhatTheirLabelsLack(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	group(t, c.Cluster, "default:db", "contiv-net", "")

	// Annotations say the same as labels, and a namespace says it for its pods.
	apply(t, c, manifest("by-annotation", nil, map[string]string{"io.contiv.net-group": "db"}, ""))
	kubectl(t, c, "create", "namespace", "shop")
	kubectl(t, c, "label", "namespace", "shop", "io.contiv.network=contiv-net")
	eventually(t, func() error { // once the namespace has its service account
		_, err := c.Kubectl(t.Context(), "-n", "shop", "run", "by-namespace", "--image=contiv/alpine", "--command", "--", "sleep", "6000")
		return err
	})
	ready(t, c, "by-annotation")
	kubectl(t, c, "-n", "shop", "wait", "--for=condition=Ready", "--timeout=2m", "pod/by-namespace")
	if ip := kubectl(t, c, "-n", "shop", "get", "pod", "by-namespace", "-o", "jsonpath={.status.podIP}"); !strings.HasPrefix(ip, "10.1.2.") {
		t.Errorf("a pod of the namespace has %s", ip)
	}
	if out := netctl(t, c.Cluster, "group", "inspect", "db"); !strings.Contains(out, `"by-annotation"`) {
		t.Errorf("group db has %s", out)
	}

	// What does not exist is waited for, and the pod says so.
	apply(t, c, manifest("early", inNetwork("default", "later"), nil, ""))
	eventually(t, func() error {
		out, err := c.Kubectl(t.Context(), "get", "events", "--field-selector", "involvedObject.name=early,reason=FailedCreatePodSandBox", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, "network later of tenant default does not exist: create it with netctl net create -t default -s SUBNET later") {
			err = fmt.Errorf("the pod's events say %q", out)
		}
		return err
	})
	network(t, c.Cluster, "later", "-s", "10.1.7.0/24")
	ready(t, c, "early")
	shows(t, c, "early", "ifconfig eth0", "inet addr:10.1.7.1")

	// The agent does not need the API server to run, and reads it when it is back.
	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes[1].RestartAgent(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	healthy(t, c.Cluster)
	// Nor does a pod: one whose labels nobody can tell starts where those without labels do.
	must(t, c.StartStatic(c.Nodes[1], "static", manifest("static", nil, nil, "")))
	eventually(t, func() error {
		out, err := c.Netctl(t.Context(), "endpoint", "ls")
		for line := range strings.Lines(out) {
			if strings.Contains(line, "static-"+c.Nodes[1].Name()) && strings.Contains(line, "default-net") && strings.Contains(line, "20.1.1.") {
				return nil
			}
		}
		return fmt.Errorf("the endpoints are %s, %w", out, err)
	})
	if err := c.StartAPIServer(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	apply(t, c, manifest("after", inNetwork("default", "contiv-net"), nil, ""))
	ready(t, c, "after")
	healthy(t, c.Cluster)
}
