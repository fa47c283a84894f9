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

	if (skb->len != sizeof(*p) && bpf_skb_change_tail(skb, sizeof(*p), 0))
		return DROP_NO_ROOM;
	p = pull(skb, sizeof(*p));
	if (!p)
		return DROP_MALFORMED;
	copy_mac(p->eth.h_dest, from->mac);
	copy_mac(p->eth.h_source, mac);
	p->ip.payload_len = bpf_htons(sizeof(p->nd));
	copy_address(&p->ip.saddr, target);
	copy_address(&p->ip.daddr, q->source);
	p->nd.type = ND_ADVERTISEMENT;
	p->nd.checksum = 0;
	p->nd.flags = ND_SOLICITED | ND_OVERRIDE | (to ? 0 : ND_ROUTER);
	p->nd.option = ND_OPTION_TARGET_MAC;
	p->nd.option_len = 1;
	copy_mac(p->nd.mac, mac);
	p->nd.checksum = checksum_of(&p->nd, sizeof(p->nd), icmp6_pseudo_sum(&p->ip, sizeof(p->nd)));
	return ANSWERED;
}

static __always_inline bool is_neighbour_discovery(const struct question *q)
{
	return q->ethertype == bpf_htons(ETH_P_IPV6) && q->proto == IPPROTO_ICMPV6 && !q->fragment &&
	       q->icmp_type >= ND_ROUTER_SOLICITATION && q->icmp_type <= ND_REDIRECT;
}

// Solicitations are answered, others dropped. 0: it is not neighbour discovery.
static __always_inline int answer_neighbour(struct __sk_buff *skb, const struct question *q, const struct port *from)
{
	if (!is_neighbour_discovery(q))
		return 0;
	if (q->icmp_type == ND_ROUTER_SOLICITATION)
		return DROP_MULTICAST; // there is no router to hear it
	if (q->icmp_type != ND_SOLICITATION)
		return DROP_ND_UNSOLICITED;
	return answer_solicitation(skb, q, from);
}
