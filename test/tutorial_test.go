// SPDX-License-Identifier: Apache-2.0

package test

import (
	"os"
	"testing"
	"time"

	"github.com/contivnet/contiv/docs/tutorials"
	"github.com/contivnet/contiv/test/cluster"
	"github.com/contivnet/contiv/test/netlab"
	"github.com/contivnet/contiv/test/tutorial"
)

// programs are built once for all tests.
var programs cluster.Programs

// start makes a cluster of two hosts that goes with the test.
func start(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	return cluster.New(t, &programs, 2, o)
}

func TestDockerTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Docker)
}

func TestNamesTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Names)
}

func TestServicesTutorialRunsAsItIsWritten(t *testing.T) {
	t.Parallel()
	runTutorial(t, tutorials.Services)
}

// runTutorial types a tutorial's steps on hosts that are called as in it; prepared, when given, gets each host ready for them.
func runTutorial(t *testing.T, text string, prepared ...func(*cluster.Node)) {
	t.Helper()
	steps, err := tutorial.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, cluster.Options{Lab: netlab.Options{Hosts: tutorialHosts}})
	typeTutorial(t, c, steps, prepared...)
}

// tutorialHosts are called as in the tutorials.
var tutorialHosts = []netlab.HostOptions{{Name: "tutorial-node1"}, {Name: "tutorial-node2"}}

func typeTutorial(t *testing.T, c *cluster.Cluster, steps []tutorial.Step, prepared ...func(*cluster.Node)) {
	t.Helper()
	hosts := map[string]tutorial.Host{}
	for _, n := range c.Nodes {
		hosts[n.Name()] = n
		for _, prepare := range prepared {
			prepare(n)
		}
	}
	if err := tutorial.Run(t.Context(), steps, hosts, 10*time.Second, os.Stdout); err != nil {
		t.Fatal(err)
	}
}
