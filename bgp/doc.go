// SPDX-License-Identifier: Apache-2.0

// Package bgp has a node speak BGP with its routers (RFC 4271): it announces where the node's endpoints are and learns the ways
// to the outside. It is a consumer of World beside the data path:
//
//	World ─▶ For(world, node) ─▶ Speaker ─▶ Node.Run moves the sessions and announcements there
//	sessions ─▶ learnt paths ─▶ []netdev.Route ─▶ the kernel's table netdev.BGPTable, protocol netdev.BGPProtocol
//
// For is pure. The sessions are gobgp's. Learnt routes are in a table of their own that no rule of the kernel asks: they are the
// containers' and not the host's, whose own way out a learnt default route must not take over. The data path reads them there.
//
// What bites: the table outlives the process, as the data path does, and neighbors keep what was announced while the process is away
// (graceful restart, RFC 4724). So after a restart nothing is taken out of the table before the neighbors have told all, or
// have had the time to.
package bgp
