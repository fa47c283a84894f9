// SPDX-License-Identifier: Apache-2.0

// Package compile turns a World into what one node's kernel should hold. It is pure: no I/O, no clock, no
// goroutine, no error. The same World and node always give the same Tables, in the same order.
//
// What bites: a dangling reference (an endpoint whose network is gone) is not an error here, because a World
// is always compiled whole. It has a defined outcome, which is that the endpoint reaches nobody, and a note. A rule that
// names what does not exist matches nobody.
//
// Rules are folded into Verdicts. A rule has a row for each class of peers that it matches, so one that names a network in which
// others tell 200 groups apart has 200: 1,000 such rules are 200,000 rows.
package compile

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Tables is what one node's kernel should hold, in the model's words.
type Tables struct {
	Revision int64 // of the World that it was made from
	Node     string
	// Recheck has open connections end at their next packet where the rules would not let them begin; otherwise they go on.
	Recheck bool

	Ports     []Port     // one for each local endpoint, by name
	Endpoints []Endpoint // one for each address of each tenant, by tenant number and address
	Networks  []Network  // one for each network, by number
	Peers     []Peer     // one for each other node, by address

	Outside Outside
	Subnets []Subnet // of all networks of all tenants, by tenant and prefix
	// Published are this node's ports behind which containers' are, by protocol, address and port.
	Published []Published
	Probed    []Probed // where this node's kubelet reaches pods of it, by address and port
	Infra     []Infra  // this node's places in infra networks, by network

	Prefixes []Prefix  // classes of addresses that no endpoint has, by tenant and prefix
	Verdicts []Verdict // by role, class, protocol, any port before ranges before single ports, and port
	Rules    []Rule    // the rules that Verdicts name, by number

	Services  []Service  // one for each port of each virtual address, by tenant, address, protocol, port and network
	Providers []Provider // of those services, by service and number
	// Foreign are the addresses of providers that are no endpoint's, sorted: what comes from them may be a service's reply.
	Foreign []Foreign

	// Entrances are where the node's own stack has services of Kubernetes, by address, protocol and port; Machines who provides them, or other
	// such services, outside; HealthChecks what the node tells of them, by service.
	Entrances    []Entrance
	Machines     []Machine
	HealthChecks []HealthCheck

	Notes []Note // what a World said that could not be followed, for the operator
}

// Port is the place where a local container's packets enter the node.
type Port struct {
	Name     string // the host side of its veth pair, as vvport3
	Endpoint string // the endpoint's id
	Tenant   uint32
	Network  uint32     // the network's number
	IPv4     netip.Addr // what it may send from; invalid for none
	IPv6     netip.Addr
	MAC      model.MAC
	// Gateway addresses are answered by the node with model.RouterMAC. A VLAN's are not: they are on the wire.
	Gateway4 netip.Addr
	Gateway6 netip.Addr
	// Private4 and Private6 are its addresses towards the outside; invalid where it has no way there.
	Private4, Private6 netip.Addr
	// Bridged ports reach only their own network, others every network of their tenant.
	Bridged bool
	// Home ports have the node itself at their other side, see Infra.
	Home bool
	// InRole and OutRole name the rows of Verdicts that are asked about packets to it and from it; 0: none are.
	InRole, OutRole uint32
	// Sends and Receives bound what its container sends and receives.
	Sends, Receives Limit
	DSCP            uint8 // of what it sends (RFC 2474); 0: as its container has it
	// Routes are the subnets outside its own that its container should send to this interface. Empty where
	// the network has a gateway, as then the default route leads here, and for Home ports.
	Routes []netip.Prefix
}

// Endpoint is where an address of a tenant lives.
type Endpoint struct {
	Tenant  uint32
	Addr    netip.Addr
	Network uint32 // the network's number
	MAC     model.MAC
	Port    string     // on this node; "" when it is on another
	VTEP    netip.Addr // of the node that has it; invalid when it is on this one
	Class   uint32     // what it is to others' rules; 0: no rule names it
	Virtual bool       // a service's address: Port and VTEP are empty. Without a network, every one of the tenant reaches it
	// Beside tells of a service's address that it is one of the outside: what is sent to ports of it at which no service is goes there.
	Beside bool
	// Provides tells that replies from it may be a service's.
	Provides bool
}

// Bits of a network's number. VLAN says that the rest is a VLAN id, and Routed the same of a VLAN whose packets are between nodes
// without a tag, by routes; Routed alone stands for all of those. Without either the number is a VXLAN network identifier.
const (
	VLAN   = 1 << 30
	Routed = 1 << 29
)

// Network says whose packets carry a tag.
type Network struct {
	Number  uint32 // the tag, with VLAN or Routed
	Tenant  uint32
	Bridged bool
	// Flooded VLANs carry broadcast and multicast, to Broadcast too: the last IPv4 address of the subnet, which VLANs alone have.
	Flooded   bool
	Broadcast netip.Addr
}

// Peer is another node. VXLAN packets from any other source are dropped.
type Peer struct {
	Name string
	VTEP netip.Addr
	MTU  int // bytes, of its underlay; 0: not known
}

// Prefix gives a class to the addresses of a tenant that no endpoint has. The longest prefix counts; where there is none the
// class is 0.
type Prefix struct {
	Tenant uint32
	Prefix netip.Prefix
	Class  uint32
}

// Verdict is what the rules of a role say about one kind of packet. The question is (role, class of the peer, protocol,
// destination port; port 0 for protocols that have none). Two chains are asked, that of the class and that of class 0, which
// is every peer; each tries (protocol, port), (protocol, any port) and (any protocol), and its first row is its answer: a more
// precise row has the less precise rules folded in. Tables.Verdict is the same in Go, and the specification.
//
// Of two answers the one with the higher priority wins, and deny wins a tie; where they are alike in both, that of the class
// does. None is allow.
//
// What audited policies would do is carried beside, and never decides: of the two answers' AuditPriority the higher wins, and
// an Audit that is not 0 (a deny) wins a tie. It is told of a packet that passes, when it denies and its
// priority is not lower than that of the answer.
//
// Where rules of Kubernetes are in a role, the rows of a class have those folded in that name nobody, and decide alone: Priority and AuditPriority
// are then no rule's, but 2 in them and 1 in rows of every peer.
//
// Roles, classes and rule numbers are made from what they stand for, so they stay the same while that does, and a
// change of one rule changes few rows.
type Verdict struct {
	Role     uint32
	Class    uint32 // 0: every peer
	Protocol int16  // IP protocol number; AnyProtocol
	Port     uint16 // of the destination; 0: any
	End      uint16 // the last of a range that begins with Port; 0: Port alone
	Allow    bool   // true also when no enforced rule is in the row
	Priority uint8  // of Rule; 0 when there is none
	Rule     uint32 // the one that decides; 0: none, when only audited rules are in the row
	// Audit is the rule of an audited policy that would deny if it were enforced; 0: none.
	Audit uint32
	// AuditPriority is that of Audit, or of an audited rule that would allow before any other of them denied; 0: none.
	AuditPriority uint8
}

// AnyProtocol is the Protocol of a Verdict that holds for every one.
const AnyProtocol = -1

// Rule is what a rule's number stands for.
type Rule struct {
	Number uint32
	// Key is tenant:policy:rule. One of Kubernetes is named by its object, as "networkpolicy shop/web ingress[0]"; without a number behind
	// the direction it is the deny of what no NetworkPolicy allows. "node NAME" lets a pod's own node come to it.
	Key   string
	Group string // the key of the group in which it decides; "" when it does in several
}

// Service is a port of a virtual address. What arrives there is carried on to a provider, on the client's node. The virtual
// address itself is among Tables.Endpoints, with Virtual.
type Service struct {
	Key      string // tenant:service; of Kubernetes namespace/service:port/protocol
	Number   uint32 // made from Key, and the same wherever that is; 0: what it is to a client, the row of its network says
	Tenant   uint32
	Network  uint32 // the number of the network for whose clients the row is; 0: for all of the tenant's
	Addr     netip.Addr
	Protocol uint8 // TCP, UDP or SCTP, by number
	Port     uint16
	Target   uint16 // at the provider; 0: each provider has its own
	// Affinity is for how many seconds after its last connection began a client meets the same provider again; 0: each connection is on its own.
	// Endless: the client's address alone chooses, and nothing is remembered.
	Affinity uint32
	// Slots names the providers by number, for a connection's hash modulo their count (Maglev); nil: nobody, and it is refused. All
	// ports of a service, of one address family, share one slice.
	Slots []uint32
	// SlotsNumber is made from Slots, and the same where those are; 0 for nobody.
	SlotsNumber uint64
}

// Endless is the Affinity of a service whose clients meet the same provider for as long as its providers stay.
const Endless = 1<<32 - 1

// Provider is an endpoint that a service may have chosen. An unhealthy one is here and in no slot: its connections go on.
type Provider struct {
	Service  uint32
	Number   uint32 // made from its tenant and address, and its port where it has one of its own; never 0
	Tenant   uint32 // 0: who has the address is not an endpoint that we know by name
	Addr     netip.Addr
	Port     uint16 // 0: the service's Target
	Endpoint string // id; "" where Addr is no endpoint's
}

// Foreign is an address outside at which a service has a provider.
type Foreign struct{ Addr netip.Addr }

// Note is something that a World said and that could not be followed.
type Note struct {
	Object model.Ref
	Text   string
}
