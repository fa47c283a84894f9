// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: a packet for all of a VLAN. Each container of this node that its rules let have it gets a copy.
#pragma once

// What is asked about a packet, for which no connection is looked up.
static __always_inline __u32 what_of(const struct flow *f, __u32 kind, __be32 ports)
{
	return (f->epoch & EPOCH_BANK) << BANK_SHIFT | (kind & 0xff) << PROTOCOL_SHIFT | bpf_ntohs(ports >> 16);
}

VERIFIED_ONCE int is_refused_by(__u32 ifindex, __u32 class, __u32 what)
{
	struct port *to = bpf_map_lookup_elem(&ports, &ifindex);
	__u32 bank = what >> BANK_SHIFT;
	struct answer a = {};
	__u32 role;

	if (!to)
		return true;
	role = to->in_role[bank & EPOCH_BANK];
	if (!role || !is_denied(role, class, what, chains_of(role, class, bank), &a))
		return false;
	count(a.rule, TALLY_DENIED, 1);
	return true;
}

// Hands copies to the ports of the flow's VLAN but for one. The packet itself is as before.
VERIFIED_ONCE int copy_to_receivers(struct __sk_buff *skb, const struct flow *f, __u32 what, __u32 but)
{
	struct member_key key = {};
	bool tagged = skb->vlan_present;
	__u32 class;

	if (!f)
		return DROP_MALFORMED;
	key.network = NETWORK_VLAN | f->vlan;
	class = f->source_class;
	if (tagged && bpf_skb_vlan_pop(skb))
		return DROP_NO_ROOM;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < MEMBERS; i++) {
		__u32 *to;

		key.place = i;
		to = bpf_map_lookup_elem(&members, &key);
		if (!to)
			break;
		if (*to != but && !is_refused_by(*to, class, what))
			bpf_clone_redirect(skb, *to, 0);
	}
	return tagged && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), f->vlan) ? DROP_NO_ROOM : 0;
}

// The same for a packet of which no more is known. The ports of a first fragment, which its flow does without, are read here, as rules may
// be about them: where they are not to be had, nobody gets it. Later parts are of no use to who did not get the first.
static __always_inline void hand_out(struct __sk_buff *skb, const struct flow *f, __u32 kind, const struct upper *u, __u32 but)
{
	__be32 ports = has_ports(kind) ? u->first : 0;

	if (has_ports(kind) && u->part == FIRST_PART && bpf_skb_load_bytes(skb, u->offset, &ports, sizeof(ports)))
		return;
	copy_to_receivers(skb, f, what_of(f, kind, ports), but);
}
