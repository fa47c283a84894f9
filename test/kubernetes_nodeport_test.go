// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// carry does with a node port what a kube-proxy does on a node: it sends who comes there to a pod, under the address by which the node reaches it. Connections of
// the node's own that it leaves alone go where the node sends them.
func carry(t *testing.T, c *kubelab.Cluster, nodePort int, to string) {
	t.Helper()
	rules := fmt.Sprintf(`table ip proxy {
	chain prerouting { type nat hook prerouting priority -100; fib daddr type local tcp dport %[1]d meta mark set mark or 0x4000 dnat to %[2]s; }
	chain output { type nat hook output priority -100; fib daddr type local tcp dport %[1]d meta mark set mark or 0x4000 dnat to %[2]s; }
	chain postrouting { type nat hook postrouting priority 100; meta mark and 0x4000 == 0x4000 meta mark set mark xor 0x4000 masquerade; }
}`, nodePort, to)
	for _, line := range [][]string{
		{"nft", rules}, {"sysctl", "-w", "net.ipv4.ip_forward=1"}, {"iptables", "-I", "FORWARD", "-m", "mark", "--mark", "0x4000/0x4000", "-j", "ACCEPT"},
		{"iptables", "-I", "FORWARD", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"},
	} {
		if err := c.Nodes[1].Run(t.Context(), line[0], line[1:]...); err != nil {
			t.Fatal(err)
		}
	}
}

// What comes to a pod by its node's port has the node's address at contivh1 when it gets there, as the kubelet's probes have.
func TestPoliciesOfKubernetesHoldForWhoComesByANodePort(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]struct {
		agent []string
		pods  string // their network
	}{
		"a kube-proxy is kept":            {[]string{"--kube-proxy", "keep"}, "contiv-net"},
		"pods in a network without a way": {nil, "flat"},
	} {
		t.Run(name, func(t *testing.T) {
			options := deployed
			options.Agent = o.agent
			c := kubelab.New(t, &programs, options)
			network(t, c.Cluster, "default-net", "-s", "20.1.1.0/24", "-g", "20.1.1.1")
			network(t, c.Cluster, "contiv-net", "-s", "10.1.2.0/24", "-g", "10.1.2.1")
			network(t, c.Cluster, "flat", "-s", "10.1.4.0/24")
			netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
			worker, far := c.Nodes[1], outsider(t, c.Cluster)
			for _, n := range c.Nodes {
				if err := n.Run(t.Context(), "ip", "route", "replace", "default", "via", far.Addr().String()); err != nil {
					t.Fatal(err)
				}
			}
			probed := strings.Replace(server("web", map[string]string{"io.contiv.network": o.pods, "app": "web"}, ""), `"ports":`,
				`"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}, "ports":`, 1)
			apply(t, c, probed, clusterService("web", "10.96.0.20", `{"app": "web"}`, 30080, ""))
			ready(t, c, "web")
			pod := kubectl(t, c, "get", "pod", "web", "-o", "jsonpath={.status.podIP}") + ":8080"
			if o.agent != nil {
				carry(t, c, 30080, pod)
			}
			out, err := worker.Output(t.Context(), "ip", "-4", "-o", "addr", "show", "dev", "contivh1")
			if err != nil {
				t.Fatal(err)
			}
			home, _, _ := strings.Cut(strings.Fields(out)[3], "/")
			port := worker.Addr().String() + ":30080"
			as := "web " + home
			meets(t, worker.Netns(), pod, as)
			meets(t, worker.Netns(), port, as)
			meets(t, far.Netns(), port, as)
			silent := func() {
				t.Helper()
				comesTrue(t, func() error {
					if answer, err := whoAnswers(far.Netns(), port); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
						return fmt.Errorf("whoever is outside comes by a node port to a pod that a policy isolates: %q, %v", answer, err)
					}
					return nil
				})
				if answer, err := whoAnswers(far.Netns(), port); err == nil {
					t.Errorf("and then again: %q", answer)
				}
			}
			apply(t, c, networkPolicy("deny", `{"podSelector": {}, "policyTypes": ["Ingress"]}`))
			silent()
			meets(t, worker.Netns(), pod, as) // the node's own, as the kubelet's probes
			meets(t, worker.Netns(), port, as)
			if err := worker.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			silent()
			meets(t, worker.Netns(), pod, as)
			// Who comes by the node is let in under the address that it lends.
			apply(t, c, networkPolicy("nodes", `{"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "132.1.1.0/24"}}]}]}`))
			meets(t, far.Netns(), port, as)
			kubectl(t, c, "delete", "networkpolicy", "nodes")
			silent()
			if failed := kubectl(t, c, "get", "events", "--field-selector", "involvedObject.name=web,reason=Unhealthy", "-o", "jsonpath={.items[*].message}"); strings.Contains(failed, "i/o timeout") {
				t.Errorf("the kubelet's probes were stopped: %s", failed)
			}
			healthy(t, c.Cluster)
		})
	}
}
