// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// The end of a packet: dropped and counted, passed to whoever is next, or answered.
#pragma once

// A function that the verifier reads once, not once for each way that leads to it. Its pointers are NULL as far as the
// verifier knows, and its outcome is any number.
#define VERIFIED_ONCE __attribute__((noinline))

// The same number in TCX (TCX_NEXT) and clsact (TC_ACT_UNSPEC): not ours, others go on with it.
#define PASS TC_ACT_UNSPEC

// A step that returns this has turned the packet into an answer to its sender.
#define ANSWERED (-1)

// A step that returns this has said where the packet goes, by a redirect.
#define REDIRECTED (-2)

// A step that returns this has found that the packet is none of ours: others go on with it.
#define NOT_OURS (-3)

// Counts a drop with a device.
static __noinline int drop_at(__u32 ifindex, enum drop_reason reason)
{
	struct port_drop key = {.ifindex = ifindex, .reason = reason};
	__u64 *count = bpf_map_lookup_elem(&drops, &reason), one = 1;

	if (count)
		(*count)++;
	count = bpf_map_lookup_elem(&port_drops, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&port_drops, &key, &one, BPF_NOEXIST);
	return TC_ACT_SHOT;
}

static __noinline int drop(struct __sk_buff *skb, enum drop_reason reason)
{
	return drop_at(skb->ifindex, reason);
}

// Takes a packet to the other side of a port. Into a container it goes straight, past the queue of the veth pair: the kernel puts that in
// place some time after the container's end has come up, and until then it drops all. A container's first ARP request would be lost,
// which it repeats after a second.
static __always_inline int across(struct __sk_buff *skb, __u32 ifindex)
{
	struct port *port = bpf_map_lookup_elem(&ports, &ifindex);

	if (port && port->home)
		return bpf_redirect(ifindex, 0);
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

static __noinline int take_across(struct __sk_buff *skb, __u32 ifindex)
{
	return across(skb, ifindex);
}

// The packet's end after a step that returned other than 0. An answer goes to who asked.
static __always_inline int finish(struct __sk_buff *skb, int outcome)
{
	if (outcome == REDIRECTED)
		return TC_ACT_REDIRECT;
	if (outcome == NOT_OURS)
		return PASS;
	if (outcome != ANSWERED)
		return drop(skb, outcome);
	return take_across(skb, skb->ifindex);
}
