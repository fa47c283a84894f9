// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
)

// contiv is what all this is about: a master on the first node and an agent on each. Its containers are plain
// namespaces, as the limit's are, which our CNI program attaches. programs is the directory of our programs.
type contiv struct {
	nodes
	programs string
	cluster  *cluster.Cluster
	vlan     bool   // its network is a VLAN on the hosts' wire
	gateway  string // its network's; "" for none
	engine   netlab.EngineOptions
}

// contivNetwork has room for all containers of a benchmark. Those that CNI attaches have a default route to its gateway, as pods do: then
// their questions for names need no routing rules (docs/decisions/0019).
const (
	contivNetwork = "bench"
	contivSubnet  = "10.201.0.0/16"
	contivGateway = "10.201.255.254"
)

func (*contiv) Name() string { return oursName }

// create boots count nodes and makes the network on all of them.
func (c *contiv) create(ctx context.Context, count int) error {
	o, network := cluster.Options{Bin: c.programs, Engine: c.engine}, []string{"--subnet", contivSubnet}
	if c.gateway != "" {
		network = append(network, "--gateway", c.gateway)
	}
	if c.vlan {
		c.wire = true
		o.AgentFlags = []string{"--vlan-uplinks", wireLink}
		network = append(network, "--encap", "vlan")
	}
	if err := c.hosts(ctx, count); err != nil {
		return err
	}
	all := cluster.On(c.lab, o)
	c.cluster = all
	if err := all.Start(ctx); err != nil {
		return fmt.Errorf("start Contiv from %s (make build builds it): %w", c.programs, err)
	}
	return c.addNetwork(ctx, contivNetwork, network...)
}

// addNetwork makes a network, and waits until all engines have it.
func (c *contiv) addNetwork(ctx context.Context, name string, flags ...string) error {
	if _, err := c.cluster.Netctl(ctx, append([]string{"net", "create", name}, flags...)...); err != nil {
		return err
	}
	for _, n := range c.cluster.Nodes {
		err := cluster.Eventually(ctx, 20*time.Second, func() error {
			_, err := n.Docker(ctx, "network", "inspect", name)
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
	client, err := c.attach(ctx, c.all[0], "bench-client", "")
	if err != nil {
		return pair{}, err
	}
	server, err := c.attach(ctx, c.all[len(c.all)-1], "bench-server", "")
	if err != nil {
		return pair{}, err
	}
	return pair{client: client.namespace, server: server.namespace, address: server.address}, nil
}

// attach makes a namespace in the host and has the CNI program attach it, as a member of the group; "" for none.
func (c *contiv) attach(ctx context.Context, h *netlab.Host, name, group string) (container, error) {
	return c.attachBy(ctx, h, "bench", name, group)
}

// attachBy is attach by a network configuration of this name, which services can select by.
func (c *contiv) attachBy(ctx context.Context, h *netlab.Host, config, name, group string) (container, error) {
	if err := h.Run(ctx, "ip", "netns", "add", name); err != nil {
		return container{}, err
	}
	inside := "/run/netns/" + name
	cmd := h.Command(ctx, filepath.Join(c.programs, "contivk8s"))
	cmd.Env = append(cmd.Env, "CNI_COMMAND=ADD", "CNI_CONTAINERID="+name, "CNI_NETNS="+inside, "CNI_IFNAME=eth0", "CNI_PATH="+c.programs)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion":"1.0.0","name":%q,"type":"contivk8s","network":%q,"group":%q}`, config, contivNetwork, group))
	out, err := cmd.Output()
	if err != nil {
		return container{}, fmt.Errorf("attach %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	var result struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(out, &result); err != nil || len(result.IPs) == 0 {
		return container{}, fmt.Errorf("attach %s: an answer without address: %s", name, out)
	}
	return container{filepath.Join(h.Root(), inside), result.IPs[0].Address.Addr()}, nil
}

// apply has netctl apply objects.
func (c *contiv) apply(ctx context.Context, objects []map[string]any) error {
	const atOnce = 1000
	for len(objects) > 0 {
		n := min(atOnce, len(objects))
		b, err := json.Marshal(objects[:n])
		if err != nil {
			return fmt.Errorf("write objects: %w", err)
		}
		cmd := c.all[0].Command(ctx, filepath.Join(c.programs, "netctl"), "--netmaster", c.cluster.MasterURL(), "apply", "-f", "-")
		cmd.Stdin = strings.NewReader(string(b))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply objects: %w: %s", err, end(string(out)))
		}
		objects = objects[n:]
	}
	return nil
}

// contivVLAN is a network that is a VLAN, or one that is routed between the nodes. Compare it with redirect.
type contivVLAN struct {
	contiv
	routed bool
}

func (c *contivVLAN) Name() string {
	if c.routed {
		return "contiv-routed"
	}
	return "contiv-vlan"
}

func (c *contivVLAN) Up(ctx context.Context, t topology) (pair, error) {
	c.vlan = true
	p, err := c.contiv.Up(ctx, t)
	if err != nil || !c.routed {
		return p, err
	}
	own := [2]string{"192.168.78.1", "192.168.78.2"}
	for i, n := range c.cluster.Nodes { // each is the other's router
		_, err := c.cluster.Netctl(ctx, "bgp", "create", n.Name(), "--router-ip", own[i]+"/24", "--as", "65001", "--neighbor-as", "65001", "--neighbor", own[1-i])
		if err != nil {
			return p, err
		}
	}
	return p, cluster.Eventually(ctx, time.Minute, func() error {
		for i, n := range c.cluster.Nodes {
			out, err := n.Output(ctx, "ip", "route", "show", "table", "179", "proto", "179", "via", own[1-i])
			if err == nil && out == "" {
				err = fmt.Errorf("%s has learnt no route", n.Name())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// contivDocker is the same network with Docker's containers. Compare it with docker-sandbox, not with the limit: Docker's
// rules inside its containers cost what they cost, whatever carries the packets outside.
type contivDocker struct{ contiv }

func (*contivDocker) Name() string { return "contiv-docker" }

func (c *contivDocker) Up(ctx context.Context, t topology) (pair, error) {
	if err := c.create(ctx, t.nodeCount()); err != nil {
		return pair{}, err
	}
	return c.pair(ctx, contivNetwork)
}

// end is the last lines of a log.
func end(log string) string { return log[max(0, len(log)-1500):] }
