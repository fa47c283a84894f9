// SPDX-License-Identifier: Apache-2.0

package compile

import "slices"

func (c *compiler) peers() {
	self, _ := c.world.Nodes.Get(c.node)
	for _, n := range c.world.Nodes.All() {
		switch {
		case n.Name == c.node:
		case n.VTEP == self.VTEP:
			c.note(n, "node %s has the VTEP address %s of this node: nothing is sent to it", n.Name, n.VTEP)
		default:
			c.out.Peers = append(c.out.Peers, Peer{Name: n.Name, VTEP: n.VTEP, MTU: n.MTU})
		}
	}
	slices.SortFunc(c.out.Peers, func(a, b Peer) int { return compareAddr(a.VTEP, b.VTEP) })
}
