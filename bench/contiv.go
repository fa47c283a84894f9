// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

// contiv is what all this is about: a master on the first node, an agent and a real engine on each. programs is the
// directory of netmaster, netplugin and netctl.
type contiv struct {
	nodes
	programs string
}

// contivNetwork has room for all containers of a benchmark.
const (
	contivNetwork = "bench"
	contivSubnet  = "10.201.0.0/16"
)

func (*contiv) Name() string { return oursName }

// create boots count nodes and makes the network on all of them.
func (c *contiv) create(ctx context.Context, count int) error {
	if err := c.hosts(ctx, count); err != nil {
		return err
	}
	all := cluster.On(c.lab, cluster.Options{Bin: c.programs})
	if err := all.Start(ctx); err != nil {
		return fmt.Errorf("start Contiv from %s (make build builds it): %w", c.programs, err)
	}
	if _, err := all.Netctl(ctx, "net", "create", "--subnet", contivSubnet, contivNetwork); err != nil {
		return err
	}
	for _, n := range all.Nodes {
		err := cluster.Eventually(ctx, 20*time.Second, func() error {
			_, err := n.Docker(ctx, "network", "inspect", contivNetwork)
			return err
		})
		if err != nil {
			return fmt.Errorf("see the network in the engine: %w; the agent says %s", err, end(n.Agent.Log()))
		}
	}
	return nil
}

func (c *contiv) Up(ctx context.Context, t topology) (pair, error) {
	if err := c.create(ctx, t.nodeCount()); err != nil {
		return pair{}, err
	}
	return c.pair(ctx, contivNetwork)
}

// end is the last lines of a log.
func end(log string) string { return log[max(0, len(log)-1500):] }
