// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/contivnet/contiv/netdev"
	"github.com/contivnet/contiv/test/cluster"
)

// path is where the pod's namespace is, outside its host.
func (p pod) path() string { return filepath.Join(p.node.Root(), p.netns()) }

// answers fails the test unless a server, asked in the pod, answers with the address; "" for none.
func (p pod) answers(server, name, want string) {
	p.Helper()
	for _, network := range []string{"udp", "tcp"} {
		eventually(p.T, func() error {
			m, err := askServer(p.path(), network, server, name)
			if err == nil && addressIn(m) != want {
				err = fmt.Errorf("%s asks %s for %s over %s: got %v, want %q", p.name, server, name, network, m, want)
			}
			return err
		})
	}
}

func TestContainersOfCNIResolveNamesWhateverServerTheyAsk(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	network(t, c, "db", "-s", "10.1.3.0/24")
	network(t, c, "web", "-t", "blue", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	group(t, c, "default:front", "web", "")
	awaitNetwork(t, c, "front.web")
	far, blue, server := newPod(t, b, "far"), newPod(t, b, "blue"), newPod(t, b, "server")
	near := newPod(t, a, "near")
	at := server.add(conf("k8s", "web"))[0]
	near.must("ADD", conf("k8s", "web"), "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=near-0")
	from := near.add(conf("k8s", "web"))[0].String() // again, for its address
	far.add(conf("k8s", "db"))
	blue.add(`{"cniVersion": "1.1.0", "name": "k8s", "type": "contivk8s", "tenant": "blue", "network": "web"}`)
	run(t, b, "c1", "web")
	run(t, a, "c2", "front.web")
	c1, c2 := address(t, b, "c1", "web"), address(t, a, "c2", "front.web")
	const elsewhere = "192.0.2.7"
	o := outside(t, func(fn func() error) error { return netdev.Do(server.path(), fn) }, at, elsewhere)

	const nobody = "198.51.100.53" // the gateway leads there, and there is nothing
	for _, asked := range []string{at.String(), nobody} {
		near.answers(asked, "c1.", c1)
		near.answers(asked, "c1.web.", c1)
		near.answers(asked, "front.", c2)
	}
	far.answers(at.String(), "front.web.", c2)
	// Another tenant's are none of its business, whom it asks is.
	own := netip.MustParseAddr("127.0.0.1")
	outside(t, func(fn func() error) error { return netdev.Do(blue.path(), fn) }, own, elsewhere)
	blue.answers(own.String(), "elsewhere.test.", elsewhere)
	for _, name := range []string{"c1.", "c1.web.", "front.web."} {
		blue.answers(own.String(), name, "")
	}
	if n := o.asked.Load(); n != 0 {
		t.Errorf("the server was asked %d times for names that are ours", n)
	}
	// The rest is the server's, and it sees who asks.
	near.answers(at.String(), "elsewhere.test.", elsewhere)
	near.answers(at.String(), "nobody.", "")
	if last := o.last.Load(); o.asked.Load() != 4 || last != from {
		t.Errorf("the server was asked %d times, last by %v", o.asked.Load(), last)
	}
	// A pod is found by the name that its runtime gives it.
	reaches(t, b, "c1", "near-0")
	reaches(t, a, "c2", "near-0.web")
	// The C library's stub asks whom /etc/resolv.conf names: here the host's server.
	eventually(t, func() error {
		out, err := near.run(t.Context(), "getent ahostsv4 c1")
		if err == nil && len(out) < len(c1) || err == nil && out[:len(c1)] != c1 {
			err = fmt.Errorf("getent says %q", out)
		}
		return err
	})

	// The kernel is slower in containers with routing rules, so those alone have them whose way out is not ours.
	for p, want := range map[pod]bool{near: false, server: false, far: true} {
		eventually(t, func() error {
			rules, err := p.run(t.Context(), "ip rule")
			if err == nil && strings.Contains(rules, "dport 53") != want {
				err = fmt.Errorf("%s has rules for its questions: %t, want %t: %s", p.name, !want, want, rules)
			}
			return err
		})
	}

	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		if err := a.RestartAgent(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		before := o.asked.Load()
		near.answers(at.String(), "c1.", c1)
		near.answers(at.String(), "front.", c2)
		if n := o.asked.Load() - before; n != 0 {
			t.Errorf("%s: while netplugin started, the server was asked %d times", s, n)
		}
	}
	healthy(t, c)
	near.must("DEL", conf("k8s", "web"))
}
