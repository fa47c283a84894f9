// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// What this program and Go share: every map, and every struct in one. Go's types are generated from here, and
// the maps are pinned in a directory that is named by a hash of these layouts, so a changed layout never meets
// an old program. Raise map_meaning when a field changes its meaning but not its size.
//
// Addresses and MACs are byte arrays in wire order. All other numbers are in the machine's order, unless __be.
#pragma once

const volatile __u32 map_meaning = 2;

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
	DROP_REASONS,             // how many there are
};

// drops: reason → packets, per CPU. Every drop is counted here; Go reads. A miss cannot be.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_REASONS);
	__type(key, __u32); // enum drop_reason, but array maps take only integers
	__type(value, __u64);
} drops SEC(".maps");

// ---- tables: written by Go alone ----------------------------------------------------------------------------

struct port {
	__u32 tenant;
	__u32 network; // its tag
	__u8 ipv4[4];  // zero: none
	__u8 gateway4[4];
	__u8 ipv6[16]; // zero: none
	__u8 gateway6[16];
	__u8 mac[6];
	__u8 bridged; // reaches only its own network
	__u8 pad;
};

// ports: ifindex of the host side of a veth pair → whose it is. A miss: not ours (yet), drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

struct endpoint_key {
	__u32 tenant; // first, so that equal addresses of two tenants never meet
	__u8 address[16]; // IPv4 as ::ffff:a.b.c.d
};

struct endpoint {
	__u32 network; // its tag
	__u32 ifindex; // of its port; 0: it is on another node
	__u8 vtep[4];  // of the node that has it; zero: this one
	__u8 mac[6];
	__u8 pad[2];
};

// endpoints: an address in its tenant → where it lives. A miss: the tenant has no such address, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, struct endpoint_key);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct network {
	__u32 tenant;
	__u8 bridged;
	__u8 pad[3];
};

// networks: tag (the VXLAN network identifier) → whose it is. A miss: no such network, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct network);
} networks SEC(".maps");

struct vtep {
	__u8 address[4];
};

struct peer {
	__u32 ifindex;    // the device that leads there; 0: no route
	__u8 next_hop[4]; // the router on the way, or the VTEP itself
};

// peers: VTEP of another node → how to send there. A miss: no node, drop.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct vtep);
	__type(value, struct peer);
} peers SEC(".maps");

// epoch: 0 → the one epoch. Flows of another are decided anew. Go raises it after a change of the tables that
// may change a decision.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epoch SEC(".maps");

// ---- the flow cache: written and read here alone ---------------------------------------------------------------

// Where a packet came in: the ifindex of a port, or this bit and the VXLAN network identifier. Either implies
// the tenant, so a packet is looked up without being identified first, and one that enters by another port can
// never use this port's decision.
#define SCOPE_TUNNEL 0x80000000U

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

#define OUTER_LEN 50 // IPv4, UDP, VXLAN and the inner Ethernet header

// A decision to carry. What is dropped is decided anew each time: drops are rare, and an endpoint that comes
// later must not find an old refusal.
struct flow {
	__u64 sender; // what the packet must show again, see sender_on_port and from_uplink
	__u32 epoch;
	__u32 ifindex;   // the destination's port, or the device that leads to its node
	__be32 next_hop; // on the underlay; 0: the destination is on this node
	__u16 mtu;       // largest IP packet in bytes that the path takes; 0: any
	__u16 pad;
	// Written in front of the packet. On this node: an Ethernet header. To another: all OUTER_LEN bytes; the
	// IPv4 checksum field then holds the sum of the header without its length, not yet inverted, and the
	// ports of the packet are still to be mixed into the UDP source port.
	__u8 header[OUTER_LEN];
	__u8 pad2[6];
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
