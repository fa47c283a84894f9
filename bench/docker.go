// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

// dockerBridge is the network that Docker gives containers when nobody asks for one.
type dockerBridge struct{ nodes }

func (*dockerBridge) Name() string { return "docker-bridge" }

func (d *dockerBridge) Up(ctx context.Context, t topology) (pair, error) {
	if err := d.hosts(ctx, t.nodeCount()); err != nil {
		return pair{}, err
	}
	if err := d.engines(ctx); err != nil {
		return pair{}, err
	}
	return d.pair(ctx, "bridge")
}

// dockerOverlay is Docker's own network between nodes: a swarm's overlay that plain containers may join.
type dockerOverlay struct{ nodes }

func (*dockerOverlay) Name() string { return "docker-overlay" }

func (d *dockerOverlay) Up(ctx context.Context, t topology) (pair, error) {
	if err := d.hosts(ctx, t.nodeCount()); err != nil {
		return pair{}, err
	}
	if err := d.engines(ctx); err != nil {
		return pair{}, err
	}
	leader := d.all[0].Addr().String()
	if _, err := d.all[0].Docker(ctx, "swarm", "init", "--advertise-addr", leader, "--data-path-addr", leader); err != nil {
		return pair{}, err
	}
	token, err := d.all[0].Docker(ctx, "swarm", "join-token", "-q", "worker")
	if err != nil {
		return pair{}, err
	}
	for _, h := range d.all[1:] {
		own := h.Addr().String()
		if _, err := h.Docker(ctx, "swarm", "join", "--token", token, "--advertise-addr", own, "--data-path-addr", own, leader+":2377"); err != nil {
			return pair{}, err
		}
	}
	const network = "bench"
	if _, err := d.all[0].Docker(ctx, "network", "create", "--driver", "overlay", "--attachable", network); err != nil {
		return pair{}, err
	}
	p, err := d.pair(ctx, network)
	if err != nil {
		return pair{}, fmt.Errorf("join the swarm's overlay: %w", err)
	}
	return p, nil
}
