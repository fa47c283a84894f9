// SPDX-License-Identifier: Apache-2.0

// Package compile turns a World into what one node's kernel should hold. It is pure: no I/O, no clock, no
// goroutine, no error. The same World and node always give the same Tables, in the same order.
//
// What bites: a dangling reference (an endpoint whose network is gone) is not an error here, because a World
// is always compiled whole. It has a defined outcome, which is that the endpoint reaches nobody, and a note.
package compile

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Tables is what one node's kernel should hold, in the model's words.
type Tables struct {
	Revision int64 // of the World that it was made from
	Node     string

	Ports     []Port     // one for each local endpoint, by name
	Endpoints []Endpoint // one for each address of each tenant, by tenant number and address
	Networks  []Network  // one for each VXLAN network, by tag
	Peers     []Peer     // one for each other node, by address
	Notes     []Note     // what a World said that could not be followed, for the operator
}

// Port is the place where a local container's packets enter the node.
type Port struct {
	Name     string // the host side of its veth pair, as vvport3
	Endpoint string // the endpoint's id
	Tenant   uint32
	Network  uint32     // the network's tag
	IPv4     netip.Addr // what it may send from; invalid for none
	IPv6     netip.Addr
	MAC      model.MAC
	// Gateway addresses are answered by the node with model.RouterMAC.
	Gateway4 netip.Addr
	Gateway6 netip.Addr
	// Bridged ports reach only their own network, others every network of their tenant.
	Bridged bool
	// Routes are the subnets outside its own that its container should send to this interface. Empty where
	// the network has a gateway, as then the default route leads here.
	Routes []netip.Prefix
}

// Endpoint is where an address of a tenant lives.
type Endpoint struct {
	Tenant  uint32
	Addr    netip.Addr
	Network uint32 // the network's tag
	MAC     model.MAC
	Port    string     // on this node; "" when it is on another
	VTEP    netip.Addr // of the node that has it; invalid when it is on this one
}

// Network says whose packets carry a VXLAN network identifier.
type Network struct {
	Tag     uint32
	Tenant  uint32
	Bridged bool
}

// Peer is another node. VXLAN packets from any other source are dropped.
type Peer struct {
	Name string
	VTEP netip.Addr
}

// Note is something that a World said and that could not be followed.
type Note struct {
	Object model.Ref
	Text   string
}
