// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Reading packets. All bounds checks are here.
#pragma once

#define FRAGMENT_MASK bpf_htons(0x3fff) // more fragments, or an offset
#define FRAGMENT_OFFSET bpf_htons(0x1fff)
#define DONT_FRAGMENT bpf_htons(0x4000)
#define PLAIN_IPV4 0x45 // version 4, header without options

// data and data_end are read by inline assembly, because clang otherwise merges reads from different branches
// into one computed context pointer, which the verifier refuses ("dereference of modified ctx ptr").
static __always_inline void *packet_start(const struct __sk_buff *skb)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
	return p;
}

static __always_inline void *packet_end(const struct __sk_buff *skb)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
	return p;
}

// What begins before this offset is read in place where it can be, for speed; the rest by helpers.
#define NEAR 128

// The bytes from offset on, len of them, for reading and writing in place. NULL: the packet is shorter, or they
// are not in its linear part (see pull). Invalid after a helper that changes the packet.
static __always_inline void *at(const struct __sk_buff *skb, __u32 offset, __u32 len)
{
	void *start = packet_start(skb);

	if (start + offset + len > packet_end(skb))
		return NULL;
	return start + offset;
}

// As at, after moving the bytes to the linear part if need be. Invalidates what at gave.
static __always_inline void *pull_at(struct __sk_buff *skb, __u32 offset, __u32 len)
{
	void *p = at(skb, offset, len);

	if (p || bpf_skb_pull_data(skb, offset + len))
		return p;
	return at(skb, offset, len);
}

// As pull_at, from the packet's start.
static __always_inline void *pull(struct __sk_buff *skb, __u32 len)
{
	return pull_at(skb, 0, len);
}

static __always_inline bool equal_mac(const void *a, const void *b)
{
	const __u16 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

static __always_inline void copy_mac(void *to, const void *from)
{
	__u16 *x = to;
	const __u16 *y = from;

	x[0] = y[0];
	x[1] = y[1];
	x[2] = y[2];
}

static __always_inline void write_router_mac(void *to)
{
	__u8 *x = to;

	for (int i = 0; i < 6; i++)
		x[i] = router_mac[i];
}

static __always_inline bool equal_address(const void *a, const void *b)
{
	const __u32 *x = a, *y = b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

static __always_inline void copy_address(void *to, const void *from)
{
	__u32 *x = to;
	const __u32 *y = from;

	x[0] = y[0];
	x[1] = y[1];
	x[2] = y[2];
	x[3] = y[3];
}

static __always_inline bool is_zero_address(const void *a)
{
	const __u32 *x = a;

	return !(x[0] | x[1] | x[2] | x[3]);
}

static __always_inline bool is_link_local(const __u8 *ipv6)
{
	return ipv6[0] == 0xfe && (ipv6[1] & 0xc0) == 0x80;
}

static __always_inline __be32 be32(const __u8 *address)
{
	return *(const __be32 *)address;
}

static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP || proto == IPPROTO_UDPLITE;
}

static __always_inline bool is_icmp(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

// A packet's kind, from its protocol and the first four bytes after the IP headers.
static __always_inline __u32 kind_of(__u8 proto, __be32 first)
{
	return is_icmp(proto) ? proto | (__u32)*(__u8 *)&first << ICMP_TYPE_SHIFT : proto;
}

// What comes after the IP headers.
struct upper {
	__be32 first; // its first four bytes: the ports, where the protocol has some. 0 when there are none, and in fragments
	__u32 offset; // where it begins
	__be32 id;    // of the datagram that this is a part of
	__u32 part;
	__u32 unknown; // there is no connection of it; 0: not known
};

enum {
	WHOLE,
	FIRST_PART,
	LATER_PART, // also a first one that is too short to be read
};

// IP options, fragments, packets without four bytes after the header, and those that are not linear.
static __noinline int read_unusual_ipv4(struct __sk_buff *skb, __u32 offset, struct flow4_key *key, struct upper *u)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return DROP_MALFORMED;
	key->source = ip.saddr;
	key->destination = ip.daddr;
	key->kind = ip.protocol;
	u->offset = offset + ip.ihl * 4;
	if (ip.frag_off & FRAGMENT_MASK) {
		key->kind |= FRAGMENT;
		u->id = ip.id;
		u->part = ip.frag_off & FRAGMENT_OFFSET ? LATER_PART : FIRST_PART;
		return 0;
	}
	if (!has_ports(ip.protocol) && !is_icmp(ip.protocol))
		return 0;
	if (bpf_skb_load_bytes(skb, u->offset, &u->first, sizeof(u->first)))
		return DROP_MALFORMED;
	key->kind = kind_of(ip.protocol, u->first);
	return 0;
}

// Fills the key, all but its scope, and u from the IPv4 packet at offset. Both must be zero before.
static __always_inline int read_ipv4(struct __sk_buff *skb, __u32 offset, struct flow4_key *key, struct upper *u)
{
	struct {
		struct iphdr ip;
		__be32 first;
	} *p = at(skb, offset, sizeof(*p));

	if (!p || *(__u8 *)p != PLAIN_IPV4 || p->ip.frag_off & FRAGMENT_MASK)
		return read_unusual_ipv4(skb, offset, key, u);
	key->source = p->ip.saddr;
	key->destination = p->ip.daddr;
	u->first = p->first;
	u->offset = offset + sizeof(p->ip);
	key->kind = kind_of(p->ip.protocol, p->first);
	return 0;
}

// Extension headers (RFC 8200 4), fragments, short packets, and those that are not linear.
static __noinline int read_unusual_ipv6(struct __sk_buff *skb, __u32 offset, struct flow6_key *key, struct upper *u)
{
	struct ipv6hdr ip;
	__u8 next, start[4] __attribute__((aligned(4))) = {};

	if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6)
		return DROP_MALFORMED;
	copy_address(key->source, &ip.saddr);
	copy_address(key->destination, &ip.daddr);
	next = ip.nexthdr;
	offset += sizeof(ip);
	for (int i = 0; i < 8; i++) {
		bool extension = next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;

		key->kind = next;
		u->offset = offset;
		if (next != IPPROTO_FRAGMENT && !extension && !has_ports(next) && !is_icmp(next))
			return 0;
		if (bpf_skb_load_bytes(skb, offset, start, sizeof(start)))
			return DROP_MALFORMED;
		if (next == IPPROTO_FRAGMENT) {
			key->kind = start[0] | FRAGMENT; // the same in all fragments of a datagram
			u->part = *(const __be16 *)(start + 2) & bpf_htons(0xfff8) ? LATER_PART : FIRST_PART;
			u->offset = offset + 8;
			return bpf_skb_load_bytes(skb, offset + 4, &u->id, sizeof(u->id)) ? DROP_MALFORMED : 0;
		}
		if (!extension) {
			u->first = *(const __be32 *)start;
			key->kind = kind_of(next, u->first);
			return 0;
		}
		next = start[0];
		offset += (start[1] + 1) * 8;
	}
	return DROP_MALFORMED;
}

// As read_ipv4.
static __always_inline int read_ipv6(struct __sk_buff *skb, __u32 offset, struct flow6_key *key, struct upper *u)
{
	struct {
		struct ipv6hdr ip;
		__be32 first;
	} *p = at(skb, offset, sizeof(*p));

	if (!p || p->ip.version != 6 || (!has_ports(p->ip.nexthdr) && p->ip.nexthdr != IPPROTO_ICMPV6))
		return read_unusual_ipv6(skb, offset, key, u);
	copy_address(key->source, &p->ip.saddr);
	copy_address(key->destination, &p->ip.daddr);
	u->first = p->first;
	u->offset = offset + sizeof(p->ip);
	key->kind = kind_of(p->ip.nexthdr, p->first);
	return 0;
}
