// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: an ICMP error about a packet of a connection to a service quotes it, so what it quotes is translated too.
#pragma once

static __always_inline bool is_service_error(const struct translation_key *k, const struct upper *u)
{
	return !u->part && is_icmp(k->proto) && is_icmp_error(k->proto, *(__u8 *)&u->first);
}

// Makes the key that of packets the quoted one's way back, which is the way of the error. It gives where the quoted ports are; 0: there are
// none, or it quotes what its receiver did not send to its sender.
static __noinline int read_quoted(struct __sk_buff *skb, struct translation_key *k, __u32 offset)
{
	__be32 ports;

	if (k->proto == IPPROTO_ICMP) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 || ip.frag_off & FRAGMENT_OFFSET ||
		    ip.saddr != be32(k->destination + 12) || ip.daddr != be32(k->source + 12))
			return 0;
		k->proto = ip.protocol;
		offset += ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6 || !equal_address(&ip.saddr, k->destination) ||
		    !equal_address(&ip.daddr, k->source))
			return 0;
		k->proto = ip.nexthdr;
		offset += sizeof(ip);
	}
	if (!has_ports(k->proto) || bpf_skb_load_bytes(skb, offset, &ports, sizeof(ports)))
		return 0;
	k->ports = join_ports(destination_port(ports), source_port(ports));
	return offset;
}

// Writes the other end of the translation into the quoted packet: its source, or of an error that goes back its destination.
static __noinline int translate_quoted(struct __sk_buff *skb, const struct upper *u, const struct translation *x, bool ipv6, __u32 ports_offset)
{
	__u32 checksum = u->offset + offsetof(struct icmp_message, checksum), quoted = u->offset + sizeof(struct icmp_message);
	bool back = x->state & TRANSLATION_BACK;
	__be32 ports, changed;
	__u8 was[16], is[16];

	copy_address(is, x->address);
	if (ipv6) {
		quoted += back ? offsetof(struct ipv6hdr, daddr) : offsetof(struct ipv6hdr, saddr);
		if (bpf_skb_load_bytes(skb, quoted, was, sizeof(was)) ||
		    bpf_l4_csum_replace(skb, checksum, 0, bpf_csum_diff((void *)was, sizeof(was), (void *)is, sizeof(is), 0), 0) ||
		    bpf_skb_store_bytes(skb, quoted, is, sizeof(is), 0))
			return DROP_MALFORMED;
	} else {
		// The quoted header's own checksum makes up for the address.
		__be32 old, new = be32(is + 12);
		__u32 header_checksum = quoted + offsetof(struct iphdr, check);

		quoted += back ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr);
		if (bpf_skb_load_bytes(skb, quoted, &old, sizeof(old)) ||
		    bpf_l3_csum_replace(skb, header_checksum, old, new, sizeof(new)) ||
		    bpf_skb_store_bytes(skb, quoted, &new, sizeof(new), 0))
			return DROP_MALFORMED;
	}
	if (bpf_skb_load_bytes(skb, ports_offset, &ports, sizeof(ports)))
		return DROP_MALFORMED;
	changed = back ? join_ports(source_port(ports), x->port) : join_ports(x->port, destination_port(ports));
	if (changed == ports)
		return 0;
	return bpf_l4_csum_replace(skb, checksum, ports, changed, sizeof(ports)) ||
			       bpf_skb_store_bytes(skb, ports_offset, &changed, sizeof(changed), 0)
		       ? DROP_MALFORMED
		       : 0;
}

// An error to a service's address, about what its provider sent. 0: its passage is in here. Policy is asked after, as it reads the quoted
// packet too.
static __noinline int enter_error(struct __sk_buff *skb, const struct upper *u, struct crossing *here)
{
	struct translation_key *k = &here->key;
	bool ipv6 = k->proto == IPPROTO_ICMPV6;
	__u32 ports = read_quoted(skb, k, u->offset + sizeof(struct icmp_message));
	struct translation *x = ports ? find_translation(k) : NULL;

	if (!x || x->state & (TRANSLATION_BACK | TRANSLATION_HAIRPIN))
		return DROP_SERVICE_REFUSED;
	copy_address(here->passage.destination, x->address);
	copy_address(here->passage.source, k->source);
	here->passage.real = u->first;
	return translate_quoted(skb, u, x, ipv6, ports);
}

// An error from a provider, about what a client sent to a service. 1: it is, and its passage is in here.
static __noinline int leave_error(struct __sk_buff *skb, const struct upper *u, struct crossing *here)
{
	struct translation_key *k = &here->key;
	bool ipv6 = k->proto == IPPROTO_ICMPV6;
	__u32 ports = read_quoted(skb, k, u->offset + sizeof(struct icmp_message));
	struct translation *x = ports ? find_translation(k) : NULL;

	if (!x || (x->state & (TRANSLATION_BACK | TRANSLATION_HAIRPIN)) != TRANSLATION_BACK)
		return 0;
	copy_address(here->passage.destination, k->destination);
	copy_address(here->passage.source, x->address);
	return !translate_quoted(skb, u, x, ipv6, ports);
}
