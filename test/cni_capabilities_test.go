// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/contivnet/contiv/test/cluster"
)

// sandbox is the pod's network namespace as this process sees it.
func (p pod) sandbox() string { return filepath.Join(p.node.Root(), p.netns()) }

// with is a network configuration that a runtime has filled in for a container.
func with(config, runtimeConfig string) string {
	return strings.TrimSuffix(config, "}") + `, "runtimeConfig": ` + runtimeConfig + "}"
}

func TestPortsOfTheNodeLeadToContainersOfCNI(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 2, cluster.Options{AgentFlags: []string{"--sweep", "1s"}})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	network(t, c, "island", "-s", "10.1.3.0/24")
	site := newPod(t, a, "site")
	const ports = `{"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 8081, "containerPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"}]}`
	web := with(conf("k8s", "web"), ports)
	addrs := site.add(web)
	tellsWho(t, site.sandbox(), netip.AddrPortFrom(addrs[0], 80))
	node := a.Addr().String()
	led := func() {
		t.Helper()
		eventually(t, func() error {
			who, err := seenBy(b.Netns(), node+":8080")
			if err == nil && who != b.Addr().String() {
				err = fmt.Errorf("another node is seen as %s", who)
			}
			return err
		})
		for _, own := range []string{node + ":8080", "127.0.0.1:8080", "127.0.0.1:8081"} {
			eventually(t, func() error {
				_, err := seenBy(a.Netns(), own)
				return err
			})
		}
	}
	led()
	if who, err := seenBy(b.Netns(), node+":8081"); err == nil {
		t.Errorf("a port at 127.0.0.1 is seen from outside, by %s", who)
	}
	site.must("CHECK", web)
	if again := site.addrs(web); len(again) != 1 || again[0] != addrs[0] {
		t.Errorf("asked for again it has %v after %v", again, addrs)
	}
	led()

	// What cannot be is refused with its reason, and leaves nothing.
	second := newPod(t, a, "second")
	one := func(mapping string) string { return with(conf("k8s", "web"), `{"portMappings": [`+mapping+`]}`) }
	for mapping, want := range map[string]struct {
		code uint
		word string
	}{
		`{"hostPort": 8080, "containerPort": 81}`:                                        {types.ErrTryAgainLater, "port 8080/tcp of this node is in use already"},
		`{"hostPort": 8082, "containerPort": 81, "hostIP": "192.0.2.77"}`:                {types.ErrInvalidNetworkConfig, "192.0.2.77 is no address of this node"},
		`{"hostPort": 8082, "containerPort": 81, "hostIP": "::"}`:                        {types.ErrInvalidNetworkConfig, "no gateway of that address's family"},
		`{"hostPort": 70000, "containerPort": 81}`:                                       {types.ErrInvalidNetworkConfig, "has port 70000"},
		`{"hostPort": 8082, "containerPort": 81, "protocol": "icmp"}`:                    {types.ErrInvalidNetworkConfig, `protocol "icmp"`},
		`{"hostPort": 8083, "containerPort": 1}, {"hostPort": 8083, "containerPort": 2}`: {types.ErrTryAgainLater, "8083/tcp"},
	} {
		second.refused(want.code, want.word, "ADD", one(mapping))
	}
	second.refused(types.ErrInvalidNetworkConfig, "nothing from outside comes in by this network", "ADD", with(conf("k8s", "island"), `{"portMappings": [{"hostPort": 8082, "containerPort": 81}]}`))
	endpoints(t, c, "web", 1)
	endpoints(t, c, "island", 0)
	second.add(one(`{"hostPort": 8083, "containerPort": 1}`)) // what was refused holds it no more
	second.must("DEL", one(`{"hostPort": 8083, "containerPort": 1}`))

	// CHECK tells one that is gone, the sweep puts it back, and a killed agent's next one has it too.
	must(t, a.Run(t.Context(), "nft", "flush", "map", "inet", "contiv", "published4"))
	if _, err := site.call("CHECK", web); err != nil && !strings.Contains(err.Error(), "ports of the node") {
		t.Errorf("CHECK of a port that somebody removed: %v", err)
	}
	led()
	site.refused(types.ErrInternal, "0.0.0.0:8089/tcp does not lead to it", "CHECK", one(`{"hostPort": 8089, "containerPort": 80}`))
	if err := a.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	led()
	second.refused(types.ErrTryAgainLater, "8080/tcp", "ADD", one(`{"hostPort": 8080, "containerPort": 81}`))
	site.must("CHECK", web)

	// The port goes with the container.
	site.must("DEL", web)
	if who, err := seenBy(b.Netns(), node+":8080"); err == nil {
		t.Errorf("the port of a container that is gone leads on, for %s", who)
	}
	second.add(one(`{"hostPort": 8080, "containerPort": 81}`))
	second.must("DEL", web)
	allocated(t, c, "10.1.2.254", "web")
	healthy(t, c)
}

func TestContainersOfCNIAreHeldToTheirBandwidth(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, &programs, 1, cluster.Options{})
	n := c.Nodes[0]
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	netctl(t, c, "netprofile", "create", "tight", "--bandwidth=6mbps", "--ingress-bandwidth=100mbps")
	netctl(t, c, "group", "create", "web", "tight", "--networkprofile=tight")
	// As containerd writes it for a pod with annotations.
	const held = `{"bandwidth": {"ingressRate": 12000000, "ingressBurst": 4294967295, "egressRate": 20000000, "egressBurst": 4294967295}}`
	at := func(name, config string) place {
		p := newPod(t, n, name)
		return place{sandbox: p.sandbox(), ip: p.add(config)[0]}
	}
	free, own := at("free", conf("k8s", "web")), at("own", with(conf("k8s", "web"), held))
	both := at("both", with(strings.Replace(conf("k8s", "web"), `"network"`, `"group": "tight", "network"`, 1), held))
	for _, l := range loads {
		l.within(t, "sent", own, free, 20*mbit)
		l.within(t, "received", free, own, 12*mbit)
	}
	tcp := loads[0]
	tcp.within(t, "sent where the group's limit is tighter", both, free, 6*mbit)
	tcp.within(t, "received where the own is tighter", free, both, 12*mbit)
	if err := n.RestartAgent(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	tcp.within(t, "sent after the agent was killed", own, free, 20*mbit)
	above(t, "a container without a bandwidth", free, free, 20*mbit)
	bad := newPod(t, n, "bad")
	bad.refused(types.ErrInvalidNetworkConfig, "ingressRate 10", "ADD", with(conf("k8s", "web"), `{"bandwidth": {"ingressRate": 10}}`))
	endpoints(t, c, "web", 3)
	healthy(t, c)
}
