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
	Addrs   []netip.Prefix // the node's, with the subnets' lengths, IPv4 first
	MAC     model.MAC
	VLAN    bool
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
	for _, e := range c.local { // by port, and so by network
		n, _ := c.world.Networks.Get(e.NetworkKey())
		if !isHome(e, n) {
			continue
		}
		row := Infra{Network: n.Name, Port: e.Port, MAC: e.MAC, VLAN: n.Encap == model.EncapVLAN}
		for _, a := range e.Addrs() {
			row.Addrs = append(row.Addrs, netip.PrefixFrom(a, n.Pool(a).Subnet().Bits()))
		}
		if n.Name == model.HostAccess {
			row.Routes = c.nodeRoutes(n)
		}
		c.out.Infra = append(c.out.Infra, row)
	}
}

// nodeRoutes are the subnets of the networks that host access reaches. One in which another node has its address would take that node's
// tunnels to itself.
func (c *compiler) nodeRoutes(own model.Network) (out []NodeRoute) {
	var nodes []netip.Addr
	for _, n := range c.world.Nodes.All() {
		nodes = append(nodes, n.VTEP)
		if n.Ctrl.IsValid() {
			nodes = append(nodes, n.Ctrl)
		}
	}
	slices.SortFunc(nodes, compareAddr)
	add := func(n model.Network, by, to model.Pool) {
		if by.IsZero() || to.IsZero() || to.Subnet() == by.Subnet() { // another range of one subnet
			return
		}
		subnet := to.Subnet()
		if i, _ := slices.BinarySearchFunc(nodes, subnet.Addr(), compareAddr); i < len(nodes) && subnet.Contains(nodes[i]) {
			c.note(n, "nodes have no route to %s of network %s: node address %s is in it; use another subnet for containers", subnet, n.Key(), nodes[i])
			return
		}
		out = append(out, NodeRoute{subnet, by.Gateway})
	}
	for _, n := range c.world.Networks.All() {
		if n.Name != own.Name && n.Type == model.NetworkData && c.forwarding.Reaches(own, n) {
			add(n, own.IPv4, n.IPv4)
			add(n, own.IPv6, n.IPv6)
		}
	}
	slices.SortFunc(out, func(a, b NodeRoute) int { return comparePrefix(a.Prefix, b.Prefix) })
	return slices.Compact(out) // two ranges of one subnet are one route
}
