// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// servers is a container that serves at some ports, of which one has a name.
const servers = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "labels": {"io.contiv.network": "contiv-net", "app": "server"}}, "spec": {
	"terminationGracePeriodSeconds": 0, "containers": [{"name": "alpine", "image": "contiv/alpine", "ports": [{"name": "web", "containerPort": 8080}],
	"command": ["sh", "-c", "for p in 8081 8090 8095 8100 8101; do httpd -p $p -h /etc; done; exec httpd -f -p 8080 -h /etc"],
	"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}}]}}`

// policyCRD has the API server take ClusterNetworkPolicies, whatever is in them.
const policyCRD = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io",
	"annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}}, "spec": {"group": "policy.networking.k8s.io", "scope": "Cluster",
	"names": {"kind": "ClusterNetworkPolicy", "plural": "clusternetworkpolicies", "singular": "clusternetworkpolicy"},
	"versions": [{"name": "v1alpha2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}`

func networkPolicy(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": %q}, "spec": %s}`, name, spec)
}

func clusterNetworkPolicy(name, spec string) string {
	return fmt.Sprintf(`{"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": {"name": %q}, "spec": %s}`, name, spec)
}

// connects checks which pods get an answer of an address at a port: those with +, and not those with -. A pod's name may have its namespace before it.
func connects(t *testing.T, c *kubelab.Cluster, to string, port int, pods ...string) {
	t.Helper()
	for _, p := range pods {
		want, name := p[0] == '+', p[1:]
		namespace, pod, ok := strings.Cut(name, "/")
		if !ok {
			namespace, pod = "default", name
		}
		eventually(t, func() error {
			line := fmt.Sprintf("timeout 1 wget -qO- http://%s:%d/os-release >/dev/null && echo yes || echo no", to, port)
			out, err := c.Kubectl(t.Context(), "exec", "-n", namespace, pod, "--", "sh", "-c", line)
			if err != nil || strings.TrimSpace(out) != map[bool]string{true: "yes", false: "no"}[want] {
				return fmt.Errorf("%s reaches %s at port %d: %s, %v; want %t", name, to, port, out, err, want)
			}
			return nil
		})
	}
}

func TestPoliciesOfKubernetesHoldInTheirOrder(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
	apply(t, c, policyCRD, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "shop"}}}`)
	client := func(name, app, more string) string {
		return manifest(name, map[string]string{"io.contiv.network": "contiv-net", "app": app}, nil, more)
	}
	apply(t, c, servers, client("near", "client", ""), client("far", "client", onMaster), client("stranger", "other", ""))
	eventually(t, func() error {
		_, err := c.Kubectl(t.Context(), "get", "serviceaccount", "default", "-n", "shop")
		return err
	})
	buyer := strings.Replace(client("buyer", "client", onMaster), `"metadata": {`, `"metadata": {"namespace": "shop", `, 1)
	apply(t, c, buyer)
	ready(t, c, "server", "near", "far", "stranger")
	kubectl(t, c, "wait", "-n", "shop", "--for=condition=Ready", "pod/buyer", "--timeout=1m")
	ip := func(pod string) string { return kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}") }
	server := ip("server")
	connects(t, c, server, 8080, "+near", "+far", "+stranger", "+shop/buyer")

	// Under running pods. The kubelet's probes go on.
	apply(t, c, networkPolicy("deny", `{"podSelector": {}, "policyTypes": ["Ingress"]}`))
	connects(t, c, server, 8080, "-near", "-far", "-stranger", "-shop/buyer")
	trace := netctl(t, c.Cluster, "policy", "trace", "--from", "near", "--to", "server", "--port", "8080")
	if !strings.Contains(trace, "deny by rule networkpolicy default/deny ingress:") {
		t.Errorf("netctl policy trace says %s", trace)
	}
	eventually(t, func() error {
		if flows := netctl(t, c.Cluster, "flows", "--verdict", "denied"); !strings.Contains(flows, "networkpolicy default/deny ingress") {
			return fmt.Errorf("netctl flows says %s", flows)
		}
		return nil
	})

	apply(t, c, networkPolicy("clients", `{"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [
		{"from": [{"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["client"]}]}}], "ports": [{"port": 8081}]},
		{"from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}, "podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": "web"}]},
		{"ports": [{"port": 8090, "endPort": 8100}]}]}`))
	connects(t, c, server, 8081, "+near", "+far", "-stranger", "-shop/buyer")
	connects(t, c, server, 8080, "-near", "-far", "-stranger", "+shop/buyer")
	for _, port := range []int{8090, 8095, 8100} {
		connects(t, c, server, port, "+stranger", "+far")
	}
	connects(t, c, server, 8101, "-stranger", "-far")

	apply(t, c, networkPolicy("block", fmt.Sprintf(`{"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [
		{"from": [{"ipBlock": {"cidr": "10.1.2.0/24", "except": ["%s/32"]}}], "ports": [{"port": 8101}]}]}`, ip("stranger"))))
	connects(t, c, server, 8101, "+near", "+far", "-stranger", "+shop/buyer")

	apply(t, c, networkPolicy("out", `{"podSelector": {"matchLabels": {"app": "client"}}, "policyTypes": ["Egress"], "egress": [
		{"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": 8095}, {"port": "web"}]}]}`))
	connects(t, c, server, 8095, "+near", "+far", "+stranger")
	connects(t, c, server, 8101, "-near", "-far", "+shop/buyer")

	// Tiers: Admin before NetworkPolicies, unless it passes; Baseline where there are none.
	apply(t, c, clusterNetworkPolicy("deny-shop", `{"tier": "Admin", "priority": 20, "subject": {"namespaces": {}}, "ingress": [
		{"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "shop"}}}]}]}`))
	connects(t, c, server, 8101, "-shop/buyer")
	connects(t, c, server, 8095, "+near")
	// What can be meant in no way opens nothing: the policy stays as it was, as is seen when the next one holds.
	apply(t, c, clusterNetworkPolicy("deny-shop", `{"tier": "Admin", "priority": 20, "subject": {"namespaces": {"matchExpressions": [{"key": "team", "operator": "Near"}]}}, "ingress": []}`))
	apply(t, c, clusterNetworkPolicy("pass", `{"tier": "Admin", "priority": 10, "subject": {"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "server"}}}}, "ingress": [
		{"action": "Pass", "from": [{"namespaces": {}}], "protocols": [{"tcp": {"destinationPort": {"range": {"start": 8100, "end": 8200}}}}]},
		{"action": "Accept", "from": [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "other"}}}}], "protocols": [{"tcp": {"destinationPort": {"number": 8081}}}]}]}`))
	connects(t, c, server, 8101, "+shop/buyer", "-stranger")
	connects(t, c, server, 8095, "-shop/buyer", "+near")
	apply(t, c, clusterNetworkPolicy("nobody", `{"tier": "Admin", "priority": 30, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {"matchExpressions": [{"key": "team", "operator": "In"}]}}]}]}`))
	connects(t, c, server, 8095, "-near")
	kubectl(t, c, "delete", "clusternetworkpolicy", "nobody")
	connects(t, c, server, 8095, "+near")
	connects(t, c, server, 8081, "+stranger", "-shop/buyer")
	apply(t, c, clusterNetworkPolicy("baseline", `{"tier": "Baseline", "priority": 0, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}`))
	kubectl(t, c, "delete", "networkpolicy", "--all")
	connects(t, c, server, 8095, "-near", "-far", "-stranger")
	connects(t, c, server, 8081, "+stranger")
	kubectl(t, c, "delete", "clusternetworkpolicy", "--all")
	connects(t, c, server, 8101, "+near", "+far", "+stranger", "+shop/buyer")

	if restarted := kubectl(t, c, "get", "events", "--field-selector", "involvedObject.name=server,reason=Unhealthy", "-o", "jsonpath={.items[*].message}"); strings.Contains(restarted, "i/o timeout") {
		t.Errorf("the kubelet's probes were stopped: %s", restarted)
	}
	healthy(t, c.Cluster)
}
