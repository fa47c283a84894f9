// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: hand a packet to a container on this node.
#pragma once

// Inside one network the neighbour is seen under its own MAC, across networks the node is.
static __always_inline void write_ethernet(struct ethhdr *eth, const __u8 *to, const __u8 *from, bool same_network,
					   __be16 ethertype)
{
	copy_mac(eth->h_dest, to);
	if (same_network)
		copy_mac(eth->h_source, from);
	else
		write_router_mac(eth->h_source);
	eth->h_proto = ethertype;
}

// Completes a decision for an endpoint of this node.
static __always_inline int decide_delivery(struct flow *f, const struct endpoint *to, const __u8 *from_mac,
					   bool same_network, __be16 ethertype)
{
	f->ifindex = to->ifindex;
	write_ethernet((struct ethhdr *)f->header, to->mac, from_mac, same_network, ethertype);
	return 0;
}

// Straight into the container, past the queue of its veth pair, unless that is what holds back what it receives.
static __always_inline int deliver(struct __sk_buff *skb, const struct flow *f)
{
	struct {
		__u64 first;
		__u32 second;
		__u16 ethertype;
	} *eth = at(skb, 0, ETH_HLEN);
	const typeof(*eth) *ready = (const void *)f->header;

	if (!eth)
		return drop(skb, DROP_MALFORMED);
	eth->first = ready->first;
	eth->second = ready->second;
	eth->ethertype = ready->ethertype;
	// A mark of this node's means nothing in the container, and iptables there would see it.
	skb->mark = 0;
	if (f->queued)
		return bpf_redirect(f->ifindex, 0);
	// The packet was not for the node's side of the veth pair, and its kind is not worked out again.
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(f->ifindex, 0);
}
