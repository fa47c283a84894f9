// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: give a packet other addresses and ports. Checksums are corrected by the difference. Where the kernel has left one for the device
// to complete, it holds the addresses only; the helpers know.
#pragma once

// Where the checksum is in what follows the IP headers; 0: nowhere. SCTP's does not cover addresses, and its ports stay.
static __always_inline __u32 checksum_offset(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : proto == IPPROTO_ICMPV6 ? 2 : 0;
}

// Corrects the checksum above IP by the difference of the addresses, and writes the ports.
static __always_inline int translate_upper(struct __sk_buff *skb, const struct upper *u, __u8 proto, __u32 difference, __be32 ports)
{
	__u32 flags = proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0, at = u->offset + checksum_offset(proto);
	__be32 was;

	if (u->part == LATER_PART || !checksum_offset(proto))
		return 0;
	if (bpf_skb_load_bytes(skb, u->offset, &was, sizeof(was)) ||
	    (difference && bpf_l4_csum_replace(skb, at, 0, difference, BPF_F_PSEUDO_HDR | flags)))
		return DROP_MALFORMED;
	if (!has_ports(proto) || was == ports)
		return 0;
	return bpf_l4_csum_replace(skb, at, was, ports, sizeof(ports) | flags) || bpf_skb_store_bytes(skb, u->offset, &ports, sizeof(ports), 0)
		       ? DROP_MALFORMED
		       : 0;
}

// offset: of the IPv4 header.
VERIFIED_ONCE int translate4(struct __sk_buff *skb, __u32 offset, const struct upper *u, const struct passage *p)
{
	__be32 was[2], is[2];
	__u32 difference;
	struct iphdr *ip;
	__u64 sum;
	__u8 proto;

	if (!u || !p || offset > ETH_HLEN + OUTER_LEN)
		return DROP_MALFORMED;
	ip = pull_at(skb, offset, sizeof(*ip));
	if (!ip)
		return DROP_MALFORMED;
	was[0] = ip->saddr;
	was[1] = ip->daddr;
	is[0] = be32(p->source + 12);
	is[1] = be32(p->destination + 12);
	proto = ip->protocol;
	difference = bpf_csum_diff(was, sizeof(was), is, sizeof(is), 0);
	sum = (__u64)difference + (__u16)~ip->check;
	ip->check = ~fold((__u32)sum + (sum >> 32));
	ip->saddr = is[0];
	ip->daddr = is[1];
	return translate_upper(skb, u, proto, difference, p->ports);
}

// offset: of the IPv6 header.
VERIFIED_ONCE int translate6(struct __sk_buff *skb, __u32 offset, const struct upper *u, const struct passage *p, __u32 proto)
{
	__u8 is[32] __attribute__((aligned(8)));
	__u32 difference;
	struct ipv6hdr *ip;
	int outcome;

	if (!u || !p || offset > ETH_HLEN + OUTER_LEN)
		return DROP_MALFORMED;
	copy_address(is, p->source);
	copy_address(is + 16, p->destination);
	ip = pull_at(skb, offset, sizeof(*ip));
	if (!ip)
		return DROP_MALFORMED;
	difference = bpf_csum_diff((void *)&ip->saddr, sizeof(is), (void *)is, sizeof(is), 0);
	copy_address(&ip->saddr, is);
	copy_address(&ip->daddr, is + 16);
	outcome = translate_upper(skb, u, proto, difference, p->ports);
	// IPv6 has no checksum of its own that makes up for the addresses, so what the device has summed of the whole packet
	// stays as it is; the helper has taken the difference from it.
	bpf_csum_update(skb, difference);
	return outcome;
}
