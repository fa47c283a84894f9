// SPDX-License-Identifier: Apache-2.0

// Package agent is what netplugin does on a node: it follows a master's World, compiles it and has the data
// path apply it, attaches and detaches containers, and clears away what killed runs have left.
//
// There is one way for every endpoint, local ones too: the runtime's edge PUTs it at a master and waits
// until this node has applied the revision that came back. What only this node can know (in which
// namespace an endpoint's container is) is kept in one small file an endpoint under /run, which goes with
// the containers at a reboot.
//
// What bites: an endpoint's veth pair exists before the endpoint is in the store and goes before it is
// deleted there. The sweep relies on that order: an endpoint of this node without a pair is stale.
package agent
