// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"testing"
	"time"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/tutorial"
)

func TestPolicySectionOfTheOverviewRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	steps, err := tutorial.Parse(tutorials.Overview)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, cluster.Options{Lab: netlab.Options{Hosts: []netlab.HostOptions{{Name: "tutorial-node1"}, {Name: "tutorial-node2"}}}})
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = n
		// No registry is in reach: what the overview calls ubuntu is the lab's image, with a shell of that name.
		docker(t, n, "run", "--name", "ubuntu", "alpine", "sh", "-c", `printf '#!/bin/sh\nexec sh "$@"\n' > /bin/bash; chmod +x /bin/bash`)
		docker(t, n, "commit", "ubuntu", "ubuntu")
		docker(t, n, "rm", "ubuntu")
	}
	if err := tutorial.Run(t.Context(), steps, hosts, 10*time.Second, os.Stdout); err != nil {
		t.Fatal(err)
	}
}
