// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: a packet to a service's address gets a provider, and a provider's reply the service's address back. All of it is on the client's
// node; between it and the provider's, and in policy, there are the two containers and their real ports.
#pragma once

static __always_inline struct crossing *crossing_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&crossings, &zero);
}

static __always_inline __be32 join_ports(__be16 source, __be16 destination)
{
	return (__u16)source | (__u32)destination << 16;
}

static __always_inline __be16 source_port(__be32 ports) { return ports; }
static __always_inline __be16 destination_port(__be32 ports) { return ports >> 16; }

static __always_inline void fill_key4(struct translation_key *k, __u32 tenant, const struct flow4_key *packet, const struct upper *u)
{
	k->tenant = tenant;
	k->proto = (__u8)packet->kind;
	map_ipv4(k->source, packet->source);
	map_ipv4(k->destination, packet->destination);
	k->ports = u->first;
}

static __always_inline void fill_key6(struct translation_key *k, __u32 tenant, const struct flow6_key *packet, const struct upper *u)
{
	k->tenant = tenant;
	k->proto = (__u8)packet->kind;
	copy_address(k->source, packet->source);
	copy_address(k->destination, packet->destination);
	k->ports = u->first;
}

// ---- the table of translations ------------------------------------------------------------------------------------

static __always_inline bool is_spilling(void)
{
	__u32 zero = 0;
	__u32 *x = bpf_map_lookup_elem(&spilling, &zero);

	return x && *x;
}

static __always_inline struct translation *find_translation(const struct translation_key *k)
{
	struct translation *x = bpf_map_lookup_elem(&translations, k);

	if (x || !is_spilling())
		return x;
	return bpf_map_lookup_elem(&spilled, k);
}

static __noinline int remove_translation(const struct translation_key *k)
{
	if (bpf_map_delete_elem(&translations, k) && is_spilling())
		bpf_map_delete_elem(&spilled, k);
	return 0;
}

static __noinline int keep_translation(const struct translation_key *k, const struct translation *x)
{
	__u32 zero = 0, one = 1;

	if (!bpf_map_update_elem(&translations, k, x, BPF_ANY))
		return 0;
	bpf_map_update_elem(&spilling, &zero, &one, BPF_ANY); // before, so that it is found
	return bpf_map_update_elem(&spilled, k, x, BPF_ANY);
}

// The key of the other way.
static __always_inline void fill_other(struct translation_key *other, const struct translation_key *k, const struct translation *x)
{
	bool hairpin = x->state & TRANSLATION_HAIRPIN;

	other->tenant = k->tenant;
	other->proto = k->proto;
	if (x->state & TRANSLATION_BACK) {
		copy_address(other->source, hairpin ? k->source : k->destination);
		copy_address(other->destination, x->address);
		other->ports = join_ports(destination_port(k->ports), x->port);
	} else {
		copy_address(other->source, x->address);
		copy_address(other->destination, hairpin ? k->destination : k->source);
		other->ports = join_ports(x->port, source_port(k->ports));
	}
}

// The translation of the other way; NULL when it is gone, or when its place is taken by that of another connection.
static __always_inline struct translation *find_other(const struct translation_key *k, const struct translation_key *other, const struct translation *x)
{
	struct translation *y = find_translation(other);
	bool back = x->state & TRANSLATION_BACK;

	if (!y || !(y->state & TRANSLATION_BACK) == !back || y->port != (back ? source_port(k->ports) : destination_port(k->ports)) ||
	    !equal_address(y->address, back ? k->source : k->destination))
		return NULL;
	return y;
}

static __always_inline void add_to(struct provider_count *c, const struct translation *x)
{
	if (x->state & TRANSLATION_BACK) {
		c->packets_from += x->packets;
		c->bytes_from += x->bytes;
	} else {
		c->connections++;
		c->packets_to += x->packets;
		c->bytes_to += x->bytes;
	}
}

// Counts a connection to a service and removes both its translations.
VERIFIED_ONCE int end_translation(const struct translation_key *k, const struct translation *x)
{
	struct crossing *here = crossing_here();
	struct provider_key whose;
	struct provider_count *c;
	struct translation *y;

	if (!k || !x || !here)
		return 0;
	fill_other(&here->other, k, x);
	y = find_other(k, &here->other, x);
	whose.service = x->service;
	whose.number = x->provider;
	c = bpf_map_lookup_elem(&provider_counts, &whose);
	if (!c) {
		struct provider_count none = {};

		bpf_map_update_elem(&provider_counts, &whose, &none, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&provider_counts, &whose);
	}
	if (c)
		add_to(c, x);
	if (c && y)
		add_to(c, y);
	remove_translation(k);
	if (y)
		remove_translation(&here->other);
	return 0;
}

// ---- a provider for what begins -------------------------------------------------------------------------------------

static __always_inline __u32 rotate(__u32 x, int by)
{
	return x << by | x >> (32 - by);
}

static __always_inline __u32 mix_in(__u32 h, __u32 word)
{
	h ^= rotate(word * 0xcc9e2d51U, 15) * 0x1b873593U;
	return rotate(h, 13) * 5 + 0xe6546b64U;
}

// compile.Tables.Choose is the same in Go, and the specification.
// alone: the client's address without the rest.
static __always_inline __u32 hash_of(const struct translation_key *k, __u32 service, bool alone)
{
	const __be32 *client = (const void *)k->source;
	__u32 h = mix_in(0, service), len = 20;

	for (int i = 0; i < 4; i++)
		h = mix_in(h, bpf_ntohl(client[i]));
	if (!alone) {
		h = mix_in(h, bpf_ntohl(k->ports));
		h = mix_in(h, k->proto);
		len = 28;
	}
	h ^= len;
	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

#define NOWHERE SLOTS
#define SECOND 1000000000ULL // in nanoseconds

// A slot of the provider; NOWHERE: it takes no new connections. first is where it was.
VERIFIED_ONCE int slot_of(const struct slot_list *all, __u32 provider, __u32 first)
{
	if (!all)
		return NOWHERE;
	if (first < SLOTS && all->providers[first] == provider)
		return first;
	for (__u32 i = 0; i < SLOTS; i++) // once a client, when slots have moved
		if (all->providers[i] == provider)
			return i;
	return NOWHERE;
}

// The slot from which on what begins looks for a provider. Who is remembered and takes connections comes first. A client whose time is over
// is as free as any. Of one that is not remembered its address chooses: so it meets the same again where the table had no room for it.
static __noinline int first_slot(struct crossing *here, const struct translation_key *k, const struct service *s, const struct slot_list *all)
{
	bool alone = s->affinity;

	if (s->affinity && s->affinity != ENDLESS) {
		struct client *c;

		here->client.tenant = k->tenant;
		here->client.service = s->number;
		copy_address(here->client.address, k->source);
		c = bpf_map_lookup_elem(&clients, &here->client);
		if (c && bpf_ktime_get_coarse_ns() - c->seen > s->affinity * SECOND) {
			alone = false;
		} else if (c) {
			__u32 at = slot_of(all, c->provider, c->slot);

			if (at < SLOTS)
				return at;
		}
	}
	return hash_of(k, s->number, alone) % SLOTS;
}

// Has the client that is in here meet again whom it meets now.
static __noinline int remember_client(struct crossing *here)
{
	struct client c = {.seen = bpf_ktime_get_coarse_ns(), .provider = here->passage.provider, .slot = here->passage.slot};

	return bpf_map_update_elem(&clients, &here->client, &c, BPF_ANY);
}

// Whether the provider has another connection of this client's port, by way of another service: replies of the two could not be told
// apart. The translation that would be made is in here.
static __noinline int is_engaged(struct crossing *here)
{
	struct translation *x;

	fill_other(&here->other, &here->key, &here->translation);
	x = find_translation(&here->other);
	if (!x)
		return false;
	if (!(x->state & TRANSLATION_BACK))
		return true;
	fill_other(&here->others_other, &here->other, x);
	return !!find_other(&here->other, &here->others_other, x); // else it is left over
}

// The number of an endpoint's network; 0: the tenant has no such endpoint.
static __noinline __u32 network_at(__u32 tenant, const __u8 *address)
{
	struct endpoint *e = endpoint_of(tenant, address);

	return e ? e->network : 0;
}

// The service to which packets of the key go; NULL: its client has none there.
static __always_inline struct service *find_service(const struct translation_key *k)
{
	struct service_key at = {.tenant = k->tenant, .proto = k->proto, .port = destination_port(k->ports)};
	struct service *s;

	copy_address(at.address, k->destination);
	s = bpf_map_lookup_elem(&services, &at);
	if (!s || s->number)
		return s;
	at.tenant = SCOPE_NETWORK | network_at(k->tenant, k->source); // of 0 there is no row
	return bpf_map_lookup_elem(&services, &at);
}

static __noinline int is_served(const struct crossing *here)
{
	return !!find_service(&here->key);
}

#define ATTEMPTS 8

// Chooses a provider. False: there is none, or for a moment not all of its rows.
static __always_inline bool choose_once(struct crossing *here)
{
	const struct translation_key *k = &here->key;
	struct translation *mine = &here->translation;
	struct passage *p = &here->passage;
	struct slot_list *all;
	struct service *s;
	__u32 h;

	s = find_service(k);
	if (!s)
		return false;
	all = bpf_map_lookup_elem(&slots, &s->slots);
	if (!all)
		return false;
	h = first_slot(here, k, s, all);
	for (int i = 0; i < ATTEMPTS; i++) {
		struct provider_key key = {.service = s->number};
		struct provider *one;

		if (h >= SLOTS)
			h = 0;
		key.number = all->providers[h++];
		if (key.number == p->avoid || (i && key.number == p->provider))
			continue;
		one = bpf_map_lookup_elem(&providers, &key);
		if (!one)
			return false;
		p->service = key.service;
		p->provider = key.number;
		p->hairpin = equal_address(one->address, k->source);
		copy_address(p->destination, one->address);
		mine->port = one->port ? one->port : s->target;
		p->real = join_ports(source_port(k->ports), mine->port);
		copy_address(mine->address, one->address);
		mine->state = p->hairpin ? TRANSLATION_HAIRPIN : 0;
		if (is_engaged(here))
			continue;
		p->ports = p->real;
		copy_address(p->source, p->hairpin ? k->destination : k->source);
		p->slot = h - 1;
		p->lasts = s->affinity && s->affinity != ENDLESS;
		return true;
	}
	return false;
}

// A second time, should Go have replaced rows just now.
static __noinline int choose(struct crossing *here)
{
	for (int i = 0; i < 2; i++)
		if (choose_once(here))
			return true;
	return false;
}

// Keeps what has been chosen, both ways. The packet is of this many bytes.
VERIFIED_ONCE int remember_passage(const struct flow *f, struct crossing *here, __u32 bytes)
{
	struct translation *x;
	struct passage *p;

	if (!f || !here)
		return DROP_MALFORMED;
	x = &here->translation;
	p = &here->passage;
	x->seen = clock();
	x->epoch = f->epoch;
	x->service = p->service;
	x->provider = p->provider;
	x->state = (p->hairpin ? TRANSLATION_HAIRPIN : 0) | (p->avoid ? TRANSLATION_AGAIN : 0);
	x->port = destination_port(p->ports);
	copy_address(x->address, p->destination);
	x->packets = 1;
	x->bytes = bytes;
	fill_other(&here->other, &here->key, x);
	if (keep_translation(&here->key, x))
		return DROP_SERVICE_TABLE;
	x->packets = 0;
	x->bytes = 0;
	x->state |= TRANSLATION_BACK;
	x->port = destination_port(here->key.ports);
	copy_address(x->address, here->key.destination);
	if (keep_translation(&here->other, x))
		return DROP_SERVICE_TABLE;
	if (p->lasts)
		remember_client(here);
	return 0;
}

#include "quote.h"

// ---- the steps ------------------------------------------------------------------------------------------------------

// A packet of a connection that is known.
static __always_inline void follow_translation(const struct translation_key *k, struct translation *x, __u8 tcp_flags, __u32 bytes)
{
	__u16 now = clock();

	if (x->seen != now) // spares other processors' caches
		x->seen = now;
	x->packets++;
	x->bytes += bytes;
	if (tcp_flags & TCP_RST) {
		end_translation(k, x);
	} else if (tcp_flags & TCP_FIN) {
		x->state |= TRANSLATION_FIN;
	} else if (x->state & TRANSLATION_FIN) {
		struct crossing *here = crossing_here();
		struct translation *y;

		if (!here)
			return;
		fill_other(&here->other, k, x);
		y = find_other(k, &here->other, x);
		if (y && y->state & TRANSLATION_FIN)
			end_translation(k, x);
	}
}

// Whether a provider's reset is kept from the client: it refuses the connection's first segment, which another provider may take. Its
// program has just ended, or does not listen yet. The client sends the segment again after a second, as if it had been lost, and it goes
// to another provider then; once, lest a client waits for long where nobody listens. x: of the packet's way, which is back.
VERIFIED_ONCE int is_tried_again(struct crossing *here, const struct translation *x)
{
	const struct translation_key *k;
	struct translation *forth;
	struct slot_list *all;
	struct service *s;
	__u32 h;

	if (!here || !x || x->packets)
		return false;
	k = &here->key;
	fill_other(&here->other, k, x);
	forth = find_other(k, &here->other, x);
	if (!forth || forth->state & TRANSLATION_AGAIN)
		return false;
	s = find_service(&here->other);
	if (!s)
		return false;
	all = bpf_map_lookup_elem(&slots, &s->slots);
	if (!all)
		return false;
	h = first_slot(here, &here->other, s, all);
	for (int i = 0; i < ATTEMPTS; i++) {
		if (++h >= SLOTS) // it begins behind the one that was chosen
			h = 0;
		if (all->providers[h] != forth->provider) {
			forth->state |= TRANSLATION_AGAIN;
			return true;
		}
	}
	return false;
}

// The ports of a fragment, from its first one; and its TCP flags.
static __always_inline int read_service_packet(struct __sk_buff *skb, struct translation_key *k, const struct upper *u, __u8 *tcp_flags)
{
	if (u->part) {
		struct fragment_key key = {.tenant = k->tenant, .proto = k->proto, .id = u->id};
		struct fragment *first, this;

		copy_address(key.source, k->source);
		copy_address(key.destination, k->destination);
		if (u->part == LATER_PART) {
			first = bpf_map_lookup_elem(&fragments, &key);
			if (!first || (__u16)(clock() - first->seen) > OPENING_AGE)
				return DROP_SERVICE_FRAGMENT;
			k->ports = first->ports;
			return 0;
		}
		if (bpf_skb_load_bytes(skb, u->offset, &k->ports, sizeof(k->ports)))
			return DROP_SERVICE_FRAGMENT;
		this.seen = clock();
		this.ports = k->ports;
		bpf_map_update_elem(&fragments, &key, &this, BPF_ANY);
	}
	if (k->proto == IPPROTO_TCP) {
		const __u8 *flags = u->offset < NEAR ? at(skb, u->offset + 13, 1) : NULL;

		if (flags)
			*tcp_flags = *flags;
		else if (bpf_skb_load_bytes(skb, u->offset + 13, tcp_flags, 1))
			return u->part ? DROP_SERVICE_FRAGMENT : DROP_MALFORMED;
	}
	return 0;
}

// What enter_service says of a packet that is for no service, and goes on in the flow in which it is.
#define BESIDE (-4)

// A packet to a service, whose key is in here. 0: its passage is there too.
VERIFIED_ONCE int enter_service(struct __sk_buff *skb, const struct flow *f, const struct upper *u, struct crossing *here)
{
	struct translation_key *k;
	struct translation *x;
	struct passage *p;
	__u8 flags = 0;

	if (!f || !u || !here)
		return DROP_MALFORMED;
	k = &here->key;
	p = &here->passage;
	p->begins = 0;
	p->avoid = 0;
	if (is_service_error(k, u)) {
		int outcome = enter_error(skb, u, here);

		return outcome == DROP_SERVICE_REFUSED && f->asks & FLOW_BESIDE ? BESIDE : outcome;
	}
	STEP(read_service_packet(skb, k, u, &flags));
	x = find_translation(k);
	if (x && (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) { // once more: its provider may be out of order since
		if (x->state & TRANSLATION_AGAIN)
			p->avoid = x->provider;
		end_translation(k, x);
		x = NULL;
	}
	if (x && x->epoch != f->epoch) {
		struct provider_key whose = {.service = x->service, .number = x->provider};

		if (bpf_map_lookup_elem(&providers, &whose)) {
			x->epoch = f->epoch;
		} else {
			end_translation(k, x);
			if (k->proto == IPPROTO_TCP)
				return refuse_service(skb, k->proto, u->offset);
			x = NULL;
		}
	}
	if (!x) {
		if (f->asks & FLOW_BESIDE && !is_served(here))
			return BESIDE;
		if (!choose(here))
			return refuse_service(skb, k->proto, u->offset);
		p->begins = !(flags & TCP_RST);
		return 0;
	}
	if (x->state & TRANSLATION_BACK && flags & TCP_RST && is_tried_again(here, x))
		return DROP_SERVICE_AGAIN;
	if (x->state & TRANSLATION_BACK) { // of a hairpin: the container answers itself
		copy_address(p->destination, k->source);
		copy_address(p->source, k->destination);
		p->real = k->ports;
		p->ports = join_ports(x->port, destination_port(k->ports));
	} else {
		copy_address(p->destination, x->address);
		copy_address(p->source, x->state & TRANSLATION_HAIRPIN ? k->destination : k->source);
		p->real = join_ports(source_port(k->ports), x->port);
		p->ports = p->real;
	}
	follow_translation(k, x, flags, skb->len - ETH_HLEN);
	return 0;
}

// What becomes of a packet from a provider.
enum leaving {
	LEAVES_AS_IT_IS, // it is no reply of a service
	LEAVES_CHANGED,  // its passage says what it should look like
	LEAVES_NOT,      // the client does not hear it
};

// A packet from a provider to a container of this node.
// offset: of its IP header.
VERIFIED_ONCE int leave_service(struct __sk_buff *skb, const struct upper *u, struct crossing *here, __u32 offset)
{
	struct translation_key *k;
	struct translation *x;
	struct passage *p;
	__u8 flags = 0;

	if (!u || !here)
		return LEAVES_AS_IT_IS;
	k = &here->key;
	p = &here->passage;
	p->begins = 0;
	if (is_service_error(k, u))
		return leave_error(skb, u, here);
	if (!has_ports(k->proto))
		return LEAVES_AS_IT_IS;
	if (read_service_packet(skb, k, u, &flags))
		return LEAVES_AS_IT_IS; // what its connection does not know of is nobody's reply
	x = find_translation(k);
	if (!x || (x->state & (TRANSLATION_BACK | TRANSLATION_HAIRPIN)) != TRANSLATION_BACK)
		return LEAVES_AS_IT_IS;
	if (flags & TCP_RST && is_tried_again(here, x))
		return LEAVES_NOT;
	copy_address(p->destination, k->destination);
	copy_address(p->source, x->address);
	p->ports = join_ports(x->port, destination_port(k->ports));
	follow_translation(k, x, flags, skb->len - offset);
	return LEAVES_CHANGED;
}

// What else a flow asks for: replies of services are in it only if its sender provides one, to a container of this node.
static __always_inline __u8 asks_for_replies(const struct endpoint *from, const struct endpoint *to)
{
	return from && from->provides && to->ifindex ? FLOW_FROM_PROVIDER : 0;
}

// The same where the sender is no endpoint, and its receiver a container of this node.
static __always_inline __u8 asks_for_foreign_replies(const __u8 *source)
{
	struct foreign_key key;

	copy_address(key.address, source);
	return bpf_map_lookup_elem(&foreign, &key) ? FLOW_FROM_PROVIDER : 0;
}

// A flow to a service's address. It holds no way: that is in the flow to the provider.
static __always_inline int decide_service(struct __sk_buff *skb, const struct question *q, const struct port *from, struct flow *f)
{
	if (!q->fragment && q->proto == IPPROTO_ICMP && q->icmp_type == ICMP_ECHO_REQUEST && q->ethertype == bpf_htons(ETH_P_IP))
		return answer_echo4(skb, from);
	if (!q->fragment && q->proto == IPPROTO_ICMPV6 && q->icmp_type == ICMP6_ECHO_REQUEST && q->ethertype == bpf_htons(ETH_P_IPV6))
		return answer_echo6(skb, from);
	if (q->proto != IPPROTO_TCP && q->proto != IPPROTO_UDP && q->proto != IPPROTO_SCTP &&
	    (q->fragment || !is_icmp(q->proto) || !is_icmp_error(q->proto, q->icmp_type)))
		return DROP_SERVICE_PROTOCOL;
	f->tenant = from->tenant;
	f->asks = FLOW_TO_SERVICE;
	return 0;
}

// What is for services in a flow to an address of the outside at which some are. The flow's way has been decided.
static __always_inline void note_services(const struct question *q, struct flow *f)
{
	if (has_ports(q->proto) || (!q->fragment && is_icmp(q->proto) && is_icmp_error(q->proto, q->icmp_type)))
		f->asks |= FLOW_TO_SERVICE | FLOW_BESIDE;
}
