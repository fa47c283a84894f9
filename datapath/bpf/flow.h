// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// The flow cache: whether a cached decision holds, and what a new one is made from.
#pragma once

// What the slow path decides on: a packet's key, in one form for both families.
struct question {
	__u64 sender; // to be shown again by the packets that follow, see struct flow
	__u8 source[16], destination[16]; // IPv4 as ::ffff:a.b.c.d
	__u32 scope;
	__be16 ethertype;
	__u8 proto;
	__u8 fragment;
	__u8 icmp_type; // of ICMP and ICMPv6
};

// Runs a step of a decision, and ends it unless the step says 0.
#define STEP(call)                      \
	do {                            \
		int outcome = (call);   \
		if (outcome)            \
			return outcome; \
	} while (0)

// What a container's packets show again at each hit: Ethernet source and type, eight bytes in one read.
static __always_inline __u64 sender_on_port(const struct ethhdr *eth)
{
	const void *source = eth->h_source; // clang would read the array byte by byte

	return *(const __u64 *)source;
}

// What else packets show that the node's own processes send by its place in an infra network (enum node). It is a bit of the Ethernet type, which
// neither IPv4 nor IPv6 has, so it is shown at each hit like the rest. Other ports' packets have no mark: they come from another namespace.
#define SENDER_OWN (1ULL << 61)

static __always_inline __u64 own_on_port(const struct __sk_buff *skb)
{
	_Static_assert((__u64)OWN_MARK << 49 == SENDER_OWN, "the mark and the bit are apart by this");
	return (__u64)(skb->mark & OWN_MARK) << 49;
}

// What packets from the node's own stack show. No container does: its packets have an Ethernet type.
#define SENDER_NODE 1

static __always_inline const __u8 *mac_of_sender(const struct question *q)
{
	return (const __u8 *)&q->sender;
}

// Whether a flow was decided after the last change of the tables, and for this very sender.
static __always_inline bool is_current(const struct flow *f, __u64 sender)
{
	__u32 zero = 0;
	__u32 *now = bpf_map_lookup_elem(&epoch, &zero);

	return f && now && f->sender == sender && f->epoch == *now;
}

// Whether the flow's packets passed before anything was asked about them. It is not current.
static __always_inline bool is_older(const struct flow *f, __u64 sender)
{
	return f && f->sender == sender && (!(f->asks & FLOW_POLICY) || f->older);
}

// The epoch for a decision that is about to be made. Reading it comes before every look at a table (hence the
// atomic, which orders reads on all machines): when tables change in between, the decision is already void.
static __always_inline __u32 epoch_before_tables(void)
{
	__u32 zero = 0;
	__u32 *now = bpf_map_lookup_elem(&epoch, &zero);

	return now ? __sync_fetch_and_add(now, 0) : 0;
}

static __always_inline void map_ipv4(__u8 *to, __be32 from)
{
	__u32 *words = (__u32 *)to;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = from;
}

static __always_inline struct question question4(const struct flow4_key *key, __u64 sender)
{
	struct question q = {
		.sender = sender,
		.scope = key->scope,
		.ethertype = bpf_htons(ETH_P_IP),
		.proto = key->kind,
		.fragment = !!(key->kind & FRAGMENT),
		.icmp_type = key->kind >> ICMP_TYPE_SHIFT,
	};

	map_ipv4(q.source, key->source);
	map_ipv4(q.destination, key->destination);
	return q;
}

static __always_inline struct question question6(const struct flow6_key *key, __u64 sender)
{
	struct question q = {
		.sender = sender,
		.scope = key->scope,
		.ethertype = bpf_htons(ETH_P_IPV6),
		.proto = key->kind,
		.fragment = !!(key->kind & FRAGMENT),
		.icmp_type = key->kind >> ICMP_TYPE_SHIFT,
	};

	copy_address(q.source, key->source);
	copy_address(q.destination, key->destination);
	return q;
}
