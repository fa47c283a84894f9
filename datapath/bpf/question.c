// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Questions for names, on lo of a container that CNI attached: an object of its own, with nothing of contiv.c's. They are for servers
// inside the container or, where the way out is no port of ours that reflects them, brought here by a routing rule with their addresses
// as they were. They go on to the port where netplugin listens.
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define L3 ETH_HLEN
#define FRAGMENT_OFFSET bpf_htons(0x1fff)
#define DNS bpf_htons(53)

// 0 → until when questions are netplugin's, in nanoseconds of CLOCK_MONOTONIC. Netplugin writes it again and again while it
// lives; one map for all containers of a run.
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} listening SEC(".maps");

const volatile __u32 our_mark = 0;   // on every packet that netplugin sends in a container
const volatile __be16 our_port = 0;  // where it listens
const volatile __u32 way_out4 = 0;   // the device by which the container reaches others, by its index; 0: none, or no rule brings them here
const volatile __u32 way_out6 = 0;

// What a packet says of itself.
struct seen {
	__u32 l4;       // offset of its ports
	__u32 way_out;  // by which it goes on if nobody listens; 0: it is for the container itself
	__u8 protocol;
};

// A server at an own address of the container is left alone. The kernel takes what is sent to one for what came by its device, and
// netplugin would not see it.
static __always_inline int see4(void *data, void *end, struct seen *s)
{
	struct iphdr *ip = data + L3;
	bool loopback;

	if ((void *)(ip + 1) > end || ip->ihl < 5 || ip->frag_off & FRAGMENT_OFFSET)
		return -1;
	loopback = (ip->daddr & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	s->protocol = ip->protocol;
	s->l4 = L3 + ip->ihl * 4;
	s->way_out = loopback ? 0 : way_out4;
	return loopback || ip->saddr != ip->daddr ? 0 : -1;
}

static __always_inline int see6(void *data, void *end, struct seen *s)
{
	const __u32 one[4] = {0, 0, 0, bpf_htonl(1)};
	struct ipv6hdr *ip = data + L3;
	bool loopback;

	if ((void *)(ip + 1) > end)
		return -1;
	loopback = !__builtin_memcmp(&ip->daddr, one, sizeof(one));
	s->protocol = ip->nexthdr;
	s->l4 = L3 + sizeof(*ip);
	s->way_out = loopback ? 0 : way_out6;
	return loopback || __builtin_memcmp(&ip->saddr, &ip->daddr, sizeof(ip->saddr)) ? 0 : -1;
}

static __always_inline void set_port(struct __sk_buff *skb, const struct seen *s, __u32 offset, __be16 from, __be16 to)
{
	if (s->protocol == IPPROTO_UDP)
		bpf_l4_csum_replace(skb, s->l4 + offsetof(struct udphdr, check), from, to, BPF_F_MARK_MANGLED_0 | sizeof(to));
	else
		bpf_l4_csum_replace(skb, s->l4 + offsetof(struct tcphdr, check), from, to, sizeof(to));
	bpf_skb_store_bytes(skb, s->l4 + offset, &to, sizeof(to), 0);
}

SEC("tc")
int from_lo(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__be16 ports[2]; // source, destination: the same in TCP and UDP
	struct seen s = {};
	__u64 *until;
	__u32 key = 0;

	if (skb->mark != 0 && skb->mark != our_mark)
		return TC_ACT_OK;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (see4(data, end, &s))
			return TC_ACT_OK;
	} else if (skb->protocol != bpf_htons(ETH_P_IPV6) || see6(data, end, &s)) {
		return TC_ACT_OK;
	}
	if ((s.protocol != IPPROTO_UDP && s.protocol != IPPROTO_TCP) || bpf_skb_load_bytes(skb, s.l4, ports, sizeof(ports)))
		return TC_ACT_OK;

	if (skb->mark == our_mark) {
		// An answer over TCP is in the name of who was asked. Over UDP netplugin wrote that itself.
		if (s.protocol == IPPROTO_TCP && ports[0] == our_port)
			set_port(skb, &s, offsetof(struct tcphdr, source), our_port, DNS);
		return TC_ACT_OK;
	}
	if (ports[1] != DNS)
		return TC_ACT_OK;
	until = bpf_map_lookup_elem(&listening, &key);
	if (until && bpf_ktime_get_ns() < *until) {
		set_port(skb, &s, offsetof(struct tcphdr, dest), DNS, our_port);
		return TC_ACT_OK;
	}
	// Netplugin is gone for good: on to who was asked.
	if (!s.way_out)
		return TC_ACT_OK;
	return bpf_redirect_neigh(s.way_out, NULL, 0, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
