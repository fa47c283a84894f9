// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

// vxlanOverhead is what VXLAN over IPv4 adds to a packet, in bytes.
const vxlanOverhead = 50

// staticBridge is a Linux bridge on each node, with a VXLAN device between nodes whose tables are written once and
// for all: what Docker's overlay is made of, without its filters and without anybody who learns.
type staticBridge struct{ all []*namespace }

func (b *staticBridge) Name() string { return "static-bridge" }

func (b *staticBridge) Down() error {
	for _, n := range b.all {
		n.close()
	}
	return nil
}

func (b *staticBridge) namespace() (*namespace, error) {
	n, err := newNamespace()
	if err == nil {
		b.all = append(b.all, n)
	}
	return n, err
}

func (b *staticBridge) Up(_ context.Context, t topology) (pair, error) {
	mtu := underlayMTU
	if t == across {
		mtu -= vxlanOverhead
	}
	var hosts, containers []*namespace
	for range t.nodeCount() {
		h, err := b.namespace()
		if err != nil {
			return pair{}, err
		}
		hosts = append(hosts, h)
		if err := bridge(h, mtu); err != nil {
			return pair{}, err
		}
	}
	if t == across {
		if err := underlay(hosts, netip.PrefixFrom(underlayAddress(0), 24), netip.PrefixFrom(underlayAddress(1), 24)); err != nil {
			return pair{}, err
		}
		for i, h := range hosts {
			if err := tunnel(h, mtu, i); err != nil {
				return pair{}, err
			}
		}
	}
	for i := range 2 {
		c, err := b.namespace()
		if err != nil {
			return pair{}, err
		}
		containers = append(containers, c)
		if err := plug(c, hosts[i%len(hosts)], mtu, i); err != nil {
			return pair{}, err
		}
	}
	return pair{client: containers[0].path(), server: containers[1].path(), address: containerAddress(1)}, nil
}

// underlayLink is the underlay's name on both nodes.
const underlayLink = "ul0"

// underlay joins two nodes' namespaces as a wire would.
func underlay(nodes []*namespace, addresses ...netip.Prefix) error {
	if err := join(cable{in: nodes[0], name: underlayLink}, cable{in: nodes[1], name: underlayLink}, underlayMTU); err != nil {
		return err
	}
	for i, n := range nodes {
		if err := n.address(underlayLink, addresses[i]); err != nil {
			return err
		}
	}
	return nil
}

func bridge(host *namespace, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "br0", mtu
	if err := host.link.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		return fmt.Errorf("make a bridge: %w", err)
	}
	// Without the module br_netfilter there is no such file, and nothing to turn off.
	err := netdev.Do(host.path(), func() error {
		return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0)
	})
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("keep netfilter off the bridge: %w", err)
	}
	return host.up("br0")
}

func containerMAC(i int) net.HardwareAddr {
	a := containerAddress(i).As4()
	return net.HardwareAddr{2, 2, a[0], a[1], a[2], a[3]}
}

// plug joins container i to its node's bridge.
func plug(container, host *namespace, mtu, i int) error {
	port := fmt.Sprintf("veth%d", i)
	if err := join(cable{in: host, name: port}, cable{in: container, name: "eth0", mac: containerMAC(i)}, mtu); err != nil {
		return err
	}
	if err := enslave(host, port); err != nil {
		return err
	}
	return container.address("eth0", netip.PrefixFrom(containerAddress(i), 16))
}

func enslave(host *namespace, port string) error {
	l, err := host.link.LinkByName(port)
	if err == nil {
		var br netlink.Link
		if br, err = host.link.LinkByName("br0"); err == nil {
			err = host.link.LinkSetMaster(l, br)
		}
	}
	if err != nil {
		return fmt.Errorf("make %s a port of the bridge: %w", port, err)
	}
	return nil
}

// tunnel gives node i a VXLAN device that knows the other node's container.
func tunnel(host *namespace, mtu, i int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "vx0", mtu
	vx := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 42, Port: 4789, SrcAddr: underlayAddress(i).AsSlice(), Proxy: true}
	if err := host.link.LinkAdd(vx); err != nil {
		return fmt.Errorf("make a VXLAN device: %w", err)
	}
	l, err := host.link.LinkByName("vx0")
	if err != nil {
		return fmt.Errorf("find the VXLAN device: %w", err)
	}
	other := 1 - i
	if err := host.link.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
		HardwareAddr: containerMAC(other), IP: underlayAddress(other).AsSlice(),
	}); err != nil {
		return fmt.Errorf("tell the VXLAN device where the other container lives: %w", err)
	}
	if err := host.link.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT,
		HardwareAddr: containerMAC(other), IP: containerAddress(other).AsSlice(),
	}); err != nil {
		return fmt.Errorf("tell the VXLAN device the other container's MAC: %w", err)
	}
	if err := enslave(host, "vx0"); err != nil {
		return err
	}
	return host.up("vx0")
}
