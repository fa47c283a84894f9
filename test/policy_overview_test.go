// SPDX-License-Identifier: Apache-2.0

package test

import (
	"testing"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
)

func TestPolicySectionOfTheOverviewRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Overview, func(n *cluster.Node) {
		// No registry is in reach: what the overview calls ubuntu is the lab's image, with a shell of that name.
		docker(t, n, "run", "--name", "ubuntu", "alpine", "sh", "-c", `printf '#!/bin/sh\nexec sh "$@"\n' > /bin/bash; chmod +x /bin/bash`)
		docker(t, n, "commit", "ubuntu", "ubuntu")
		docker(t, n, "rm", "ubuntu")
	})
}
