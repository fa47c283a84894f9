// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/contivnet/contiv/test/netlab"
)

// nodes are hosts that can run real Docker engines.
type nodes struct {
	lab  *netlab.Lab
	all  []*netlab.Host
	wire bool // the hosts have wireLink, too
}

// wireLink is the name, on both nodes, of the device on whose wire VLANs are.
const wireLink = "wl0"

// hosts starts count hosts (1 or 2) without engines.
func (n *nodes) hosts(ctx context.Context, count int) error {
	o := netlab.Options{Ephemeral: true, MTU: underlayMTU, Interface: underlayLink}
	for i := range count {
		o.Hosts = append(o.Hosts, netlab.HostOptions{Name: fmt.Sprintf("bench-node%d", i+1)})
	}
	if n.wire {
		o.Wires = []string{wireLink}
	}
	lab, err := netlab.Up(ctx, o)
	if err != nil {
		return fmt.Errorf("start hosts: %w", err)
	}
	n.lab, n.all = lab, lab.Hosts()
	if count == 2 {
		return n.rewire()
	}
	return nil
}

// engines starts an engine on each host and gives it an image.
func (n *nodes) engines(ctx context.Context) error {
	for _, h := range n.all {
		if _, err := h.StartEngine(ctx, netlab.EngineOptions{}); err != nil {
			return err
		}
		if err := h.LoadImage(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rewire replaces the lab's switch between two hosts by a veth pair with the same addresses: the underlay that the
// contestants without engines have. A switch's cost is nobody's here.
func (n *nodes) rewire() error {
	var ends []*namespace
	for _, h := range n.all {
		ns, err := openNamespace(h.Netns())
		if err != nil {
			return err
		}
		defer ns.close()
		ends = append(ends, ns)
		if err := ns.remove(underlayLink); err != nil {
			return err
		}
		if !n.wire {
			continue
		}
		if err := ns.remove(wireLink); err != nil {
			return err
		}
	}
	if n.wire {
		if err := join(cable{in: ends[0], name: wireLink}, cable{in: ends[1], name: wireLink}, underlayMTU); err != nil {
			return err
		}
	}
	return underlay(ends, n.all[0].Prefix(), n.all[1].Prefix())
}

// Down removes the hosts and all that is in them.
func (n *nodes) Down() error {
	if n.lab == nil {
		return nil
	}
	return n.lab.Close()
}

// container is one that runs, as seen from outside of its host.
type container struct {
	namespace string
	address   netip.Addr
}

// run starts a container that only sleeps on the network, with more flags of docker run.
func (n *nodes) run(ctx context.Context, h *netlab.Host, network, name string, flags ...string) (container, error) {
	args := append([]string{"run", "-d", "--name", name, "--network", network}, flags...)
	if _, err := h.Docker(ctx, append(args, "alpine", "sleep", "1000000")...); err != nil {
		return container{}, err
	}
	format := fmt.Sprintf(`{{.NetworkSettings.SandboxKey}} {{with index .NetworkSettings.Networks %q}}{{.IPAddress}}{{end}}`, network)
	out, err := h.Docker(ctx, "inspect", "-f", format, name)
	if err != nil {
		return container{}, err
	}
	return parseContainer(h.Root(), out)
}

// parseContainer reads a sandbox's path in the host and an address. /var/run is a link to /run in every host, but
// an absolute one, which seen from outside leads into the machine.
func parseContainer(root, out string) (container, error) {
	sandbox, text, _ := strings.Cut(strings.TrimSpace(out), " ")
	address, err := netip.ParseAddr(text)
	if err != nil {
		return container{}, fmt.Errorf("the container has no address: %q", out)
	}
	if rest, ok := strings.CutPrefix(sandbox, "/var/run/"); ok {
		sandbox = "/run/" + rest
	}
	return container{filepath.Join(root, sandbox), address}, nil
}

// pair runs a client on the first node and a server on the last.
func (n *nodes) pair(ctx context.Context, network string) (pair, error) {
	client, err := n.run(ctx, n.all[0], network, "bench-client")
	if err != nil {
		return pair{}, err
	}
	server, err := n.run(ctx, n.all[len(n.all)-1], network, "bench-server")
	if err != nil {
		return pair{}, err
	}
	return pair{client: client.namespace, server: server.namespace, address: server.address}, nil
}

// nodeCount is how many nodes a topology has.
func (t topology) nodeCount() int {
	if t == across {
		return 2
	}
	return 1
}
