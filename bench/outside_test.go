// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"testing"

	"github.com/contivnet/contiv/test/netlab"
)

func TestDockersWaysBeyondTheNodeAreWired(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a Docker engine: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces")
	}
	if err := netlab.Missing(); err != nil {
		t.Skip(err)
	}
	node := &brink{plain: true}
	var paths []*path
	for _, c := range []*crossing{{node, "bridge", false}, {node, userNetwork, false}, {node, "bridge", true}, {node, userNetwork, true}} {
		p, err := lay(t.Context(), c, same)
		if err != nil {
			t.Error(err)
			continue
		}
		paths = append(paths, p)
		for _, tr := range policyTrials() {
			if s, err := p.measure(t.Context(), tr, 0.1); err != nil || s.Rate <= 0 {
				t.Errorf("%s, %s: %+v, %v", c.Name(), tr.name, s, err)
			}
		}
	}
	for _, p := range paths {
		if err := p.remove(); err != nil {
			t.Error(err)
		}
	}
}

func TestWaysBeyondTheNodeHaveGoalsOfTheirOwnNames(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, c := range crossings("") {
		if names[c.Name()] {
			t.Errorf("two contestants are called %s", c.Name())
		}
		names[c.Name()] = true
	}
	for _, g := range crossingGoals {
		if !names[g.name] || !names[g.of] {
			t.Errorf("nobody is measured for the goal %+v", g)
		}
	}
}
