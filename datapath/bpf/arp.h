// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: ARP requests (RFC 826) are answered on the node, in place. Nothing is flooded, nothing is believed; but a VLAN has
// neighbours of whom the node knows nothing.
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

static __always_inline bool is_arp(const struct arp_packet *p)
{
	return p && p->hardware == bpf_htons(1) && p->protocol == bpf_htons(ETH_P_IP) && p->hardware_len == 6 &&
	       p->protocol_len == 4;
}

// Turns a request into its answer: target is at mac.
static __always_inline void write_arp_reply(struct arp_packet *p, const void *mac)
{
	__be32 target = be32(p->target_ip);

	copy_mac(p->eth.h_dest, p->eth.h_source);
	copy_mac(p->eth.h_source, mac);
	p->operation = bpf_htons(ARP_REPLY);
	copy_mac(p->target_mac, p->sender_mac);
	*(__be32 *)p->target_ip = be32(p->sender_ip);
	copy_mac(p->sender_mac, mac);
	*(__be32 *)p->sender_ip = target;
}

// Who is asked for by a container of a VLAN and answered for by its node: the VLAN's endpoints, wherever they are, unless all is to
// be flooded, and its services, which are on no wire. What else its containers say goes to the wire: there may be anybody.
static __always_inline struct endpoint *arp_neighbour(const struct arp_packet *p, const struct port *from)
{
	struct endpoint *to;

	if (p->operation != bpf_htons(ARP_REQUEST) || !be32(p->sender_ip) || be32(p->sender_ip) == be32(p->target_ip))
		return NULL;
	to = endpoint_of_ipv4(from->tenant, be32(p->target_ip));
	return answers_for(from->network, to) ? to : NULL;
}

static __noinline int answer_arp(struct __sk_buff *skb)
{
	struct port *from = port_of(skb);
	struct arp_packet *p = pull(skb, sizeof(*p));
	struct endpoint *to = NULL;
	__be32 sender, target;
	__u8 mac[6];

	if (!from)
		return DROP_UNKNOWN_PORT;
	if (!is_arp(p))
		return DROP_MALFORMED;
	sender = be32(p->sender_ip);
	target = be32(p->target_ip);
	if (!equal_mac(p->eth.h_source, from->mac))
		return DROP_SPOOFED_MAC;
	if (!equal_mac(p->sender_mac, from->mac) || (sender && sender != be32(from->ipv4)))
		return DROP_SPOOFED_ARP;
	if (is_vlan(from->network)) {
		to = arp_neighbour(p, from);
		if (!to) {
			copy_mac(mac, p->eth.h_dest);
			return tell_neighbours(skb, from->network, mac);
		}
		write_arp_reply(p, to->mac);
		return ANSWERED;
	}
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
		copy_mac(mac, to->mac);
	else
		write_router_mac(mac);
	write_arp_reply(p, mac);
	return ANSWERED;
}

// From the wire of a VLAN: requests for this node's containers are answered here, replies and announcements handed on.
static __noinline int arp_from_wire(struct __sk_buff *skb, __u32 number)
{
	struct network *network = bpf_map_lookup_elem(&networks, &number);
	struct arp_packet *p;
	struct endpoint *to;
	__be32 sender, target;
	bool request;

	if (!network)
		return NOT_OURS;
	STEP(check_uplink(skb));
	p = pull(skb, sizeof(*p));
	if (!is_arp(p))
		return NOT_OURS;
	sender = be32(p->sender_ip);
	target = be32(p->target_ip);
	if (!may_claim(number, endpoint_of_ipv4(network->tenant, sender), p->sender_mac))
		return DROP_SPOOFED_ARP;
	request = p->operation == bpf_htons(ARP_REQUEST) && sender != target;
	if (request && !network->flooded) {
		to = endpoint_of_ipv4(network->tenant, target);
		if (!to || to->network != number || !to->ifindex)
			return NOT_OURS;
		write_arp_reply(p, to->mac);
		bpf_redirect(skb->ifindex, 0);
		return REDIRECTED;
	}
	if (p->eth.h_dest[0] & 1) {
		STEP(copy_to_ports(skb, number, 0));
		return NOT_OURS;
	}
	to = endpoint_of_ipv4(network->tenant, target);
	if (!to || to->network != number || !to->ifindex || !equal_mac(p->eth.h_dest, to->mac))
		return NOT_OURS;
	return hand_to_port(skb, to->ifindex);
}
