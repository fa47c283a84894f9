// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: a service that nobody provides, or that does not listen there, refuses as a host would: TCP by a reset (RFC 9293 3.5.2), others
// by an ICMP error.
#pragma once

struct tcp_header {
	__be16 source, destination;
	__be32 sequence, acknowledgement;
	__u8 length; // in units of four bytes, in the upper half
	__u8 flags;
	__be16 window, checksum, urgent;
};

struct reset4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcp_header tcp;
} __attribute__((packed, aligned(2)));

struct reset6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcp_header tcp;
} __attribute__((packed, aligned(2)));

// The reset that a segment gets. len: of its header and what it carries.
static __always_inline int reset_for(const struct tcp_header *was, __u32 len, struct tcp_header *reset)
{
	if (was->flags & TCP_RST)
		return DROP_SERVICE_REFUSED;
	reset->source = was->destination;
	reset->destination = was->source;
	reset->length = sizeof(*reset) / 4 << 4;
	if (was->flags & TCP_ACK) {
		reset->sequence = was->acknowledgement;
		reset->flags = TCP_RST;
	} else {
		len -= (was->length >> 4) * 4;
		len += !!(was->flags & TCP_SYN) + !!(was->flags & TCP_FIN);
		reset->acknowledgement = bpf_htonl(bpf_ntohl(was->sequence) + len);
		reset->flags = TCP_RST | TCP_ACK;
	}
	return 0;
}

static __noinline int answer_reset4(struct __sk_buff *skb, const struct port *from, __u32 offset)
{
	struct tcp_header was, reset = {};
	struct iphdr ip;
	struct reset4 *p;
	__be32 pseudo[3];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || bpf_skb_load_bytes(skb, offset, &was, sizeof(was)))
		return DROP_SERVICE_REFUSED;
	STEP(reset_for(&was, skb->len - offset, &reset));
	if (skb->len != sizeof(*p) && bpf_skb_change_tail(skb, sizeof(*p), 0))
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
		.frag_off = DONT_FRAGMENT,
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.saddr = ip.daddr,
		.daddr = ip.saddr,
	};
	p->ip.check = checksum_of(&p->ip, sizeof(p->ip), 0);
	pseudo[0] = ip.daddr;
	pseudo[1] = ip.saddr;
	pseudo[2] = bpf_htonl(IPPROTO_TCP << 16 | sizeof(reset));
	reset.checksum = ~fold(sum_of(&reset, sizeof(reset), sum_of(pseudo, sizeof(pseudo), 0)));
	p->tcp = reset;
	return ANSWERED;
}

static __noinline int answer_reset6(struct __sk_buff *skb, const struct port *from, __u32 offset)
{
	struct tcp_header was, reset = {};
	__u8 source[16], destination[16];
	struct reset6 *p;
	__be32 pseudo[2];

	if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), source, sizeof(source)) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), destination, sizeof(destination)) ||
	    bpf_skb_load_bytes(skb, offset, &was, sizeof(was)))
		return DROP_SERVICE_REFUSED;
	STEP(reset_for(&was, skb->len - offset, &reset));
	if (skb->len != sizeof(*p) && bpf_skb_change_tail(skb, sizeof(*p), 0))
		return DROP_NO_ROOM;
	p = pull(skb, sizeof(*p));
	if (!p)
		return DROP_MALFORMED;
	copy_mac(p->eth.h_dest, from->mac);
	write_router_mac(p->eth.h_source);
	p->ip = (struct ipv6hdr){
		.version = 6,
		.payload_len = bpf_htons(sizeof(reset)),
		.nexthdr = IPPROTO_TCP,
		.hop_limit = 64,
	};
	copy_address(&p->ip.saddr, destination);
	copy_address(&p->ip.daddr, source);
	pseudo[0] = bpf_htonl(sizeof(reset));
	pseudo[1] = bpf_htonl(IPPROTO_TCP);
	reset.checksum = ~fold(sum_of(&reset, sizeof(reset), sum_of(pseudo, sizeof(pseudo), sum_of(&p->ip.saddr, 32, 0))));
	p->tcp = reset;
	return ANSWERED;
}

// offset: of what follows the IP headers.
static __noinline int refuse_service(struct __sk_buff *skb, __u8 proto, __u32 offset)
{
	struct icmp_message says = {};
	struct port *from = port_of(skb);

	if (!from)
		return DROP_UNKNOWN_PORT;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__be32 service;

		if (proto == IPPROTO_TCP)
			return answer_reset4(skb, from, offset);
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, daddr), &service, sizeof(service)))
			return DROP_MALFORMED;
		says.type = 3; // destination unreachable
		says.code = proto == IPPROTO_SCTP ? 2 : 3; // SCTP takes no notice of a port, only of a protocol (RFC 9260 10)
		return answer_error4(skb, from, service, &says);
	} else {
		__u8 service[16];

		if (proto == IPPROTO_TCP)
			return answer_reset6(skb, from, offset);
		if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), service, sizeof(service)))
			return DROP_MALFORMED;
		says.type = 1; // destination unreachable: port
		says.code = 4;
		if (proto == IPPROTO_SCTP) { // parameter problem: next header
			says.type = 4;
			says.code = 1;
			says.rest = bpf_htonl(offsetof(struct ipv6hdr, nexthdr));
		}
		return answer_error6(skb, from, service, &says);
	}
}
