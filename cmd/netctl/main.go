// SPDX-License-Identifier: Apache-2.0

// Command netctl is the command line of Contiv Network: it asks a netmaster for tenants, networks and all else
// over the REST API. See `netctl --help`.
package main

import (
	"context"
	"os"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/cli"
)

// Set by the build.
var version, commit, built = "devel", "unknown", "unknown"

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		Build: api.Version{Version: version, GitCommit: commit, BuildTime: built},
	}))
}
