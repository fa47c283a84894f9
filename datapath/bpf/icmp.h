// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: what the node itself says by ICMP: it answers for gateways, and it says when a packet is too big.
#pragma once

#define ICMP_ECHO_REQUEST 8
#define ICMP_ECHO_REPLY 0
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129

struct icmp_message {
	__u8 type, code;
	__be16 checksum;
	__be32 rest; // of an error for a packet too big: the path's MTU
};

// Of a packet too big, this much goes back: its headers with all options and more than the eight bytes after.
#define QUOTED 128

static __noinline int answer_echo4(struct __sk_buff *skb, const struct port *from)
{
	struct {
		struct ethhdr eth;
		struct iphdr ip;
		struct icmp_message icmp;
	} __attribute__((packed, aligned(2))) *p = pull(skb, sizeof(*p));
	__be32 sender;

	if (!p || *(__u8 *)&p->ip != PLAIN_IPV4)
		return DROP_GATEWAY;
	copy_mac(p->eth.h_dest, from->mac);
	write_router_mac(p->eth.h_source);
	sender = p->ip.saddr;
	p->ip.saddr = p->ip.daddr;
	p->ip.daddr = sender;
	p->ip.ttl = 64;
	p->ip.check = 0;
	p->ip.check = checksum_of(&p->ip, sizeof(p->ip), 0);
	p->icmp.type = ICMP_ECHO_REPLY;
	p->icmp.checksum = ~fold((__u16)~p->icmp.checksum + (__u16)~bpf_htons(ICMP_ECHO_REQUEST << 8));
	return ANSWERED;
}

static __noinline int answer_echo6(struct __sk_buff *skb, const struct port *from)
{
	struct {
		struct ethhdr eth;
		struct ipv6hdr ip;
		struct icmp_message icmp;
	} __attribute__((packed, aligned(2))) *p = pull(skb, sizeof(*p));
	__u8 sender[16];

	if (!p || p->ip.nexthdr != IPPROTO_ICMPV6)
		return DROP_GATEWAY;
	copy_mac(p->eth.h_dest, from->mac);
	write_router_mac(p->eth.h_source);
	copy_address(sender, &p->ip.saddr);
	copy_address(&p->ip.saddr, &p->ip.daddr);
	copy_address(&p->ip.daddr, sender);
	p->ip.hop_limit = 64;
	p->icmp.type = ICMP6_ECHO_REPLY;
	// The pseudo header's sum is the same with the addresses changed round.
	p->icmp.checksum = ~fold((__u16)~p->icmp.checksum + (__u16)~bpf_htons(ICMP6_ECHO_REQUEST << 8) +
				 bpf_htons(ICMP6_ECHO_REPLY << 8));
	return ANSWERED;
}

// The gateway is everywhere, and answers to its name.
static __always_inline int answer_for_gateway(struct __sk_buff *skb, const struct question *q, const struct port *from)
{
	if (q->ethertype == bpf_htons(ETH_P_IP)) {
		if (!be32(from->gateway4) || be32(from->gateway4) != ((const __be32 *)q->destination)[3])
			return 0;
		if (q->proto != IPPROTO_ICMP || q->fragment || q->icmp_type != ICMP_ECHO_REQUEST)
			return DROP_GATEWAY;
		return answer_echo4(skb, from);
	}
	if (is_zero_address(from->gateway6) || !equal_address(from->gateway6, q->destination))
		return 0;
	if (q->proto != IPPROTO_ICMPV6 || q->fragment || q->icmp_type != ICMP6_ECHO_REQUEST)
		return DROP_GATEWAY;
	return answer_echo6(skb, from);
}

// Whether the segments that the kernel will cut the packet into fit. headers is the length in bytes of IP headers.
static __always_inline bool segments_fit(struct __sk_buff *skb, __u8 proto, __u32 headers, __u16 mtu)
{
	__u8 offset = 0;

	if (!skb->gso_size)
		return false;
	if (proto == IPPROTO_TCP) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN + headers + 12, &offset, sizeof(offset)))
			return false;
		headers += (offset >> 4) * 4;
	} else {
		headers += sizeof(struct udphdr);
	}
	return headers + skb->gso_size <= mtu;
}

// Turns an IPv4 packet into an ICMP error about itself. source: who says it. says: all but its checksum.
static __noinline int answer_error4(struct __sk_buff *skb, const struct port *from, __be32 source, const struct icmp_message *says)
{
	struct {
		struct ethhdr eth;
		struct iphdr ip;
		struct icmp_message icmp;
		__u8 quoted[QUOTED];
	} __attribute__((packed, aligned(2))) *p;
	__be32 sender;

	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), &sender, sizeof(sender)))
		return DROP_MALFORMED;
	if (bpf_skb_change_tail(skb, ETH_HLEN + QUOTED, 0) || // what is shorter gets zeros
	    bpf_skb_adjust_room(skb, sizeof(p->ip) + sizeof(p->icmp), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return DROP_NO_ROOM;
	p = pull(skb, sizeof(*p));
	if (!p)
		return DROP_MALFORMED;
	copy_mac(p->eth.h_dest, from->mac);
	write_router_mac(p->eth.h_source);
	p->ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tot_len = bpf_htons(sizeof(*p) - ETH_HLEN),
		.ttl = 64,
		.protocol = IPPROTO_ICMP,
		.saddr = source,
		.daddr = sender,
	};
	p->ip.check = checksum_of(&p->ip, sizeof(p->ip), 0);
	p->icmp = *says;
	p->icmp.checksum = 0;
	p->icmp.checksum = checksum_of(&p->icmp, sizeof(p->icmp) + QUOTED, 0);
	return ANSWERED;
}

// As answer_error4. source points to 16 bytes.
static __noinline int answer_error6(struct __sk_buff *skb, const struct port *from, const __u8 *source, const struct icmp_message *says)
{
	struct {
		struct ethhdr eth;
		struct ipv6hdr ip;
		struct icmp_message icmp;
		__u8 quoted[QUOTED];
	} __attribute__((packed, aligned(2))) *p;
	__u8 sender[16];

	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), sender, sizeof(sender)))
		return DROP_MALFORMED;
	if (bpf_skb_change_tail(skb, ETH_HLEN + QUOTED, 0) ||
	    bpf_skb_adjust_room(skb, sizeof(p->ip) + sizeof(p->icmp), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return DROP_NO_ROOM;
	p = pull(skb, sizeof(*p));
	if (!p)
		return DROP_MALFORMED;
	copy_mac(p->eth.h_dest, from->mac);
	write_router_mac(p->eth.h_source);
	p->ip = (struct ipv6hdr){
		.version = 6,
		.payload_len = bpf_htons(sizeof(p->icmp) + QUOTED),
		.nexthdr = IPPROTO_ICMPV6,
		.hop_limit = 64,
	};
	copy_address(&p->ip.saddr, source);
	copy_address(&p->ip.daddr, sender);
	p->icmp = *says;
	p->icmp.checksum = 0;
	p->icmp.checksum = checksum_of(&p->icmp, sizeof(p->icmp) + QUOTED,
				       icmp6_pseudo_sum(&p->ip, sizeof(p->icmp) + QUOTED));
	return ANSWERED;
}

static __always_inline int too_big4(struct __sk_buff *skb, __u16 mtu)
{
	struct icmp_message says = {.type = 3, .code = 4, .rest = bpf_htonl(mtu)};
	struct port *from;
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_MALFORMED;
	if (segments_fit(skb, ip.protocol, ip.ihl * 4, mtu))
		return 0;
	from = port_of(skb);
	if (!from)
		return DROP_UNKNOWN_PORT;
	// Those that routers might fragment too: nobody here can, and who is told does it himself from then on.
	if (ip.frag_off & FRAGMENT_OFFSET)
		return DROP_TOO_BIG;
	// Where no gateway is, the destination says it: nobody else has an address in the container's eyes.
	return answer_error4(skb, from, be32(from->gateway4) ? be32(from->gateway4) : ip.daddr, &says);
}

static __always_inline int too_big6(struct __sk_buff *skb, __u16 mtu)
{
	struct icmp_message says = {.type = 2, .rest = bpf_htonl(mtu)};
	struct port *from;
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_MALFORMED;
	if (segments_fit(skb, ip.nexthdr, sizeof(ip), mtu))
		return 0;
	from = port_of(skb);
	if (!from)
		return DROP_UNKNOWN_PORT;
	return answer_error6(skb, from, is_zero_address(from->gateway6) ? (const __u8 *)&ip.daddr : from->gateway6, &says);
}

// A packet longer than the path takes. 0: it fits after all, in segments.
static __noinline int answer_too_big(struct __sk_buff *skb, __u16 mtu)
{
	return skb->protocol == bpf_htons(ETH_P_IP) ? too_big4(skb, mtu) : too_big6(skb, mtu);
}
