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

	Prefixes []Prefix  // classes of addresses that no endpoint has, by tenant and prefix
	Verdicts []Verdict // by role, class, protocol and port
	Rules    []Rule    // the rules that Verdicts name, by number

	Notes []Note // what a World said that could not be followed, for the operator
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
	// InRole and OutRole name the rows of Verdicts that are asked about packets to it and from it; 0: none are.
	InRole, OutRole uint32
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
	Class   uint32     // what it is to others' rules; 0: no rule names it
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

// Prefix gives a class to the addresses of a tenant that no endpoint has. The longest prefix counts.
type Prefix struct {
	Tenant uint32
	Prefix netip.Prefix
	Class  uint32
}

// Verdict is what the rules of a role say about one kind of packet. The question is (role, class of the peer, protocol,
// destination port). Two chains are asked, that of the class and that of class 0, which is every peer; each
// tries (protocol, port), (protocol, any port) and (any protocol), and its first row is its answer: a more precise row has
// the less precise rules folded in. Of two answers the higher priority wins, and deny wins a tie; none is allow.
//
// Roles, classes and rule numbers are made from what they stand for, so they stay the same while that does, and a
// change of one rule changes few rows.
type Verdict struct {
	Role     uint32
	Class    uint32 // 0: every peer
	Protocol int16  // IP protocol number; AnyProtocol
	Port     uint16 // of the destination; 0: any
	Allow    bool
	Priority uint8
	Rule     uint32 // the one that decides; 0: none, when only an audited rule is to be told of
	// Audit is the rule of an audited policy that would deny if it were enforced; 0: none.
	Audit         uint32
	AuditPriority uint8
}

// AnyProtocol is the Protocol of a Verdict that holds for every one.
const AnyProtocol = -1

// Rule is what a rule's number stands for.
type Rule struct {
	Number uint32
	Key    string // tenant:policy:rule
	Group  string // the key of the group in which it decides; "" when it does in several
}

// Note is something that a World said and that could not be followed.
type Note struct {
	Object model.Ref
	Text   string
}
