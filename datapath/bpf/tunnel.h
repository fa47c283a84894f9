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

// ---- over IPv6: the same, with another outer header. Its UDP checksum is zero, as RFC 6935 5 allows tunnels: docs/decisions/0018 says why.

// Laid out so that each field is written at once.
struct tunnel6_header {
	__be32 first; // version, traffic class, flow label
	__be16 length;
	__u8 next, hop_limit;
	__u64 source[2], destination[2]; // wire order
	struct udphdr udp;
	struct vxlanhdr vxlan;
	__u64 inner; // the Ethernet header's first eight bytes, four, and two
	__u32 inner_source;
	__u16 inner_ethertype;
};

_Static_assert(offsetof(struct tunnel6_header, inner_ethertype) + sizeof(__u16) == OUTER6_LEN, "");

// What a flow keeps of it. All else is the same in all packets, and a flow has no room for it.
struct ready6 {
	__u64 destination[2], next_hop[2]; // on the underlay, wire order
	__be32 vni;
	__u16 inner[7]; // an Ethernet header
} __attribute__((packed, aligned(8)));

_Static_assert(sizeof(struct ready6) - 6 == OUTER_LEN, ""); // and bytes to fill the last word, which nobody touches

#define IPV6_VERSION 0x60000000U

static __always_inline void ready_tunnel6(struct __sk_buff *skb, struct flow *f, const struct endpoint *to, const struct peer *peer,
					  const __u8 *from_mac, bool same_network, __be16 ethertype)
{
	struct ready6 *ready = (void *)f->header;

	f->way = WAY_TUNNEL6;
	f->outer_port = bpf_htons(FIRST_SOURCE_PORT | (bpf_get_hash_recalc(skb) & SOURCE_PORTS));
	copy_address(ready->destination, to->vtep);
	copy_address(ready->next_hop, peer->next_hop);
	ready->vni = bpf_htonl(to->network << 8);
	write_ethernet((struct ethhdr *)ready->inner, to->mac, from_mac, same_network, ethertype);
}

// Completes a decision for an endpoint on another node.
static __always_inline int decide_tunnel(struct __sk_buff *skb, struct flow *f, const struct endpoint *to,
					 const __u8 *from_mac, bool same_network, __be16 ethertype)
{
	struct tunnel_header *h = (void *)f->header;
	struct peer *peer = bpf_map_lookup_elem(&peers, to->vtep);

	if (!peer || !peer->ifindex)
		return DROP_NO_ROUTE;
	f->ifindex = peer->ifindex;
	f->mtu = peer->mtu;
	if (over_ipv6) {
		ready_tunnel6(skb, f, to, peer, from_mac, same_network, ethertype);
		return 0;
	}
	f->way = WAY_TUNNEL;
	f->next_hop = be32(peer->next_hop + 12);
	*(__u8 *)h = PLAIN_IPV4;
	h->ip.tos = f->tos; // a mark of the sender's netprofile is for the way, too
	h->ip.frag_off = DONT_FRAGMENT; // so the identification may stay zero (RFC 6864 4.1)
	h->ip.ttl = 64;
	h->ip.protocol = IPPROTO_UDP;
	h->ip.saddr = own_vtep;
	h->ip.daddr = be32(to->vtep + 12);
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

#define ENCAP6_FLAGS                                                                                    \
	(BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP |        \
	 BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN))

#define IPV6_IS_LONGER (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

// Room for a packet that is in a tunnel of its container's, as in send_tunnel. IPv4 is turned into IPv6 on the way, as the packet will
// be: that makes a part of the room.
static __noinline int make_plain_room6(struct __sk_buff *skb)
{
	__s32 room = OUTER6_LEN;

	if (skb->gso_size)
		return DROP_NO_ROOM;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0))
			return DROP_NO_ROOM;
		room -= IPV6_IS_LONGER;
	}
	return bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO) ? DROP_NO_ROOM : 0;
}

// As send_tunnel. Apart, so that nobody else pays for it.
static __noinline int send_tunnel6(struct __sk_buff *skb, const struct flow *f, __be32 ports)
{
	struct bpf_redir_neigh hop;
	const struct ready6 *ready;
	struct tunnel6_header *h;
	struct ethhdr *eth;
	__u16 port;

	if (!f)
		return drop(skb, DROP_MALFORMED);
	if (bpf_skb_adjust_room(skb, OUTER6_LEN, BPF_ADJ_ROOM_MAC, ENCAP6_FLAGS) && make_plain_room6(skb))
		return drop(skb, DROP_NO_ROOM);
	eth = at(skb, 0, ETH_HLEN + OUTER6_LEN);
	if (!eth)
		return drop(skb, DROP_MALFORMED);
	*(__u64 *)eth = 0;
	*(__u32 *)(eth->h_source + 2) = 0;
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	h = (void *)(eth + 1);
	ready = (const void *)f->header;
	port = bpf_ntohs(f->outer_port ^ spread(ports));
	// Routers may tell flows apart by the label alone (RFC 6438).
	h->first = bpf_htonl(IPV6_VERSION | f->tos << 20 | port);
	h->length = bpf_htons(skb->len - ETH_HLEN - sizeof(struct ipv6hdr));
	h->next = IPPROTO_UDP;
	h->hop_limit = 64;
	h->source[0] = own_vtep6[0];
	h->source[1] = own_vtep6[1];
	h->destination[0] = ready->destination[0];
	h->destination[1] = ready->destination[1];
	h->udp.source = bpf_htons(port);
	h->udp.dest = vxlan_port;
	h->udp.len = h->length;
	h->udp.check = 0;
	h->vxlan.flags = VXLAN_HAS_VNI;
	h->vxlan.vni = ready->vni;
	__builtin_memcpy(&h->inner, ready->inner, ETH_HLEN);
	skb->mark = 0;
	hop.nh_family = AF_INET6;
	copy_address(hop.ipv6_nh, ready->next_hop);
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

// The same of a tunnel over IPv6. Before 6.3 a part of it is taken off by turning the packet into IPv4.
static __always_inline int receive_tunnel6(struct __sk_buff *skb, const struct flow *f, bool ipv6)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | (ipv6 ? 0 : BPF_F_ADJ_ROOM_DECAP_L3_IPV4);

	if (!ipv6 && !decap_sets_protocol) {
		if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0) ||
		    bpf_skb_adjust_room(skb, -(__s32)(OUTER6_LEN - IPV6_IS_LONGER), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
			return drop(skb, DROP_NO_ROOM);
	} else if (bpf_skb_adjust_room(skb, -OUTER6_LEN, BPF_ADJ_ROOM_MAC, flags)) {
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

static __always_inline bool is_vxlan_to_us6(const struct tunnel6_header *h)
{
	return h->next == IPPROTO_UDP && h->destination[0] == own_vtep6[0] && h->destination[1] == own_vtep6[1] && h->udp.dest == vxlan_port;
}

// As check_unusual_outer. What is unusual are extension headers, a fragment's among them.
static __noinline int check_unusual_outer6(struct __sk_buff *skb)
{
	struct flow6_key key = {};
	struct upper u = {};
	__be16 port;

	if (read_unusual_ipv6(skb, ETH_HLEN, &key, &u) || (__u8)key.kind != IPPROTO_UDP || u.part == LATER_PART ||
	    key.destination[0] != own_vtep6[0] || key.destination[1] != own_vtep6[1] ||
	    bpf_skb_load_bytes(skb, u.offset + offsetof(struct udphdr, dest), &port, sizeof(port)) || port != vxlan_port)
		return PASS;
	if (key.kind & FRAGMENT)
		return DROP_OUTER_FRAGMENT;
	return u.offset == ETH_HLEN + sizeof(struct ipv6hdr) ? 0 : DROP_OUTER_HEADER;
}

// Reads which node a packet says that it comes from. IPv4 as ::ffff:a.b.c.d.
static __always_inline int read_outer_source(struct __sk_buff *skb, __u8 *to)
{
	if (over_ipv6)
		return bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), to, 16);
	map_ipv4(to, 0);
	return bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct iphdr, saddr), to + 12, 4);
}
