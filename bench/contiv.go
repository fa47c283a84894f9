// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// cluster is Contiv on real engines: a master on the first node, an agent on each. programs is the directory of
// netmaster, netplugin and netctl.
type cluster struct {
	nodes
	programs string
}

// clusterNetwork is the cluster's only network; it has room for all containers of a benchmark.
const (
	clusterNetwork = "bench"
	clusterSubnet  = "10.201.0.0/16"
)

func (c *cluster) program(name string) (string, error) {
	path := filepath.Join(c.programs, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find %s (make build builds it): %w", name, err)
	}
	return path, nil
}

// vtep is where node i sends and receives VXLAN.
func (c *cluster) vtep(i int) netip.Addr {
	if len(c.all) == 1 {
		return c.all[i].Addr()
	}
	return underlayAddress(i)
}

// create boots count nodes and makes the network on all of them.
func (c *cluster) create(ctx context.Context, count int) error {
	var programs []string
	for _, name := range []string{"netmaster", "netplugin", "netctl"} {
		path, err := c.program(name)
		if err != nil {
			return err
		}
		programs = append(programs, path)
	}
	netmaster, netplugin, netctl := programs[0], programs[1], programs[2]
	if err := c.boot(ctx, count); err != nil {
		return err
	}
	url := "http://" + netip.AddrPortFrom(c.vtep(0), 9999).String()
	if _, err := c.all[0].Start("netmaster", netmaster, "--external-address", netip.AddrPortFrom(c.vtep(0), 9999).String(), "--data-dir", "/var/lib/contiv/netmaster"); err != nil {
		return fmt.Errorf("start the master: %w", err)
	}
	for i, h := range c.all {
		if _, err := h.Start("netplugin", netplugin, "--netmaster", url, "--host-label", h.Name(), "--vtep-ip", c.vtep(i).String()); err != nil {
			return fmt.Errorf("start the agent: %w", err)
		}
	}
	err := within(ctx, 20*time.Second, func() error {
		_, err := c.all[0].Command(ctx, netctl, "--netmaster", url, "net", "create", "--subnet", clusterSubnet, clusterNetwork).CombinedOutput()
		return err
	})
	if err != nil {
		return fmt.Errorf("make the network; the master says %s: %w", c.logs("netmaster"), err)
	}
	for _, h := range c.all {
		err := within(ctx, 20*time.Second, func() error {
			_, err := h.Docker(ctx, "network", "inspect", clusterNetwork)
			return err
		})
		if err != nil {
			return fmt.Errorf("see the network in the engine; the agents say %s: %w", c.logs("netplugin"), err)
		}
	}
	return nil
}

// logs is the end of what a daemon said on all nodes.
func (c *cluster) logs(name string) string {
	text := ""
	for _, h := range c.all {
		p, err := h.Process(name)
		if err != nil {
			continue // it runs on another node
		}
		log := p.Log()
		text += log[max(0, len(log)-1500):]
	}
	return text
}

// within tries until it succeeds or the time is up, and gives the last error.
func within(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// contiv is what all this is about.
type contiv struct{ cluster }

func (*contiv) Name() string { return oursName }

func (c *contiv) Up(ctx context.Context, t topology) (pair, error) {
	if err := c.create(ctx, t.nodeCount()); err != nil {
		return pair{}, err
	}
	p, err := c.pair(ctx, clusterNetwork)
	if err != nil {
		return p, fmt.Errorf("%w; the agents say %s", err, c.logs("netplugin"))
	}
	return p, nil
}
