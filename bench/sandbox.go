// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
)

// dockerSandbox is a bare veth pair between two real containers of a network that a user has made. It carries as
// the limit does, but into sandboxes as Docker makes them: for its DNS they have NAT rules, and NAT brings connection
// tracking of every packet. No network plugin can be faster than this with Docker; the default bridge has no such rules.
type dockerSandbox struct{ nodes }

func (*dockerSandbox) Name() string { return "docker-sandbox" }

func (d *dockerSandbox) Up(ctx context.Context, _ topology) (pair, error) {
	if err := d.hosts(ctx, 1); err != nil {
		return pair{}, err
	}
	if err := d.engines(ctx); err != nil {
		return pair{}, err
	}
	const network = "bench"
	if _, err := d.all[0].Docker(ctx, "network", "create", network); err != nil {
		return pair{}, err
	}
	p, err := d.pair(ctx, network)
	if err != nil {
		return pair{}, err
	}
	const wire = "wire0"
	var ends []*namespace
	for _, path := range []string{p.client, p.server} {
		n, err := openNamespace(path)
		if err != nil {
			return pair{}, err
		}
		defer n.close()
		ends = append(ends, n)
	}
	if err := join(cable{in: ends[0], name: wire}, cable{in: ends[1], name: wire}, underlayMTU); err != nil {
		return pair{}, err
	}
	for i, n := range ends {
		if err := n.address(wire, netip.PrefixFrom(containerAddress(i), 16)); err != nil {
			return pair{}, err
		}
	}
	p.address = containerAddress(1)
	return p, nil
}
