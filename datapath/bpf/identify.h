// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: who has an address, and may the sender's network reach it.
#pragma once

static __always_inline struct port *port_of(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;

	return bpf_map_lookup_elem(&ports, &ifindex);
}

static __always_inline struct endpoint *endpoint_of(__u32 tenant, const void *address)
{
	struct endpoint_key key = {.tenant = tenant};

	copy_address(key.address, address);
	return bpf_map_lookup_elem(&endpoints, &key);
}

static __always_inline struct endpoint *endpoint_of_ipv4(__u32 tenant, __be32 address)
{
	struct endpoint_key key = {.tenant = tenant};

	map_ipv4(key.address, address);
	return bpf_map_lookup_elem(&endpoints, &key);
}

static __always_inline bool is_bridged(__u32 tag)
{
	struct network *n = bpf_map_lookup_elem(&networks, &tag);

	return !n || n->bridged;
}

// Networks of a tenant whose packets travel alike reach each other, unless either keeps to itself.
static __always_inline bool reaches(__u32 from, __u32 to)
{
	bool same_kind = !((from ^ to) & (NETWORK_VLAN | NETWORK_ROUTED));

	return from == to || (same_kind && !is_bridged(from) && !is_bridged(to));
}

static __always_inline __u32 class_of(const struct endpoint *e, __u32 bank)
{
	return e ? e->class[bank & EPOCH_BANK] : 0;
}

// What policy has to know of the destination. Its roles are asked where it is.
static __always_inline int note_destination(struct flow *f, const struct endpoint *to, __u32 bank)
{
	struct port *port;
	__u32 ifindex = to->ifindex;

	f->destination_class = class_of(to, bank);
	if (!ifindex)
		return 0;
	port = bpf_map_lookup_elem(&ports, &ifindex);
	if (!port)
		return DROP_UNKNOWN_DESTINATION; // its port is taken away, or not there yet
	f->destination_in = port->in_role[bank & EPOCH_BANK];
	f->destination_out = port->out_role[bank & EPOCH_BANK];
	f->queued = port->receive_rate || port->home;
	return 0;
}

// What a container sends to itself, as a service's provider that is its client, is nobody's to deny.
static __always_inline void forget_roles_of_one(const struct question *q, struct flow *f, const struct endpoint *to)
{
	if (to->ifindex == q->scope)
		f->source_in = f->source_out = f->destination_in = f->destination_out = 0;
}

// What is never carried, whoever has it.
static __always_inline int check_kind_of_destination(const struct question *q)
{
	const __u8 *to = q->destination;

	if (q->ethertype == bpf_htons(ETH_P_IP))
		return to[12] >= 224 ? DROP_MULTICAST : 0; // 224.0.0.0/4, 240.0.0.0/4 and 255.255.255.255
	if (to[0] == 0xff)
		return DROP_MULTICAST;
	return is_link_local(to) || is_link_local(q->source) ? DROP_LINK_LOCAL : 0;
}
