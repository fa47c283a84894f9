// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: IPv6 neighbour discovery (RFC 4861). Solicitations are answered on the node; all else of it stays with
// the container, because receivers trust whatever comes with hop limit 255, and no hop here lowers it.
#pragma once

#define ND_ROUTER_SOLICITATION 133
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_REDIRECT 137

#define ND_ROUTER bpf_htonl(0x80000000)
#define ND_SOLICITED bpf_htonl(0x40000000)
#define ND_OVERRIDE bpf_htonl(0x20000000)
#define ND_OPTION_SOURCE_MAC 1
#define ND_OPTION_TARGET_MAC 2

struct nd_message {
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
	// One option. A solicitation may come without.
	__u8 option, option_len; // length in units of eight bytes
	__u8 mac[6];
} __attribute__((packed, aligned(2)));

struct nd_packet {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct nd_message nd;
} __attribute__((packed, aligned(2)));

#define ND_LEN_WITHOUT_OPTION (sizeof(struct nd_packet) - 8)

// Turns a solicitation into its answer: target is at mac, and may be a router.
static __noinline int write_advertisement(struct __sk_buff *skb, const __u8 *target, const __u8 *mac, bool router)
{
	struct nd_packet *p;
	bool probe;

	if (skb->len != sizeof(*p) && bpf_skb_change_tail(skb, sizeof(*p), 0))
		return DROP_NO_ROOM;
	p = pull(skb, sizeof(*p));
	if (!p)
		return DROP_MALFORMED;
	probe = is_zero_address(&p->ip.saddr);
	copy_mac(p->eth.h_dest, p->eth.h_source);
	copy_address(&p->ip.daddr, &p->ip.saddr);
	if (probe) { // all are told (RFC 4861 7.2.4)
		*(__be16 *)p->eth.h_dest = bpf_htons(0x3333);
		*(__be32 *)(p->eth.h_dest + 2) = bpf_htonl(1);
		p->ip.daddr.s6_addr32[0] = bpf_htonl(0xff020000);
		p->ip.daddr.s6_addr32[3] = bpf_htonl(1);
	}
	copy_mac(p->eth.h_source, mac);
	p->ip.payload_len = bpf_htons(sizeof(p->nd));
	copy_address(&p->ip.saddr, target);
	p->nd.type = ND_ADVERTISEMENT;
	p->nd.checksum = 0;
	p->nd.flags = ND_OVERRIDE | (probe ? 0 : ND_SOLICITED) | (router ? ND_ROUTER : 0);
	p->nd.option = ND_OPTION_TARGET_MAC;
	p->nd.option_len = 1;
	copy_mac(p->nd.mac, mac);
	p->nd.checksum = checksum_of(&p->nd, sizeof(p->nd), icmp6_pseudo_sum(&p->ip, sizeof(p->nd)));
	return ANSWERED;
}

static __noinline int answer_solicitation(struct __sk_buff *skb, const struct question *q, const struct port *from)
{
	struct nd_packet *p = pull(skb, ND_LEN_WITHOUT_OPTION);
	struct endpoint *to = NULL;
	__u8 target[16], mac[6];

	if (!p || p->ip.nexthdr != IPPROTO_ICMPV6 || p->ip.hop_limit != 255 || p->nd.code || p->nd.target[0] == 0xff)
		return DROP_MALFORMED;
	copy_address(target, p->nd.target);
	if (is_zero_address(q->source) || equal_address(target, from->ipv6))
		return DROP_ND_PROBE;
	if (is_zero_address(from->ipv6) || is_zero_address(target))
		return DROP_ND_TARGET;
	// The kernel asks from its link-local address when it only looks whether a neighbour is still there. The
	// answer goes back to the port that asked, so what address it gave does no harm.
	if (!is_link_local(q->source) && !equal_address(q->source, from->ipv6))
		return DROP_SPOOFED_ND;
	if (!equal_address(target, from->gateway6)) {
		to = endpoint_of(from->tenant, target);
		if (!to)
			return DROP_ND_TARGET;
		if (!reaches(from->network, to->network))
			return DROP_OTHER_NETWORK;
	}
	if (to && to->network == from->network)
		copy_mac(mac, to->mac);
	else
		write_router_mac(mac);

	return write_advertisement(skb, target, mac, !to);
}

static __always_inline bool is_neighbour_discovery(const struct question *q)
{
	return q->ethertype == bpf_htons(ETH_P_IPV6) && q->proto == IPPROTO_ICMPV6 && !q->fragment &&
	       q->icmp_type >= ND_ROUTER_SOLICITATION && q->icmp_type <= ND_REDIRECT;
}

// Solicitations are answered, others dropped.
static __always_inline int answer_neighbour(struct __sk_buff *skb, const struct question *q, const struct port *from)
{
	STEP(check_mac(q, from));
	if (q->icmp_type == ND_ROUTER_SOLICITATION)
		return DROP_MULTICAST; // there is no router to hear it
	if (q->icmp_type != ND_SOLICITATION)
		return DROP_ND_UNSOLICITED;
	return answer_solicitation(skb, q, from);
}

// Whether an address is the link-local one that a MAC makes (RFC 4291, appendix A). Another's would let it speak for a router.
static __noinline int is_link_local_of(const __u8 *ipv6, const __u8 *mac)
{
	const __u16 *half = (const void *)ipv6;

	return half[0] == bpf_htons(0xfe80) && !(half[1] | half[2] | half[3]) && ipv6[8] == (mac[0] ^ 2) && ipv6[9] == mac[1] &&
	       ipv6[10] == mac[2] && ipv6[11] == 0xff && ipv6[12] == 0xfe && ipv6[13] == mac[3] && ipv6[14] == mac[4] &&
	       ipv6[15] == mac[5];
}

// Whether a message gives no MAC, or this one: receivers believe what is in it, not who has sent it. Linux gives none when it answers to a
// solicitation that was for it alone.
static __noinline int gives_mac(struct __sk_buff *skb, __u8 option, const __u8 *mac)
{
	struct nd_packet *p = pull(skb, ND_LEN_WITHOUT_OPTION);

	if (!p || p->ip.nexthdr != IPPROTO_ICMPV6)
		return false;
	if (p->ip.payload_len == bpf_htons(sizeof(p->nd) - 8))
		return true;
	p = pull(skb, sizeof(*p));
	return p && p->ip.payload_len == bpf_htons(sizeof(p->nd)) && p->nd.option == option && p->nd.option_len == 1 && equal_mac(p->nd.mac, mac);
}

// What is in a message of neighbour discovery.
struct neighbour {
	__u8 target[16]; // whom it is about
	__u8 to[6];      // the frame's receiver
	bool own;        // it is about its sender
};

static __noinline int read_neighbour(struct __sk_buff *skb, const struct question *q, const struct port *from, struct neighbour *n)
{
	struct nd_packet *p;

	if (q->icmp_type == ND_ROUTER_SOLICITATION)
		return DROP_MULTICAST; // its addresses are given to it
	if (q->icmp_type != ND_SOLICITATION && q->icmp_type != ND_ADVERTISEMENT)
		return DROP_ND_UNSOLICITED;
	if (is_zero_address(from->ipv6))
		return DROP_ND_TARGET;
	p = pull(skb, ND_LEN_WITHOUT_OPTION);
	if (!p || p->ip.nexthdr != IPPROTO_ICMPV6 || p->ip.hop_limit != 255 || p->nd.code || p->nd.target[0] == 0xff)
		return DROP_MALFORMED;
	copy_address(n->target, p->nd.target);
	copy_mac(n->to, p->eth.h_dest);
	if (q->icmp_type == ND_ADVERTISEMENT && !gives_mac(skb, ND_OPTION_TARGET_MAC, from->mac))
		return DROP_SPOOFED_ND;
	n->own = equal_address(n->target, from->ipv6) || is_link_local_of(n->target, from->mac);
	if (is_zero_address(q->source) || q->icmp_type == ND_ADVERTISEMENT)
		return n->own ? 0 : DROP_SPOOFED_ND;
	return equal_address(q->source, from->ipv6) || is_link_local_of(q->source, from->mac) ? 0 : DROP_SPOOFED_ND;
}

// What a container of a VLAN says of neighbours. Solicitations of its endpoints are answered, unless all is to be flooded, and of its services; others,
// and what it says of its own addresses, go to the wire.
static __noinline int meet_neighbour(struct __sk_buff *skb, const struct question *q, const struct port *from)
{
	struct neighbour n = {};
	struct endpoint *to = NULL;

	STEP(check_mac(q, from));
	STEP(read_neighbour(skb, q, from, &n));
	if (q->icmp_type == ND_SOLICITATION && !n.own)
		to = endpoint_of(from->tenant, n.target);
	if (!answers_for(from->network, to))
		return tell_neighbours(skb, from->network, n.to);
	return write_advertisement(skb, n.target, to->mac, false);
}

// What comes of neighbours from the wire of a VLAN: solicitations of this node's containers are answered here, advertisements
// handed on. What routers say of themselves is not: addresses and routes are given by us. 0: it is not neighbour discovery.
static __noinline int meet_machine(struct __sk_buff *skb, const struct question *q, __u32 tenant, __u32 network)
{
	struct endpoint_key key = {.tenant = tenant}; // of whom it is about
	struct nd_packet *p;
	struct endpoint *to;
	__u8 mac[6];
	__u32 port;
	int outcome;

	if (!is_neighbour_discovery(q))
		return 0;
	if (q->icmp_type != ND_SOLICITATION && q->icmp_type != ND_ADVERTISEMENT)
		return NOT_OURS;
	p = pull(skb, ND_LEN_WITHOUT_OPTION);
	if (!p || p->ip.nexthdr != IPPROTO_ICMPV6 || p->ip.hop_limit != 255 || p->nd.code || p->nd.target[0] == 0xff)
		return NOT_OURS;
	copy_address(key.address, p->nd.target);
	copy_mac(mac, p->eth.h_dest);
	to = bpf_map_lookup_elem(&endpoints, &key);
	if (q->icmp_type == ND_SOLICITATION && !is_flooded(network)) {
		if (!to || to->network != network || !to->ifindex)
			return NOT_OURS;
		copy_mac(mac, to->mac);
		outcome = write_advertisement(skb, key.address, mac, false);
		if (outcome != ANSWERED)
			return outcome;
		bpf_redirect(skb->ifindex, 0);
		return REDIRECTED;
	}
	if (q->icmp_type == ND_ADVERTISEMENT && !may_claim(network, to, mac_of_sender(q)))
		return DROP_SPOOFED_ND;
	if (q->icmp_type == ND_ADVERTISEMENT && to && to->network == network && !gives_mac(skb, ND_OPTION_TARGET_MAC, to->mac))
		return DROP_SPOOFED_ND;
	if (mac[0] & 1) {
		STEP(copy_to_ports(skb, network, 0));
		return NOT_OURS;
	}
	port = port_of_mac(network, mac);
	return port ? hand_to_port(skb, port) : NOT_OURS;
}
