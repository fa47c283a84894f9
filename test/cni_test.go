// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/contivnet/contiv/test/cluster"
)

// pod is a container of a runtime that speaks CNI: nothing but a network namespace.
type pod struct {
	*testing.T
	node *cluster.Node
	name string
}

func newPod(t *testing.T, n *cluster.Node, name string) pod {
	t.Helper()
	if err := n.Run(t.Context(), "ip", "netns", "add", name); err != nil {
		t.Fatal(err)
	}
	return pod{t, n, name}
}

func (p pod) netns() string { return "/run/netns/" + p.name }

// conf is a network configuration of the newest version.
func conf(name, network string) string {
	return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "type": "contivk8s", "network": %q}`, name, network)
}

// call calls the CNI program as a runtime does. What it answers to a failure is the second result.
func (p pod) call(command, config string, env ...string) (string, *types.Error) {
	p.Helper()
	c := p.node.Command(p.Context(), "sh", "-c", "exec contivk8s")
	c.Env = append(c.Env, p.node.Environment()...)
	c.Env = append(c.Env, "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.name, "CNI_NETNS="+p.netns(), "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin")
	c.Env = append(c.Env, env...)
	c.Stdin = strings.NewReader(config)
	out, err := c.Output()
	if err == nil {
		return string(out), nil
	}
	var said types.Error
	if json.Unmarshal(out, &said) != nil || said.Code == 0 {
		p.Errorf("%s of %s fails without saying why: %v: %s", command, p.name, err, out)
		return "", &types.Error{Msg: "without saying why"}
	}
	return "", &said
}

// must is a call that has to succeed.
func (p pod) must(command, config string, env ...string) string {
	p.Helper()
	out, err := p.call(command, config, env...)
	if err != nil {
		p.Fatalf("%s of %s: %v", command, p.name, err)
	}
	return out
}

// refused is a call that has to fail with a code of the specification, and a text that has the word.
func (p pod) refused(code uint, word, command, config string, env ...string) {
	p.Helper()
	out, err := p.call(command, config, env...)
	if err == nil || err.Code != code || !strings.Contains(err.Error(), word) {
		p.Errorf("%s of %s: %s, %+v; want code %d and %q", command, p.name, out, err, code, word)
	}
}

// add attaches the pod and gives its addresses.
func (p pod) add(config string) []netip.Addr {
	p.Helper()
	addrs := p.addrs(config)
	if len(addrs) == 0 {
		p.FailNow()
	}
	return addrs
}

// addrs attaches the pod and gives its addresses; none, of which the test has heard, where that fails.
func (p pod) addrs(config string) []netip.Addr {
	p.Helper()
	var r current.Result
	out, refusal := p.call("ADD", config)
	if refusal != nil {
		p.Errorf("ADD of %s: %v", p.name, refusal)
		return nil
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		p.Errorf("ADD answers %s: %v", out, err)
		return nil
	}
	if len(r.Interfaces) != 1 || r.Interfaces[0].Name != "eth0" || r.Interfaces[0].Sandbox != p.netns() {
		p.Errorf("ADD answers %s", out)
	}
	var addrs []netip.Addr
	for _, ip := range r.IPs {
		a, _ := netip.AddrFromSlice(ip.Address.IP)
		addrs = append(addrs, a.Unmap())
	}
	return addrs
}

// run runs a command line in the pod.
func (p pod) run(ctx context.Context, line string) (string, error) {
	return p.node.Output(ctx, "ip", "netns", "exec", p.name, "sh", "-c", line)
}

func (p pod) reaches(to string) {
	p.Helper()
	eventually(p.T, func() error {
		_, err := p.run(p.Context(), "busybox ping -c 1 -W 1 "+to)
		return err
	})
}

// endpoints are how many endpoints a network has.
func endpoints(t *testing.T, c *cluster.Cluster, network string, want int) {
	t.Helper()
	eventually(t, func() error {
		if o := oper(t, c, network); o.NumEndpoints != want {
			return fmt.Errorf("network %s has %d endpoints, want %d: %s", network, o.NumEndpoints, want, o.AllocatedIPAddresses)
		}
		return nil
	})
}

func TestContainersOfCNIAndOfDockerReachEachOther(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "dual", "-s", "10.1.3.0/24", "-g", "10.1.3.254", "-s6", "2001:db8:3::/64", "-g6", "2001:db8:3::1")
	near, far, dual := newPod(t, a, "near"), newPod(t, b, "far"), newPod(t, b, "dual")
	run(t, a, "c1", "web")
	web := conf("k8s", "web")
	for i, p := range []pod{near, far} {
		// Twice: a runtime that did not hear the answer asks again.
		for range 2 {
			if got := p.add(web); !slices.Equal(got, []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 2, byte(i + 2)})}) {
				t.Errorf("%s has %v", p.name, got)
			}
		}
	}
	both := dual.add(conf("k8s", "dual"))
	if len(both) != 2 || both[0].String() != "10.1.3.1" || both[1].String() != "2001:db8:3::2" {
		t.Errorf("dual has %v", both)
	}
	if out, err := dual.run(t.Context(), "ip route; ip -6 route; cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address"); err != nil ||
		!strings.Contains(out, "default via 10.1.3.254 dev eth0") || !strings.Contains(out, "default via 2001:db8:3::1 dev eth0") ||
		!strings.Contains(out, "1450\n02:02:0a:01:03:01") {
		t.Errorf("dual has %s, %v", out, err)
	}
	near.reaches("10.1.2.1")
	near.reaches("10.1.2.3")
	near.reaches("10.1.3.1") // the tenant's other network
	dual.reaches("10.1.2.2")
	dual.reaches("10.1.3.254")
	dual.reaches("2001:db8:3::1")
	reaches(t, a, "c1", "10.1.2.2")
	reaches(t, a, "c1", "10.1.2.3")
	run(t, a, "c2", "dual")
	reaches(t, a, "c2", "-6 2001:db8:3::2")
	endpoints(t, c, "web", 3)

	// An agent that is killed knows them again, and takes none of them for what a dead container left.
	for _, n := range c.Nodes {
		if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	healthy(t, c)
	for _, p := range []pod{near, far} {
		p.must("CHECK", web)
	}
	near.reaches("10.1.2.3")
	endpoints(t, c, "web", 3)

	// A container that died without a word is gone, as is one whose end was told.
	if err := b.Run(t.Context(), "ip", "netns", "del", "far"); err != nil {
		t.Fatal(err)
	}
	near.must("DEL", web)
	dual.must("DEL", conf("k8s", "dual"))
	docker(t, a, "rm", "-f", "c1", "c2")
	allocated(t, c, "", "web")
	allocated(t, c, "10.1.3.254", "dual")
	endpoints(t, c, "dual", 0)
	healthy(t, c)
}

func TestCNICallsAreAnsweredAsTheSpecificationSays(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	web := conf("k8s", "web")
	p, q := newPod(t, n, "p"), newPod(t, n, "q")

	if out := p.must("VERSION", ""); !strings.Contains(out, `"1.1.0"`) || !strings.Contains(out, `"0.3.1"`) {
		t.Errorf("VERSION answers %s", out)
	}
	p.must("STATUS", web)

	// Older versions of the result.
	old := strings.Replace(web, "1.1.0", "0.3.1", 1)
	if out := p.must("ADD", old); !strings.Contains(out, `"cniVersion": "0.3.1"`) || !strings.Contains(out, "10.1.2.1/24") {
		t.Errorf("ADD answers %s", out)
	}
	p.must("CHECK", web)
	// What the runtime believes is compared too.
	believed := strings.Replace(web, "{", `{"prevResult": `+p.must("ADD", web)+`, `, 1)
	p.must("CHECK", believed)
	p.refused(types.ErrInternal, "prevResult says 10.1.2.77/24", "CHECK", strings.Replace(believed, "10.1.2.1/24", "10.1.2.77/24", 1))
	for _, drift := range [][2]string{
		{"ip route del default", "default route"}, {"ip addr del 10.1.2.1/24 dev eth0", "10.1.2.1/24"}, {"ip link del eth0", "no device"},
	} {
		if out, err := p.run(t.Context(), drift[0]); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		switch _, err := p.call("CHECK", web); {
		case err == nil:
			t.Errorf("CHECK does not see %q", drift[0])
		case err.Code == types.ErrUnknownContainer: // swept already
		case err.Code != types.ErrInternal || !strings.Contains(err.Error(), drift[1]) && !strings.Contains(err.Error(), "port is gone"):
			t.Errorf("CHECK after %q: %+v", drift[0], err)
		}
	}
	// ADD of what lost its device makes another.
	p.add(web)
	p.must("CHECK", web)

	for range 2 {
		p.must("DEL", web)
	}
	p.must("DEL", web, "CNI_NETNS=")
	p.must("DEL", web, "CNI_CONTAINERID=never-was", "CNI_NETNS=/run/netns/never-was")
	allocated(t, c, "10.1.2.254", "web")
	p.refused(types.ErrUnknownContainer, "not attached", "CHECK", web)

	// What is collected is what that configuration attached and its runtime does not have any more.
	p.add(web)
	q.add(web)
	other := newPod(t, n, "other")
	other.add(conf("podman", "web"))
	run(t, n, "c1", "web")
	valid := strings.Replace(web, "{", `{"cni.dev/valid-attachments": [{"containerID": "q", "ifname": "eth0"}], `, 1)
	p.must("GC", valid)
	p.refused(types.ErrUnknownContainer, "not attached", "CHECK", web)
	q.must("CHECK", web)
	other.must("CHECK", conf("podman", "web"))
	endpoints(t, c, "web", 3)
	reaches(t, n, "c1", "10.1.2.2")
	healthy(t, c)
}

func TestCNICallsThatCannotBeAnsweredSayWhy(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24")
	netctl(t, c, "net", "create", "tiny", "-s", "10.1.9.0/30")
	web := conf("k8s", "web")
	p := newPod(t, n, "p")

	p.refused(types.ErrInvalidNetworkConfig, "netctl net create", "ADD", conf("k8s", "nowhere"))
	p.refused(types.ErrInvalidNetworkConfig, "nobody", "ADD", strings.Replace(web, "{", `{"tenant": "nobody", `, 1))
	p.refused(types.ErrInvalidEnvironmentVariables, "not a network namespace", "ADD", web, "CNI_NETNS=/run/netns/none")
	p.refused(types.ErrInvalidEnvironmentVariables, "not a network namespace", "ADD", web, "CNI_NETNS=/etc/passwd")
	p.refused(types.ErrInvalidEnvironmentVariables, "the node's own", "ADD", web, "CNI_NETNS=/proc/1/ns/net")
	p.refused(types.ErrInvalidEnvironmentVariables, "interface name", "ADD", web, "CNI_IFNAME=a-name-that-is-too-long")
	p.refused(types.ErrDecodingFailure, "network config", "ADD", "{")
	p.refused(types.ErrIncompatibleCNIVersion, "incompatible", "ADD", strings.Replace(web, "1.1.0", "9.9.9", 1))
	// Whatever was made for them is not left.
	allocated(t, c, "", "web")

	// A device of that name is there already, by another plugin.
	if out, err := p.run(t.Context(), "ip link add eth0 type veth peer name other0"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.refused(types.ErrInternal, "has a device eth0 already", "ADD", web)
	allocated(t, c, "", "web")
	p.must("ADD", web, "CNI_IFNAME=net1")
	// The same interface cannot be in another network as well; it stays where it is.
	p.refused(types.ErrInvalidNetworkConfig, "default:web", "ADD", conf("k8s", "tiny"), "CNI_IFNAME=net1")
	p.must("CHECK", web, "CNI_IFNAME=net1")
	// Nor can it be in another container as well.
	p.refused(types.ErrInvalidEnvironmentVariables, "DEL it first", "ADD", web, "CNI_IFNAME=net1", "CNI_NETNS="+newPod(t, n, "q").netns())
	p.must("CHECK", web, "CNI_IFNAME=net1")
	for i := range 2 {
		p.must("ADD", conf("k8s", "tiny"), fmt.Sprintf("CNI_IFNAME=tiny%d", i))
	}
	if _, err := p.call("ADD", conf("k8s", "tiny"), "CNI_IFNAME=tiny2"); err == nil || !strings.Contains(err.Error(), "no address is free") {
		t.Errorf("a full network gives %+v", err)
	}

	// No master: attaching is to be tried again, detaching works.
	if err := c.Master.Kill(); err != nil {
		t.Fatal(err)
	}
	p.refused(types.ErrTryAgainLater, "netmaster", "ADD", web, "CNI_IFNAME=net2")
	p.must("DEL", web, "CNI_IFNAME=net1")
	if err := c.StartMaster(t.Context()); err != nil {
		t.Fatal(err)
	}
	allocated(t, c, "", "web")
	// What was detached meanwhile may come again at once, and stays.
	p.must("ADD", web, "CNI_IFNAME=net1")
	healthy(t, c)
	p.must("CHECK", web, "CNI_IFNAME=net1")

	// No agent.
	if err := n.Agent.Kill(); err != nil {
		t.Fatal(err)
	}
	p.refused(types.ErrTryAgainLater, "netplugin", "DEL", web, "CNI_IFNAME=net1")
	p.refused(types.ErrPluginNotAvailable, "netplugin", "STATUS", web)
}
