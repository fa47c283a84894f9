// SPDX-License-Identifier: Apache-2.0

// Command netplugin runs on each node: it attaches containers to Contiv networks, programs the kernel and
// answers Docker. `netplugin doctor` compares what should be with what is; `netplugin uninstall` takes everything away.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Set by the build.
var version, commit, built = "devel", "unknown", "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "doctor" {
		os.Exit(doctor(ctx, args[1:], os.Stdout, os.Stderr))
	}
	if len(args) > 0 && args[0] == "uninstall" {
		os.Exit(uninstall(args[1:], os.Stdout, os.Stderr))
	}
	o, done, err := parseOptions(args, os.Getenv, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "netplugin:", err)
		os.Exit(1)
	}
	if done {
		return
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "netplugin:", err)
		os.Exit(2)
	}
}
