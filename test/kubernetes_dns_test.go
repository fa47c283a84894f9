// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// noAnswer is for a name that there is, without such records: of that busybox's nslookup says that here is the answer, and no more.
const noAnswer = "no answer"

// addressesIn are those that busybox's nslookup has printed, sorted; or why there are none.
func addressesIn(out string) string {
	var addrs []string
	_, answers, _ := strings.Cut(out, "\n\n") // what comes before is the server's
	for line := range strings.Lines(answers) {
		if a, ok := strings.CutPrefix(line, "Address: "); ok {
			addrs = append(addrs, strings.TrimSpace(a))
		}
	}
	switch {
	case strings.Contains(out, "NXDOMAIN"):
		addrs = append(addrs, "NXDOMAIN")
	case len(addrs) == 0 && strings.Contains(answers, "answer:"):
		addrs = append(addrs, noAnswer)
	}
	slices.Sort(addrs)
	return strings.Join(addrs, " ")
}

// The cluster has no DNS server of its own: what pods have for one, 10.96.0.10, answers nobody.
func TestNamesOfKubernetesAreAnsweredInEveryTenant(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	netctl(t, c.Cluster, "tenant", "create", "blue")
	network(t, c.Cluster, "contiv-net", "-t", "blue", "-s", "10.1.2.0/24", "-g", "10.1.2.1")
	labels := func(tenant string) map[string]string {
		l := inNetwork(tenant, "contiv-net")
		l["app"] = "peer"
		return l
	}
	apply(t, c, `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"}, "spec": {"selector": {"app": "peer"}, "clusterIP": "None", "ports": [{"name": "echo", "port": 7}]}}`,
		`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"}, "spec": {"type": "ExternalName", "externalName": "kubernetes.default.svc.cluster.local"}}`,
		manifest("white", labels("default"), nil, `, "hostname": "first", "subdomain": "peers"`))
	ready(t, c, "white")
	apply(t, c, manifest("blue", labels("blue"), nil, `, "hostname": "first", "subdomain": "peers"`), manifest("blue-too", inNetwork("blue", "contiv-net"), nil, ""))
	ready(t, c, "blue", "blue-too")
	run(t, c.Nodes[0], "c3", "contiv-net")
	white := kubectl(t, c, "get", "pod", "white", "-o", "jsonpath={.status.podIP}")
	if other := kubectl(t, c, "get", "pod", "blue", "-o", "jsonpath={.status.podIP}"); other != white {
		t.Fatalf("pods of the two tenants are %s and %s: the test shows little", white, other)
	}
	askers := map[string]func(ctx context.Context, line string) (string, error){
		"pod blue": func(ctx context.Context, line string) (string, error) { return c.Exec(ctx, "blue", line+" || true") },
		"pod blue-too": func(ctx context.Context, line string) (string, error) {
			return c.Exec(ctx, "blue-too", line+" || true")
		},
		"pod white": func(ctx context.Context, line string) (string, error) { return c.Exec(ctx, "white", line+" || true") },
		"Docker's own c3": func(ctx context.Context, line string) (string, error) {
			return in(ctx, c.Nodes[0], "c3", "sh -c '"+line+" || true'")
		},
	}
	const domain = ".svc.cluster.local."
	for who, run := range askers {
		for name, want := range map[string]string{
			"kubernetes.default" + domain: "10.96.0.1", "other.default" + domain: "10.96.0.1", "peers.default" + domain: white, "first.peers.default" + domain: white,
			"nobody.default" + domain: "NXDOMAIN", "default" + domain: noAnswer,
		} {
			eventually(t, func() error {
				out, err := run(t.Context(), "nslookup -type=a "+name)
				if got := addressesIn(out); err != nil || got != want {
					return fmt.Errorf("%s: %s is %q, want %q: %w\n%s", who, name, got, want, err, out)
				}
				return nil
			})
		}
	}

	// By the names that pods use, which are tried in three domains first. What nobody answers would take 5 s each.
	for pod, names := range map[string][]string{"blue-too": {"peers", "first.peers.default.svc", "blue"}, "white": {"peers", "c3"}} {
		for _, name := range names {
			pings(t, c, pod, name)
			began := time.Now()
			if _, err := c.Exec(t.Context(), pod, "ping -c 1 -W 1 "+name); err != nil || time.Since(began) > 4*time.Second {
				t.Errorf("pod %s reaches %s after %s: %v", pod, name, time.Since(began), err)
			}
		}
	}

	// A pod that goes is told of no more.
	kubectl(t, c, "delete", "pod", "blue", "--wait", "--timeout=2m")
	eventually(t, func() error {
		out, err := c.Exec(t.Context(), "blue-too", "nslookup -type=a peers.default"+domain+" || true")
		if got := addressesIn(out); err != nil || got != noAnswer {
			return fmt.Errorf("the service has %q, %w", got, err)
		}
		return nil
	})
	healthy(t, c.Cluster)
}
