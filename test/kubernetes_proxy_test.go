// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
)

// asker asks with what it has for an address, and gives who answered.
type asker struct {
	name string
	ask  func(at string) (string, error)
}

func fromHost(name, namespace string) asker {
	return asker{name, func(at string) (string, error) {
		answer, err := whoAnswers(namespace, at)
		who, _, _ := strings.Cut(answer, " ")
		return who, err
	}}
}

func fromPod(t *testing.T, c *kubelab.Cluster, pod string) asker {
	return asker{"pod " + pod, func(at string) (string, error) {
		out, err := c.Exec(t.Context(), pod, "timeout 3 wget -qO- http://"+at+"/cgi-bin/who 2>&1")
		if err != nil && strings.Contains(out+err.Error(), "refused") {
			err = syscall.ECONNREFUSED
		}
		who, _, _ := strings.Cut(out, " ")
		return who, err
	}}
}

// answered wants that those pods, and no others, answer all who ask there.
func answered(t *testing.T, at string, askers []asker, by ...string) {
	t.Helper()
	for _, a := range askers {
		comesTrue(t, func() error {
			missing := slices.Clone(by)
			for range 40 {
				who, err := a.ask(at)
				if err != nil || !slices.Contains(by, who) {
					return fmt.Errorf("%s asks %s: %q answers, %v; want %v", a.name, at, who, err, by)
				}
				missing = slices.DeleteFunc(missing, func(b string) bool { return b == who })
				if len(missing) == 0 {
					return nil
				}
			}
			return fmt.Errorf("%s is never answered by %v at %s", a.name, missing, at)
		})
	}
}

// nobodyAnswers wants that nobody answers there, and that it is said at once.
func nobodyAnswers(t *testing.T, at string, askers ...asker) {
	t.Helper()
	for _, a := range askers {
		comesTrue(t, func() error {
			if who, err := a.ask(at); !errors.Is(err, syscall.ECONNREFUSED) {
				return fmt.Errorf("%s asks %s: %q answers, %v", a.name, at, who, err)
			}
			return nil
		})
	}
}

// installed waits until Contiv runs on all nodes.
func installed(t *testing.T, c *kubelab.Cluster) {
	t.Helper()
	for _, what := range []string{"deployment/contiv-netmaster", "daemonset/contiv-netplugin"} {
		kubectl(t, c, "-n", "kube-system", "rollout", "status", what, "--timeout=2m")
	}
	must(t, c.AwaitNodes(t.Context()))
}

// killContainer kills the container of one of Contiv's programs on a node.
func killContainer(t *testing.T, c *kubelab.Cluster, n *cluster.Node, program string) {
	t.Helper()
	container := kubectl(t, c, "-n", "kube-system", "get", "pod", "-l", "app=contiv-"+program, "--field-selector", "spec.nodeName="+n.Name(),
		"-o", "jsonpath={.items[0].status.containerStatuses[0].containerID}")
	must(t, n.Run(t.Context(), "ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", strings.TrimPrefix(container, "containerd://")))
}

// The first node's kube-proxy works by iptables, the other's by nftables. Contiv finds its master by the Service that both carry.
func TestContivOfPlainManifestsServesBesideAKubeProxyOfKubernetes(t *testing.T) {
	t.Parallel()
	c := bare(t, kubelab.Options{KubeProxy: true})
	master, worker, far := c.Nodes[0], c.Nodes[1], outsider(t, c.Cluster)
	manifests, err := filepath.Abs("../deploy/k8s/contiv.yaml")
	must(t, err)
	kubectl(t, c, "apply", "-f", manifests)
	installed(t, c)
	netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
	netctl(t, c.Cluster, "net", "create", "-s", "20.1.1.0/24", "-g", "20.1.1.1", "default-net")
	web, only := map[string]string{"app": "web"}, map[string]string{"app": "web", "only": "yes"}
	apply(t, c, server("web-m", web, onMaster), server("web-w", only, ""), manifest("client-m", nil, nil, onMaster), manifest("client-w", nil, nil, ""),
		clusterService("web", "10.96.0.20", `{"app": "web"}`, 30080, ""),
		clusterService("sticky", "10.96.0.21", `{"app": "web"}`, 30081, `, "sessionAffinity": "ClientIP"`),
		clusterService("local", "10.96.0.22", `{"only": "yes"}`, 30082, `, "externalTrafficPolicy": "Local"`),
		clusterService("nobody", "10.96.0.23", `{"app": "nobody"}`, 30083, ""))
	ready(t, c, "web-m", "web-w", "client-m", "client-w")
	atMaster, atWorker := master.Addr().String(), worker.Addr().String()
	pods := []asker{fromPod(t, c, "client-m"), fromPod(t, c, "client-w")}
	nodes := []asker{fromHost("the first node", master.Netns()), fromHost("the second node", worker.Netns())}
	outside := fromHost("who is outside", far.Netns())
	all := append(append([]asker{outside}, pods...), nodes...)

	everything := func() {
		t.Helper()
		answered(t, "10.96.0.20:80", append(pods, nodes...), "web-m", "web-w")
		answered(t, "web.default.svc.cluster.local:80", pods, "web-m", "web-w")
		for _, at := range []string{atMaster, atWorker} {
			answered(t, at+":30080", all, "web-m", "web-w")
			nobodyAnswers(t, at+":30083", outside)
		}
		answered(t, atWorker+":30082", []asker{outside}, "web-w")
		if who, err := outside.ask(atMaster + ":30082"); err == nil {
			t.Errorf("%s answers at a node without pods of a service whose traffic is local", who)
		}
		nobodyAnswers(t, "10.96.0.23:80", append(pods, nodes...)...)
		for _, a := range append(pods, nodes...) {
			first, err := a.ask("10.96.0.21:80")
			for range 10 {
				if again, err2 := a.ask("10.96.0.21:80"); err != nil || err2 != nil || again != first {
					t.Errorf("%s and %s answer %s, whom one should answer (%v, %v)", first, again, a.name, err, err2)
					break
				}
			}
		}
	}
	everything()
	for _, n := range c.Nodes {
		killContainer(t, c, n, "netplugin")
	}
	kubectl(t, c, "delete", "pod", "web-m", "--wait", "--timeout=1m")
	apply(t, c, server("web-m", web, onMaster))
	ready(t, c, "web-m")
	everything()
	healthy(t, c.Cluster)

	if out := script(t, c, "uninstall.sh -f"); !strings.HasSuffix(out, "it went well\n") {
		t.Fatal("it cannot be uninstalled")
	}
	for _, n := range c.Nodes { // kube-proxy goes on
		must(t, netdev.Do(n.Netns(), func() error {
			conn, err := net.DialTimeout("tcp", "10.96.0.1:443", 3*time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		}))
	}
}
