// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"net"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/kubelab"
)

// server6 is server that listens at IPv6 addresses too.
func server6(name string, labels map[string]string, more string) string {
	return strings.Replace(server(name, labels, more), "0.0.0.0:8080", "[::]:8080", 1)
}

func TestNodesOfKubernetesThatHaveIPv6AloneHavePodsAndServices(t *testing.T) {
	t.Parallel()
	c := bare(t, kubelab.Options{IPv6: true, Lists: true})
	master, worker, far := c.Nodes[0], c.Nodes[1], outsider(t, c.Cluster)
	apply(t, c, policyCRD) // or nobody watches those
	install(t, c, master)
	netctl(t, c.Cluster, "net", "create", "-s", "20.1.1.0/24", "-g", "20.1.1.1", "-s6", "fd00:20:1:1::/64", "-g6", "fd00:20:1:1::1", "default-net")
	web, only := map[string]string{"app": "web"}, map[string]string{"app": "web", "only": "yes"}
	apply(t, c, server6("web-m", web, onMaster), server6("web-w", only, ""), manifest("client-m", nil, nil, onMaster), manifest("client-w", nil, nil, ""),
		clusterService("web", "fd00:10:96::20", `{"app": "web"}`, 30080, ""),
		clusterService("local", "fd00:10:96::22", `{"only": "yes"}`, 30082, `, "externalTrafficPolicy": "Local"`),
		clusterService("nobody", "fd00:10:96::23", `{"app": "nobody"}`, 30083, ""))
	ready(t, c, "web-m", "web-w", "client-m", "client-w")
	for _, pod := range []string{"web-m", "web-w"} {
		ip := kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
		if !strings.HasPrefix(ip, "fd00:20:1:1::") {
			t.Errorf("pod %s has %s", pod, ip)
		}
		pings(t, c, "client-m", ip)
		pings(t, c, "client-w", "-6 "+pod)
	}
	pods := []asker{fromPod(t, c, "client-m"), fromPod(t, c, "client-w")}
	nodes := []asker{fromHost("the first node", master.Netns()), fromHost("the second node", worker.Netns())}
	outside := fromHost("who is outside", far.Netns())
	at := func(address, port string) string { return net.JoinHostPort(address, port) }
	answered(t, at("fd00:10:96::20", "80"), append(pods, nodes...), "web-m", "web-w")
	answered(t, "web.default.svc.cluster.local:80", pods, "web-m", "web-w")
	for _, n := range c.Nodes {
		answered(t, at(n.Addr().String(), "30080"), append([]asker{outside}, append(pods, nodes...)...), "web-m", "web-w")
	}
	answered(t, at(worker.Addr().String(), "30082"), []asker{outside}, "web-w")
	nobodyAnswers(t, at("fd00:10:96::23", "80"), append(pods, nodes...)...)
	asksForAllThatItMay(t, c, "contiv-netplugin")
	asksForAllThatItMay(t, c, "contiv-netmaster")
	healthy(t, c.Cluster)
}
