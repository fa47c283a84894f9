// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
)

// serviceCounts are how many services there are; the client asks for one of them.
var serviceCounts = [...]int{1, 10000}

// serviceShift is how much less the ports of a service are than its provider's, so that ports are translated as well.
const serviceShift = 1000

// serviceAddress is the virtual address of service i; the last one is asked for.
func serviceAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 201, byte(100 + i>>8), byte(i)})
}

// servedPorts are those of the server, by protocol.
var servedPorts = []struct {
	protocol string
	port     uint16
}{{"TCP", echoPort}, {"TCP", sinkPort}, {"TCP", freePort}, {"UDP", packetsPort}}

// provided is Contiv with a server that is reached by one of so many services; 0: by its own address, on a node with one.
type provided struct {
	node     *ruledNode
	services int
}

func (s *provided) Name() string {
	switch s.services {
	case 0:
		return oursName + ", direct"
	case 1:
		return oursName + ", 1 service"
	}
	return fmt.Sprintf("%s, %d services", oursName, s.services)
}

func (s *provided) Down() error { return s.node.Down() }

func (s *provided) Up(ctx context.Context, _ topology) (pair, error) {
	if err := s.node.start(ctx); err != nil {
		return pair{}, err
	}
	name := fmt.Sprintf("bench-served%d", s.services)
	server, err := s.node.attachBy(ctx, s.node.all[0], name, name, "")
	if err != nil {
		return pair{}, err
	}
	if s.services == 0 {
		return pair{client: s.node.client.namespace, server: server.namespace, address: server.address}, nil
	}
	var ports []string
	for _, p := range servedPorts {
		ports = append(ports, fmt.Sprintf("%d:%d:%s", p.port-serviceShift, p.port, p.protocol))
	}
	var objects []map[string]any
	for i := range s.services {
		objects = append(objects, map[string]any{
			"kind": "service", "serviceName": fmt.Sprint("s", i), "networkName": contivNetwork, "ipAddress": serviceAddress(i).String(),
			"selectors": []string{"cni.config=" + name}, "ports": ports,
		})
	}
	if err := s.node.apply(ctx, objects); err != nil {
		return pair{}, err
	}
	return pair{
		client: s.node.client.namespace, server: server.namespace, address: serviceAddress(s.services - 1), shift: serviceShift,
	}, nil
}

// natted is a node that routes between two containers and has iptables translate to one of them, by the chains that kube-proxy writes: a
// rule for each port of each service, which are walked by the first packet of a connection.
type natted struct{ filtered }

func (n *natted) Name() string {
	if n.rules == 1 {
		return "iptables, 1 service"
	}
	return fmt.Sprintf("iptables, %d services", n.rules)
}

func (n *natted) Up(ctx context.Context, t topology) (pair, error) {
	n.with = "iptables"
	services := n.rules
	n.rules = 0
	p, err := n.filtered.Up(ctx, t)
	n.rules = services
	if err != nil {
		return p, err
	}
	var chains, rules strings.Builder
	for i := range services {
		for _, served := range servedPorts {
			protocol := strings.ToLower(served.protocol)
			chain := fmt.Sprintf("%d-%d", i, served.port)
			fmt.Fprintf(&chains, ":SVC-%s - [0:0]\n:SEP-%s - [0:0]\n", chain, chain)
			fmt.Fprintf(&rules, "-A SERVICES -d %s/32 -p %s -m %s --dport %d -j SVC-%s\n", serviceAddress(i), protocol, protocol, served.port-serviceShift, chain)
			fmt.Fprintf(&rules, "-A SVC-%s -j SEP-%s\n", chain, chain)
			fmt.Fprintf(&rules, "-A SEP-%s -p %s -m %s -j DNAT --to-destination %s:%d\n", chain, protocol, protocol, filteredAddress(1), served.port)
		}
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--net="+n.all[2].path(), "iptables-restore")
	cmd.Stdin = strings.NewReader("*nat\n:SERVICES - [0:0]\n" + chains.String() + "-A PREROUTING -j SERVICES\n" + rules.String() + "COMMIT\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("load the rules with iptables-restore: %w: %s", err, end(string(out)))
	}
	p.address, p.shift = serviceAddress(services-1), serviceShift
	return p, nil
}

// serviceContestants are the limit, Contiv with and without services, and iptables.
func serviceContestants(programs string) []contestant {
	few, many := &ruledNode{contiv: contiv{programs: programs, gateway: contivGateway}}, &ruledNode{contiv: contiv{programs: programs, gateway: contivGateway}}
	all := []contestant{&bareVeth{name: limitName}, &provided{few, 0}, &provided{few, 1}, &provided{many, serviceCounts[1]}}
	for _, n := range serviceCounts {
		all = append(all, &natted{filtered{rules: n}})
	}
	return all
}

// serviceFloor is the least part of its rate without service that Contiv is to keep with any number of them.
const serviceFloor = 0.95

// serviceTable has Contiv beside itself without a service.
func (o outcome) serviceTable() string {
	base := (&provided{}).Name()
	text := o.keptTable(base, "direct")
	for _, n := range serviceCounts {
		name := (&provided{services: n}).Name()
		if kept, ok := o.kept(base, name, "crr"); ok {
			verdict := "met"
			if kept < serviceFloor {
				verdict = "not met"
			}
			text += fmt.Sprintf("connections, %s: %.3f of those made directly; wanted %.2f: %s\n", name, kept, serviceFloor, verdict)
		}
	}
	return text
}

// benchService is the mode -service, and a part of the whole.
func benchService(ctx context.Context, o options, stdout, stderr io.Writer) error {
	return benchRace(ctx, o, "Services on a node", serviceContestants(o.programs), outcome.serviceTable, stdout, stderr)
}
