// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// probed is a pod of a tenant that is ready while its own page is there: another's does not do.
func probed(name, tenant, more string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q, "labels": {"io.contiv.tenant": %q, "io.contiv.network": "contiv-net"}}, "spec": {"terminationGracePeriodSeconds": 0,
		"containers": [{"name": "alpine", "image": "contiv/alpine", "command": ["sh", "-c", "mkdir -p /tmp/www && echo yes > /tmp/www/%s && exec httpd -f -p 8080 -h /tmp/www"],
		"ports": [{"name": "web", "containerPort": 8080}],
		"livenessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 3},
		"readinessProbe": {"httpGet": {"port": 8080, "path": "/%s"}, "periodSeconds": 1, "failureThreshold": 1}}]%s}}`, name, tenant, name, name, more)
}

// addressOf is a pod's.
func addressOf(t *testing.T, c *kubelab.Cluster, pod string) string {
	t.Helper()
	return kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
}

// isReady checks whether a pod is.
func isReady(t *testing.T, c *kubelab.Cluster, pod, want string) {
	t.Helper()
	eventually(t, func() error {
		got := kubectl(t, c, "get", "pod", pod, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
		if got != want {
			return fmt.Errorf("that pod %s is ready is %q, want %q:\n%s", pod, got, want, kubectl(t, c, "describe", "pod", pod))
		}
		return nil
	})
}

// Tenants have one subnet. Each pod is asked for a page that it alone has, so none can answer for another.
func TestProbesOfKubernetesReachThePodsOfAllTenants(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	for _, n := range c.Nodes { // to a machine that is not there: a node sends nothing to where it has no way at all
		if err := n.Run(t.Context(), "ip", "route", "replace", "default", "via", "192.168.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, tenant := range []string{"blue", "green"} {
		netctl(t, c.Cluster, "tenant", "create", tenant)
		network(t, c.Cluster, "contiv-net", "-t", tenant, "-s", "10.1.2.0/24", "-g", "10.1.2.1")
	}
	apply(t, c, networkPolicy("nobody", `{"podSelector": {}, "policyTypes": ["Ingress"]}`), probed("white", "default", ""))
	isReady(t, c, "white", "True")
	apply(t, c, probed("blue", "blue", ""), manifest("blue-plain", inNetwork("blue", "contiv-net"), nil, ""), probed("green-far", "green", onMaster))
	ready(t, c, "blue", "blue-plain", "green-far")
	apply(t, c, probed("green", "green", ""))
	for _, pod := range []string{"white", "blue", "green", "green-far"} {
		isReady(t, c, pod, "True")
	}

	// Where nobody can be taken for another, addresses are equal.
	white, blue, green := addressOf(t, c, "white"), addressOf(t, c, "blue"), addressOf(t, c, "green")
	if white == blue || white == green || blue == green {
		t.Errorf("pods of one node that are probed are %s, %s and %s", white, blue, green)
	}
	if plain, far := addressOf(t, c, "blue-plain"), addressOf(t, c, "green-far"); plain != white || far != blue {
		t.Errorf("the one that nobody probes is %s, not %s; the one on another node %s, not %s", plain, white, far, blue)
	}
	// A policy that lets nobody in lets the kubelet in, and nobody else.
	connects(t, c, blue, 8080, "-blue-plain")

	// They are true: a page that is gone is missed, and no other pod's is taken for it.
	kubectl(t, c, "exec", "blue", "--", "rm", "/tmp/www/blue")
	isReady(t, c, "blue", "False")
	kubectl(t, c, "exec", "blue", "--", "touch", "/tmp/www/blue")
	isReady(t, c, "blue", "True")

	// With host access, the default tenant's pods are reached by that.
	netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
	kubectl(t, c, "exec", "white", "--", "mv", "/tmp/www/white", "/tmp/white")
	isReady(t, c, "white", "False")
	kubectl(t, c, "exec", "white", "--", "mv", "/tmp/white", "/tmp/www/white")
	for _, pod := range []string{"white", "blue", "green", "green-far"} {
		isReady(t, c, pod, "True")
		if n := kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); strings.TrimSpace(n) != "0" {
			t.Errorf("pod %s was started again %s times", pod, n)
		}
	}
	healthy(t, c.Cluster)
}
