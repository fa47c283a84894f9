// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"

	"github.com/contivnet/contiv/agent"
)

// Paths at the status port for a kubelet's probes.
const (
	livePath  = "/livez"  // the agent is not stuck
	readyPath = "/readyz" // containers can be attached
)

// probed answers a kubelet's probes, and all else by h. ready is closed once containers can be attached.
func probed(h http.Handler, a *agent.Agent, ready <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("GET "+livePath, func(http.ResponseWriter, *http.Request) {
		a.World() // which waits for ever where the agent is stuck
	})
	mux.HandleFunc("GET "+readyPath, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ready:
		default:
			http.Error(w, "no master has been heard since netplugin started, or what it says is not in the kernel yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}
