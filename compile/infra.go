// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// Infra is this node's place in an infra network: a device of the node's own stack, with the network's name, whose other side is a port
// like a container's.
type Infra struct {
	Network string
	Port    string         // the data path's side
	Addrs   []netip.Prefix // the node's, with the subnets' lengths, IPv4 first; none of a subnet that would take nodes' tunnels
	MAC     model.MAC
	VLAN    bool        // its MTU is that of the uplink for VLANs: a device is made anew when this changes
	Routes  []NodeRoute // by prefix
}

// NodeRoute is a subnet that the node reaches by an infra network.
type NodeRoute struct {
	Prefix netip.Prefix
	Via    netip.Addr // the network's gateway; invalid where it has none, and its addresses are asked for one by one
}

// isHome tells whether an endpoint of network n is a node itself.
func isHome(e model.Endpoint, n model.Network) bool {
	return e.Runtime == model.RuntimeNode && n.Type == model.NetworkInfra
}

func (c *compiler) infra() {
	nodes := c.nodeAddrs()
	for _, e := range c.local { // by port, and so by network
		n, _ := c.world.Networks.Get(e.NetworkKey())
		if !isHome(e, n) {
			continue
		}
		row := Infra{Network: n.Name, Port: e.Port, MAC: e.MAC, VLAN: n.Encap == model.EncapVLAN}
		for _, a := range e.Addrs() {
			subnet := n.Pool(a).Subnet()
			if node, ok := firstIn(subnet, nodes); ok {
				c.note(n, "nodes have no address in %s of network %s: node address %s is in it; use another subnet for the network", subnet, n.Key(), node)
				continue
			}
			row.Addrs = append(row.Addrs, netip.PrefixFrom(a, subnet.Bits()))
		}
		if n.Name == model.HostAccess {
			row.Routes = c.nodeRoutes(n, row.Addrs, nodes)
		}
		c.out.Infra = append(c.out.Infra, row)
	}
}

// nodeAddrs are the addresses at which nodes reach each other, sorted. A subnet with one of them, on a device of the nodes' own, would take
// that node's tunnels to itself.
func (c *compiler) nodeAddrs() (out []netip.Addr) {
	for _, n := range c.world.Nodes.All() {
		out = append(out, n.VTEP)
		if n.Ctrl.IsValid() {
			out = append(out, n.Ctrl)
		}
	}
	slices.SortFunc(out, compareAddr)
	return out
}

// firstIn is the first of sorted addresses that is in the subnet.
func firstIn(subnet netip.Prefix, sorted []netip.Addr) (netip.Addr, bool) {
	i, _ := slices.BinarySearchFunc(sorted, subnet.Addr(), compareAddr)
	if i < len(sorted) && subnet.Contains(sorted[i]) {
		return sorted[i], true
	}
	return netip.Addr{}, false
}

// leadsByRouter tells whether a router on the wire, which is the gateway of one VLAN, leads to the other.
func (c *compiler) leadsByRouter(from, to model.Network) bool {
	return from.Tenant == to.Tenant && from.Encap == model.EncapVLAN && to.Encap == model.EncapVLAN && !from.Internal && !to.Internal && !c.forwarding.Bridged
}

// nodeRoutes are the subnets of the networks that host access reaches, in the families in which the node has one of addrs.
func (c *compiler) nodeRoutes(own model.Network, addrs []netip.Prefix, nodes []netip.Addr) (out []NodeRoute) {
	add := func(n model.Network, by, to model.Pool) {
		if by.IsZero() || to.IsZero() || to.Subnet() == by.Subnet() { // another range of one subnet
			return
		}
		if !slices.ContainsFunc(addrs, func(a netip.Prefix) bool { return by.Subnet().Contains(a.Addr()) }) {
			return
		}
		subnet := to.Subnet()
		if node, ok := firstIn(subnet, nodes); ok {
			c.note(n, "nodes have no route to %s of network %s: node address %s is in it; use another subnet for containers", subnet, n.Key(), node)
			return
		}
		out = append(out, NodeRoute{subnet, by.Gateway})
	}
	for _, n := range c.world.Networks.All() {
		if n.Name == own.Name || n.Type != model.NetworkData {
			continue
		}
		direct := c.forwarding.Reaches(own, n)
		byRouter := c.leadsByRouter(own, n)
		if direct || byRouter && own.IPv4.Gateway.IsValid() {
			add(n, own.IPv4, n.IPv4)
		}
		if direct || byRouter && own.IPv6.Gateway.IsValid() {
			add(n, own.IPv6, n.IPv6)
		}
	}
	slices.SortFunc(out, func(a, b NodeRoute) int { return comparePrefix(a.Prefix, b.Prefix) })
	return slices.Compact(out) // two ranges of one subnet are one route
}
