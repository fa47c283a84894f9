// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: give a packet other addresses and ports. Checksums are corrected by the difference. Where the kernel has left one for the device
// to complete, it holds the addresses only; the helpers know.
#pragma once

// Where the checksum is in what follows the IP headers; 0: nowhere. SCTP's does not cover addresses, and its ports stay.
static __always_inline __u32 checksum_offset(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : proto == IPPROTO_ICMPV6 ? 2 : 0;
}

// Corrects the checksum above IP by the difference of the addresses, and writes the ports; was are those that it has.
static __always_inline int translate_upper(struct __sk_buff *skb, const struct upper *u, __u8 proto, __u32 difference, __be32 was, __be32 ports)
{
	__u32 flags = proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0, checksum = u->offset + checksum_offset(proto);
	__be32 *in_place;

	if (u->part == LATER_PART || !checksum_offset(proto))
		return 0;
	if (!has_ports(proto))
		was = ports;
	if (was != ports) {
		in_place = u->offset < NEAR ? at(skb, u->offset, sizeof(ports)) : NULL;
		if (in_place)
			*in_place = ports;
		else if (bpf_skb_store_bytes(skb, u->offset, &ports, sizeof(ports), 0))
			return DROP_MALFORMED;
		if (bpf_l4_csum_replace(skb, checksum, was, ports, sizeof(ports) | flags))
			return DROP_MALFORMED;
	}
	if (difference && bpf_l4_csum_replace(skb, checksum, 0, difference, BPF_F_PSEUDO_HDR | flags))
		return DROP_MALFORMED;
	return 0;
}

// offset: of the IPv4 header.
VERIFIED_ONCE int translate4(struct __sk_buff *skb, __u32 offset, const struct upper *u, const struct crossing *here)
{
	__be32 was[2], is[2];
	__u32 difference;
	struct iphdr *ip;
	__u64 sum;
	__u8 proto;

	if (!u || !here || offset > ETH_HLEN + OUTER6_LEN)
		return DROP_MALFORMED;
	ip = pull_at(skb, offset, sizeof(*ip));
	if (!ip)
		return DROP_MALFORMED;
	was[0] = ip->saddr;
	was[1] = ip->daddr;
	is[0] = be32(here->passage.source + 12);
	is[1] = be32(here->passage.destination + 12);
	proto = ip->protocol;
	sum = (__u64)(__u32)~was[0] + (__u32)~was[1] + is[0] + is[1];
	sum = (__u32)sum + (sum >> 32);
	difference = (__u32)sum + (sum >> 32);
	sum = (__u64)difference + (__u16)~ip->check;
	ip->check = ~fold((__u32)sum + (sum >> 32));
	ip->saddr = is[0];
	ip->daddr = is[1];
	return translate_upper(skb, u, proto, difference, here->key.ports, here->passage.ports);
}

// offset: of the IPv6 header.
VERIFIED_ONCE int translate6(struct __sk_buff *skb, __u32 offset, const struct upper *u, const struct crossing *here, __u32 proto)
{
	__u8 is[32] __attribute__((aligned(8)));
	__u32 difference;
	struct ipv6hdr *ip;
	int outcome;

	if (!u || !here || offset > ETH_HLEN + OUTER6_LEN)
		return DROP_MALFORMED;
	copy_address(is, here->passage.source);
	copy_address(is + 16, here->passage.destination);
	ip = pull_at(skb, offset, sizeof(*ip));
	if (!ip)
		return DROP_MALFORMED;
	difference = bpf_csum_diff((void *)&ip->saddr, sizeof(is), (void *)is, sizeof(is), 0);
	copy_address(&ip->saddr, is);
	copy_address(&ip->daddr, is + 16);
	outcome = translate_upper(skb, u, proto, difference, here->key.ports, here->passage.ports);
	// IPv6 has no checksum of its own that makes up for the addresses, so what the device has summed of the whole packet
	// stays as it is; the helper has taken the difference from it.
	bpf_csum_update(skb, difference);
	return outcome;
}
