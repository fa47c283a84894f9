// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: VXLAN (RFC 7348), written and read here instead of by the kernel's device. The VXLAN network identifier
// is the tag of the destination's network.
#pragma once

struct vxlanhdr {
	__be32 flags; // only VXLAN_HAS_VNI
	__be32 vni;   // in the upper 24 bits
};

#define VXLAN_HAS_VNI bpf_htonl(0x08000000)

struct tunnel_header {
	struct iphdr ip;
	struct udphdr udp;
	struct vxlanhdr vxlan;
	struct ethhdr inner;
} __attribute__((packed, aligned(2)));

_Static_assert(sizeof(struct tunnel_header) == OUTER_LEN, "");

// The UDP source port tells flows apart, for routers that balance load and for receive queues.
#define FIRST_SOURCE_PORT 49152
#define SOURCE_PORTS 0x3fff

// What a flow's ports add to the UDP source port: some of SOURCE_PORTS' bits.
static __always_inline __be16 spread(__be32 ports)
{
	return bpf_htons(ports * 0x9e3779b1U >> 18); // 2^32 by the golden ratio: neighbours go far apart
}

// Completes a decision for an endpoint on another node.
static __always_inline int decide_tunnel(struct __sk_buff *skb, struct flow *f, const struct endpoint *to,
					 const __u8 *from_mac, bool same_network, __be16 ethertype)
{
	struct tunnel_header *h = (void *)f->header;
	struct peer *peer = bpf_map_lookup_elem(&peers, to->vtep);

	if (!peer || !peer->ifindex)
		return DROP_NO_ROUTE;
	f->way = WAY_TUNNEL;
	f->ifindex = peer->ifindex;
	f->next_hop = be32(peer->next_hop);
	f->mtu = tunnel_mtu;
	*(__u8 *)h = PLAIN_IPV4;
	h->ip.tos = f->tos; // a mark of the sender's netprofile is for the way, too
	h->ip.frag_off = DONT_FRAGMENT; // so the identification may stay zero (RFC 6864 4.1)
	h->ip.ttl = 64;
	h->ip.protocol = IPPROTO_UDP;
	h->ip.saddr = own_vtep;
	h->ip.daddr = be32(to->vtep);
	h->ip.check = fold(sum_of(&h->ip, sizeof(h->ip), 0));
	h->udp.source = bpf_htons(FIRST_SOURCE_PORT | (bpf_get_hash_recalc(skb) & SOURCE_PORTS));
	h->udp.dest = vxlan_port;
	h->vxlan.flags = VXLAN_HAS_VNI;
	h->vxlan.vni = bpf_htonl(to->network << 8);
	write_ethernet(&h->inner, to->mac, from_mac, same_network, ethertype);
	return 0;
}

#define ENCAP_FLAGS                                                                                     \
	(BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |        \
	 BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN))

// The ready header in words: copied by bytes it would take fifty loads and stores.
struct header_words {
	__u64 words[6];
	__u16 last;
};

static __always_inline int send_tunnel(struct __sk_buff *skb, const struct flow *f, __be32 ports)
{
	struct bpf_redir_neigh hop;
	const struct header_words *ready = (const void *)f->header;
	struct header_words *room;
	struct tunnel_header *h;
	struct ethhdr *eth;
	__u32 len;

	// A packet that the container itself put into a tunnel is refused with the flags (EALREADY). Without
	// them it goes too, unless it must still be cut into segments, for which the kernel keeps one tunnel only.
	if (bpf_skb_adjust_room(skb, OUTER_LEN, BPF_ADJ_ROOM_MAC, ENCAP_FLAGS) &&
	    (skb->gso_size || skb->protocol != bpf_htons(ETH_P_IP) ||
	     bpf_skb_adjust_room(skb, OUTER_LEN, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO)))
		return drop(skb, DROP_NO_ROOM);
	eth = at(skb, 0, ETH_HLEN + OUTER_LEN);
	if (!eth)
		return drop(skb, DROP_MALFORMED);
	// bpf_redirect_neigh writes the addresses, but refuses what is multicast before.
	*(__u64 *)eth = 0;
	*(__u32 *)(eth->h_source + 2) = 0;
	eth->h_proto = bpf_htons(ETH_P_IP);
	room = (void *)(eth + 1);
	for (int i = 0; i < 6; i++)
		room->words[i] = ready->words[i];
	room->last = ready->last;
	h = (void *)room;
	len = bpf_htons(skb->len - ETH_HLEN);
	h->ip.tot_len = len;
	h->ip.check = ~fold(h->ip.check + len);
	h->udp.source ^= spread(ports);
	h->udp.len = bpf_htons(skb->len - ETH_HLEN - sizeof(h->ip));
	skb->mark = 0;
	__builtin_memset(&hop, 0, sizeof(hop)); // an initialiser leaves the rest of its union unset, as IPv4 is short
	hop.nh_family = AF_INET;
	hop.ipv4_nh = f->next_hop;
	return bpf_redirect_neigh(f->ifindex, &hop, sizeof(hop), 0);
}

// Before 6.3 the kernel goes on thinking that the packet is IPv4. It changes its mind only when it may make the
// header longer, so the header is made shorter before by as much, and its lost bytes are put back.
static __noinline int uncover_ipv6(struct __sk_buff *skb)
{
	enum { LOST = sizeof(struct ipv6hdr) - sizeof(struct iphdr) };
	__u8 lost[LOST];

	return bpf_skb_load_bytes(skb, ETH_HLEN + OUTER_LEN, lost, LOST) ||
	       bpf_skb_adjust_room(skb, -(OUTER_LEN + LOST), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) ||
	       bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, lost, LOST, 0);
}

// Takes the outer headers off and hands the packet to its container.
static __always_inline int receive_tunnel(struct __sk_buff *skb, const struct flow *f, bool ipv6)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | (ipv6 ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : 0);

	if (ipv6 && !decap_sets_protocol) {
		if (uncover_ipv6(skb))
			return drop(skb, DROP_NO_ROOM);
	} else if (bpf_skb_adjust_room(skb, -OUTER_LEN, BPF_ADJ_ROOM_MAC, flags)) {
		return drop(skb, DROP_NO_ROOM);
	}
	return deliver(skb, f);
}

static __always_inline bool is_vxlan_to_us(const struct iphdr *ip, const struct udphdr *udp)
{
	return ip->protocol == IPPROTO_UDP && ip->daddr == own_vtep && udp->dest == vxlan_port;
}

// Whether a packet that is not laid out as ours are is VXLAN to us all the same. PASS: it is not, 0: it is, in
// our layout, but not in the linear part; otherwise why it is dropped.
static __noinline int check_unusual_outer(struct __sk_buff *skb)
{
	struct iphdr ip;
	struct udphdr udp;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    ip.frag_off & FRAGMENT_OFFSET || // of whatever; its first fragment decides
	    bpf_skb_load_bytes(skb, ETH_HLEN + ip.ihl * 4, &udp, sizeof(udp)) || !is_vxlan_to_us(&ip, &udp))
		return PASS;
	if (ip.frag_off & FRAGMENT_MASK)
		return DROP_OUTER_FRAGMENT;
	if (ip.ihl != 5)
		return DROP_OUTER_HEADER;
	return 0;
}
