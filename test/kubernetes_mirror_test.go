// SPDX-License-Identifier: Apache-2.0

//go:build kubernetes

package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/kubelab"
)

// worldOf is what the masters say that there is.
func worldOf(ctx context.Context, c *kubelab.Cluster) (w model.World, err error) {
	n := c.Nodes[0]
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = n.Enter(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the watch goes on otherwise
	var resp *http.Response
	for master := range strings.SplitSeq(c.MasterURL(), ",") {
		r, err2 := http.NewRequestWithContext(ctx, http.MethodGet, master+api.Root+"watch", nil)
		if err2 != nil {
			return w, err2
		}
		if resp, err = client.Do(r); err == nil {
			defer resp.Body.Close()
			break
		}
	}
	if err != nil {
		return w, err
	}
	line, err := bufio.NewReader(resp.Body).ReadBytes('\n')
	if err != nil {
		return w, err
	}
	var e api.WatchEvent
	if err := json.Unmarshal(line, &e); err != nil || !e.Reset {
		return w, fmt.Errorf("the watch begins with %.200s, %w", line, err)
	}
	change := model.Change{Revision: e.Revision, Reset: true}
	for _, o := range e.Put {
		v, err := model.Decode(o.Kind, o.Value)
		if err != nil {
			return w, err
		}
		change.Put = append(change.Put, v)
	}
	return w.With(change), nil
}

// untilWorld waits until the masters' World is as it should be.
func untilWorld(t *testing.T, c *kubelab.Cluster, holds func(model.World) error) {
	t.Helper()
	eventually(t, func() error {
		w, err := worldOf(t.Context(), c)
		if err != nil {
			return err
		}
		return holds(w)
	})
}

func TestServicesOfKubernetesAreTakenOverAndGo(t *testing.T) {
	t.Parallel()
	c := startKubernetes(t)
	untilWorld(t, c, func(w model.World) error {
		s, ok := w.ClusterServices.Get("default/kubernetes")
		if _, there := w.Namespaces.Get("kube-system"); !ok || !there || fmt.Sprint(s.ClusterIPs) != "[10.96.0.1]" || len(s.Ports) != 1 || s.Ports[0].Port != 443 {
			return fmt.Errorf("%d namespaces, and service kubernetes is %+v", w.Namespaces.Len(), s)
		}
		for _, e := range w.EndpointSlices.All() {
			if e.ServiceKey() == "default/kubernetes" && len(e.Endpoints) == 1 && e.Endpoints[0].Addr == c.Nodes[0].Addr() && e.Endpoints[0].Ready {
				return nil
			}
		}
		return fmt.Errorf("nobody provides kubernetes: %d slices", w.EndpointSlices.Len())
	})

	kubectl(t, c, "create", "namespace", "shop")
	apply(t, c, `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"app": "web"}, "type": "NodePort",
		"externalIPs": ["192.0.2.7"], "sessionAffinity": "ClientIP", "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}]}}`,
		`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"}, "spec": {"selector": {"app": "peer"}, "clusterIP": "None"}}`,
		manifest("peer", map[string]string{"app": "peer"}, nil, ""))
	ready(t, c, "peer")
	ip := kubectl(t, c, "get", "pod", "peer", "-o", "jsonpath={.status.podIP}")
	provided := func(w model.World, service string) (out []model.SliceAddress) {
		for _, e := range w.EndpointSlices.All() {
			if e.ServiceKey() == service {
				out = append(out, e.Endpoints...)
			}
		}
		return out
	}
	appeared := func(w model.World) error {
		s, _ := w.ClusterServices.Get("shop/web")
		want := model.ClusterPort{Name: "http", Protocol: "TCP", Port: 80, Node: 30080}
		if len(s.ClusterIPs) != 1 || len(s.Ports) != 1 || s.Ports[0] != want || fmt.Sprint(s.ExternalIPs) != "[192.0.2.7]" || s.Affinity != 10800 {
			return fmt.Errorf("shop/web is %+v", s)
		}
		if p := provided(w, "default/peers"); len(p) != 1 || p[0].Addr.String() != ip || p[0].Pod != "peer" || p[0].Node != "kubeadm-worker0" || !p[0].Ready {
			return fmt.Errorf("pod peer at %s is %+v", ip, p)
		}
		return nil
	}
	untilWorld(t, c, appeared)

	// What changes while no master runs, and what while the API server is away, is seen in the end; what was said last holds until then.
	if err := c.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := c.RestartMaster(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	untilWorld(t, c, appeared)
	if err := c.StartAPIServer(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	kubectl(t, c, "delete", "namespace", "shop", "--wait", "--timeout=2m")
	if err := c.StartMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilWorld(t, c, func(w model.World) error {
		_, service := w.ClusterServices.Get("shop/web")
		_, namespace := w.Namespaces.Get("shop")
		if service || namespace {
			return fmt.Errorf("namespace: %t, service: %t", namespace, service)
		}
		return nil
	})
	kubectl(t, c, "delete", "pod", "peer", "--wait", "--timeout=2m")
	untilWorld(t, c, func(w model.World) error {
		if p := provided(w, "default/peers"); len(p) > 0 {
			return fmt.Errorf("it is provided by %+v", p)
		}
		return nil
	})
	if log := c.Master.Log(); strings.Contains(log, "ERROR") {
		t.Errorf("the master said %s", log)
	}
	healthy(t, c.Cluster)
}
