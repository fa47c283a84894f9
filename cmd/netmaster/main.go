// SPDX-License-Identifier: Apache-2.0

// Command netmaster keeps what a cluster's networks should be, and serves the v1 API to netctl, netplugin and Docker.
// Alone it embeds its store; several masters share an etcd.
//
// It exits with 1 when it was called wrongly and with 2 when it cannot start or go on.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/contivnet/contiv/api"
)

// Set by the build.
var version, commit, built = "devel", "unknown", "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	o, done, err := parseOptions(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "netmaster:", err)
		os.Exit(1)
	}
	if done {
		return
	}
	// A master's garbage is that of its requests, its state is small: with Go's default a sixth of its time goes into collecting.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	if err := run(ctx, o, api.Version{GitCommit: commit, Version: version, BuildTime: built}); err != nil {
		fmt.Fprintln(os.Stderr, "netmaster:", err)
		os.Exit(2)
	}
}
