// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// What this program and Go share: every map, and every struct in one. Go's types are generated from here, and
// the maps are pinned in a directory that is named by a hash of these layouts, so a changed layout never meets
// an old program. Raise one of the numbers below when a field changes its meaning but not its size.
//
// Addresses and MACs are byte arrays in wire order. All other numbers are in the machine's order, unless __be.
#pragma once

const volatile __u32 map_meaning = 8;         // of all maps but those of connections
const volatile __u32 connections_meaning = 6; // of those

// Why a packet was dropped. This is the only list: Go reads the names from here (DROP_SPOOFED_MAC is shown as
// spoofed_mac). Steps return 0 (go on), one of these, or ANSWERED.
enum drop_reason {
	DROP_NOT = 0,             // never counted
	DROP_MALFORMED,           // shorter than its headers say, or headers that contradict themselves
	DROP_VLAN_TAG,            // a container sent a tagged frame
	DROP_ETHERTYPE,           // neither IPv4, IPv6 nor ARP
	DROP_UNKNOWN_PORT,        // from a port that no endpoint has (yet)
	DROP_SPOOFED_MAC,         // Ethernet source is not the endpoint's
	DROP_SPOOFED_ADDRESS,     // IP source is not the endpoint's
	DROP_SPOOFED_ARP,         // an ARP packet speaks for another sender
	DROP_SPOOFED_ND,          // a neighbour solicitation speaks for another sender
	DROP_ARP_UNSOLICITED,     // an ARP reply or announcement: nobody's cache is for containers to write
	DROP_ARP_PROBE,           // somebody looks whether its own address is taken; silence means that it is free
	DROP_ARP_TARGET,          // asks for an address that its tenant does not have
	DROP_ND_UNSOLICITED,      // advertisements, redirects and router messages from a container
	DROP_ND_PROBE,            // duplicate address detection; silence means that the address is free
	DROP_ND_TARGET,           // asks for an address that its tenant does not have
	DROP_MULTICAST,           // multicast and broadcast are not carried
	DROP_LINK_LOCAL,          // IPv6 link-local unicast is not carried
	DROP_GATEWAY,             // to the gateway itself, which answers echo requests only
	DROP_UNKNOWN_DESTINATION, // the tenant has no such address
	DROP_OTHER_NETWORK,       // the address is in another network, and forwarding is bridged
	DROP_TOO_BIG,             // larger than the path, and may not be answered with an ICMP error
	DROP_NO_ROUTE,            // this node has no route to the other node
	DROP_UNKNOWN_PEER,        // VXLAN from an address that is no node's
	DROP_UNKNOWN_VNI,         // VXLAN for a network that does not exist
	DROP_SPOOFED_TUNNEL,      // the inner source does not live on the node that sent it
	DROP_NOT_HERE,            // VXLAN for an endpoint that is not on this node
	DROP_OUTER_HEADER,        // VXLAN with IP options, or without a network identifier
	DROP_OUTER_FRAGMENT,      // VXLAN in fragments: the underlay's MTU is smaller than was said
	DROP_NO_ROOM,             // the kernel refused to make room for the outer header
	DROP_FLOW_TABLE,          // the decision could not be kept
	DROP_POLICY_OUT,          // a rule of the sender's group denies it
	DROP_POLICY_IN,           // a rule of the receiver's group denies it
	DROP_POLICY_FRAGMENT,     // a fragment without ports, and the first one did not pass or has not been seen
	DROP_SERVICE_PROTOCOL,    // to a service, and neither TCP, UDP, SCTP, an echo request nor an ICMP error
	DROP_SERVICE_FRAGMENT,    // to a service, a fragment without ports, and the first one has not been seen
	DROP_SERVICE_REFUSED,     // to a service, and not of a kind that may be answered
	DROP_SERVICE_TABLE,       // the connection to a service could not be kept
	DROP_SERVICE_AGAIN,       // a provider's refusal, which the client does not hear: its next segment goes to another provider
	DROP_NO_UPLINK,           // to the wire of a VLAN, and this node has no uplink for VLANs
	DROP_BACKUP_UPLINK,       // a VLAN's frame by an uplink that is not in use
	DROP_SPOOFED_WIRE,        // from the wire of a VLAN, under the address of an endpoint that does not send from there
	DROP_RATE,                // its container has sent more than it may, and has no queue that holds it back
	DROP_PRIVATE,             // to a private address: of the node, or of a port as the node sees it
	DROP_SPOOFED_OUTSIDE,     // from outside, with an address that the tenant has inside
	DROP_REASONS,             // how many there are
};

// drops: reason → packets, per CPU. Every drop is counted here; Go reads. A miss cannot be.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASONS);
	__type(key, __u32); // enum drop_reason, but array maps take only integers
	__type(value, __u64);
} drops SEC(".maps");

struct port_drop {
	__u32 ifindex; // of the device where the packet came in, a port or the uplink; where rules denied it, of the port whose rules they are
	__u32 reason;
};

// port_drops: where packets were dropped, and why → packets. What the LRU takes away is still in drops.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct port_drop);
	__type(value, __u64);
} port_drops SEC(".maps");

// ---- tables: written by Go alone ----------------------------------------------------------------------------

// What policy says of a row is there twice, in two banks. The epoch says which one is in force, so that one written
// word changes all of it.
#define BANKS 2

// A network's number is its tag: the VXLAN network identifier or, with one of these bits, the VLAN id. There may be one of each.
#define NETWORK_VLAN 0x40000000U
// A VLAN that is routed: its packets are between nodes without a tag, by routes. The bit alone stands for all of them.
#define NETWORK_ROUTED 0x20000000U

struct port {
	__u32 tenant;
	__u32 network; // its number
	__u8 ipv4[4];  // zero: none
	__u8 gateway4[4];
	__u8 ipv6[16]; // zero: none
	__u8 gateway6[16];
	__u8 mac[6];
	__u8 bridged; // reaches only its own network
	__u8 dscp;    // of what it sends; 0: as its container has it
	__u32 in_role[BANKS];  // what is asked about packets to it; 0: nothing
	__u32 out_role[BANKS]; // and about packets from it
	// What it may send and receive: bits per second (0: any), and bytes at once (0: as the node chose). Queues hold it back, in
	// the container and on the node's side of the veth pair. Nobody here looks at receive_burst.
	__u64 send_rate, receive_rate;
	__u32 send_burst, receive_burst;
	__u8 private4[4];  // its address towards the outside; zero: it has no way there
	__u8 private6[16];
	__u8 home; // its other side is in the node's own namespace, as of nodes' places in infra networks: bpf_redirect_peer does not lead there
	__u8 pad[3];
};

// ports: ifindex of the host side of a veth pair → whose it is. A miss: not ours (yet), drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

// What netplugin and reflect.h have agreed on, for questions for names.
enum names {
	NAMES_PORT = 5399,   // where netplugin listens in containers
	NAMES_MARK = 0x6378, // on the questions that come back to it
	NAMES_HOPS = 61,     // TTL or hop limit of what it sends there, by which that is told from what the container's programs send
};

const volatile enum names no_names; // has the object tell Go of the names above

// What netfilter and outside.h have agreed on. The bits that Kubernetes (0xc000), Calico, Tailscale and Docker use are others.
enum node {
	OWN_MARK = 0x1000, // on what the node's own processes send by its devices in infra networks, and on nothing that it forwards there
};

const volatile enum node no_node; // has the object tell Go of the names above

// reflected: ifindex of a port → until when questions for names from its container are netplugin's, in nanoseconds of CLOCK_MONOTONIC.
// Go writes it again and again while netplugin listens there. A miss: they go where they are sent.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} reflected SEC(".maps");

struct endpoint_key {
	__u32 tenant; // first, so that equal addresses of two tenants never meet
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

// Whether an address is a service's.
enum virtual {
	VIRTUAL_NOT = 0,
	VIRTUAL_OWN,    // it is: what is sent to other ports of it is refused
	VIRTUAL_BESIDE, // it is, and one of the outside: that goes there
};

const volatile enum virtual no_virtual; // has the object tell Go of the names above

struct endpoint {
	__u32 network; // its number; 0: of a service's address that all networks reach
	__u32 ifindex; // of its port; 0: it is on another node
	__u8 vtep[16]; // of the node that has it, IPv4 as ::ffff:a.b.c.d; zero: this one
	__u8 mac[6];
	__u8 virtual;  // enum virtual: a service's address, which nobody has
	__u8 provides; // replies from it may be a service's
	__u32 class[BANKS]; // what it is to others' rules
};

// endpoints: an address in its tenant → where it lives. A miss: the tenant has no such address, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct exit {
	__u32 ifindex; // of the device where the node's stack takes what goes out; 0: there is none
	__u8 mac[6];   // its own
	__u8 pad[2];
	__u8 ipv4[4];  // the node's own address in the private subnet, a /16
	__u8 ipv6[16]; // a /112
};

// outside: 0 → the way to the outside.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exit);
} outside SEC(".maps");

struct private_key {
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

// privates: a private address → ifindex of the port that has it. A miss: nobody has, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, struct private_key);
	__type(value, __u32);
} privates SEC(".maps");

struct subnet_key {
	__u32 bits;       // of what follows
	__u32 tenant;
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

// subnets: a tenant's subnets → 1. An address in one is not outside. A miss: it is, where no endpoint has it.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct subnet_key);
	__type(value, __u32);
} subnets SEC(".maps");

struct prefix_key {
	__u32 bits; // of what follows
	__u32 bank;
	__u32 tenant;
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

// prefixes: an address of the outside, by the longest prefix → what it is to rules. A miss: none names it, class 0.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct prefix_key);
	__type(value, __u32);
} prefixes SEC(".maps");

struct network {
	__u32 tenant;
	__u8 bridged;
	__u8 flooded; // a VLAN in which broadcast and multicast reach everybody
	__u8 pad[2];
	__u8 broadcast4[4]; // of its subnet; zero: none
};

// networks: number → whose it is. A miss: no such network, drop; of a VLAN, not ours.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct network);
} networks SEC(".maps");

// uplink: 0 → ifindex of the device by which VLANs leave and enter; 0: none. Go writes it, and raises the epoch.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} uplink SEC(".maps");

struct station_key {
	__u32 network; // a VLAN
	__u8 mac[6];
	__u8 pad[2];
};

// stations: a MAC in a VLAN → ifindex of its port on this node. A miss: it is not on this node.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct station_key);
	__type(value, __u32);
} stations SEC(".maps");

// What is for all of a VLAN reaches this many of its ports on a node.
#define MEMBERS 128

struct member_key {
	__u32 network; // a VLAN
	__u32 place;   // from 0, without gaps, below MEMBERS
};

// members: the ports that a VLAN has on this node, by ifindex. A miss: there are no more.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct member_key);
	__type(value, __u32);
} members SEC(".maps");

struct route_key {
	__u32 prefix_len; // in bits, of the address as it is here
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

#define ROUTE_HOPS 8

struct route {
	__u32 ifindex;
	__u32 hops; // how many routers there are, equally good; 0: the prefix is on the device itself
	__u8 next_hop[ROUTE_HOPS][16]; // of the prefix's family, IPv4 mapped as above
};

// routes: where packets of routed networks leave, by the longest prefix. A miss: nobody has told of a way, drop.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct route_key);
	__type(value, struct route);
} routes SEC(".maps");

struct vtep {
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

struct peer {
	__u32 ifindex;     // the device that leads there; 0: no route
	__u16 mtu;         // largest inner IP packet in bytes that both ends take
	__u8 pad[2];
	__u8 next_hop[16]; // the router on the way, or the VTEP itself; IPv4 as ::ffff:a.b.c.d
};

// peers: VTEP of another node → how to send there. A miss: no node, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct vtep);
	__type(value, struct peer);
} peers SEC(".maps");

// A row of a role. Which rows are asked, and which answer wins: policy.h.
struct verdict_key {
	__u32 role;
	__u32 class; // of the peer; 0: every peer
	__u32 what;  // protocol << 16 | destination port, and in the highest bit the bank
};

#define ANY_PROTOCOL 256
#define HEAD 257 // in the protocol's place: the row that tells which rows its role has for its class
#define RANGE 512 // beside the protocol: the row of a range of ports, that begins with the port
#define PROTOCOL_SHIFT 16
#define BANK_SHIFT 31

// What a head says there is, so that nobody looks for rows that are not.
enum row_kind {
	ROW_PORT = 1,     // of a protocol and a port
	ROW_PROTOCOL = 2, // of a protocol and any port
	ROW_ANY = 4,      // of any protocol
	ROW_RANGE = 8,    // of a protocol and a range of ports
};

const volatile enum row_kind no_row; // has the object tell Go of the names above

struct verdict {
	__u32 rule;  // the one that decides; 0: none. In a head: enum row_kind
	__u32 audit; // the one that would deny were it not only audited; 0: none
	__u8 deny;
	__u8 priority;       // of rule
	__u8 audit_priority; // of audit, or of an audited rule that would allow before
	__u8 pad;
	__u32 end; // the last port of a range; 0: of others. For Go alone
};

// verdicts: what the rules say. A miss: nothing.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct verdict_key);
	__type(value, struct verdict);
} verdicts SEC(".maps");

struct range_key {
	__u32 bits; // of what follows
	__u32 bank;
	__u32 role;
	__u16 proto;
	__be16 port;
};

// ranges: a port, by prefixes of its bits → the first port of the range of the role in which it is. A miss: it is in none.
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct range_key);
	__type(value, __u32);
} ranges SEC(".maps");

struct rule_count {
	__u64 packets; // of connections on which it decided; more are in connections
	__u64 allowed; // connections
	__u64 denied;  // attempts
	__u64 audited; // attempts that it would have denied
};

// rules: a rule's number → what it did, per CPU. Go makes the rows and reads them. A miss: not counted.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct rule_count);
} rules SEC(".maps");

// ---- services: written by Go alone --------------------------------------------------------------------------------

struct service_key {
	__u32 tenant;     // or, with SCOPE_NETWORK, the number of a network
	__u8 address[16]; // the virtual one; IPv4 as ::ffff:a.b.c.d
	__be16 port;
	__u8 proto;
	__u8 pad;
};

struct service {
	__u64 slots;    // the key of its slots; 0: nobody provides it
	__u32 number;   // 0: the client's network has a row of its own or, where it has not, there is no such service for it
	__u32 affinity; // for how many seconds after its last connection began a client meets the same provider; 0: each is on its own
	__be16 target;  // its providers' port; 0: each has its own
	__u8 pad[6];
};

#define ENDLESS 0xffffffffU // an affinity: the client's address alone chooses, and nothing is remembered

// services: a port of a virtual address → what it stands for. A miss: it is refused there.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 131072);
	__type(key, struct service_key);
	__type(value, struct service);
} services SEC(".maps");

#define SLOTS 997 // so an element takes a page, with what the kernel adds

struct slot_list {
	__u32 providers[SLOTS]; // numbers
};

// slots: a number made from the content → who gets a connection, by its hash. Services with the same providers share it. It is
// never changed: other content has another key. A miss: it has just been replaced, look into services again.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct slot_list);
} slots SEC(".maps");

struct provider_key {
	__u32 service;
	__u32 number;
};

struct provider {
	__u32 tenant;
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
	__be16 port;      // 0: the service's target
	__u8 pad[2];
};

// providers: who may be chosen, and who was and may go on. A miss: it is gone, and so are its connections.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct provider_key);
	__type(value, struct provider);
} providers SEC(".maps");

struct foreign_key {
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

// foreign: an address that no endpoint has, where services have providers → 1. A miss: what comes from there is no service's reply.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct foreign_key);
	__type(value, __u32);
} foreign SEC(".maps");

// The epoch's lowest bit is the bank in force, the next says that open connections are asked about again.
#define EPOCH_BANK 1
#define EPOCH_RECHECK 2

// epoch: 0 → the one epoch. Flows of another are decided anew. Go raises it after a change of the tables that
// may change a decision.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epoch SEC(".maps");

// ---- the flow cache: written and read here alone ---------------------------------------------------------------

// Where a packet came in: the ifindex of a port, or this bit and the number of the network whose tag it had. Either
// implies the tenant, so a packet is looked up without being identified first, and one that enters by another port can
// never use this port's decision.
#define SCOPE_NETWORK 0x80000000U

// Words only: the hash reads the key in words, and the processor waits when one was written in parts. Ports are
// not in it: where a packet goes does not depend on them, and so the entries stay few and in the processor's cache.
struct flow4_key {
	__u32 scope;
	__be32 source, destination;
	__u32 kind;
};

struct flow6_key {
	__u64 source[2], destination[2]; // wire order
	__u32 scope;
	__u32 kind;
};

// A packet's kind: its protocol (of IPv6 the one after the extension headers), FRAGMENT, and of ICMP its type.
#define FRAGMENT 0x100
#define ICMP_TYPE_SHIFT 16

enum flow_asks {
	FLOW_POLICY = 1,        // a role is asked, so each packet goes through connection.h
	FLOW_TO_SERVICE = 2,    // each packet is for a provider, see service.h; the flow to that one is another
	FLOW_BESIDE = 32,       // beside FLOW_TO_SERVICE: what is for no service goes on in this flow, which has a way of its own
	FLOW_FROM_PROVIDER = 4, // replies of services may be in it
	FLOW_LENT = 8,          // its sender has lent its address: it is the node, which sends for somebody else, see note_sender
	FLOW_RANGES = 16,       // beside FLOW_POLICY: a role of these has rows of ranges, see chains_of
};

// Where in the header of a flow to or from the outside that address is, or the container's own; IPv4 as ::ffff:a.b.c.d. The Ethernet
// header is before it.
#define HEADER_ADDRESS 16

#define OUTER_LEN 50 // IPv4, UDP, VXLAN and the inner Ethernet header
#define OUTER6_LEN 70 // the same with IPv6

// How a packet goes on.
enum way {
	WAY_PORT,   // into a container of this node
	WAY_TUNNEL, // in VXLAN to another node
	WAY_WIRE,   // out by the uplink, under the tag of its VLAN
	WAY_ROUTE,  // without a tag, to the next router, whose address is in the header's place
	WAY_ALL,    // to all of a VLAN: its ports on this node and, from one of them, the wire
	WAY_OUTSIDE, // into the node's own stack, from the private address that is in the header
	WAY_TUNNEL6, // in VXLAN over IPv6 to another node
};

// A decision to carry. What is dropped is decided anew each time: drops are rare, and an endpoint that comes
// later must not find an old refusal.
struct flow {
	__u64 sender; // what the packet must show again, see sender_on_port and from_uplink
	__u32 epoch;
	__u32 ifindex;   // the destination's port, or the device that leads to it
	__be32 next_hop; // of a tunnel, on the underlay
	__u16 mtu;       // largest IP packet in bytes that the path takes; 0: any
	__u8 asks;       // enum flow_asks: what is to be done besides carrying
	__u8 older;      // there were packets before anything was asked about them
	// Written in front of the packet. On this node: an Ethernet header. In a tunnel: all OUTER_LEN bytes; the
	// IPv4 checksum field then holds the sum of the header without its length, not yet inverted, and the
	// ports of the packet are still to be mixed into the UDP source port. Over IPv6: struct ready6 of tunnel.h. By a route: 16 bytes,
	// its next hop. On the wire nothing is written; an endpoint there has its MAC here. Out of a tunnel the sending node's VTEP is
	// there too, from HEADER_ADDRESS on.
	__u8 header[OUTER_LEN];
	__u16 chains; // which rows the roles below have for this flow, see chains_of
	__u16 vlan;   // the id, on the wire
	__u8 way;     // enum way
	__u8 tos;     // the DSCP of what the sender sends, where IPv4 has it; 0: as the packet has it
	// What policy is asked. The roles of an end that is on another node are asked there, and zero here.
	__u32 tenant;
	__u32 source_out, source_in, destination_out, destination_in; // roles
	__u32 source_class, destination_class;
	__u8 limited; // the sender has a rate, see qos.h
	__u8 queued;  // the destination has, or is the node itself: its packets go through the queue of its veth pair
	__be16 outer_port; // of a tunnel over IPv6: its UDP source port, without the packet's ports
};

// flows4, flows6: what came in → what to do with it. A miss: decide, and write it. Both are allocated whole at
// start; sizes are set by the loader.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow4_key);
	__type(value, struct flow);
} flows4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow6_key);
	__type(value, struct flow);
} flows6 SEC(".maps");

// drafts: 0 → the decision that is being made, per CPU, as the stack has no room for it. A miss cannot be.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} drafts SEC(".maps");

// paid: ifindex of a port with a rate → until when what it has sent is paid for, in nanoseconds of CLOCK_MONOTONIC. Written and
// read here. A miss: it has sent nothing.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u64);
} paid SEC(".maps");

// ---- connections: written and read here; Go collects what is idle ------------------------------------------------

// Both directions of a connection have the same key. Ends are in the order of their bytes.
struct connection_key {
	__u32 tenant;
	__u32 proto;
	__u8 low[16], high[16]; // IPv4 as ::ffff:a.b.c.d
	__be32 ports;           // low's and high's; of ICMP queries the identifier, twice
};

// The same of IPv4, in the table of connections.
struct connection4_key {
	__u32 tenant;
	__u32 proto;
	__be32 low, high;
	__be32 ports;
};

enum connection_state {
	STATE_ORIGIN_HIGH = 1, // high began it, as far as is known
	STATE_FIRST_HIGH = 2,  // high sent the first packet that was seen
	STATE_REPLIED = 4,     // and the other end another
	STATE_FIN_LOW = 8,
	STATE_FIN_HIGH = 16,
	STATE_FIN = STATE_FIN_LOW | STATE_FIN_HIGH,
	STATE_OLDER = 32, // an opening that no rule allows: it began before there were any
	STATE_LENT = 64,  // begun by a flow with FLOW_LENT
};

const volatile enum connection_state no_state; // has the object tell Go of the names above

struct connection {
	__u16 seen;   // when its last packet was, see clock
	__u8 state;
	__u8 packets; // that are not in its rules' counts yet
	__u32 epoch;  // in which it was asked about
	__u32 out_rule, in_rule; // which let it pass; 0: none was needed
};

// connections4, connections6: what has been seen in both directions. It is never evicted; what has ended is removed here, what is
// idle by Go. A miss: look into openings. Sizes are set by the loader. IPv4 takes memory for what is in it: 96 bytes an entry (48
// of the kernel's, 24, 16, 8 of the allocator's) and 16 for its bucket. IPv6 would take the next size of the allocator's, so it
// is allocated whole at start, and takes 112 and 16.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1048576);
	__type(key, struct connection4_key);
	__type(value, struct connection);
} connections4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct connection_key);
	__type(value, struct connection);
} connections6 SEC(".maps");

// openings: what has not. So a flood of packets that nobody answers evicts others of its kind, and no connection.
// A miss: ask.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct connection_key);
	__type(value, struct connection);
} openings SEC(".maps");

struct fragment_key {
	__u32 tenant;
	__u32 proto;
	__u8 source[16], destination[16];
	__be32 id; // the datagram's
};

struct fragment {
	__u32 seen;   // when the first one passed, see clock
	__be32 ports; // that it has
};

// fragments: a datagram whose first fragment has passed, with the addresses that it had here → what later ones lack. A miss: drop them.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

// ---- translations: written and read here; Go collects what is idle -------------------------------------------------

// A packet of a connection to a service, as it comes: from the client to the virtual address, or from the provider to the client.
struct translation_key {
	__u32 tenant;
	__u32 proto;
	__u8 source[16], destination[16]; // IPv4 as ::ffff:a.b.c.d
	__be32 ports;
};

enum translation_state {
	TRANSLATION_BACK = 1,    // of the packets from the provider
	TRANSLATION_HAIRPIN = 2, // which is the client itself
	TRANSLATION_FIN = 4,     // a FIN came this way
	TRANSLATION_AGAIN = 8,   // a provider has refused the connection, and another one is tried
};

const volatile enum translation_state no_translation_state; // has the object tell Go of the names above

struct translation {
	__u8 address[16]; // what becomes of the virtual address: the provider's; of packets back the virtual one
	__be16 port;      // likewise
	__u16 seen;       // when its last packet was, see clock
	__u8 state;       // enum translation_state
	__u8 pad[3];
	__u32 epoch;      // in which the provider was there
	__u32 service, provider;
	__u32 pad2;
	__u64 packets, bytes; // this way
};

// translations: two for each connection to a service, one for each way. They are never evicted; what has ended is removed here, what is
// idle by Go. A miss: of packets to a service, one that begins; of others, it is an ordinary packet. 192 bytes an entry, and 16 for its
// bucket. The size is set by the loader.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 524288);
	__type(key, struct translation_key);
	__type(value, struct translation);
} translations SEC(".maps");

// spilled: those that came while translations were full, so that who fills that breaks nobody's connections but the latest.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct translation_key);
	__type(value, struct translation);
} spilled SEC(".maps");

// spilling: 0 → whether there is anything in spilled, so that nobody else looks there. Go clears it.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} spilling SEC(".maps");

struct client_key {
	__u32 tenant;
	__u32 service;    // its number
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

struct client {
	__u64 seen;     // when its last connection began, in nanoseconds of CLOCK_MONOTONIC
	__u32 provider; // whom it met
	__u32 slot;     // where that one was found
};

// clients: who opened connections to a service whose affinity has an end → whom it met last. Only what begins at such a service looks here.
// A miss: it is new, or so many others have come since. Allocated whole at start, some 110 bytes an entry.
// What is over is not removed, but taken for it.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct client_key);
	__type(value, struct client);
} clients SEC(".maps");

// What becomes of a packet of a connection to a service.
struct passage {
	__u8 destination[16]; // the container that gets it
	__u8 source[16];      // to be written
	__be32 real;          // ports as policy sees them
	__be32 ports;         // to be written
	__u32 service, provider;
	__u32 avoid;   // the provider that has refused the connection before; 0: none
	__u32 begins;  // it is not in translations yet
	__u32 hairpin; // client and provider are one container
	__u32 slot;    // where the provider was found
	__u32 lasts;   // the affinity has an end: the client is to be remembered
};

// What a packet of a connection to a service needs while it passes. The stack has no room for it.
struct crossing {
	struct translation_key key, other, others_other;
	struct passage passage;
	struct translation translation;
	struct client_key client;
};

// crossings: 0 → that of the packet in hand, per CPU: one program at a time runs there. A miss cannot be.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct crossing);
} crossings SEC(".maps");

struct provider_count {
	__u64 connections;            // that have ended
	__u64 packets_to, bytes_to;   // in them, from clients
	__u64 packets_from, bytes_from;
};

// provider_counts: what came of the connections that ended here, per CPU. A row is made when it is needed; Go removes those of
// providers that are gone, and adds what is in translations.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct provider_key);
	__type(value, struct provider_count);
} provider_counts SEC(".maps");

// collected_counts: the same of the connections that Go collected. Written and read by Go alone; here so that it outlives netplugin.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct provider_key);
	__type(value, struct provider_count);
} collected_counts SEC(".maps");

// ---- events: written here, read by Go ----------------------------------------------------------------------------

enum event_kind {
	EVENT_OPENED = 1,
	EVENT_REFUSED,
	EVENT_AUDITED, // passed, but an audited rule would have refused it
};

struct event {
	__u64 time; // CLOCK_MONOTONIC, in nanoseconds
	__u32 tenant;
	__u32 rule; // the one that decided; 0: none
	__u8 source[16], destination[16]; // of the first packet
	__u16 source_port, destination_port;
	__u8 proto;
	__u8 kind;
	__u8 out; // a rule of the sender's group decided, not of the receiver's
	__u8 pad;
};

const struct event *no_event __attribute__((unused)); // has the object tell Go of the struct

// events: a ring of struct event, for whoever listens.
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct listener {
	__u32 wanted; // 0: nobody listens. Written by Go
	__u32 pad;
	__u64 lost;   // events for which there was no room. Written here
};

// listening: 0 → whether anybody reads events.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct listener);
} listening SEC(".maps");
