// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: questions for names come back into the container that asks, to netplugin, which listens there; and what netplugin says to
// them, in the name of who was asked. Nothing is remembered of either.
//
//	client:4000 → server:53      comes back as   server:4000 → client:5399, with NAMES_MARK
//	client:5399 → server:4000    comes back as   server:53 → client:4000
//
// The mark stays with the packet until a socket has it (bpf_redirect_peer does not take it off), and no other packet into a container
// has one. So netplugin's sockets tell a container's questions from what others send to that port.
#pragma once

#define DNS_PORT 53

// By its ports a packet may be one of those. Few are.
static __always_inline bool is_about_names(const struct upper *u)
{
	return destination_port(u->first) == bpf_htons(DNS_PORT) || source_port(u->first) == bpf_htons(NAMES_PORT);
}

// The TTL or hop limit; -1: the packet has none.
static __always_inline int hops_of(struct __sk_buff *skb)
{
	bool ipv4 = skb->protocol == bpf_htons(ETH_P_IP);
	__u32 offset = ETH_HLEN + (ipv4 ? offsetof(struct iphdr, ttl) : offsetof(struct ipv6hdr, hop_limit));
	__u8 hops;

	return bpf_skb_load_bytes(skb, offset, &hops, sizeof(hops)) ? -1 : hops;
}

static __always_inline void swap_macs(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN] __attribute__((aligned(2)));

	copy_mac(mac, eth->h_dest);
	copy_mac(eth->h_dest, eth->h_source);
	copy_mac(eth->h_source, mac);
}

// Has sender and receiver change places, on both layers. No checksum changes by that.
static __always_inline int turn_round(struct __sk_buff *skb)
{
	struct {
		struct ethhdr eth;
		struct iphdr ip;
	} __attribute__((packed, aligned(2))) *p4;
	struct {
		struct ethhdr eth;
		struct ipv6hdr ip;
	} __attribute__((packed, aligned(2))) *p6;
	__u8 address[16] __attribute__((aligned(4)));

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__be32 sender;

		p4 = pull(skb, sizeof(*p4));
		if (!p4)
			return DROP_MALFORMED;
		swap_macs(&p4->eth);
		sender = p4->ip.saddr;
		p4->ip.saddr = p4->ip.daddr;
		p4->ip.daddr = sender;
		return 0;
	}
	p6 = pull(skb, sizeof(*p6));
	if (!p6)
		return DROP_MALFORMED;
	swap_macs(&p6->eth);
	copy_address(address, &p6->ip.saddr);
	copy_address(&p6->ip.saddr, &p6->ip.daddr);
	copy_address(&p6->ip.daddr, address);
	return 0;
}

// 0: the packet goes its way. What netplugin itself asks the server is told by its hops: the mark that it has in the container does not
// come through the veth pair. Who copies them is left to who was asked.
VERIFIED_ONCE int reflect(struct __sk_buff *skb, const struct upper *u, __u32 kind)
{
	__u32 ifindex = skb->ifindex;
	bool from_netplugin;
	__be32 ports;
	__u64 *until;

	if (!u || (kind != IPPROTO_UDP && kind != IPPROTO_TCP)) // a fragment's kind is another
		return 0;
	from_netplugin = hops_of(skb) == NAMES_HOPS;
	if (from_netplugin && source_port(u->first) == bpf_htons(NAMES_PORT))
		ports = join_ports(bpf_htons(DNS_PORT), destination_port(u->first));
	else if (!from_netplugin && destination_port(u->first) == bpf_htons(DNS_PORT))
		ports = join_ports(source_port(u->first), bpf_htons(NAMES_PORT));
	else
		return 0;
	until = bpf_map_lookup_elem(&reflected, &ifindex);
	if (!until || bpf_ktime_get_ns() >= *until)
		return 0;
	STEP(turn_round(skb));
	STEP(translate_upper(skb, u, kind, 0, u->first, ports));
	skb->mark = from_netplugin ? 0 : NAMES_MARK;
	return ANSWERED;
}
