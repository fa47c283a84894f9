// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/contivnet/contiv/compile"
)

// healthPorts are where load balancers ask which nodes have providers of a service of Kubernetes (healthCheckNodePort), and get kube-proxy's
// answers. They go with the agent: while none is there, balancers send nothing new here.
type healthPorts struct {
	mu   sync.Mutex
	says map[uint16]compile.HealthCheck
}

// answered is what kube-proxy says, to the letter.
type answered struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"service"`
	LocalEndpoints      int  `json:"localEndpoints"`
	ServiceProxyHealthy bool `json:"serviceProxyHealthy"`
}

// answer answers at a port. A node that has no provider is none to send to.
func (h *healthPorts) answer(port uint16, w http.ResponseWriter) {
	h.mu.Lock()
	c := h.says[port]
	h.mu.Unlock()
	out := answered{LocalEndpoints: c.Here, ServiceProxyHealthy: true}
	out.Service.Namespace, out.Service.Name = c.Namespace, c.Name
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(c.Here))
	if c.Here == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(out) // who asked has gone
}

// healthPortLoop answers at the ports of the newest tables.
func (a *Agent) healthPortLoop(ctx context.Context) error {
	var h healthPorts
	servers := map[uint16]*http.Server{}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}()
	failed := map[uint16]bool{}
	for {
		changed := a.AppliedChanged()
		says := map[uint16]compile.HealthCheck{}
		if !a.KubeProxy {
			for _, c := range a.Tables().HealthChecks {
				says[c.Port] = c
			}
		}
		h.mu.Lock()
		h.says = says
		h.mu.Unlock()
		for port, s := range servers {
			if _, ok := says[port]; !ok {
				_ = s.Close()
				delete(servers, port)
			}
		}
		var retry <-chan time.Time
		for port, c := range says {
			if servers[port] != nil {
				continue
			}
			l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
			if err != nil {
				if !failed[port] {
					a.Log.Warn("load balancers do not hear whether this node has providers: free the port", "service", c.Namespace+"/"+c.Name, "port", port, "error", err)
				}
				failed[port], retry = true, time.After(a.SweepEvery)
				continue
			}
			delete(failed, port)
			s := &http.Server{ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { h.answer(port, w) })}
			servers[port] = s
			wg.Go(func() { _ = s.Serve(l) }) // until it is closed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		}
	}
}
