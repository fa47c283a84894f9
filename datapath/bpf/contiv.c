// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// The data plane: what happens to a packet, in order. README.md tells it as a journey.
#include <stdbool.h>
#include <stddef.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV6 // younger than some distributions' headers
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

#include "abi.h"
#include "settings.h"
#include "drop.h"
#include "packet.h"
#include "checksum.h"
#include "flow.h"
#include "spoof.h"
#include "identify.h"
#include "deliver.h"
#include "tunnel.h"
#include "icmp.h"
#include "arp.h"
#include "nd.h"
#include "policy.h"
#include "connection.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// ---- the slow path: the first packet of a flow, and the first after a change ----------------------------------

static __noinline int decide_from_container(struct __sk_buff *skb, const struct question *q, struct flow *f)
{
	struct port *from = bpf_map_lookup_elem(&ports, &q->scope);
	__u32 bank = f->epoch & EPOCH_BANK;
	struct endpoint *to;
	bool same_network;

	if (!from)
		return DROP_UNKNOWN_PORT;
	STEP(check_mac(q, from));
	STEP(answer_neighbour(skb, q, from));
	STEP(check_kind_of_destination(q));
	STEP(check_address(q, from));
	STEP(answer_for_gateway(skb, q, from));
	to = endpoint_of(from->tenant, q->destination);
	if (!to)
		return DROP_UNKNOWN_DESTINATION;
	same_network = to->network == from->network;
	if (!same_network && (from->bridged || !reaches(from->network, to->network)))
		return DROP_OTHER_NETWORK;
	f->tenant = from->tenant;
	f->source_in = from->in_role[bank];
	f->source_out = from->out_role[bank];
	f->source_class = class_of(endpoint_of(from->tenant, q->source), bank);
	STEP(note_destination(f, to, bank));
	if (to->ifindex)
		return decide_delivery(f, to, from->mac, same_network, q->ethertype);
	return decide_tunnel(skb, f, to, from->mac, same_network, q->ethertype);
}

static __noinline int decide_from_tunnel(const struct question *q, struct flow *f)
{
	__be32 outer_source = q->sender;
	__u32 tag = q->scope & ~SCOPE_TUNNEL;
	__u32 bank = f->epoch & EPOCH_BANK;
	struct network *network;
	struct endpoint *from, *to;

	if (!bpf_map_lookup_elem(&peers, &outer_source))
		return DROP_UNKNOWN_PEER;
	network = bpf_map_lookup_elem(&networks, &tag);
	if (!network)
		return DROP_UNKNOWN_VNI;
	if (is_neighbour_discovery(q))
		return DROP_ND_UNSOLICITED;
	STEP(check_kind_of_destination(q));
	from = endpoint_of(network->tenant, q->source);
	STEP(check_tunnel_source(q, from));
	to = endpoint_of(network->tenant, q->destination);
	if (!to)
		return DROP_UNKNOWN_DESTINATION;
	if (!to->ifindex)
		return DROP_NOT_HERE;
	if (to->network != tag || !from || !reaches(from->network, tag))
		return DROP_OTHER_NETWORK;
	f->tenant = network->tenant;
	f->source_class = class_of(from, bank); // its roles were asked on its own node
	STEP(note_destination(f, to, bank));
	return decide_delivery(f, to, from->mac, from->network == tag, q->ethertype);
}

static __always_inline int decide(struct __sk_buff *skb, const struct question *q, struct flow *f)
{
	f->sender = q->sender;
	f->epoch = epoch_before_tables();
	if (q->scope & SCOPE_TUNNEL)
		return decide_from_tunnel(q, f);
	return decide_from_container(skb, q, f);
}

static __noinline int learn_ipv4(struct __sk_buff *skb, const struct flow4_key *key, __u64 sender, bool older)
{
	struct question q = question4(key, sender);
	struct flow f = {.older = older};

	STEP(decide(skb, &q, &f));
	note_chains(&f);
	return bpf_map_update_elem(&flows4, key, &f, BPF_ANY) ? DROP_FLOW_TABLE : 0;
}

static __noinline int learn_ipv6(struct __sk_buff *skb, const struct flow6_key *key, __u64 sender, bool older)
{
	struct question q = question6(key, sender);
	struct flow f = {.older = older};

	STEP(decide(skb, &q, &f));
	note_chains(&f);
	return bpf_map_update_elem(&flows6, key, &f, BPF_ANY) ? DROP_FLOW_TABLE : 0;
}

// ---- from_container: the ingress of the node's side of a veth pair ---------------------------------------------

static __always_inline int forward(struct __sk_buff *skb, const struct flow *f, __be32 ports)
{
	if (!f->next_hop)
		return deliver(skb, f);
	if (skb->len > f->mtu + ETH_HLEN) {
		int outcome = answer_too_big(skb, f->mtu);

		if (outcome)
			return finish(skb, outcome);
	}
	return send_tunnel(skb, f, ports);
}

static __always_inline int ipv4_from_container(struct __sk_buff *skb, __u64 sender)
{
	struct flow4_key key = {.scope = skb->ifindex};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv4(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	f = bpf_map_lookup_elem(&flows4, &key);
	if (!is_current(f, sender)) {
		outcome = learn_ipv4(skb, &key, sender, is_older(f, sender));
		if (outcome)
			return finish(skb, outcome);
		f = bpf_map_lookup_elem(&flows4, &key);
		if (!f)
			return drop(skb, DROP_FLOW_TABLE);
	}
	if (f->asks && !is_established4(skb, f, &key, &u, ETH_HLEN)) {
		struct question q = question4(&key, sender);

		outcome = check_policy(skb, f, &q, &u);
		if (outcome)
			return drop(skb, outcome);
	}
	return forward(skb, f, has_ports(key.kind) ? u.first : 0);
}

static __always_inline int ipv6_from_container(struct __sk_buff *skb, __u64 sender)
{
	struct flow6_key key = {.scope = skb->ifindex};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv6(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	f = bpf_map_lookup_elem(&flows6, &key);
	if (!is_current(f, sender)) {
		outcome = learn_ipv6(skb, &key, sender, is_older(f, sender));
		if (outcome)
			return finish(skb, outcome);
		f = bpf_map_lookup_elem(&flows6, &key);
		if (!f)
			return drop(skb, DROP_FLOW_TABLE);
	}
	if (f->asks && !is_established6(skb, f, &key, &u, ETH_HLEN)) {
		struct question q = question6(&key, sender);

		outcome = check_policy(skb, f, &q, &u);
		if (outcome)
			return drop(skb, outcome);
	}
	return forward(skb, f, has_ports(key.kind) ? u.first : 0);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);

	if (!eth)
		return drop(skb, DROP_MALFORMED);
	if (skb->vlan_present) // would reach the underlay as it is
		return drop(skb, DROP_VLAN_TAG);
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_container(skb, sender_on_port(eth));
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_container(skb, sender_on_port(eth));
	case bpf_htons(ETH_P_ARP):
		return finish(skb, answer_arp(skb));
	}
	return drop(skb, DROP_ETHERTYPE);
}

// ---- from_uplink: the ingress of the underlay's device ----------------------------------------------------------

static __always_inline int ipv4_from_tunnel(struct __sk_buff *skb, __u32 scope, __be32 outer_source)
{
	struct flow4_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv4(skb, ETH_HLEN + OUTER_LEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	f = bpf_map_lookup_elem(&flows4, &key);
	if (!is_current(f, outer_source)) {
		outcome = learn_ipv4(skb, &key, outer_source, is_older(f, outer_source));
		if (outcome)
			return drop(skb, outcome);
		f = bpf_map_lookup_elem(&flows4, &key);
		if (!f)
			return drop(skb, DROP_FLOW_TABLE);
	}
	if (f->asks && !is_established4(skb, f, &key, &u, ETH_HLEN + OUTER_LEN)) {
		struct question q = question4(&key, outer_source);

		outcome = check_policy(skb, f, &q, &u);
		if (outcome)
			return drop(skb, outcome);
	}
	return receive_tunnel(skb, f, false);
}

static __always_inline int ipv6_from_tunnel(struct __sk_buff *skb, __u32 scope, __be32 outer_source)
{
	struct flow6_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv6(skb, ETH_HLEN + OUTER_LEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	f = bpf_map_lookup_elem(&flows6, &key);
	if (!is_current(f, outer_source)) {
		outcome = learn_ipv6(skb, &key, outer_source, is_older(f, outer_source));
		if (outcome)
			return drop(skb, outcome);
		f = bpf_map_lookup_elem(&flows6, &key);
		if (!f)
			return drop(skb, DROP_FLOW_TABLE);
	}
	if (f->asks && !is_established6(skb, f, &key, &u, ETH_HLEN + OUTER_LEN)) {
		struct question q = question6(&key, outer_source);

		outcome = check_policy(skb, f, &q, &u);
		if (outcome)
			return drop(skb, outcome);
	}
	return receive_tunnel(skb, f, true);
}

// VXLAN that carries neither IPv4 nor IPv6.
static __noinline int drop_other_ethertype(struct __sk_buff *skb, __be32 outer_source)
{
	return drop(skb, bpf_map_lookup_elem(&peers, &outer_source) ? DROP_ETHERTYPE : DROP_UNKNOWN_PEER);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct outer {
		struct ethhdr eth;
		struct tunnel_header h;
	} __attribute__((packed, aligned(2))) *o;
	__u32 scope;

	if (skb->protocol != bpf_htons(ETH_P_IP) || skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return PASS;
	o = at(skb, 0, sizeof(*o));
	if (!o || *(__u8 *)&o->h.ip != PLAIN_IPV4 || o->h.ip.frag_off & FRAGMENT_MASK) {
		int outcome = check_unusual_outer(skb);

		if (outcome == PASS)
			return PASS;
		if (outcome)
			return drop(skb, outcome);
		o = pull(skb, sizeof(*o));
		if (!o)
			return drop(skb, DROP_MALFORMED);
	} else if (!is_vxlan_to_us(&o->h.ip, &o->h.udp)) {
		return PASS;
	}
	if (!(o->h.vxlan.flags & VXLAN_HAS_VNI))
		return drop(skb, DROP_OUTER_HEADER);
	scope = SCOPE_TUNNEL | bpf_ntohl(o->h.vxlan.vni) >> 8;
	switch (o->h.inner.h_proto) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_tunnel(skb, scope, o->h.ip.saddr);
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_tunnel(skb, scope, o->h.ip.saddr);
	}
	return drop_other_ethertype(skb, o->h.ip.saddr);
}
