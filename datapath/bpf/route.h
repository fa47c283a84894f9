// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: networks that are routed on the uplink for VLANs, without a tag. What their endpoints send to others of them, and to the
// outside, goes to the router that has told of the destination; what routers send to this node's endpoints is delivered.
#pragma once

#define IPV4_PREFIX 96 // bits of ::ffff:0:0/96

static __always_inline bool is_routed(__u32 number)
{
	return number & NETWORK_ROUTED;
}

// Completes a decision for whoever is not on this node.
static __noinline int decide_route(struct flow *f, const struct question *q)
{
	struct route_key key = {.prefix_len = 128};
	struct route *r;
	__u32 hop;

	copy_address(key.address, q->destination);
	r = bpf_map_lookup_elem(&routes, &key);
	if (!r || !r->ifindex)
		return DROP_NO_ROUTE;
	f->way = WAY_ROUTE;
	f->ifindex = r->ifindex;
	f->mtu = wire_mtu;
	if (!r->hops) {
		copy_address(f->header, q->destination);
		return 0;
	}
	// One pair of addresses goes by one of the routers, whichever node decides.
	hop = (be32(q->source + 12) ^ be32(q->destination + 12)) * 0x9e3779b1U >> 16;
	copy_address(f->header, r->next_hop[hop % r->hops & (ROUTE_HOPS - 1)]);
	return 0;
}

// The same for what no endpoint has.
static __always_inline int decide_beyond(const struct question *q, const struct port *from, struct flow *f)
{
	f->destination_class = outside_class(from->tenant, q->destination, f->epoch & EPOCH_BANK);
	return decide_route(f, q);
}

static __always_inline int send_route(struct __sk_buff *skb, const struct flow *f)
{
	struct bpf_redir_neigh hop;

	__builtin_memset(&hop, 0, sizeof(hop));
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		hop.nh_family = AF_INET;
		hop.ipv4_nh = be32(f->header + 12);
	} else {
		hop.nh_family = AF_INET6;
		copy_address(hop.ipv6_nh, f->header);
	}
	skb->mark = 0;
	return bpf_redirect_neigh(f->ifindex, &hop, sizeof(hop), 0);
}

// From the uplink without a tag: what is for an endpoint of a routed network on this node. All else is the host's own.
static __noinline int decide_from_router(const struct question *q, struct flow *f)
{
	__u32 all = NETWORK_ROUTED, bank = f->epoch & EPOCH_BANK;
	struct network *network = bpf_map_lookup_elem(&networks, &all);
	struct endpoint *from, *to;

	if (!network || is_neighbour_discovery(q) || check_kind_of_destination(q))
		return NOT_OURS;
	to = endpoint_of(network->tenant, q->destination);
	if (!to || !to->ifindex || !is_routed(to->network))
		return NOT_OURS;
	from = endpoint_of(network->tenant, q->source);
	if (from && from->virtual == VIRTUAL_BESIDE)
		from = NULL; // a machine outside
	if (from && (from->ifindex || from->virtual || !is_routed(from->network))) // those come by other ways, or by none
		return DROP_SPOOFED_WIRE;
	if (is_probe_source(q->source, q->ethertype))
		return DROP_SPOOFED_WIRE;
	f->tenant = network->tenant;
	f->source_class = class_at(network->tenant, from, q->source, bank); // its roles were asked on its own node, if it has one
	f->asks = from ? asks_for_replies(from, to) : asks_for_foreign_replies(q->source);
	STEP(note_destination(f, to, bank));
	return decide_delivery(f, to, to->mac, false, q->ethertype);
}
