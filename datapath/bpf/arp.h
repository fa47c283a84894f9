// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: ARP requests (RFC 826) are answered on the node, in place. Nothing is flooded, nothing is believed.
#pragma once

// linux/if_arp.h is not used, because it pulls in libc headers that want 32-bit ones with -target bpf.
struct arp_packet {
	struct ethhdr eth;
	__be16 hardware, protocol;
	__u8 hardware_len, protocol_len;
	__be16 operation;
	__u8 sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
} __attribute__((packed, aligned(2)));

#define ARP_REQUEST 1
#define ARP_REPLY 2

static __noinline int answer_arp(struct __sk_buff *skb)
{
	struct port *from = port_of(skb);
	struct arp_packet *p = pull(skb, sizeof(*p));
	struct endpoint *to = NULL;
	__be32 sender, target;

	if (!from)
		return DROP_UNKNOWN_PORT;
	if (!p || p->hardware != bpf_htons(1) || p->protocol != bpf_htons(ETH_P_IP) || p->hardware_len != 6 ||
	    p->protocol_len != 4)
		return DROP_MALFORMED;
	sender = be32(p->sender_ip);
	target = be32(p->target_ip);
	if (!equal_mac(p->eth.h_source, from->mac))
		return DROP_SPOOFED_MAC;
	if (!equal_mac(p->sender_mac, from->mac) || (sender && sender != be32(from->ipv4)))
		return DROP_SPOOFED_ARP;
	if (p->operation != bpf_htons(ARP_REQUEST) || sender == target)
		return DROP_ARP_UNSOLICITED;
	if (!sender || target == be32(from->ipv4))
		return DROP_ARP_PROBE;
	if (!target)
		return DROP_ARP_TARGET;
	if (target != be32(from->gateway4)) {
		to = endpoint_of_ipv4(from->tenant, target);
		if (!to)
			return DROP_ARP_TARGET;
		if (!reaches(from->network, to->network))
			return DROP_OTHER_NETWORK;
	}
	if (to && to->network == from->network)
		copy_mac(p->eth.h_source, to->mac);
	else
		write_router_mac(p->eth.h_source);
	copy_mac(p->eth.h_dest, from->mac);
	p->operation = bpf_htons(ARP_REPLY);
	copy_mac(p->sender_mac, p->eth.h_source);
	*(__be32 *)p->sender_ip = target;
	copy_mac(p->target_mac, from->mac);
	*(__be32 *)p->target_ip = sender;
	return ANSWERED;
}
