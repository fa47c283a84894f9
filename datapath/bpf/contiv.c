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
#define AF_INET6 10
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 // younger than some distributions' headers
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#endif
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV6
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
#include "qos.h"
#include "deliver.h"
#include "tunnel.h"
#include "wire.h"
#include "icmp.h"
#include "arp.h"
#include "nd.h"
#include "policy.h"
#include "connection.h"
#include "refuse.h"
#include "service.h"
#include "translate.h"
#include "reflect.h"
#include "flood.h"
#include "outside.h"
#include "vlan.h"
#include "route.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// ---- the slow path: the first packet of a flow, and the first after a change ----------------------------------

static __noinline int decide_from_container(struct __sk_buff *skb, const struct question *q, const struct port *from,
					    struct flow *f)
{
	__u32 bank = f->epoch & EPOCH_BANK;
	struct endpoint *to, *source;
	bool same_network;

	STEP(check_mac(q, from));
	STEP(check_kind_of_destination(q));
	STEP(check_address(q, from));
	STEP(answer_for_gateway(skb, q, from));
	to = endpoint_of(from->tenant, q->destination);
	same_network = to && (to->network == from->network || !to->network);
	if (to && !same_network && (from->bridged || !reaches(from->network, to->network)))
		return DROP_OTHER_NETWORK;
	if (to && to->virtual == VIRTUAL_OWN)
		return decide_service(skb, q, from, f);
	source = endpoint_of(from->tenant, q->source);
	f->tenant = from->tenant;
	f->source_in = from->in_role[bank];
	f->source_out = from->out_role[bank];
	note_sender(q, f, from, source, bank);
	note_netprofile(f, from);
	if (!to || to->virtual) {
		int outcome = is_routed(from->network) ? decide_beyond(q, from, f) : decide_outside(q, from, f);

		if (!to)
			return outcome;
		if (outcome) // nothing but services is there
			return decide_service(skb, q, from, f);
		note_services(q, f);
		return 0;
	}
	f->asks |= asks_for_replies(source, to);
	STEP(note_destination(f, to, bank));
	forget_roles_of_one(q, f, to);
	if (to->ifindex)
		return decide_delivery(f, to, from->mac, same_network, q->ethertype);
	if (is_routed(to->network))
		return decide_route(f, q);
	return decide_tunnel(skb, f, to, from->mac, same_network, q->ethertype);
}

static __noinline int decide_from_tunnel(struct __sk_buff *skb, const struct question *q, struct flow *f)
{
	__u8 *outer_source = f->header + HEADER_ADDRESS;
	__u32 tag = q->scope & ~SCOPE_NETWORK;
	__u32 bank = f->epoch & EPOCH_BANK;
	struct network *network;
	struct endpoint *from, *to;

	if (read_outer_source(skb, outer_source))
		return DROP_MALFORMED;
	if (!bpf_map_lookup_elem(&peers, outer_source))
		return DROP_UNKNOWN_PEER;
	network = bpf_map_lookup_elem(&networks, &tag);
	if (!network)
		return DROP_UNKNOWN_VNI;
	if (is_neighbour_discovery(q))
		return DROP_ND_UNSOLICITED;
	STEP(check_kind_of_destination(q));
	from = endpoint_of(network->tenant, q->source);
	STEP(check_tunnel_source(outer_source, from));
	to = endpoint_of(network->tenant, q->destination);
	if (!to)
		return DROP_UNKNOWN_DESTINATION;
	if (!to->ifindex)
		return DROP_NOT_HERE;
	if (to->network != tag || !from || !reaches(from->network, tag))
		return DROP_OTHER_NETWORK;
	f->tenant = network->tenant;
	f->source_class = class_of(from, bank); // its roles were asked on its own node
	f->asks = asks_for_replies(from, to);
	STEP(note_destination(f, to, bank));
	return decide_delivery(f, to, from->mac, from->network == tag, q->ethertype);
}

static __always_inline int decide(struct __sk_buff *skb, const struct question *q, struct flow *f)
{
	f->sender = q->sender;
	f->epoch = epoch_before_tables();
	if (!(q->scope & SCOPE_NETWORK)) {
		struct port *from = bpf_map_lookup_elem(&ports, &q->scope);

		if (q->sender == SENDER_NODE)
			return decide_inside(q, f);
		if (!from)
			return DROP_UNKNOWN_PORT;
		if (is_neighbour_discovery(q)) // here, as its steps need much of the stack
			return is_vlan(from->network) ? meet_neighbour(skb, q, from) : answer_neighbour(skb, q, from);
		return is_vlan(from->network) ? decide_from_vlan(skb, q, from, f) : decide_from_container(skb, q, from, f);
	}
	if (is_vlan(q->scope))
		return decide_from_wire(skb, q, f);
	if (is_routed(q->scope))
		return decide_from_router(q, f);
	return decide_from_tunnel(skb, q, f);
}

static __always_inline struct flow *new_draft(bool older)
{
	__u32 zero = 0;
	struct flow *f = bpf_map_lookup_elem(&drafts, &zero);

	if (f) {
		__builtin_memset(f, 0, sizeof(*f));
		f->older = older;
	}
	return f;
}

static __noinline int learn_ipv4(struct __sk_buff *skb, const struct flow4_key *key, __u64 sender, bool older)
{
	struct question q = question4(key, sender);
	struct flow *f = new_draft(older);

	if (!f)
		return DROP_FLOW_TABLE;
	STEP(decide(skb, &q, f));
	note_chains(f);
	return bpf_map_update_elem(&flows4, key, f, BPF_ANY) ? DROP_FLOW_TABLE : 0;
}

static __noinline int learn_ipv6(struct __sk_buff *skb, const struct flow6_key *key, __u64 sender, bool older)
{
	struct question q = question6(key, sender);
	struct flow *f = new_draft(older);

	if (!f)
		return DROP_FLOW_TABLE;
	STEP(decide(skb, &q, f));
	note_chains(f);
	return bpf_map_update_elem(&flows6, key, f, BPF_ANY) ? DROP_FLOW_TABLE : 0;
}

// The decision for a packet, which is cached or made.
static __always_inline int find_flow4(struct __sk_buff *skb, const struct flow4_key *key, __u64 sender, struct flow **f)
{
	*f = bpf_map_lookup_elem(&flows4, key);
	if (is_current(*f, sender))
		return 0;
	STEP(learn_ipv4(skb, key, sender, is_older(*f, sender)));
	*f = bpf_map_lookup_elem(&flows4, key);
	return *f ? 0 : DROP_FLOW_TABLE;
}

static __always_inline int find_flow6(struct __sk_buff *skb, const struct flow6_key *key, __u64 sender, struct flow **f)
{
	*f = bpf_map_lookup_elem(&flows6, key);
	if (is_current(*f, sender))
		return 0;
	STEP(learn_ipv6(skb, key, sender, is_older(*f, sender)));
	*f = bpf_map_lookup_elem(&flows6, key);
	return *f ? 0 : DROP_FLOW_TABLE;
}

// ---- what every way in has in common ------------------------------------------------------------------------------

static __always_inline int meet_policy4(struct __sk_buff *skb, struct flow *f, const struct flow4_key *key, __u64 sender,
					struct upper *u, __u32 offset)
{
	struct question q;

	if (!(f->asks & FLOW_POLICY) || is_established4(skb, f, key, u, offset))
		return 0;
	q = question4(key, sender);
	return check_policy(skb, f, &q, u);
}

static __always_inline int meet_policy6(struct __sk_buff *skb, struct flow *f, const struct flow6_key *key, __u64 sender,
					struct upper *u, __u32 offset)
{
	struct question q;

	if (!(f->asks & FLOW_POLICY) || is_established6(skb, f, key, u, offset))
		return 0;
	q = question6(key, sender);
	return check_policy(skb, f, &q, u);
}

// Finds what a provider's reply is changed to. NULL: it goes as it is.
static __always_inline int find_reply4(struct __sk_buff *skb, const struct flow *f, const struct flow4_key *key,
				       const struct upper *u, __u32 offset, struct crossing **here)
{
	int outcome;

	*here = crossing_here();
	if (!*here)
		return DROP_MALFORMED;
	fill_key4(&(*here)->key, f->tenant, key, u);
	outcome = leave_service(skb, u, *here, offset);
	if (outcome == LEAVES_AS_IT_IS)
		*here = NULL;
	return outcome == LEAVES_NOT ? DROP_SERVICE_AGAIN : 0;
}

// The same, changed at once.
static __always_inline int give_back4(struct __sk_buff *skb, const struct flow *f, const struct flow4_key *key,
				      const struct upper *u, __u32 offset)
{
	struct crossing *here;

	if (!(f->asks & FLOW_FROM_PROVIDER))
		return 0;
	STEP(find_reply4(skb, f, key, u, offset, &here));
	return here ? translate4(skb, offset, u, here) : 0;
}

static __always_inline int find_reply6(struct __sk_buff *skb, const struct flow *f, const struct flow6_key *key,
				       const struct upper *u, __u32 offset, struct crossing **here)
{
	int outcome;

	*here = crossing_here();
	if (!*here)
		return DROP_MALFORMED;
	fill_key6(&(*here)->key, f->tenant, key, u);
	outcome = leave_service(skb, u, *here, offset);
	if (outcome == LEAVES_AS_IT_IS)
		*here = NULL;
	return outcome == LEAVES_NOT ? DROP_SERVICE_AGAIN : 0;
}

static __always_inline int give_back6(struct __sk_buff *skb, const struct flow *f, const struct flow6_key *key,
				      const struct upper *u, __u32 offset)
{
	struct crossing *here;

	if (!(f->asks & FLOW_FROM_PROVIDER))
		return 0;
	STEP(find_reply6(skb, f, key, u, offset, &here));
	return here ? translate6(skb, offset, u, here, (__u8)key->kind) : 0;
}

// ---- from_container: the ingress of the node's side of a veth pair ---------------------------------------------

// A packet that leaves the node may be longer than its path takes.
static __always_inline int check_length(struct __sk_buff *skb, const struct flow *f)
{
	if (!f->mtu || skb->len <= f->mtu + ETH_HLEN)
		return 0;
	return answer_too_big(skb, f->mtu);
}

static __always_inline int carry(struct __sk_buff *skb, const struct flow *f, __u32 kind, const struct upper *u)
{
	int outcome = meet_netprofile(skb, f);

	if (outcome)
		return drop(skb, outcome);
	if (f->way == WAY_PORT)
		return deliver(skb, f);
	if (f->way == WAY_TUNNEL)
		return send_tunnel(skb, f, has_ports(kind) ? u->first : 0);
	if (f->way == WAY_ROUTE)
		return send_route(skb, f);
	if (over_ipv6 && f->way == WAY_TUNNEL6)
		return send_tunnel6(skb, f, has_ports(kind) ? u->first : 0);
	if (f->way == WAY_ALL)
		hand_out(skb, f, kind, u, skb->ifindex);
	return send_wire(skb, f);
}

// Gives a packet of a connection to a service the addresses and ports that were chosen, and keeps the choice.
static __always_inline int pass_on4(struct __sk_buff *skb, const struct flow *f, const struct upper *u, struct crossing *here)
{
	if (here->passage.begins)
		STEP(remember_passage(f, here, skb->len - ETH_HLEN));
	return translate4(skb, ETH_HLEN, u, here);
}

static __always_inline int pass_on6(struct __sk_buff *skb, const struct flow *f, const struct upper *u, struct crossing *here, __u8 proto)
{
	if (here->passage.begins)
		STEP(remember_passage(f, here, skb->len - ETH_HLEN));
	return translate6(skb, ETH_HLEN, u, here, proto);
}

static __always_inline int ipv4_from_container(struct __sk_buff *skb, __u64 sender)
{
	struct flow4_key key = {.scope = skb->ifindex};
	struct crossing *here = NULL; // of a packet whose addresses change
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv4(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	if (is_about_names(&u)) {
		outcome = reflect(skb, &u, key.kind);
		if (outcome)
			return finish(skb, outcome);
	}
	outcome = find_flow4(skb, &key, sender, &f);
	if (outcome)
		return finish(skb, outcome);
	if (f->asks & FLOW_TO_SERVICE) {
		here = crossing_here();
		if (!here)
			return drop(skb, DROP_MALFORMED);
		fill_key4(&here->key, f->tenant, &key, &u);
		outcome = enter_service(skb, f, &u, here);
		if (outcome == BESIDE) {
			here = NULL;
		} else {
			if (outcome)
				return finish(skb, outcome);
			key.destination = be32(here->passage.destination + 12);
			u.first = here->passage.real;
			outcome = find_flow4(skb, &key, sender, &f);
			if (outcome)
				return finish(skb, outcome);
		}
	}
	outcome = meet_policy4(skb, f, &key, sender, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	if (f->asks & FLOW_FROM_PROVIDER && !here) {
		outcome = find_reply4(skb, f, &key, &u, ETH_HLEN, &here);
		if (outcome)
			return drop(skb, outcome);
	}
	if (f->way == WAY_OUTSIDE) {
		outcome = meet_netprofile(skb, f);
		if (!outcome && here)
			outcome = pass_on4(skb, f, &u, here);
		if (!outcome)
			outcome = renumber4(skb, f, true);
		return outcome ? drop(skb, outcome) : leave(skb, f);
	}
	outcome = check_length(skb, f); // of what the container knows, as it will be quoted to it
	if (outcome)
		return finish(skb, outcome);
	if (here) {
		outcome = pass_on4(skb, f, &u, here);
		if (!outcome && f->way == WAY_WIRE)
			outcome = address_frame(skb, f);
		if (outcome)
			return drop(skb, outcome);
	}
	return carry(skb, f, key.kind, &u);
}

static __always_inline int ipv6_from_container(struct __sk_buff *skb, __u64 sender)
{
	struct flow6_key key = {.scope = skb->ifindex};
	struct crossing *here = NULL; // of a packet whose addresses change
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv6(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	if (is_about_names(&u)) {
		outcome = reflect(skb, &u, key.kind);
		if (outcome)
			return finish(skb, outcome);
	}
	outcome = find_flow6(skb, &key, sender, &f);
	if (outcome)
		return finish(skb, outcome);
	if (f->asks & FLOW_TO_SERVICE) {
		here = crossing_here();
		if (!here)
			return drop(skb, DROP_MALFORMED);
		fill_key6(&here->key, f->tenant, &key, &u);
		outcome = enter_service(skb, f, &u, here);
		if (outcome == BESIDE) {
			here = NULL;
		} else {
			if (outcome)
				return finish(skb, outcome);
			copy_address(key.destination, here->passage.destination);
			u.first = here->passage.real;
			outcome = find_flow6(skb, &key, sender, &f);
			if (outcome)
				return finish(skb, outcome);
		}
	}
	outcome = meet_policy6(skb, f, &key, sender, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	if (f->asks & FLOW_FROM_PROVIDER && !here) {
		outcome = find_reply6(skb, f, &key, &u, ETH_HLEN, &here);
		if (outcome)
			return drop(skb, outcome);
	}
	if (f->way == WAY_OUTSIDE) {
		outcome = meet_netprofile(skb, f);
		if (!outcome && here)
			outcome = pass_on6(skb, f, &u, here, (__u8)key.kind);
		if (!outcome)
			outcome = renumber6(skb, f, &u, (__u8)key.kind, true);
		return outcome ? drop(skb, outcome) : leave(skb, f);
	}
	outcome = check_length(skb, f);
	if (outcome)
		return finish(skb, outcome);
	if (here) {
		outcome = pass_on6(skb, f, &u, here, (__u8)key.kind);
		if (!outcome && f->way == WAY_WIRE)
			outcome = address_frame(skb, f);
		if (outcome)
			return drop(skb, outcome);
	}
	return carry(skb, f, key.kind, &u);
}

SEC("tc")
int from_container(struct __sk_buff *skb)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);
	__u64 sender;

	if (!eth)
		return drop(skb, DROP_MALFORMED);
	sender = sender_on_port(eth) | own_on_port(skb);
	if (skb->vlan_present) // would reach the underlay as it is
		return drop(skb, DROP_VLAN_TAG);
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_container(skb, sender);
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_container(skb, sender);
	case bpf_htons(ETH_P_ARP):
		return finish(skb, answer_arp(skb));
	}
	return drop(skb, DROP_ETHERTYPE);
}

// ---- from_uplink: the ingress of the underlay's device ----------------------------------------------------------

// Who has sent a packet into a tunnel, by its outer address.
struct tunnel_sender {
	__u64 shown; // IPv4, or the last half of IPv6: what the flow's packets have to show again
	__u64 rest;  // the first half of IPv6
	bool ipv6;   // known when this is compiled, so that each kind of underlay has a path of its own
};

// Where the inner packet begins.
static __always_inline __u32 inner_offset(struct tunnel_sender from)
{
	return ETH_HLEN + (from.ipv6 ? OUTER6_LEN : OUTER_LEN);
}

// While a flow is current its endpoints live where they did, so whoever shows another rest of an address is not its node.
static __always_inline bool is_from_other_node(struct tunnel_sender from, const struct flow *f)
{
	return from.ipv6 && *(const __u64 *)(f->header + HEADER_ADDRESS) != from.rest;
}

static __always_inline int ipv4_from_tunnel(struct __sk_buff *skb, __u32 scope, struct tunnel_sender from)
{
	struct flow4_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv4(skb, inner_offset(from), &key, &u);

	if (outcome)
		return drop(skb, outcome);
	outcome = find_flow4(skb, &key, from.shown, &f);
	if (outcome)
		return drop(skb, outcome);
	if (is_from_other_node(from, f))
		return drop(skb, DROP_SPOOFED_TUNNEL);
	outcome = meet_policy4(skb, f, &key, from.shown, &u, inner_offset(from));
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back4(skb, f, &key, &u, inner_offset(from));
	if (outcome)
		return drop(skb, outcome);
	return from.ipv6 ? receive_tunnel6(skb, f, false) : receive_tunnel(skb, f, false);
}

static __always_inline int ipv6_from_tunnel(struct __sk_buff *skb, __u32 scope, struct tunnel_sender from)
{
	struct flow6_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv6(skb, inner_offset(from), &key, &u);

	if (outcome)
		return drop(skb, outcome);
	outcome = find_flow6(skb, &key, from.shown, &f);
	if (outcome)
		return drop(skb, outcome);
	if (is_from_other_node(from, f))
		return drop(skb, DROP_SPOOFED_TUNNEL);
	outcome = meet_policy6(skb, f, &key, from.shown, &u, inner_offset(from));
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back6(skb, f, &key, &u, inner_offset(from));
	if (outcome)
		return drop(skb, outcome);
	return from.ipv6 ? receive_tunnel6(skb, f, true) : receive_tunnel(skb, f, true);
}

// VXLAN that carries neither IPv4 nor IPv6.
static __noinline int drop_other_ethertype(struct __sk_buff *skb)
{
	struct vtep outer_source;

	if (read_outer_source(skb, outer_source.address))
		return drop(skb, DROP_MALFORMED);
	return drop(skb, bpf_map_lookup_elem(&peers, &outer_source) ? DROP_ETHERTYPE : DROP_UNKNOWN_PEER);
}

// Over IPv6. Which of the two is attached is a matter of set-up, not of a packet.
SEC("tc")
int from_uplink6(struct __sk_buff *skb)
{
	struct tunnel_sender from = {.ipv6 = true};
	struct tunnel6_header *h;
	__u32 scope;

	if (skb->protocol != bpf_htons(ETH_P_IPV6) || skb->vlan_present || skb->pkt_type != PACKET_HOST)
		return PASS;
	h = at(skb, ETH_HLEN, OUTER6_LEN);
	if (!h || *(__u8 *)h >> 4 != 6 || h->next != IPPROTO_UDP) {
		int outcome = check_unusual_outer6(skb);

		if (outcome == PASS)
			return PASS;
		if (outcome)
			return drop(skb, outcome);
		h = pull_at(skb, ETH_HLEN, OUTER6_LEN);
		if (!h)
			return drop(skb, DROP_MALFORMED);
	} else if (!is_vxlan_to_us6(h)) {
		return PASS;
	}
	if (!(h->vxlan.flags & VXLAN_HAS_VNI))
		return drop(skb, DROP_OUTER_HEADER);
	scope = SCOPE_NETWORK | bpf_ntohl(h->vxlan.vni) >> 8;
	from.shown = h->source[1];
	from.rest = h->source[0];
	switch (h->inner_ethertype) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_tunnel(skb, scope, from);
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_tunnel(skb, scope, from);
	}
	return drop_other_ethertype(skb);
}

SEC("tc")
int from_uplink(struct __sk_buff *skb)
{
	struct tunnel_sender from = {};
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
	scope = SCOPE_NETWORK | bpf_ntohl(o->h.vxlan.vni) >> 8;
	from.shown = o->h.ip.saddr;
	switch (o->h.inner.h_proto) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_tunnel(skb, scope, from);
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_tunnel(skb, scope, from);
	}
	return drop_other_ethertype(skb);
}

// ---- from_wire: the ingress of an uplink for VLANs ---------------------------------------------------------------

static __always_inline int ipv4_from_wire(struct __sk_buff *skb, __u32 scope, __u64 sender)
{
	struct flow4_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome;

	if (read_ipv4(skb, ETH_HLEN, &key, &u))
		return PASS;
	outcome = find_flow4(skb, &key, sender, &f);
	if (outcome)
		return finish(skb, outcome);
	if (is_vlan(scope) && !is_addressed_to(skb, f))
		return PASS;
	if (f->way == WAY_ALL) {
		hand_out(skb, f, key.kind, &u, 0);
		return PASS;
	}
	outcome = meet_policy4(skb, f, &key, sender, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back4(skb, f, &key, &u, ETH_HLEN);
	if (outcome)
		return drop(skb, outcome);
	return receive_wire(skb, f);
}

static __always_inline int ipv6_from_wire(struct __sk_buff *skb, __u32 scope, __u64 sender)
{
	struct flow6_key key = {.scope = scope};
	struct flow *f;
	struct upper u = {};
	int outcome;

	if (read_ipv6(skb, ETH_HLEN, &key, &u))
		return PASS;
	outcome = find_flow6(skb, &key, sender, &f);
	if (outcome)
		return finish(skb, outcome);
	if (is_vlan(scope) && !is_addressed_to(skb, f))
		return PASS;
	if (f->way == WAY_ALL) {
		hand_out(skb, f, key.kind, &u, 0);
		return PASS;
	}
	outcome = meet_policy6(skb, f, &key, sender, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back6(skb, f, &key, &u, ETH_HLEN);
	if (outcome)
		return drop(skb, outcome);
	return receive_wire(skb, f);
}

// The kernel has taken the tag out of the frame and beside it.
SEC("tc")
int from_wire(struct __sk_buff *skb)
{
	struct ethhdr *eth = at(skb, 0, ETH_HLEN);
	__u32 network = NETWORK_VLAN | (skb->vlan_tci & VLAN_ID);

	if (!eth || (skb->vlan_present && skb->vlan_proto != bpf_htons(ETH_P_8021Q)))
		return PASS;
	if (!skb->vlan_present || network == NETWORK_VLAN) { // a tag without a VLAN's id says a priority only
		if (skb->pkt_type != PACKET_HOST)
			return PASS;
		// Any router may send it, so there is nothing that the next packet has to show.
		if (skb->protocol == bpf_htons(ETH_P_IP))
			return ipv4_from_wire(skb, SCOPE_NETWORK | NETWORK_ROUTED, 0);
		return skb->protocol == bpf_htons(ETH_P_IPV6) ? ipv6_from_wire(skb, SCOPE_NETWORK | NETWORK_ROUTED, 0) : PASS;
	}
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_wire(skb, SCOPE_NETWORK | network, sender_on_port(eth));
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_wire(skb, SCOPE_NETWORK | network, sender_on_port(eth));
	case bpf_htons(ETH_P_ARP):
		return finish(skb, arp_from_wire(skb, network));
	}
	return PASS;
}

// ---- from_host: the ingress of the data path's side of the way to the outside ------------------------------------

static __always_inline int ipv4_from_host(struct __sk_buff *skb)
{
	struct flow4_key key = {.scope = skb->ifindex};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv4(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	outcome = find_flow4(skb, &key, SENDER_NODE, &f);
	if (outcome)
		return drop(skb, outcome);
	outcome = renumber4(skb, f, false);
	if (outcome)
		return drop(skb, outcome);
	key.destination = be32(f->header + HEADER_ADDRESS + 12); // rules are about the container's own
	outcome = meet_policy4(skb, f, &key, SENDER_NODE, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back4(skb, f, &key, &u, ETH_HLEN);
	if (outcome)
		return drop(skb, outcome);
	return deliver(skb, f);
}

static __always_inline int ipv6_from_host(struct __sk_buff *skb)
{
	struct flow6_key key = {.scope = skb->ifindex};
	struct flow *f;
	struct upper u = {};
	int outcome = read_ipv6(skb, ETH_HLEN, &key, &u);

	if (outcome)
		return drop(skb, outcome);
	outcome = find_flow6(skb, &key, SENDER_NODE, &f);
	if (outcome)
		return drop(skb, outcome);
	outcome = renumber6(skb, f, &u, (__u8)key.kind, false);
	if (outcome)
		return drop(skb, outcome);
	copy_address(key.destination, f->header + HEADER_ADDRESS);
	outcome = meet_policy6(skb, f, &key, SENDER_NODE, &u, ETH_HLEN);
	if (outcome)
		return drop_refused(skb, f, outcome);
	outcome = give_back6(skb, f, &key, &u, ETH_HLEN);
	if (outcome)
		return drop(skb, outcome);
	return deliver(skb, f);
}

// Not for packets: Go runs it to have the time that connections are compared with.
SEC("tc")
int tell_time(struct __sk_buff *skb)
{
	return clock();
}

SEC("tc")
int from_host(struct __sk_buff *skb)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return ipv4_from_host(skb);
	case bpf_htons(ETH_P_IPV6):
		return ipv6_from_host(skb);
	}
	return drop(skb, DROP_ETHERTYPE);
}
