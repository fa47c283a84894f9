// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: the way to the outside and back. What no endpoint has and no subnet of the tenant contains is outside. It goes into the
// node's own stack, which routes it, from the port's private address. What the stack sends to that address comes back.
#pragma once

static __always_inline struct exit *way_out(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&outside, &zero);
}

// Whether an address is one of the private subnets'.
static __always_inline bool is_private(const struct exit *out, const __u8 *address, __be16 ethertype)
{
	const __u16 *a = (const void *)address, *v4 = (const void *)out->ipv4, *v6 = (const void *)out->ipv6;

	if (ethertype == bpf_htons(ETH_P_IP))
		return a[6] == v4[0];
	return a[0] == v6[0] && a[1] == v6[1] && a[2] == v6[2] && a[3] == v6[3] && a[4] == v6[4] && a[5] == v6[5] && a[6] == v6[6];
}

// The node's own address there, as the source of a packet.
static __always_inline bool is_node(const struct exit *out, const __u8 *address, __be16 ethertype)
{
	if (ethertype == bpf_htons(ETH_P_IP))
		return be32(address + 12) == be32(out->ipv4);
	return equal_address(address, out->ipv6);
}

static __always_inline bool is_in_subnet(__u32 tenant, const __u8 *address)
{
	struct subnet_key key = {.bits = 160, .tenant = tenant};

	copy_address(key.address, address);
	return bpf_map_lookup_elem(&subnets, &key);
}

// What an address of the outside is to rules.
static __always_inline __u32 outside_class(__u32 tenant, const __u8 *address, __u32 bank)
{
	struct prefix_key key = {.bits = 192, .bank = bank, .tenant = tenant};
	__u32 *class;

	copy_address(key.address, address);
	class = bpf_map_lookup_elem(&prefixes, &key);
	return class ? *class : 0;
}

// Addresses that a machine uses inside only. The node's stack would take some for its own.
static __always_inline bool is_loopback(const __u8 *address, __be16 ethertype)
{
	const __u32 *words = (const void *)address;

	if (ethertype == bpf_htons(ETH_P_IP))
		return address[12] == 127 || address[12] == 0;
	return !(words[0] | words[1]); // ::/64, with ::1 and what is mapped
}

// The addresses under which probes of a pod's own kubelet come by the node's stack (model.ProbeSources): rules know the node by them. Nobody else's packets have them.
static __always_inline bool is_probe_source(const __u8 *address, __be16 ethertype)
{
	const __u32 *words = (const void *)address;

	if (ethertype == bpf_htons(ETH_P_IP))
		return words[3] == bpf_htonl(0xc0000007); // 192.0.0.7
	return words[0] == bpf_htonl(0xfd636f6e) && words[1] == bpf_htonl(0x74697601) && !words[2] && words[3] == bpf_htonl(8);
}

// What an address is to rules, whoever has it: the endpoint e or, where that is NULL, somebody of whom we know nothing else.
static __always_inline __u32 class_at(__u32 tenant, const struct endpoint *e, const __u8 *address, __u32 bank)
{
	return e && e->virtual != VIRTUAL_BESIDE ? class_of(e, bank) : outside_class(tenant, address, bank);
}

// What a port's sender e is to rules. What the node sends by its place in an infra network is its own, as kubelets' probes are, only if netfilter
// says so. All else it has translated for somebody else, and of that one the address alone is known, which is lent: what any other node is.
static __always_inline void note_sender(const struct question *q, struct flow *f, const struct port *from, const struct endpoint *e, __u32 bank)
{
	if (from->home && !(q->sender & SENDER_OWN)) {
		f->asks |= FLOW_LENT;
		f->source_class = outside_class(from->tenant, q->source, bank);
	} else {
		f->source_class = class_of(e, bank);
	}
}

// Completes a decision for an address that no endpoint has.
static __noinline int decide_outside(const struct question *q, const struct port *from, struct flow *f)
{
	struct exit *out = way_out();
	bool ipv4;

	if (!q || !from || !f)
		return DROP_MALFORMED;
	ipv4 = q->ethertype == bpf_htons(ETH_P_IP);
	if (!out || !out->ifindex || (ipv4 ? !be32(from->private4) : is_zero_address(from->private6)) ||
	    is_in_subnet(from->tenant, q->destination))
		return DROP_UNKNOWN_DESTINATION;
	if (is_private(out, q->destination, q->ethertype) || is_loopback(q->destination, q->ethertype))
		return DROP_PRIVATE;
	f->way = WAY_OUTSIDE;
	f->ifindex = out->ifindex;
	f->destination_class = outside_class(from->tenant, q->destination, f->epoch & EPOCH_BANK);
	write_ethernet((struct ethhdr *)f->header, out->mac, from->mac, true, q->ethertype);
	if (ipv4)
		map_ipv4(f->header + HEADER_ADDRESS, be32(from->private4));
	else
		copy_address(f->header + HEADER_ADDRESS, from->private6);
	return 0;
}

// A source that the outside may have: not the node's towards ports, except for its errors, and none that the tenant has inside.
static __always_inline int check_outside_source(const struct question *q, const struct exit *out, __u32 tenant)
{
	if (is_private(out, q->source, q->ethertype)) {
		if (is_node(out, q->source, q->ethertype) && is_icmp(q->proto) && is_icmp_error(q->proto, q->icmp_type))
			return 0;
		return DROP_SPOOFED_OUTSIDE;
	}
	return is_in_subnet(tenant, q->source) || is_loopback(q->source, q->ethertype) ? DROP_SPOOFED_OUTSIDE : 0;
}

// Decides for a packet that the node's stack sends to a private address.
static __noinline int decide_inside(const struct question *q, struct flow *f)
{
	struct exit *out = way_out();
	struct private_key key = {};
	__u32 *ifindex, bank;
	struct port *to;
	__u8 own[16];

	if (!q || !f || !out)
		return DROP_MALFORMED;
	STEP(check_kind_of_destination(q));
	copy_address(key.address, q->destination);
	ifindex = bpf_map_lookup_elem(&privates, &key);
	to = ifindex ? bpf_map_lookup_elem(&ports, ifindex) : NULL;
	if (!to)
		return DROP_UNKNOWN_DESTINATION;
	STEP(check_outside_source(q, out, to->tenant));
	if (q->ethertype == bpf_htons(ETH_P_IP))
		map_ipv4(own, be32(to->ipv4));
	else
		copy_address(own, to->ipv6);
	bank = f->epoch & EPOCH_BANK;
	f->ifindex = *ifindex;
	f->tenant = to->tenant;
	f->asks = asks_for_foreign_replies(q->source);
	f->source_class = outside_class(to->tenant, q->source, bank);
	f->destination_class = class_of(endpoint_of(to->tenant, own), bank);
	f->destination_in = to->in_role[bank];
	f->destination_out = to->out_role[bank];
	f->queued = to->receive_rate != 0;
	write_ethernet((struct ethhdr *)f->header, to->mac, to->mac, false, q->ethertype);
	copy_address(f->header + HEADER_ADDRESS, own);
	return 0;
}

// ---- one address for another, whatever the packet is; translate.h is for connections -------------------------------------------------------------------------

#define IPV4_ADDRESS(source) ((source) ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr))
#define IPV6_ADDRESS(source) ((source) ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr))

// Where the checksum of a protocol is that has its addresses in it; 0: it has none.
static __always_inline __u32 pseudo_checksum(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 16;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_DCCP:
		return 6;
	case IPPROTO_ICMPV6:
		return 2;
	}
	return 0;
}

// Puts an address into the IPv4 header at offset, and its checksum right.
static __always_inline int put_ipv4(struct __sk_buff *skb, __u32 offset, bool source, __be32 old, __be32 address)
{
	return bpf_l3_csum_replace(skb, offset + offsetof(struct iphdr, check), old, address, sizeof(address)) ||
	       bpf_skb_store_bytes(skb, offset + IPV4_ADDRESS(source), &address, sizeof(address), 0);
}

// Writes the source or the destination of an IPv4 packet. The checksum of an ICMP error stays right, as the sum of the header that it
// quotes does.
static __noinline int renumber4(struct __sk_buff *skb, const struct flow *f, int source)
{
	struct iphdr ip, quoted;
	__be32 address, old;
	__u32 at_upper, checksum;
	__u8 type = 0;

	if (!f || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_MALFORMED;
	address = be32(f->header + HEADER_ADDRESS + 12);
	old = source ? ip.saddr : ip.daddr;
	at_upper = ETH_HLEN + ip.ihl * 4;
	if (!(ip.frag_off & FRAGMENT_OFFSET)) {
		__u64 zero_is_none = ip.protocol == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

		checksum = pseudo_checksum(ip.protocol);
		if (checksum && bpf_l4_csum_replace(skb, at_upper + checksum, old, address,
						    BPF_F_PSEUDO_HDR | zero_is_none | sizeof(address)))
			return DROP_MALFORMED;
		if (ip.protocol == IPPROTO_ICMP && !bpf_skb_load_bytes(skb, at_upper, &type, sizeof(type)) &&
		    is_icmp_error(IPPROTO_ICMP, type) && !bpf_skb_load_bytes(skb, at_upper + 8, &quoted, sizeof(quoted)) &&
		    (source ? quoted.daddr : quoted.saddr) == old && put_ipv4(skb, at_upper + 8, !source, old, address))
			return DROP_MALFORMED;
	}
	return put_ipv4(skb, ETH_HLEN, source, old, address) ? DROP_MALFORMED : 0;
}

// Writes the source or the destination of an IPv6 packet, whose upper layer is at at_upper.
static __noinline int renumber6(struct __sk_buff *skb, const struct flow *f, const struct upper *u, int proto, int source)
{
	__u8 address[16] __attribute__((aligned(8))), old[16] __attribute__((aligned(8)));
	__u8 quoted[16] __attribute__((aligned(8)));
	__u32 checksum, in_quoted;
	__s64 difference;
	__u8 type = 0;

	if (!f || !u || bpf_skb_load_bytes(skb, ETH_HLEN + IPV6_ADDRESS(source), old, sizeof(old)))
		return DROP_MALFORMED;
	copy_address(address, f->header + HEADER_ADDRESS);
	difference = bpf_csum_diff((void *)old, sizeof(old), (void *)address, sizeof(address), 0);
	checksum = pseudo_checksum(proto);
	if (checksum && u->part != LATER_PART) {
		__u64 zero_is_none = proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;

		if (bpf_l4_csum_replace(skb, u->offset + checksum, 0, difference, BPF_F_PSEUDO_HDR | zero_is_none))
			return DROP_MALFORMED;
		in_quoted = u->offset + 8 + IPV6_ADDRESS(!source);
		if (proto == IPPROTO_ICMPV6 && !bpf_skb_load_bytes(skb, u->offset, &type, sizeof(type)) &&
		    is_icmp_error(IPPROTO_ICMPV6, type) && !bpf_skb_load_bytes(skb, in_quoted, quoted, sizeof(quoted)) &&
		    equal_address(quoted, old) &&
		    (bpf_l4_csum_replace(skb, u->offset + checksum, 0, difference, 0) ||
		     bpf_skb_store_bytes(skb, in_quoted, address, sizeof(address), 0)))
			return DROP_MALFORMED;
	}
	if (bpf_skb_store_bytes(skb, ETH_HLEN + IPV6_ADDRESS(source), address, sizeof(address), 0))
		return DROP_MALFORMED;
	bpf_csum_update(skb, difference); // see translate6
	return 0;
}

// Into the node's own stack.
static __always_inline int leave(struct __sk_buff *skb, const struct flow *f)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);

	if (!eth)
		return drop(skb, DROP_MALFORMED);
	__builtin_memcpy(eth, f->header, ETH_HLEN);
	skb->mark = 0;
	return bpf_redirect(f->ifindex, BPF_F_INGRESS);
}
