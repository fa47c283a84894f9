// SPDX-License-Identifier: Apache-2.0

package kubelab

import (
	"context"
	"fmt"
	"io"
)

// Install installs Contiv of a checkout on a bare cluster as its administrator would, and waits until the nodes are ready. What is typed and what comes
// out is written to w.
func (c *Cluster) Install(ctx context.Context, checkout string, w io.Writer) error {
	line := fmt.Sprintf("deploy/k8s/install.sh -n %s", c.Nodes[0].Addr())
	fmt.Fprintf(w, "%s$ %s\n", c.Nodes[0].Name(), line)
	if err := c.Terminal(c.Nodes[0]).run(ctx, checkout, line, w); err != nil {
		return fmt.Errorf("install Contiv: %w", err)
	}
	return c.AwaitNodes(ctx)
}

// run runs a command line in a directory as a user would, and writes what it prints to w while it does.
func (t Terminal) run(ctx context.Context, dir, line string, w io.Writer) error {
	cmd := t.node.Command(ctx, "sh", "-c", line)
	cmd.Env = append(cmd.Env, t.Environment()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
	return cmd.Run()
}
