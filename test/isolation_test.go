// SPDX-License-Identifier: Apache-2.0

package test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/contivnet/contiv/test/cluster"
)

func TestTenantsWithEqualAddressesNeverMeet(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	netctl(t, c, "tenant", "create", "blue")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "web", "-t", "blue", "-s", "10.1.2.0/24")
	network(t, c, "db", "-t", "blue", "-s", "10.1.3.0/24")
	run(t, a, "red1", "web")            // 10.1.2.1
	run(t, a, "blue1", "web/blue")      // 10.1.2.1
	run(t, b, "blue2", "web/blue")      // 10.1.2.2
	run(t, b, "blue3", "db/blue")       // 10.1.3.1
	run(t, b, "blue4", "web/blue")      // 10.1.2.3
	run(t, a, "blue5", "web/blue")      // 10.1.2.4
	reaches(t, a, "blue1", "blue2")     // across
	reaches(t, b, "blue4", "blue2")     // on one node
	reaches(t, a, "blue1", "blue5")     // on the other
	reaches(t, b, "blue3", "blue1.web") // routed, across
	reaches(t, a, "blue1", "blue3.db")
	reaches(t, a, "red1", "10.1.2.1") // itself
	for _, to := range []string{"10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.3.1", "blue1", "blue2.web"} {
		reachesNot(t, a, "red1", to)
	}
	// A container cannot make itself a route into another tenant.
	dockerPrivileged := []string{"--cap-add", "NET_ADMIN"}
	run(t, a, "red2", "web", dockerPrivileged...) // 10.1.2.2 of its own tenant
	if _, err := in(t.Context(), a, "red2", "ip route add 10.1.3.0/24 dev eth0"); err != nil {
		t.Fatal(err)
	}
	reachesNot(t, a, "red2", "10.1.3.1")
	// Nor take an address that is not its own.
	if _, err := in(t.Context(), a, "red2", "ip addr add 10.1.2.99/24 dev eth0"); err != nil {
		t.Fatal(err)
	}
	reaches(t, a, "red2", "10.1.2.1")
	reachesNot(t, a, "red2", "-I 10.1.2.99 10.1.2.1")
	if out, err := a.Shell(t.Context(), "netplugin doctor"); err != nil || !strings.Contains(out, "spoofed_address") {
		t.Errorf("the doctor does not count forged packets: %s, %v", out, err)
	}
	refused(t, c, []string{"blue", "network"}, "tenant", "rm", "blue")
}

func TestForwardingModeDecidesWhetherNetworksMeet(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	network(t, c, "web", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	run(t, a, "web1", "web")
	run(t, b, "web2", "web")
	// A network that comes later is reached by containers that were there before.
	network(t, c, "db", "-s", "10.1.3.0/24", "-s6", "2001:db8:3::/64")
	network(t, c, "app", "-s", "10.1.4.0/24", "-g", "10.1.4.254")
	run(t, b, "db1", "db")
	run(t, a, "app1", "app")
	for _, to := range []string{"10.1.3.1", "2001:db8:3::1", "10.1.4.1"} {
		reaches(t, a, "web1", to)
		reaches(t, b, "web2", to)
	}
	reaches(t, a, "app1", "10.1.3.1")
	reaches(t, b, "db1", "10.1.4.1")
	// Deleted networks take their routes along.
	docker(t, a, "rm", "-f", "app1")
	netctl(t, c, "net", "rm", "app")
	eventually(t, func() error {
		out, err := in(t.Context(), a, "web1", "ip route")
		if err == nil && strings.Contains(out, "10.1.4.0") {
			err = fmt.Errorf("a route to a deleted network is left: %s", out)
		}
		return err
	})
	docker(t, a, "rm", "-f", "web1")
	docker(t, b, "rm", "-f", "web2", "db1")
	for _, n := range []string{"web", "db"} {
		netctl(t, c, "net", "rm", n)
	}

	netctl(t, c, "global", "set", "--fwd-mode", "bridge")
	network(t, c, "web", "-s", "10.1.2.0/24")
	network(t, c, "db", "-s", "10.1.3.0/24")
	run(t, a, "web1", "web")
	run(t, b, "web2", "web")
	run(t, b, "db1", "db")
	run(t, a, "db2", "db")
	reaches(t, a, "web1", "web2")
	reaches(t, b, "db1", "db2")
	reachesNot(t, a, "web1", "10.1.3.1")
	reachesNot(t, a, "web1", "10.1.3.2")
}

func TestPacketsOfEverySizeArrive(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	// A veth pair passes packets between hosts whole, of any size. A real wire does not, so segment them.
	for _, n := range c.Nodes {
		if _, err := n.Output(t.Context(), "ethtool", "-K", "eth1", "tso", "off", "gso", "off", "tx", "off"); err != nil {
			t.Fatal(err)
		}
	}
	network(t, c, "web", "-s", "10.1.2.0/24", "-s6", "2001:db8:2::/64")
	run(t, a, "c1", "web", "--cap-add", "NET_ADMIN")
	run(t, b, "c2", "web")
	for _, to := range []string{"10.1.2.2", "2001:db8:2::2"} {
		for _, size := range []string{"0", "1000", "1400", "1450", "4000", "20000"} {
			reaches(t, a, "c1", "-s "+size+" "+to)
		}
	}
	// A stream of full segments. The receiver has an open standard input, or it would hang up at once.
	docker(t, b, "exec", "-d", "c2", "sh", "-c", "sleep 100 | nc -l -p 5000 > /tmp/got")
	eventually(t, func() error {
		_, err := in(t.Context(), a, "c1", "dd if=/dev/zero bs=1M count=20 2>/dev/null | nc 10.1.2.2 5000")
		return err
	})
	eventually(t, func() error {
		out, err := in(t.Context(), b, "c2", "wc -c < /tmp/got")
		if err == nil && out != fmt.Sprint(20<<20) {
			err = fmt.Errorf("%s bytes arrived", out)
		}
		return err
	})
	// One that sends more than the path takes is told how much that is.
	if _, err := in(t.Context(), a, "c1", "ip link set eth0 mtu 1500"); err != nil {
		t.Fatal(err)
	}
	sandbox, err := a.Sandbox(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) string {
		out, _ := exec.Command("nsenter", append([]string{"--net=" + sandbox}, args...)...).CombinedOutput() // ping fails, as it should
		return string(out)
	}
	for _, to := range []string{"10.1.2.2", "2001:db8:2::2"} {
		eventually(t, func() error {
			said := inside("ping", "-c", "1", "-W", "1", "-M", "do", "-s", "1440", to)
			if route := inside("ip", "route", "get", to); !strings.Contains(route, "mtu 1450") {
				return fmt.Errorf("the path's MTU is not known: %s; ping said %s", route, said)
			}
			return nil
		})
	}
	reaches(t, a, "c1", "-s 1460 10.1.2.2")
}
