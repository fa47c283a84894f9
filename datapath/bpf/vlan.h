// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: the slow path of VLANs, where a network's own endpoints and whoever else is on its wire are neighbours.
#pragma once

// Within a VLAN packets go to containers of this node, or out on the wire, where everybody else of it is, its gateway too.
static __noinline int decide_from_vlan(struct __sk_buff *skb, const struct question *q, const struct port *from,
				       struct flow *f)
{
	__u32 bank = f->epoch & EPOCH_BANK, number = from->network;
	struct network *network = bpf_map_lookup_elem(&networks, &number);
	struct endpoint *to, *source;

	if (!network)
		return DROP_UNKNOWN_PORT; // its port is taken away
	STEP(check_mac(q, from));
	if (is_for_all(q, network)) {
		if (!network->flooded)
			return DROP_MULTICAST;
		if (!is_link_local_of(q->source, from->mac)) // who reports the groups that it listens to
			STEP(check_address(q, from));
	} else {
		STEP(check_kind_of_destination(q));
		STEP(check_address(q, from));
	}
	to = endpoint_of(from->tenant, q->destination);
	if (to && to->virtual == VIRTUAL_OWN)
		return to->network == number || !to->network ? decide_service(skb, q, from, f) : DROP_OTHER_NETWORK;
	source = endpoint_of(from->tenant, q->source);
	f->tenant = from->tenant;
	f->source_in = from->in_role[bank];
	f->source_out = from->out_role[bank];
	note_sender(q, f, from, source, bank);
	note_netprofile(f, from);
	f->destination_class = class_at(from->tenant, to, q->destination, bank);
	if (is_for_all(q, network)) {
		STEP(decide_wire(f, number));
		f->way = WAY_ALL;
		return 0;
	}
	if (to && to->virtual) {
		if (decide_wire(f, number)) // nothing but services is there
			return decide_service(skb, q, from, f);
		note_services(q, f);
		return 0;
	}
	if (!to || to->network != number)
		return decide_wire(f, number);
	if (!to->ifindex) {
		note_receiver(f, to);
		return decide_wire(f, number);
	}
	f->asks |= asks_for_replies(source, to);
	STEP(note_destination(f, to, bank));
	forget_roles_of_one(q, f, to);
	return decide_delivery(f, to, from->mac, true, q->ethertype);
}

// From the wire of a VLAN comes what its machines send, and containers of other nodes. What is not for a container of this node
// is left to the host.
static __noinline int decide_from_wire(struct __sk_buff *skb, const struct question *q, struct flow *f)
{
	__u32 number = q->scope & ~SCOPE_NETWORK;
	struct network *network = bpf_map_lookup_elem(&networks, &number);
	__u32 bank = f->epoch & EPOCH_BANK;
	struct endpoint *from, *to;

	if (!network)
		return NOT_OURS;
	STEP(check_uplink(skb));
	from = endpoint_of(network->tenant, q->source);
	if (!may_claim(number, from, mac_of_sender(q)) || is_probe_source(q->source, q->ethertype))
		return DROP_SPOOFED_WIRE;
	if (from && from->network == number && is_neighbour_discovery(q) && q->icmp_type == ND_SOLICITATION &&
	    !gives_mac(skb, ND_OPTION_SOURCE_MAC, from->mac))
		return DROP_SPOOFED_ND;
	STEP(meet_machine(skb, q, network->tenant, number));
	f->tenant = network->tenant;
	f->source_class = class_at(network->tenant, from, q->source, bank); // its roles were asked on its own node, if it has one
	if (is_for_all(q, network)) {
		f->way = WAY_ALL;
		f->vlan = number & VLAN_ID;
		return network->flooded ? 0 : NOT_OURS;
	}
	if (check_kind_of_destination(q))
		return NOT_OURS;
	to = endpoint_of(network->tenant, q->destination);
	if (!to || to->network != number || !to->ifindex)
		return NOT_OURS;
	f->asks = from ? asks_for_replies(from, to) : asks_for_foreign_replies(q->source);
	STEP(note_destination(f, to, bank));
	return decide_delivery(f, to, mac_of_sender(q), true, q->ethertype);
}
