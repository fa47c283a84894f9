// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Internet checksums (RFC 1071).
#pragma once

// A sum of 16-bit words, any order of bytes, folded to 16 bits and not inverted.
static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

// The unfolded sum of len bytes, a multiple of four, added to seed.
static __always_inline __u32 sum_of(const void *bytes, __u32 len, __u32 seed)
{
	return bpf_csum_diff(NULL, 0, (void *)bytes, len, seed);
}

static __always_inline __u16 checksum_of(const void *bytes, __u32 len, __u32 seed)
{
	return ~fold(sum_of(bytes, len, seed));
}

// The part of an ICMPv6 checksum that is not in the message (RFC 8200 8.1). len is the message's, in bytes.
static __always_inline __u32 icmp6_pseudo_sum(const struct ipv6hdr *ip, __u32 len)
{
	__be32 rest[2] = {bpf_htonl(len), bpf_htonl(IPPROTO_ICMPV6)};

	return sum_of(rest, sizeof(rest), sum_of(&ip->saddr, 32, 0));
}
