// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// diagnosis is what the running agent answers `netplugin doctor`.
type diagnosis struct {
	Node        string            `json:"node"`
	Revision    int64             `json:"revision"`        // that the kernel holds
	World       int64             `json:"world"`           // the newest seen
	Fresh       bool              `json:"fresh"`           // a master has been heard in this run
	Alone       string            `json:"alone,omitempty"` // why no master answers now
	Drops       map[string]uint64 `json:"drops,omitempty"`
	Differences []string          `json:"differences"`
}

// serveStatus answers on a unix socket that only root can open.
func serveStatus(ctx context.Context, path string, diagnose func(ctx context.Context, repair bool) (diagnosis, error)) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the last run's status socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for status requests: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /doctor", func(w http.ResponseWriter, r *http.Request) {
		d, err := diagnose(r.Context(), r.URL.Query().Get("repair") != "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d) // the reader has gone if it fails
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve status: %w", err)
	}
	return nil
}
