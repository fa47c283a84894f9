// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/kubelab"
)

// server is a pod with an HTTP server at port web, 8080, that says the pod's name and its client's address.
func server(name string, labels map[string]string, more string) string {
	pod := manifest(name, labels, nil, more)
	return strings.Replace(pod, `"command": ["sleep", "6000"]`, `"ports": [{"name": "web", "containerPort": 8080}], "command": ["sh", "-c",
		"mkdir -p /www/cgi-bin && printf '#!/bin/sh\\necho; echo `+name+` $REMOTE_ADDR\\n' > /www/cgi-bin/who && chmod +x /www/cgi-bin/who && exec httpd -f -p 0.0.0.0:8080 -h /www"]`, 1)
}

// clusterService is a service of port 80 that leads to pods' port web.
func clusterService(name, address, selector string, nodePort int, more string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": %q}, "spec": {"type": "NodePort", "clusterIP": %q, "selector": %s,
		"ports": [{"port": 80, "targetPort": "web", "nodePort": %d}]%s}}`, name, address, selector, nodePort, more)
}

// whoAnswers asks from a namespace.
func whoAnswers(namespace, at string) (answer string, err error) {
	err = netdev.Do(namespace, func() error {
		conn, err := net.DialTimeout("tcp", at, 3*time.Second)
		if err != nil {
			return err
		}
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
		resp, err := client.Get("http://" + at + "/cgi-bin/who")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		answer = strings.TrimSpace(string(b))
		return err
	})
	return answer, err
}

// comesTrue is eventually, and the test goes on all the same.
func comesTrue(t *testing.T, check func() error) {
	t.Helper()
	if err := cluster.Eventually(t.Context(), 20*time.Second, check); err != nil {
		t.Error(err)
	}
}

// meets wants that 20 connections from a namespace meet exactly those, who see the client as is said.
func meets(t *testing.T, namespace, at string, want ...string) {
	t.Helper()
	comesTrue(t, func() error {
		met := map[string]int{}
		for range 20 {
			answer, err := whoAnswers(namespace, at)
			if err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			met[answer]++
		}
		for _, w := range want {
			if met[w] == 0 || len(met) != len(want) {
				return fmt.Errorf("%s was answered by %v, want %v", at, met, want)
			}
		}
		return nil
	})
}

// refuses wants that connections are refused at once.
func refuses(t *testing.T, namespace, at string) {
	t.Helper()
	comesTrue(t, func() error {
		if answer, err := whoAnswers(namespace, at); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%s answers %q, %v", at, answer, err)
		}
		return nil
	})
}

// podMeets is meets from a pod.
func podMeets(t *testing.T, c *kubelab.Cluster, pod, at string, want ...string) {
	t.Helper()
	comesTrue(t, func() error {
		out, err := c.Exec(t.Context(), pod, "for i in $(seq 16); do timeout 3 wget -qO- http://"+at+"/cgi-bin/who; done")
		if err != nil {
			return fmt.Errorf("%s from %s: %w", at, pod, err)
		}
		met := map[string]int{}
		for line := range strings.Lines(out) {
			met[strings.TrimSpace(line)]++
		}
		for _, w := range want {
			if met[w] == 0 || len(met) != len(want) {
				return fmt.Errorf("%s from %s was answered by %v, want %v", at, pod, met, want)
			}
		}
		return nil
	})
}

func TestServicesOfKubernetesAreMetFromPodsContainersNodesAndOutside(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	master, worker, far := c.Nodes[0], c.Nodes[1], outsider(t, c.Cluster)
	netctl(t, c.Cluster, "net", "create", "-n", "infra", "-s", "132.1.1.0/24", "-g", "132.1.1.1", "contivh1")
	netctl(t, c.Cluster, "tenant", "create", "blue")
	network(t, c.Cluster, "contiv-net", "-t", "blue", "-s", "10.1.2.0/24", "-g", "10.1.2.1")
	web := func(tenant, network string, more ...string) map[string]string {
		labels := inNetwork(tenant, network)
		labels["app"] = "web"
		for _, m := range more {
			labels[m] = "yes"
		}
		return labels
	}
	apply(t, c,
		server("web-m", web("default", "contiv-net"), onMaster), server("web-w", web("default", "default-net", "only"), ""),
		server("blue-m", web("blue", "contiv-net"), onMaster), server("host-m", map[string]string{"app": "host"}, onMaster+`, "hostNetwork": true`),
		manifest("client-m", inNetwork("default", "contiv-net"), nil, onMaster), manifest("client-w", inNetwork("default", "default-net"), nil, ""),
		manifest("client-blue", inNetwork("blue", "contiv-net"), nil, onMaster),
		clusterService("web", "10.96.0.20", `{"app": "web"}`, 30080, ""),
		clusterService("sticky", "10.96.0.21", `{"app": "web"}`, 30081, `, "sessionAffinity": "ClientIP"`),
		clusterService("local", "10.96.0.22", `{"only": "yes"}`, 30082, `, "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.7"]`),
		clusterService("nobody", "10.96.0.23", `{"app": "nobody"}`, 30083, ""),
		clusterService("host", "10.96.0.24", `{"app": "host"}`, 30084, ""),
	)
	ready(t, c, "web-m", "web-w", "blue-m", "host-m", "client-m", "client-w", "client-blue")
	run(t, worker, "docked", "contiv-net")
	run(t, worker, "blue", "contiv-net/blue")
	ip := func(pod string) string { return kubectl(t, c, "get", "pod", pod, "-o", "jsonpath={.status.podIP}") }
	atMaster, atWorker, outside := master.Addr().String(), worker.Addr().String(), far.Addr().String()
	for _, n := range c.Nodes { // as all real ones have: what is sent to a virtual address has to be sent somewhere
		if err := n.Run(t.Context(), "ip", "route", "replace", "default", "via", outside); err != nil {
			t.Fatal(err)
		}
	}
	infra := map[string]string{} // the nodes' addresses in contivh1
	for _, n := range c.Nodes {
		out, err := n.Output(t.Context(), "ip", "-4", "-o", "addr", "show", "dev", "contivh1")
		if err != nil {
			t.Fatal(err)
		}
		infra[n.Name()], _, _ = strings.Cut(strings.Fields(out)[3], "/")
	}

	if rules, err := worker.Output(t.Context(), "iptables", "-S", "FORWARD"); err != nil || !strings.Contains(rules, "-P FORWARD DROP") {
		t.Errorf("the engine does not drop what it does not know, so the test says less: %s (%v)", rules, err)
	}

	everything := func() {
		t.Helper()
		// Pods, on the providers' nodes and on others, and containers of Docker: each is seen as itself, by those of its tenant.
		podMeets(t, c, "client-m", "10.96.0.20", "web-m "+ip("client-m"), "web-w "+ip("client-m"))
		podMeets(t, c, "client-w", "10.96.0.20", "web-m "+ip("client-w"), "web-w "+ip("client-w"))
		podMeets(t, c, "client-blue", "10.96.0.20", "blue-m "+ip("client-blue"))
		docked := address(t, worker, "docked", "contiv-net")
		meets(t, sandbox(t, worker, "docked"), "10.96.0.20:80", "web-m "+docked, "web-w "+docked)
		// From a node: its own pods see its address, others' that of host access.
		meets(t, worker.Netns(), "10.96.0.20:80", "web-w "+atWorker, "web-m "+infra[worker.Name()])
		meets(t, master.Netns(), "10.96.0.20:80", "web-m "+atMaster, "blue-m "+atMaster, "web-w "+infra[master.Name()])
		// From outside.
		meets(t, far.Netns(), atWorker+":30080", "web-w "+outside, "web-m "+infra[worker.Name()])
		meets(t, far.Netns(), atWorker+":30082", "web-w "+outside)
		if answer, err := whoAnswers(far.Netns(), atMaster+":30082"); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a node without pods of a service whose traffic is local answers %q, %v", answer, err)
		}
		// Of a service whose traffic is local, who asks is known, from whichever node.
		meets(t, master.Netns(), atMaster+":30082", "web-w "+atMaster)
		meets(t, master.Netns(), infra[master.Name()]+":30082", "web-w "+atMaster)
		podMeets(t, c, "client-blue", "198.51.100.7", "web-w "+atMaster)
		// Who provides it may have another tenant on the same node.
		meets(t, sandbox(t, worker, "blue"), "198.51.100.7:80", "web-w "+atWorker)
		// It is a program of another node, to which the engine drops what is forwarded.
		host := "host-m " + atMaster
		meets(t, master.Netns(), atMaster+":30084", host)
		meets(t, far.Netns(), atWorker+":30084", "host-m "+atWorker)
		meets(t, worker.Netns(), atWorker+":30084", "host-m "+atWorker)
		// Nobody provides it.
		refuses(t, worker.Netns(), "10.96.0.23:80")
		refuses(t, far.Netns(), atWorker+":30083")
		refuses(t, sandbox(t, worker, "docked"), "10.96.0.23:80")
		refuses(t, sandbox(t, worker, "docked"), "10.96.0.20:81")
	}
	everything()
	// A load balancer for some, by their own addresses, although they come by their node.
	apply(t, c, `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "some"}, "spec": {"type": "LoadBalancer", "selector": {"only": "yes"},
		"ports": [{"port": 80, "targetPort": "web"}], "loadBalancerSourceRanges": ["10.1.2.0/24", "2001:db8::/32"]}}`)
	kubectl(t, c, "patch", "service", "some", "--subresource=status", "-p", `{"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}}}`)
	meets(t, sandbox(t, worker, "docked"), "198.51.100.8:80", "web-w "+atWorker)
	podMeets(t, c, "client-m", "198.51.100.8", "web-w "+infra[master.Name()])
	for who, namespace := range map[string]string{"another tenant's": sandbox(t, worker, "blue"), "the node": worker.Netns()} {
		if answer, err := whoAnswers(namespace, "198.51.100.8:80"); err == nil {
			t.Errorf("%s is answered by a load balancer that is for others: %s", who, answer)
		}
	}
	// Blue provides nothing of this one.
	if out, err := c.Exec(t.Context(), "client-blue", "timeout 3 wget -qO- http://10.96.0.22/cgi-bin/who 2>&1"); err == nil || !strings.Contains(out+err.Error(), "refused") {
		t.Errorf("a service without providers in the tenant: %s, %v", out, err)
	}
	// A client meets the same again.
	for _, ask := range []struct{ from, at string }{{far.Netns(), atWorker + ":30081"}, {sandbox(t, worker, "docked"), "10.96.0.21:80"}} {
		first, err := whoAnswers(ask.from, ask.at)
		for range 20 {
			again, err2 := whoAnswers(ask.from, ask.at)
			if err = errors.Join(err, err2); err != nil || again != first {
				t.Errorf("%s: %q and %q answer one client (%v)", ask.at, first, again, err)
				break
			}
		}
	}
	// The API server, which is a program of the first node.
	version := func(namespace string) error {
		return netdev.Do(namespace, func() error {
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", "10.96.0.1:443", &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				return err
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].VerifyHostname("kubernetes.default.svc")
		})
	}
	run(t, master, "beside", "contiv-net")
	for _, namespace := range []string{master.Netns(), worker.Netns(), sandbox(t, worker, "docked"), sandbox(t, master, "beside")} {
		if err := version(namespace); err != nil {
			t.Errorf("the API server by its service, from %s: %v", namespace, err)
		}
	}
	if _, err := whoAnswers(sandbox(t, master, "beside"), atMaster+":9999"); err == nil {
		t.Error("a container reaches what its node has not opened")
	}

	// Providers come and go.
	kubectl(t, c, "delete", "pod", "web-w", "--wait", "--timeout=1m")
	meets(t, far.Netns(), atWorker+":30080", "web-m "+infra[worker.Name()])
	podMeets(t, c, "client-w", "10.96.0.20", "web-m "+ip("client-w"))
	refuses(t, worker.Netns(), "10.96.0.22:80")
	apply(t, c, server("web-w", web("default", "default-net", "only"), ""))
	ready(t, c, "web-w")
	// While an agent is dead, and when it is back.
	if err := worker.Agent.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := worker.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	everything()
	healthy(t, c.Cluster)
}
