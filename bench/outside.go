// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/contivnet/contiv/test/netlab"
)

// brink is a node with machines beyond it, to each of which a wire of its own leads. All contestants of one engine live on one.
type brink struct {
	contiv
	plain  bool // there is an engine alone, with a network that a user has made
	beyond []*namespace
	shared
}

// userNetwork is one that a user has made, whose containers have Docker's resolver and the rules that it needs.
const userNetwork = "bench-user"

// start is called by whoever needs the node first.
func (b *brink) start(ctx context.Context) error {
	return b.take(func() error { return b.make(ctx) })
}

func (b *brink) make(ctx context.Context) error {
	b.engine = netlab.EngineOptions{Flags: []string{"--userland-proxy=false"}}
	if b.plain {
		if err := b.hosts(ctx, 1); err != nil {
			return err
		}
		if _, err := b.all[0].StartEngine(ctx, b.engine); err != nil {
			return err
		}
		if err := b.all[0].LoadImage(ctx); err != nil {
			return err
		}
		if _, err := b.all[0].Docker(ctx, "network", "create", userNetwork); err != nil {
			return err
		}
	} else {
		b.gateway = contivGateway
		if err := b.create(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// machine makes one more beyond the node. near and far are the ends of its wire; Docker and Contiv masquerade alike what leaves by it.
func (b *brink) machine() (namespace string, near, far netip.Addr, err error) {
	node, err := openNamespace(b.all[0].Netns())
	if err != nil {
		return "", near, far, err
	}
	defer node.close()
	m, err := newNamespace()
	if err != nil {
		return "", near, far, err
	}
	number := byte(len(b.beyond))
	b.beyond = append(b.beyond, m)
	near, far = netip.AddrFrom4([4]byte{198, 18, number, 1}), netip.AddrFrom4([4]byte{198, 18, number, 2}) // RFC 2544
	device := fmt.Sprintf("ext%d", number)
	err = join(cable{in: node, name: device}, cable{in: m, name: "eth0"}, underlayMTU)
	if err == nil {
		err = node.address(device, netip.PrefixFrom(near, 24))
	}
	if err == nil {
		err = m.address("eth0", netip.PrefixFrom(far, 24))
	}
	return m.path(), near, far, err
}

// Down takes the node down with its last user.
func (b *brink) Down() error {
	return b.release(func() error {
		for _, m := range b.beyond {
			m.close()
		}
		b.beyond = nil
		return b.contiv.Down()
	})
}

// crossing is a container and the machine beyond its node: the container asks under the node's address, or is asked at a published port.
type crossing struct {
	node      *brink
	network   string // of the container, in Docker; "" for one that CNI attaches
	published bool
}

func (c *crossing) kind() string {
	switch c.network {
	case "":
		return oursName
	case contivNetwork:
		return oursName + "-docker"
	case userNetwork:
		return "docker-network"
	}
	return "docker-bridge"
}

func (c *crossing) Name() string {
	if c.published {
		return c.kind() + ", published"
	}
	return c.kind() + ", out"
}

func (c *crossing) Down() error { return c.node.Down() }

func (c *crossing) Up(ctx context.Context, _ topology) (pair, error) {
	if err := c.node.start(ctx); err != nil {
		return pair{}, err
	}
	machine, near, far, err := c.node.machine()
	if err != nil {
		return pair{}, err
	}
	name := "bench-" + strings.ReplaceAll(c.Name(), ", ", "-")
	host := c.node.all[0]
	if c.published {
		var ports []string
		for _, p := range servedPorts {
			ports = append(ports, "-p", fmt.Sprintf("%d:%d/%s", p.port, p.port, strings.ToLower(p.protocol)))
			if c.network == userNetwork { // the other network's container has the ports themselves
				ports[len(ports)-1] = fmt.Sprintf("%d:%d/%s", p.port-serviceShift, p.port, strings.ToLower(p.protocol))
			}
		}
		server, err := c.node.run(ctx, host, c.network, name, ports...)
		p := pair{client: machine, server: server.namespace, address: near}
		if c.network == userNetwork {
			p.shift = serviceShift
		}
		return p, err
	}
	var client container
	if c.network == "" {
		client, err = c.node.attach(ctx, host, name, "")
	} else {
		client, err = c.node.run(ctx, host, c.network, name)
	}
	return pair{client: client.namespace, server: machine, address: far}, err
}

// crossings are the limit, the ways out and the ways in.
func crossings(programs string) []contestant {
	docker, ours := &brink{plain: true}, &brink{contiv: contiv{programs: programs}}
	return []contestant{
		&bareVeth{name: limitName},
		&crossing{docker, "bridge", false}, &crossing{docker, userNetwork, false}, &crossing{ours, "", false}, &crossing{ours, contivNetwork, false},
		&crossing{docker, "bridge", true}, &crossing{docker, userNetwork, true}, &crossing{ours, contivNetwork, true},
	}
}

// crossingGoals are what is wanted: a contestant's part of another's rate.
var crossingGoals = []struct {
	name, of string
	least    float64
}{
	{"contiv, out", "docker-bridge, out", 0.9},
	{"contiv-docker, out", "docker-network, out", 0.9},
	{"contiv-docker, published", "docker-network, published", 1},
}

// outsideTable shows ratios to the limit, and below the parts that are wanted.
func (o outcome) outsideTable() string {
	rows := o.ratioRows("ratio to "+limitName, o.toLimit)
	for _, g := range crossingGoals {
		row := []string{fmt.Sprintf("%s, to %s; wanted %.1f", g.name, g.of, g.least)}
		for _, t := range policyTrials() {
			kept, ok := o.kept(g.of, g.name, t.name)
			switch {
			case !ok:
				row = append(row, missing)
			case kept < g.least:
				row = append(row, fmt.Sprintf("%.3f not met", kept))
			default:
				row = append(row, fmt.Sprintf("%.3f met", kept))
			}
		}
		rows = append(rows, row)
	}
	return table(rows)
}

// benchOutside is the mode -outside, and a part of the whole.
func benchOutside(ctx context.Context, o options, stdout, stderr io.Writer) error {
	return benchRace(ctx, o, "Beyond the node", crossings(o.programs), outcome.outsideTable, stdout, stderr)
}
