// SPDX-License-Identifier: Apache-2.0

package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

func TestNetworkIsInEveryEngineWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	began := time.Now()
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-p", "1001")
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("the network took %s to be in every engine", took) // the machine may be busy: measured, not judged, here
	}
	var got []struct {
		Driver  string
		IPAM    struct{ Driver string }
		Options map[string]string
	}
	if err := json.Unmarshal([]byte(docker(t, c.Nodes[1], "network", "inspect", "web")), &got); err != nil {
		t.Fatal(err)
	}
	if g := got[0]; g.Driver != "netplugin" || g.IPAM.Driver != "netplugin" || fmt.Sprint(g.Options) != "map[encap:vxlan pkt-tag:1001 tenant:default]" {
		t.Errorf("the engine has %+v", g)
	}
	refused(t, c, []string{"1001"}, "net", "create", "other", "-s", "10.1.3.0/24", "-p", "1001")
	refused(t, c, []string{"subnet", "web"}, "net", "create", "other", "-s", "10.1.2.128/25")
	refused(t, c, []string{"nobody"}, "net", "create", "other", "-t", "nobody", "-s", "10.1.3.0/24")
	refused(t, c, []string{"gateway", "10.1.3.255"}, "net", "create", "other", "-s", "10.1.3.0/24", "-g", "10.1.3.255")
}

func TestNetworkMadeWithDockerIsMadeEverywhere(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	create := func(flags ...string) []string {
		return append([]string{"network", "create", "-d", "netplugin", "--ipam-driver", "netplugin"}, flags...)
	}
	docker(t, a, create("--subnet", "10.5.0.0/24", "--gateway", "10.5.0.254", "--ip-range", "10.5.0.128/25",
		"--aux-address", "printer=10.5.0.130", "-o", "tenant=blue", "-o", "pkt-tag=77", "shop")...)
	docker(t, a, create("--subnet", "10.6.0.0/24", "--ipv6", "--subnet", "2001:db8:6::/64", "dual")...)
	awaitNetwork(t, c, "dual")
	eventually(t, func() error { _, err := b.Docker(t.Context(), "network", "inspect", "shop/blue"); return err })
	if o := oper(t, c, "-t", "blue", "shop"); o.ExternalPktTag != 77 || !strings.Contains(o.AllocatedIPAddresses, "10.5.0.130") {
		t.Errorf("the masters have %+v", o)
	}
	run(t, a, "c1", "shop")
	run(t, b, "c2", "shop/blue")
	if x, y := address(t, a, "c1", "shop"), address(t, b, "c2", "shop/blue"); x != "10.5.0.128" || y != "10.5.0.129" {
		t.Errorf("containers have %s and %s", x, y)
	}
	reaches(t, a, "c1", "c2")
	run(t, a, "d1", "dual")
	run(t, b, "d2", "dual")
	reaches(t, a, "d1", "-6 d2")

	dockerRefused(t, b, []string{"10.5.0.192/26"}, create("--subnet", "10.5.0.192/26", "-o", "tenant=blue", "again")...)
	dockerRefused(t, b, []string{"nobody"}, create("--subnet", "10.7.0.0/24", "-o", "tenant=nobody", "again")...)
	dockerRefused(t, b, []string{"colour"}, create("--subnet", "10.7.0.0/24", "-o", "colour=red", "again")...)
	dockerRefused(t, b, []string{"77"}, create("--subnet", "10.7.0.0/24", "-o", "pkt-tag=77", "again")...)
	dockerRefused(t, b, []string{"ipam-driver"}, "network", "create", "-d", "netplugin", "--subnet", "10.7.0.0/24", "again")
	dockerRefused(t, b, []string{"subnet"}, create("again")...)

	docker(t, a, "rm", "-f", "c1", "d1")
	docker(t, b, "rm", "-f", "c2", "d2")
	docker(t, b, "network", "rm", "dual")
	eventually(t, func() error {
		out, err := a.Docker(t.Context(), "network", "ls", "--format", "{{.Name}}")
		if err == nil && strings.Contains(out, "dual") {
			err = fmt.Errorf("the other engine still has %s", out)
		}
		return err
	})
	netctl(t, c, "net", "rm", "-t", "blue", "shop")
	healthy(t, c)
}

func TestEngineThatWasDownCatchesUp(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	docker(t, b, "network", "create", "-d", "netplugin", "--ipam-driver", "netplugin", "--subnet", "10.8.0.0/24", "made-here")
	network(t, c, "gone", "-s", "10.1.2.0/24")
	awaitNetwork(t, c, "made-here")
	docker(t, b, "network", "create", "taken")
	if err := b.Engine.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	netctl(t, c, "net", "rm", "gone")
	netctl(t, c, "net", "rm", "made-here")
	netctl(t, c, "net", "create", "new", "-s", "10.1.3.0/24")
	netctl(t, c, "net", "create", "taken", "-s", "10.1.4.0/24")
	if err := b.StartDocker(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		eventually(t, func() error {
			out, err := n.Docker(t.Context(), "network", "ls", "--format", "{{.Name}}")
			if err == nil && (strings.Contains(out, "gone") || strings.Contains(out, "made-here") || !strings.Contains(out, "new")) {
				err = fmt.Errorf("%s has %s", n.Name(), out)
			}
			return err
		})
	}
	// A network of that name by another driver is left alone, and the doctor says so.
	if got := docker(t, b, "network", "inspect", "--format", "{{.Driver}}", "taken"); got != "bridge" {
		t.Errorf("the user's own network has become %s", got)
	}
	eventually(t, func() error {
		if err := b.Doctor(t.Context()); err == nil || !strings.Contains(err.Error(), "taken") {
			return fmt.Errorf("the doctor says %v", err)
		}
		return nil
	})
	if err := a.Doctor(t.Context()); err != nil {
		t.Error(err)
	}
}
