// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// contestant is a way to join two containers. Up makes everything anew and may be called once; Down leaves nothing of
// it behind, also after an Up that failed.
type contestant interface {
	Name() string
	Up(ctx context.Context, t topology) (pair, error)
	Down() error
}

// pair is two containers' network namespaces, as paths that stay good until Down, and the address under which the
// client reaches the server.
type pair struct {
	client, server string
	address        netip.Addr
	shift          uint16 // what the way adds to the ports that the client asks for
}

// limitName is the contestant that the others are divided by.
const limitName = "bare veth"

// entrant is a contestant that -only can name.
type entrant struct {
	name string
	in   []topology
	make func() contestant
}

// entrants are all contestants in the order of the table; programs is the directory of ours.
func entrants(programs string) []entrant {
	both := []topology{same, across}
	return []entrant{
		{limitName, both, func() contestant { return &bareVeth{name: limitName} }},
		{"underlay", []topology{across}, func() contestant { return &bareVeth{name: "underlay"} }},
		{"static-bridge", both, func() contestant { return &staticBridge{} }},
		{"docker-sandbox", []topology{same}, func() contestant { return &dockerSandbox{} }},
		{"docker-bridge", []topology{same}, func() contestant { return &dockerBridge{} }},
		{"docker-overlay", []topology{across}, func() contestant { return &dockerOverlay{} }},
		{oursName, both, func() contestant { return &contiv{programs: programs, gateway: contivGateway} }},
		{"redirect", []topology{across}, func() contestant { return &redirect{} }},
		{"contiv-vlan", []topology{across}, func() contestant { return &contivVLAN{contiv: contiv{programs: programs, gateway: contivGateway}} }},
		{"contiv-routed", []topology{across}, func() contestant { return &contivVLAN{contiv{programs: programs, gateway: contivGateway}, true} }},
		{"contiv-docker", both, func() contestant { return &contivDocker{contiv{programs: programs}} }},
	}
}

// chosen are the contestants of a topology, the limit first. only is a comma list of names, empty for all.
func chosen(t topology, only, programs string) ([]contestant, error) {
	var wanted, known []string
	for name := range strings.SplitSeq(only, ",") {
		if name = strings.TrimSpace(name); name != "" {
			wanted = append(wanted, name)
		}
	}
	var all []contestant
	for _, e := range entrants(programs) {
		known = append(known, e.name)
		if slices.Contains(e.in, t) && (e.name == limitName || len(wanted) == 0 || slices.Contains(wanted, e.name)) {
			all = append(all, e.make())
		}
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("no contestant %q: there are %s", name, strings.Join(known, ", "))
		}
	}
	return all, nil
}
