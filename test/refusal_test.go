// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/test/cluster"
)

// Each row starts a second agent on a host in a way that cannot work. It must say so, soon, and change nothing.
func TestAgentSaysWhyItCannotStart(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	n := c.Nodes[0]
	// A second agent that shares nothing with the first but the node.
	const other = "netplugin --vxlan-port 4790 --bpf-dir /sys/fs/bpf/other --run-dir /run/other --data-dir /run/other/data --plugin-name other --host-label n1 --status-port 0 "
	foreign, err := net.Listen("unix", filepath.Join(n.Root(), "run/docker/plugins/foreign.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	for _, row := range []struct {
		name, command string
		words         []string
	}{
		{"unknown flag", "netplugin --colour red", []string{"colour"}},
		{"not root", "setpriv --reuid 65534 --clear-groups $(command -v netplugin)", []string{"root"}},
		{"not an address", "netplugin --vtep-ip here", []string{"vtep-ip", "here"}},
		{"another runs", "netplugin", []string{"already", "process"}},
		{"no such address", other + "--vtep-ip 203.0.113.9", []string{"203.0.113.9", "--vtep-ip"}},
		{"port taken by a process", other + "--vxlan-port 4789", []string{"4789", "netplugin", "--vxlan-port"}},
		{"port taken by a device", "ip link add v0 type vxlan id 9 dstport 4790 dev eth1; ip link set v0 up; " + other + "; ip link del v0", []string{"4790", "v0"}},
		{"no bpffs", other + "--bpf-dir /tmp/contiv", []string{"bpf", "mount"}},
		{"small MTU", "ip link set eth1 mtu 1300; " + other + "; ip link set eth1 mtu 1500", []string{"MTU", "1300", "eth1"}},
		{"no such uplink", other + "--vlan-uplinks eth9", []string{"--vlan-uplinks", "eth9"}},
		{"own address on an uplink", other + "--vlan-uplinks eth1", []string{"--vlan-uplinks", "eth1", "192.168.2.10"}},
		{"another node's name", other + "--host-label n2", []string{"n2"}},
		{"foreign socket", other + "--plugin-name foreign", []string{"foreign.sock"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			out, err := n.Shell(ctx, "export CONTIV_NETPLUGIN_NETMASTER="+c.MasterURL()+"; "+row.command)
			if err != nil || ctx.Err() != nil {
				t.Fatalf("it does not end: %v: %s", err, out)
			}
			for _, w := range row.words {
				if !strings.Contains(out, w) {
					t.Errorf("it does not say %q: %s", w, out)
				}
			}
			if strings.Contains(out, "goroutine") {
				t.Errorf("a stack trace: %s", out)
			}
		})
	}
	foreign.Close() // the engine asks every plugin that it finds
	network(t, c, "web", "-s", "10.1.2.0/24")
	run(t, c.Nodes[0], "c1", "web")
	run(t, c.Nodes[1], "c2", "web")
	reaches(t, c.Nodes[0], "c1", "c2")
	healthy(t, c)
}

// What cannot be is refused when it is asked for, and the nodes go on as before.
func TestBadInputIsRefusedAtTheTimeOfTheCommand(t *testing.T) {
	t.Parallel()
	c := start(t, cluster.Options{})
	a, b := c.Nodes[0], c.Nodes[1]
	must(t, b.Run(t.Context(), "ip", "link", "add", "lan7", "type", "veth", "peer", "name", "lan8"))
	must(t, b.Run(t.Context(), "ip", "addr", "add", "172.30.7.1/24", "dev", "lan7"))
	must(t, b.Run(t.Context(), "ip", "link", "set", "lan7", "up"))
	private := []string{"global", "set", "--private-subnet", "172.30.0.0/16"}
	refused(t, c, []string{"172.30.0.0/16", "172.30.7.0/24", "node " + b.Name(), "lan7", "choose another"}, private...)
	if shown := netctl(t, c, "global", "info"); !strings.Contains(shown, "172.19.0.0/16") {
		t.Errorf("what was refused is in force: %s", shown)
	}
	for _, row := range []struct {
		words []string
		flags []string
	}{
		{[]string{"4095", "4094"}, []string{"-s", "10.1.9.0/24", "-e", "vlan", "-p", "4095"}},
		{[]string{"70000"}, []string{"-s", "10.1.9.0/24", "-e", "vxlan", "-p", "70000"}},
		{[]string{"private subnet", "172.19.0.0/16"}, []string{"-s", "172.19.4.0/24"}},
	} {
		refused(t, c, row.words, append([]string{"net", "create", "bad"}, row.flags...)...)
	}
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	refused(t, c, []string{"due to existing"}, "global", "set", "--private-subnet", "172.31.0.0/16")
	run(t, a, "site", "web", "-p", "8080:80")
	dockerRefused(t, a, []string{"8080/tcp", "in use"}, "run", "-d", "--name", "second", "--net", "web", "-p", "8080:80", "alpine", "sleep", "100")
	docker(t, a, "rm", "-f", "second")
	run(t, b, "other", "web", "-p", "8080:80") // another node's port
	reaches(t, a, "site", "other")
	reaches(t, b, "other", a.Addr().String())
	healthy(t, c)

	// Without networks and without that route it may be.
	docker(t, a, "rm", "-f", "site")
	docker(t, b, "rm", "-f", "other")
	netctl(t, c, "net", "rm", "web")
	must(t, b.Run(t.Context(), "ip", "link", "del", "lan7"))
	netctl(t, c, private...)
	network(t, c, "web", "-s", "10.1.2.0/24", "-g", "10.1.2.254")
	run(t, b, "moved", "web")
	reaches(t, b, "moved", a.Addr().String())
	if out, err := b.Output(t.Context(), "ip", "-o", "-4", "addr", "show", "contivh0"); err != nil || !strings.Contains(out, "172.30.255.254/16") {
		t.Errorf("the way to the outside has %s (%v)", out, err)
	}
	healthy(t, c)
}
