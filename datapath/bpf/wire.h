// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: VLANs (IEEE 802.1Q). On the wire of an uplink their frames have the network's tag and the containers' own MACs, so containers
// and machines on that wire are neighbours. Tags are written and read here; there is no VLAN device.
#pragma once

#define VLAN_ID 0xfff

static __always_inline bool is_vlan(__u32 number)
{
	return number & NETWORK_VLAN;
}

static __always_inline __u32 uplink_in_use(void)
{
	__u32 zero = 0;
	__u32 *ifindex = bpf_map_lookup_elem(&uplink, &zero);

	return ifindex ? *ifindex : 0;
}

// Of several uplinks one is used. What comes by the others is a copy of what comes by that one, or our own.
static __always_inline int check_uplink(struct __sk_buff *skb)
{
	return skb->ifindex == uplink_in_use() ? 0 : DROP_BACKUP_UPLINK;
}

// Completes a decision for whoever is on the wire. The sender has found out the receiver's MAC, so the frame stays as it is.
static __always_inline int decide_wire(struct flow *f, __u32 network)
{
	f->ifindex = uplink_in_use();
	if (!f->ifindex)
		return DROP_NO_UPLINK;
	f->way = WAY_WIRE;
	f->vlan = network & VLAN_ID;
	f->mtu = wire_mtu;
	return 0;
}

// A flow to an endpoint on the wire knows its MAC: what comes by a service's address is for that one's.
static __always_inline void note_receiver(struct flow *f, const struct endpoint *to)
{
	copy_mac(((struct ethhdr *)f->header)->h_dest, to->mac);
}

static __always_inline int address_frame(struct __sk_buff *skb, const struct flow *f)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);

	if (!eth)
		return DROP_MALFORMED;
	copy_mac(eth->h_dest, ((const struct ethhdr *)f->header)->h_dest);
	return 0;
}

static __always_inline int send_wire(struct __sk_buff *skb, const struct flow *f)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);

	// What is for one goes to one, what is for all to all: the frame and the packet in it agree.
	if (!eth || (eth->h_dest[0] & 1) != (f->way == WAY_ALL))
		return drop(skb, DROP_MULTICAST);
	skb->mark = 0;
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), f->vlan))
		return drop(skb, DROP_NO_ROOM);
	return bpf_redirect(f->ifindex, 0);
}

// As send_wire, for what is not kept as a flow.
static __noinline int send_untracked(struct __sk_buff *skb, __u32 network)
{
	__u32 ifindex = uplink_in_use();

	if (!ifindex)
		return DROP_NO_UPLINK;
	skb->mark = 0;
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), network & VLAN_ID))
		return DROP_NO_ROOM;
	bpf_redirect(ifindex, 0);
	return REDIRECTED;
}

// Hands a packet to the container of a port as it is.
static __noinline int hand_to_port(struct __sk_buff *skb, __u32 ifindex)
{
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return DROP_NO_ROOM;
	skb->mark = 0;
	across(skb, ifindex); // in place: one more call would be too deep for the stack
	return REDIRECTED;
}

// Hands copies to the ports of a VLAN but for one.
VERIFIED_ONCE int copy_to_ports(struct __sk_buff *skb, __u32 network, __u32 but)
{
	struct member_key key = {.network = network};
	bool tagged = skb->vlan_present;
	__u16 tag = skb->vlan_tci;

	if (tagged && bpf_skb_vlan_pop(skb))
		return DROP_NO_ROOM;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < MEMBERS; i++) {
		__u32 *port;

		key.place = i;
		port = bpf_map_lookup_elem(&members, &key);
		if (!port)
			break;
		if (*port != but)
			bpf_clone_redirect(skb, *port, 0);
	}
	return tagged && bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), tag) ? DROP_NO_ROOM : 0;
}

// A frame for the MAC that the flow's container has, or for all. In a promiscuous device's traffic there are others.
static __always_inline bool is_addressed_to(const struct __sk_buff *skb, const struct flow *f)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);

	return eth && (f->way == WAY_ALL ? eth->h_dest[0] & 1 : equal_mac(eth->h_dest, f->header));
}

// Takes the tag off, if it has one, and hands the packet to its container.
static __always_inline int receive_wire(struct __sk_buff *skb, const struct flow *f)
{
	if (skb->vlan_present && bpf_skb_vlan_pop(skb))
		return drop(skb, DROP_NO_ROOM);
	return deliver(skb, f);
}

// Whether a packet is for all of a VLAN, or for whoever listens.
static __always_inline bool is_for_all(const struct question *q, const struct network *n)
{
	const __u8 *to = q->destination;
	__be32 to4 = be32(to + 12);

	if (q->ethertype != bpf_htons(ETH_P_IP))
		return to[0] == 0xff;
	return (to[12] & 0xf0) == 224 || to4 == bpf_htonl(INADDR_BROADCAST) || (be32(n->broadcast4) && to4 == be32(n->broadcast4));
}

// The port of this node that has a MAC in a VLAN; 0: none.
static __always_inline __u32 port_of_mac(__u32 network, const void *mac)
{
	struct station_key key = {.network = network};
	__u32 *ifindex;

	copy_mac(key.mac, mac);
	ifindex = bpf_map_lookup_elem(&stations, &key);
	return ifindex ? *ifindex : 0;
}

static __always_inline bool is_flooded(__u32 number)
{
	struct network *n = bpf_map_lookup_elem(&networks, &number);

	return n && n->flooded;
}

// Whether a container of a VLAN that looks for this endpoint is answered by its node.
static __always_inline bool answers_for(__u32 network, const struct endpoint *to)
{
	return to && to->network == network && (to->virtual || !is_flooded(network));
}

// What a container says to its neighbours in a VLAN, and nobody answers for them: it goes to the one that is on this node, or out.
static __noinline int tell_neighbours(struct __sk_buff *skb, __u32 network, const __u8 *mac)
{
	__u32 to;

	if (!(mac[0] & 1)) {
		to = port_of_mac(network, mac);
		return to ? hand_to_port(skb, to) : send_untracked(skb, network);
	}
	if (is_flooded(network))
		STEP(copy_to_ports(skb, network, skb->ifindex));
	return send_untracked(skb, network);
}
