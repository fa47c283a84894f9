// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/test/cluster"
)

// engineHas waits until the node's engine has just these networks of ours.
func engineHas(t *testing.T, n *cluster.Node, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, func() error {
		out, err := n.Docker(t.Context(), "network", "ls", "--filter", "driver=netplugin", "--format", "{{.Name}}")
		got := strings.Fields(out)
		slices.Sort(got)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("the engine of %s has %q, want %q", n.Name(), got, want)
		}
		return err
	})
}

// endpointOf is what the masters have of a container that is in one network.
func endpointOf(t *testing.T, c *cluster.Cluster, container string) api.EndpointOper {
	t.Helper()
	var i api.EndpointInspect
	if err := json.Unmarshal([]byte(netctl(t, c, "endpoint", "inspect", container)), &i); err != nil {
		t.Fatal(err)
	}
	return i.Oper
}

// ask sends a request about a group, by tenant:group, to the master, from the master's host.
func ask(t *testing.T, c *cluster.Cluster, method, key string, g api.EndpointGroup) error {
	t.Helper()
	body, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, c.MasterURL()+api.ObjectPath(api.EndpointGroups, key), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = c.Nodes[0].Enter(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of group %s: %s: %s", method, key, resp.Status, said)
	}
	return err
}

// group makes a group.
func group(t *testing.T, c *cluster.Cluster, key, network, pool string) {
	t.Helper()
	if err := ask(t, c, http.MethodPut, key, api.EndpointGroup{NetworkName: network, IPPool: pool}); err != nil {
		t.Fatal(err)
	}
}

// ungroup removes one.
func ungroup(t *testing.T, c *cluster.Cluster, key string) {
	t.Helper()
	if err := ask(t, c, http.MethodDelete, key, api.EndpointGroup{}); err != nil {
		t.Fatal(err)
	}
}

func TestGroupIsADockerNetworkOnEveryEngine(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "contiv-net", "-s", "10.1.2.0/24", "-g", "10.1.2.254", "-s6", "2001:db8:2::/64")
	network(t, c, "web", "-t", "blue", "-s", "10.1.2.0/24")
	docker(t, b, "network", "create", "app")
	before := docker(t, b, "network", "inspect", "--format", "{{.ID}}", "app")
	began := time.Now()
	group(t, c, "default:db", "contiv-net", "")
	group(t, c, "blue:db", "web", "")
	group(t, c, "default:app", "contiv-net", "")
	engineHas(t, a, "contiv-net", "db.contiv-net", "db", "app.contiv-net", "app", "web/blue", "db.web/blue", "db/blue")
	engineHas(t, b, "contiv-net", "db.contiv-net", "db", "app.contiv-net", "web/blue", "db.web/blue", "db/blue")
	if took := time.Since(began); took > 2*time.Second {
		t.Logf("the groups took %s to be in every engine", took) // the machine may be busy: measured, not judged, here
	}
	for name, want := range map[string]string{
		"db.contiv-net": `netplugin map[encap:vxlan pkt-tag:1 tenant:default] netplugin map[group:db network:contiv-net tenant:default] 10.1.2.0/24 10.1.2.254`,
		"db/blue":       `netplugin map[encap:vxlan pkt-tag:2 tenant:blue] netplugin map[group:db network:web tenant:blue] 10.1.2.0/24`,
	} {
		got := docker(t, b, "network", "inspect", name, "--format", "{{.Driver}} {{.Options}} {{.IPAM.Driver}} {{.IPAM.Options}} {{with index .IPAM.Config 0}}{{.Subnet}} {{.Gateway}}{{end}}")
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	// Another's network of the name is left alone, which is no fault; the group is there under its full name.
	if got := docker(t, b, "network", "inspect", "--format", "{{.ID}} {{.Driver}}", "app"); got != before+" bridge" {
		t.Errorf("the user's own network is %s now", got)
	}
	if log := b.Agent.Log(); !strings.Contains(log, "group app of network contiv-net is called app.contiv-net there") {
		t.Error("the agent says nothing of the name that it leaves to another")
	}
	healthy(t, c)

	// Removed with docker, they come again. Removed with netctl, they go, also from an engine that was down.
	was := docker(t, a, "network", "inspect", "--format", "{{.ID}}", "db")
	_, _ = a.Docker(t.Context(), "network", "rm", "db") // engines differ in whether they tell of the driver's refusal
	eventually(t, func() error {
		now, err := a.Docker(t.Context(), "network", "inspect", "--format", "{{.ID}}", "db")
		if err == nil && now == was {
			err = fmt.Errorf("network db is still the old one")
		}
		return err
	})
	if err := b.Engine.Stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ungroup(t, c, "default:db")
	ungroup(t, c, "blue:db")
	ungroup(t, c, "default:app")
	group(t, c, "default:new", "contiv-net", "")
	if err := b.StartDocker(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "new.contiv-net", "new", "web/blue")
	}
	if got := docker(t, b, "network", "inspect", "--format", "{{.ID}} {{.Driver}}", "app"); got != before+" bridge" {
		t.Errorf("the user's own network is %s now", got)
	}
	healthy(t, c)
}

func TestContainersOfAGroupAreInItsNetwork(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24")
	group(t, c, "default:db", "contiv-net", "10.1.2.20-10.1.2.30")
	group(t, c, "default:web", "contiv-net", "")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net", "db.contiv-net", "db", "web.contiv-net", "web")
	}
	run(t, a, "db1", "db.contiv-net", "--restart", "always", "--stop-signal", "KILL")
	run(t, b, "db2", "db", "--ip", "10.1.2.25")
	run(t, b, "web1", "bridge")
	docker(t, b, "network", "connect", "web", "web1")
	run(t, b, "plain", "contiv-net")
	if got := address(t, a, "db1", "db.contiv-net") + " " + address(t, b, "web1", "web") + " " + address(t, b, "plain", "contiv-net"); got != "10.1.2.20 10.1.2.1 10.1.2.2" {
		t.Errorf("db1, web1 and plain have %s", got)
	}
	groups := func() {
		t.Helper()
		for name, group := range map[string]string{"db1": "db:default", "db2": "db:default", "web1": "web:default", "plain": ""} {
			eventually(t, func() error {
				out, err := c.Netctl(t.Context(), "endpoint", "inspect", name) // which has no name just after it is back
				if err != nil {
					return err
				}
				var i api.EndpointInspect
				if err := json.Unmarshal([]byte(out), &i); err != nil {
					return err
				}
				if e := i.Oper; e.Network != "contiv-net.default" || e.EndpointGroupKey != group {
					return fmt.Errorf("%s is in network %q, group %q", name, e.Network, e.EndpointGroupKey)
				}
				return nil
			})
		}
	}
	groups()
	// One network, so one set of names, across groups and hosts.
	reaches(t, a, "db1", "db2")
	reaches(t, a, "db1", "web1")
	reaches(t, b, "plain", "db1")
	reaches(t, b, "plain", "web1")
	reaches(t, b, "web1", "plain")

	dockerRefused(t, b, []string{"10.1.2.40", "db"}, "run", "--rm", "--net", "db", "--ip", "10.1.2.40", "alpine", "true")
	dockerRefused(t, b, []string{"10.1.2.30", "db"}, "run", "--rm", "--net", "web", "--ip", "10.1.2.30", "alpine", "true")
	// Once in a network. Engine 20.10 keeps the wish, so it takes a container that nobody misses.
	run(t, b, "twice", "db")
	dockerRefused(t, b, []string{"group db of network contiv-net already", "docker network disconnect"}, "network", "connect", "contiv-net", "twice")
	docker(t, b, "rm", "-f", "twice")
	if err := ask(t, c, http.MethodDelete, "default:db", api.EndpointGroup{}); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("a group with containers is removed: %v", err)
	}
	reaches(t, a, "db1", "10.1.2.25")
	healthy(t, c)

	// Stopped and started, with an agent and an engine that are killed, each is in its group again.
	docker(t, b, "restart", "-t", "0", "web1")
	docker(t, b, "stop", "-t", "0", "db2")
	docker(t, b, "start", "db2")
	for _, n := range c.Nodes {
		if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Engine.Stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := a.StartDocker(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		out, err := a.Docker(t.Context(), "inspect", "--format", `{{.State.Running}} {{(index .NetworkSettings.Networks "db.contiv-net").IPAddress}}`, "db1")
		if err == nil && !strings.HasPrefix(out, "true 10.1.2.2") {
			err = fmt.Errorf("db1 is %s", out)
		}
		return err
	})
	groups()
	reaches(t, b, "plain", "db1")
	reaches(t, a, "db1", "db2")
	healthy(t, c)

	docker(t, a, "rm", "-f", "db1")
	docker(t, b, "rm", "-f", "db2", "web1", "plain")
	allocated(t, c, "10.1.2.20-10.1.2.30", "contiv-net") // the pool is set aside
	ungroup(t, c, "default:db")
	ungroup(t, c, "default:web")
	allocated(t, c, "", "contiv-net")
	for _, n := range c.Nodes {
		engineHas(t, n, "contiv-net")
	}
	healthy(t, c)
}

func TestCNIConfigurationNamesAGroup(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "contiv-net", "-s", "10.1.2.0/24")
	network(t, c, "other", "-s", "10.1.3.0/24")
	group(t, c, "default:db", "contiv-net", "10.1.2.20-10.1.2.30")
	both := strings.Replace(conf("k8s", "contiv-net"), "{", `{"group": "db", `, 1)
	alone := `{"cniVersion": "1.1.0", "name": "k8s", "type": "contivk8s", "group": "db"}`
	p, q := newPod(t, n, "p"), newPod(t, n, "q")
	if got := fmt.Sprint(p.add(both), q.add(alone), q.add(alone)); got != "[10.1.2.20] [10.1.2.21] [10.1.2.21]" {
		t.Errorf("p and q have %s", got)
	}
	p.reaches("10.1.2.21")
	for _, pod := range []string{"p", "q"} {
		if e := endpointOf(t, c, "cni-"+pod+":eth0"); e.EndpointGroupKey != "db:default" || e.Network != "contiv-net.default" {
			t.Errorf("%s is %+v", pod, e)
		}
	}
	p.must("CHECK", both)
	p.refused(types.ErrInvalidNetworkConfig, "in group \"db\" already", "ADD", conf("k8s", "contiv-net"))
	p.refused(types.ErrInvalidNetworkConfig, "netctl group create", "ADD", strings.Replace(both, `"db"`, `"nobody"`, 1), "CNI_IFNAME=net1")
	p.refused(types.ErrInvalidNetworkConfig, "is in network contiv-net, not in other", "ADD", strings.Replace(both, "contiv-net", "other", 1), "CNI_IFNAME=net1")
	q.must("GC", strings.Replace(alone, "{", `{"cni.dev/valid-attachments": [{"containerID": "p", "ifname": "eth0"}], `, 1))
	q.refused(types.ErrUnknownContainer, "not attached", "CHECK", alone)
	p.must("DEL", both)
	ungroup(t, c, "default:db")
	allocated(t, c, "", "contiv-net")
	healthy(t, c)
}
