// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: what a netprofile says of its members' packets: how they are marked, and how many there may be.
#pragma once

#define ECN_BITS 3 // of TOS and traffic class; the upper six bits are the DSCP
#define TRAFFIC_CLASS_SHIFT 4
#define CHECK_OFFSET offsetof(struct iphdr, check)

#define SECOND 1000000000ULL // in nanoseconds

// How much more than its rate a container may send, before packets are dropped: its queue lets less pass, so that nothing is
// ever dropped while it has one.
#define LEEWAY_SHIFT 4          // 1/16 of the rate
#define LEEWAY_BYTES 65536      // and at once two bursts, one packet before it is cut into segments,
#define LEEWAY_TIME (SECOND / 10) // and what may pass in this time

static __always_inline void note_netprofile(struct flow *f, const struct port *from)
{
	f->tos = from->dscp << 2;
	f->limited = from->send_rate != 0;
}

// Writes the DSCP into the IP header. What the packet says of congestion stays.
static __always_inline int write_dscp(struct __sk_buff *skb, __u8 tos)
{
	__be16 old, new;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old)))
		return DROP_MALFORMED;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		new = (old & bpf_htons(0xff00 | ECN_BITS)) | bpf_htons(tos);
		if (new != old && bpf_l3_csum_replace(skb, ETH_HLEN + CHECK_OFFSET, old, new, sizeof(new)))
			return DROP_MALFORMED;
		return bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), 0) ? DROP_MALFORMED : 0;
	}
	new = (old & bpf_htons(0xf00f | ECN_BITS << TRAFFIC_CLASS_SHIFT)) | bpf_htons(tos << TRAFFIC_CLASS_SHIFT);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM) ? DROP_MALFORMED : 0;
}

// Whoever may administer the network inside of a container can take its queue away. Then this holds it to its rate, by
// dropping: each packet is paid for with the time that it takes at that rate, and may be paid late by some leeway.
static __always_inline int check_rate(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct port *from = bpf_map_lookup_elem(&ports, &ifindex);
	__u64 now = bpf_ktime_get_ns(), rate, cost, leeway, *until, begin;

	if (!from)
		return DROP_UNKNOWN_PORT;
	rate = from->send_rate + (from->send_rate >> LEEWAY_SHIFT);
	if (!rate)
		return 0; // it has none any more
	cost = (skb->len - ETH_HLEN) * 8 * SECOND / rate;
	leeway = LEEWAY_TIME + (LEEWAY_BYTES + 2ULL * from->send_burst) * 8 * SECOND / rate;
	until = bpf_map_lookup_elem(&paid, &ifindex);
	if (!until) {
		begin = now + cost;
		bpf_map_update_elem(&paid, &ifindex, &begin, BPF_ANY);
		return 0;
	}
	// Others may pay at the same time. One that loses the race that often goes without.
	for (int i = 0; i < 8; i++) {
		__u64 was = *(volatile __u64 *)until;

		begin = was > now ? was : now;
		if (begin - now > leeway)
			return DROP_RATE;
		if (__sync_val_compare_and_swap(until, was, begin + cost) == was)
			break;
	}
	return 0;
}

static __noinline int apply_netprofile(struct __sk_buff *skb, const struct flow *f)
{
	if (f->limited)
		STEP(check_rate(skb));
	return f->tos ? write_dscp(skb, f->tos) : 0;
}

// What the sender's netprofile asks, where it asks anything.
static __always_inline int meet_netprofile(struct __sk_buff *skb, const struct flow *f)
{
	return f->limited || f->tos ? apply_netprofile(skb, f) : 0;
}
