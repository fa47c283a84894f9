// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: of a flow that policy is asked about, is this packet of a connection that was allowed, or does it begin one, and may it?
//
// What begins is asked about and remembered as an opening. When the other end has answered and the first has
// answered that, it is a connection. One end alone, whatever it makes up, can fill openings only.
#pragma once

// A packet, in the words of connections.
struct contact {
	struct connection_key key;
	__u32 high;       // 1: the high end sent it
	__u32 what;       // bank, protocol and destination port, to ask about it
	__u32 what_back;  // to ask whether the other end might have begun
	__u16 source_port, destination_port;
	__u8 begins;      // cannot be of a connection that there is already: a SYN
	__u8 query;       // an ICMP query: cannot be a reply
	__u8 error;       // an ICMP error: opens nothing
	__u8 tcp;
	__u8 flags;       // of TCP; 0 of others
	__u8 unknown; // connections have been looked at already, and do not have it
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

// Time in units of three to six seconds, as far as 16 bits go: two days at least. It is the kernel's count of ticks, as that is one word to
// read, where nanoseconds cost a fifth of all that a packet of a connection does here.
static __always_inline __u16 clock(void)
{
	return bpf_jiffies64() >> clock_shift;
}

// An opening is forgotten after this many units of the clock without a packet.
#define OPENING_AGE 8

static __always_inline void order_ends(struct connection_key *key, __u32 *high, const __u8 *source,
				       const __u8 *destination, __be32 ports)
{
	const __u64 *s = (const void *)source, *d = (const void *)destination;
	bool source_is_high = s[0] != d[0] ? s[0] > d[0] : s[1] != d[1] ? s[1] > d[1] : (__u16)ports > ports >> 16;

	*high = source_is_high;
	copy_address(key->low, source_is_high ? destination : source);
	copy_address(key->high, source_is_high ? source : destination);
	key->ports = source_is_high ? ports << 16 | ports >> 16 : ports;
}

static __always_inline bool is_ipv4_connection(const struct connection_key *key)
{
	const __u32 *low = (const void *)key->low, *high = (const void *)key->high;
	__u32 mapped = bpf_htonl(0xffff);

	return low[2] == mapped && high[2] == mapped && !(low[0] | low[1] | high[0] | high[1]);
}

static __always_inline struct connection4_key narrow(const struct connection_key *key)
{
	struct connection4_key k = {
		.tenant = key->tenant,
		.proto = key->proto,
		.low = be32(key->low + 12),
		.high = be32(key->high + 12),
		.ports = key->ports,
	};

	return k;
}

static __always_inline struct connection *find_connection(const struct connection_key *key)
{
	if (is_ipv4_connection(key)) {
		struct connection4_key k = narrow(key);

		return bpf_map_lookup_elem(&connections4, &k);
	}
	return bpf_map_lookup_elem(&connections6, key);
}

static __noinline int keep_connection(const struct connection_key *key, const struct connection *x)
{
	if (is_ipv4_connection(key)) {
		struct connection4_key k = narrow(key);

		return bpf_map_update_elem(&connections4, &k, x, BPF_ANY);
	}
	return bpf_map_update_elem(&connections6, key, x, BPF_ANY);
}

static __noinline int remove_connection(const struct connection_key *key)
{
	if (is_ipv4_connection(key)) {
		struct connection4_key k = narrow(key);

		return bpf_map_delete_elem(&connections4, &k);
	}
	return bpf_map_delete_elem(&connections6, key);
}

struct icmp_start {
	__u8 type, code;
	__be16 checksum;
	__be16 id, sequence;
};

static __always_inline bool is_icmp_query(__u8 proto, __u8 type)
{
	return proto == IPPROTO_ICMP ? type == 8 || type == 13 : type == 128;
}

static __always_inline bool is_icmp_answer(__u8 proto, __u8 type)
{
	return proto == IPPROTO_ICMP ? type == 0 || type == 14 : type == 129;
}

static __always_inline bool is_icmp_error(__u8 proto, __u8 type)
{
	return proto == IPPROTO_ICMP ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

// The ports of a packet that is quoted in an ICMP error, as they are in its connection's key.
static __always_inline __be32 quoted_ports(struct __sk_buff *skb, __u8 proto, __u32 offset)
{
	struct icmp_start start;

	if (bpf_skb_load_bytes(skb, offset, &start, sizeof(start)))
		return 0;
	if (has_ports(proto))
		return *(__be32 *)&start;
	return is_icmp(proto) ? start.id | (__u32)start.id << 16 : 0;
}

// Whether the packet quoted in an ICMP error is of something that was allowed, and was sent by whom the error is for.
VERIFIED_ONCE int is_related(struct __sk_buff *skb, const struct question *q, __u32 tenant, __u32 offset)
{
	struct connection_key key = {.tenant = tenant};
	__u8 source[16], destination[16];
	__u32 high;

	if (!q)
		return false;
	if (q->ethertype == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
		    ip.frag_off & FRAGMENT_OFFSET)
			return false;
		map_ipv4(source, ip.saddr);
		map_ipv4(destination, ip.daddr);
		key.proto = ip.protocol;
		offset += ip.ihl * 4;
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		copy_address(source, &ip.saddr);
		copy_address(destination, &ip.daddr);
		key.proto = ip.nexthdr;
		offset += sizeof(ip);
	}
	if (!equal_address(source, q->destination))
		return false;
	order_ends(&key, &high, source, destination, quoted_ports(skb, key.proto, offset));
	return find_connection(&key) || bpf_map_lookup_elem(&openings, &key);
}

static __always_inline bool is_hidden(__u8 next_header)
{
	return next_header == IPPROTO_HOPOPTS || next_header == IPPROTO_ROUTING || next_header == IPPROTO_DSTOPTS ||
	       next_header == IPPROTO_FRAGMENT;
}

static __always_inline void fill_fragment_key(struct fragment_key *key, const struct flow *f, const struct question *q,
					      const struct upper *u)
{
	key->tenant = f->tenant;
	key->proto = q->proto;
	key->id = u->id;
	copy_address(key->source, q->source);
	copy_address(key->destination, q->destination);
}

// A fragment follows the first one of its datagram. 0 for a first one: its ports are read, and it goes on.
VERIFIED_ONCE int check_fragment(struct __sk_buff *skb, const struct flow *f, const struct question *q, struct upper *u)
{
	struct fragment_key key = {};
	struct fragment *passed;

	if (!f || !q || !u)
		return DROP_MALFORMED;
	if (u->part == LATER_PART) {
		fill_fragment_key(&key, f, q, u);
		passed = bpf_map_lookup_elem(&fragments, &key);
		return passed && (__u16)(clock() - passed->seen) <= OPENING_AGE ? ANSWERED : DROP_POLICY_FRAGMENT;
	}
	// Where ports would hide behind more extension headers, or in the next fragment, nobody could be asked.
	if (q->ethertype == bpf_htons(ETH_P_IPV6) && is_hidden(q->proto))
		return DROP_POLICY_FRAGMENT;
	if (!u->first && (has_ports(q->proto) || is_icmp(q->proto)) && bpf_skb_load_bytes(skb, u->offset, &u->first, sizeof(u->first)))
		return DROP_POLICY_FRAGMENT;
	return 0;
}

// The first fragment has passed.
VERIFIED_ONCE int remember_fragment(const struct flow *f, const struct question *q, const struct upper *u)
{
	struct fragment_key key = {};
	struct fragment passed;

	if (!f || !q || !u)
		return 0;
	passed.seen = clock();
	passed.ports = u->first;
	fill_fragment_key(&key, f, q, u);
	return bpf_map_update_elem(&fragments, &key, &passed, BPF_ANY);
}

// Fills the contact, which is zero before. DROP_POLICY_FRAGMENT: it is cut where its flags should be. Apart, as what it needs of the stack
// is free again when rules are asked.
static __noinline int read_contact(struct __sk_buff *skb, const struct flow *f, const struct question *q, const struct upper *u,
				   struct contact *c)
{
	__u32 bank = (f->epoch & EPOCH_BANK) << BANK_SHIFT, proto = q->proto << PROTOCOL_SHIFT;
	__be32 ports = 0;

	c->key.tenant = f->tenant;
	c->key.proto = q->proto;
	if (has_ports(q->proto)) {
		ports = u->first;
		c->source_port = bpf_ntohs((__u16)ports);
		c->destination_port = bpf_ntohs(ports >> 16);
	} else if (is_icmp(q->proto)) {
		struct icmp_start icmp = {};
		__u8 type = *(__u8 *)&u->first;

		c->error = is_icmp_error(q->proto, type);
		c->query = is_icmp_query(q->proto, type);
		if (c->query || is_icmp_answer(q->proto, type)) {
			if (bpf_skb_load_bytes(skb, u->offset, &icmp, sizeof(icmp)))
				return u->part ? DROP_POLICY_FRAGMENT : DROP_MALFORMED;
			ports = icmp.id | (__u32)icmp.id << 16;
		}
	}
	if (q->proto == IPPROTO_TCP) {
		__u8 flags = 0;

		if (bpf_skb_load_bytes(skb, u->offset + 13, &flags, sizeof(flags)))
			return u->part ? DROP_POLICY_FRAGMENT : DROP_MALFORMED;
		c->tcp = 1;
		c->begins = (flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		c->flags = flags;
	}
	order_ends(&c->key, &c->high, q->source, q->destination, ports);
	c->what = bank | proto | c->destination_port;
	c->what_back = bank | proto | c->source_port;
	return 0;
}

VERIFIED_ONCE int tell(const struct contact *c, enum event_kind kind, __u32 rule, bool out)
{
	__u32 zero = 0;
	struct listener *l = bpf_map_lookup_elem(&listening, &zero);
	struct event *e;

	if (!c)
		return 0;
	if (!l || !l->wanted)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		__sync_fetch_and_add(&l->lost, 1);
		return 0;
	}
	e->time = bpf_ktime_get_ns();
	e->tenant = c->key.tenant;
	e->rule = rule;
	copy_address(e->source, c->high ? c->key.high : c->key.low);
	copy_address(e->destination, c->high ? c->key.low : c->key.high);
	e->source_port = c->source_port;
	e->destination_port = c->destination_port;
	e->proto = c->key.proto;
	e->kind = kind;
	e->out = out;
	e->pad = 0;
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP); // Go comes by itself
	return 0;
}

// Asks both ends' roles about what begins with this packet.
static __always_inline int ask(const struct flow *f, __u32 what, struct answer *out, struct answer *in)
{
	in->rule = 0;
	if (is_denied(f->source_out, f->destination_class, what, chains_at(f, ASKS_SOURCE_OUT), out))
		return DROP_POLICY_OUT;
	return is_denied(f->destination_in, f->source_class, what, chains_at(f, ASKS_DESTINATION_IN), in) ? DROP_POLICY_IN : 0;
}

// Asks about what the other end might have begun.
static __always_inline int ask_back(const struct flow *f, __u32 what_back, struct answer *out, struct answer *in)
{
	in->rule = 0;
	if (is_denied(f->destination_out, f->source_class, what_back, chains_at(f, ASKS_DESTINATION_OUT), out))
		return DROP_POLICY_OUT;
	return is_denied(f->source_in, f->destination_class, what_back, chains_at(f, ASKS_SOURCE_IN), in) ? DROP_POLICY_IN : 0;
}

// Whether what was allowed in another epoch still is. Its rules may be others now.
VERIFIED_ONCE int is_still_allowed(const struct flow *f, const struct contact *c, struct connection *x)
{
	struct answer out = {}, in = {};

	if (!f || !c || !x)
		return false;
	if (!(x->state & STATE_ORIGIN_HIGH) == !c->high) {
		if (ask(f, c->what, &out, &in))
			return false;
	} else if (x->state & STATE_LENT) {
		return true; // whoever answers does not know for whom it was: what that one sends next is asked about
	} else if (ask_back(f, c->what_back, &out, &in)) {
		return false;
	}
	x->epoch = f->epoch;
	x->out_rule = out.rule;
	x->in_rule = in.rule;
	return true;
}

// Packets are counted with their connection, as a look-up of its rules for each would cost more than all the rest. They
// come to the rules' counts when this many have gathered, and when the connection ends; Go adds those that have not. Half of what
// a byte holds, so that processors that count at once do not go round it.
#define PACKETS_GATHERED 128

static __noinline void hand_in_packets(struct connection *x)
{
	__u32 n = x->packets;

	x->packets = 0;
	count(x->out_rule, TALLY_PACKETS, n);
	count(x->in_rule, TALLY_PACKETS, n);
}

// Two processors may count one packet less between them.
static __always_inline void count_packet(struct connection *x)
{
	if (!(x->out_rule | x->in_rule))
		return;
	if (++x->packets >= PACKETS_GATHERED)
		hand_in_packets(x);
}

// Beside a reason: the rules were asked about the packet as a reply, so the sender's in and the receiver's out.
#define AS_REPLY 0x100

// Counts and tells what may not pass. from_origin: it is asked about as it is, otherwise as the reply that it would be.
VERIFIED_ONCE int refuse(const struct flow *f, const struct contact *c, int from_origin)
{
	struct answer out = {}, in = {};
	__u32 rule;
	int outcome;

	if (!f || !c)
		return DROP_MALFORMED;
	outcome = from_origin ? ask(f, c->what, &out, &in) : ask_back(f, c->what_back, &out, &in);
	rule = outcome == DROP_POLICY_OUT ? out.rule : in.rule;
	count(rule, TALLY_DENIED, 1);
	tell(c, EVENT_REFUSED, rule, outcome == DROP_POLICY_OUT);
	return (outcome == DROP_POLICY_OUT ? DROP_POLICY_OUT : DROP_POLICY_IN) | (from_origin ? 0 : AS_REPLY);
}

// What begins: ask, remember, tell. known: its key has a connection. What may not is still to be refused.
VERIFIED_ONCE int begin(const struct flow *f, const struct contact *c, int known)
{
	struct connection x = {.seen = clock()};
	struct answer out = {}, in = {};
	int outcome;

	if (!f || !c)
		return DROP_MALFORMED;
	outcome = ask(f, c->what, &out, &in);
	x.epoch = f->epoch;
	x.state = c->high ? STATE_ORIGIN_HIGH | STATE_FIRST_HIGH : 0;
	if (f->asks & FLOW_LENT)
		x.state |= STATE_LENT;
	if (outcome && c->tcp && !c->begins) {
		// A connection that was evicted, or is older than this node's knowledge of it.
		if (!ask_back(f, c->what_back, &out, &in)) {
			x.state = (x.state ^ STATE_ORIGIN_HIGH) & ~STATE_LENT;
			outcome = 0;
		} else if (f->older && !(f->epoch & EPOCH_RECHECK)) {
			outcome = 0;
			out.rule = 0;
			in.rule = 0;
			x.state |= STATE_OLDER;
		}
		out.audit = 0;
		in.audit = 0;
	}
	if (outcome)
		return outcome;
	x.out_rule = out.rule;
	x.in_rule = in.rule;
	x.packets = !!(out.rule | in.rule);
	if (c->error || c->flags & TCP_RST) {
		hand_in_packets(&x);
		return 0;
	}
	if (known && c->begins) // its ends have forgotten it
		remove_connection(&c->key);
	if (!known || c->begins)
		bpf_map_update_elem(&openings, &c->key, &x, BPF_ANY);
	else
		hand_in_packets(&x);
	count(out.rule, TALLY_ALLOWED, 1);
	count(in.rule, TALLY_ALLOWED, 1);
	count(out.audit, TALLY_AUDITED, 1);
	count(in.audit, TALLY_AUDITED, 1);
	if (out.audit | in.audit) // one event: the rule that would have come first
		tell(c, EVENT_AUDITED, out.audit ? out.audit : in.audit, !!out.audit);
	else
		tell(c, EVENT_OPENED, in.rule ? in.rule : out.rule, !in.rule && out.rule);
	return 0;
}

// A packet of a connection. Tells whether that is over by it, and to be removed. tcp_flags: 0 of other protocols.
static __always_inline bool follow(struct connection *x, bool high, __u8 tcp_flags)
{
	__u16 now = clock();

	if (x->seen != now) // spares other processors' caches
		x->seen = now;
	count_packet(x);
	if (tcp_flags & TCP_FIN) {
		__u8 fin = high ? STATE_FIN_HIGH : STATE_FIN_LOW;

		if (!(x->state & fin))
			x->state |= fin;
		return false;
	}
	if (!(tcp_flags & TCP_RST) && (x->state & STATE_FIN) != STATE_FIN)
		return false;
	hand_in_packets(x);
	return true;
}

// A packet of an opening, which may become a connection by it.
static __always_inline void follow_opening(const struct contact *c, struct connection *x)
{
	count_packet(x);
	if (c->begins)
		return;
	if (c->flags & TCP_RST) {
		hand_in_packets(x);
		bpf_map_delete_elem(&openings, &c->key);
		return;
	}
	x->seen = clock();
	if (!(x->state & STATE_FIRST_HIGH) != !c->high) {
		x->state |= STATE_REPLIED;
	} else if (x->state & STATE_REPLIED) {
		struct connection promoted = *x;

		promoted.state &= STATE_ORIGIN_HIGH | STATE_LENT;
		if (c->flags & TCP_FIN)
			promoted.state |= c->high ? STATE_FIN_HIGH : STATE_FIN_LOW;
		// Removed at once, its memory is used again while it is in the processor's cache. When connections are full
		// it stays.
		if (!keep_connection(&c->key, &promoted))
			bpf_map_delete_elem(&openings, &c->key);
	}
}

// Apart from begin, as the stack has no room for one in the other.
static __always_inline int begin_or_refuse(const struct flow *f, const struct contact *c, int known)
{
	return begin(f, c, known) ? refuse(f, c, true) : 0;
}

VERIFIED_ONCE int check_contact(const struct flow *f, const struct contact *c)
{
	struct connection *x, *o;
	bool from_origin;

	if (!f || !c)
		return DROP_MALFORMED;
	x = c->unknown ? NULL : find_connection(&c->key);
	if (x) {
		from_origin = !(x->state & STATE_ORIGIN_HIGH) == !c->high;
		if (c->begins || (c->query && !from_origin))
			return begin_or_refuse(f, c, true);
		// It stays in the table, so that it is not taken for one that was lost.
		if (f->epoch & EPOCH_RECHECK && x->epoch != f->epoch && !is_still_allowed(f, c, x))
			return refuse(f, c, from_origin);
		if (follow(x, c->high, c->flags))
			remove_connection(&c->key);
		return 0;
	}
	o = bpf_map_lookup_elem(&openings, &c->key);
	if (!o || (__u16)(clock() - o->seen) > OPENING_AGE)
		return begin_or_refuse(f, c, false);
	from_origin = !(o->state & STATE_ORIGIN_HIGH) == !c->high;
	// A SYN again, in the same epoch, was asked about already.
	if ((c->begins || c->query) && !from_origin)
		return begin_or_refuse(f, c, false);
	if (o->epoch != f->epoch && !is_still_allowed(f, c, o)) {
		bpf_map_delete_elem(&openings, &c->key);
		return begin_or_refuse(f, c, false);
	}
	if (c->begins && o->state & STATE_OLDER) // it was never asked about
		return begin_or_refuse(f, c, false);
	follow_opening(c, o);
	return 0;
}

// A packet of a connection of which nothing is to be asked: most of them. Others go through check_policy.
static __always_inline bool is_established(const struct flow *f, const struct connection *x, struct upper *u, __u8 tcp_flags)
{
	u->unknown = !x;
	return x && !(tcp_flags & TCP_SYN) && !(f->epoch & EPOCH_RECHECK && x->epoch != f->epoch);
}

static __always_inline bool is_established4(struct __sk_buff *skb, const struct flow *f, const struct flow4_key *packet,
					    struct upper *u, __u32 offset)
{
	struct connection4_key key;
	struct connection *x;
	__u8 flags = 0;
	bool source_is_high;

	if (u->offset != offset + sizeof(struct iphdr))
		return false;
	if (packet->kind == IPPROTO_TCP) {
		const __u8 *byte = at(skb, offset + sizeof(struct iphdr) + 13, 1);

		if (!byte)
			return false;
		flags = *byte;
	} else if (packet->kind != IPPROTO_UDP) {
		return false;
	}
	key.tenant = f->tenant;
	key.proto = packet->kind;
	source_is_high = packet->source != packet->destination ? packet->source > packet->destination
							       : (__u16)u->first > u->first >> 16;
	key.low = source_is_high ? packet->destination : packet->source;
	key.high = source_is_high ? packet->source : packet->destination;
	key.ports = source_is_high ? u->first << 16 | u->first >> 16 : u->first;
	x = bpf_map_lookup_elem(&connections4, &key);
	if (!is_established(f, x, u, flags))
		return false;
	if (follow(x, source_is_high, flags))
		bpf_map_delete_elem(&connections4, &key);
	return true;
}

static __always_inline bool is_established6(struct __sk_buff *skb, const struct flow *f, const struct flow6_key *packet,
					    struct upper *u, __u32 offset)
{
	struct connection_key key;
	struct connection *x;
	__u8 flags = 0;
	__u32 high;

	if (u->offset != offset + sizeof(struct ipv6hdr))
		return false;
	if (packet->kind == IPPROTO_TCP) {
		const __u8 *byte = at(skb, offset + sizeof(struct ipv6hdr) + 13, 1);

		if (!byte)
			return false;
		flags = *byte;
	} else if (packet->kind != IPPROTO_UDP) {
		return false;
	}
	key.tenant = f->tenant;
	key.proto = packet->kind;
	order_ends(&key, &high, (const __u8 *)packet->source, (const __u8 *)packet->destination, u->first);
	x = bpf_map_lookup_elem(&connections6, &key);
	if (!is_established(f, x, u, flags))
		return false;
	if (follow(x, high, flags))
		bpf_map_delete_elem(&connections6, &key);
	return true;
}

// Whether a packet of a flow that asks may pass. 0: it may.
VERIFIED_ONCE int check_policy(struct __sk_buff *skb, const struct flow *f, const struct question *q, struct upper *u)
{
	struct contact c = {};
	int outcome;

	if (!f || !q || !u)
		return DROP_MALFORMED;
	if (u->part) {
		outcome = check_fragment(skb, f, q, u);
		if (outcome)
			return outcome == ANSWERED ? 0 : outcome;
	}
	STEP(read_contact(skb, f, q, u, &c));
	c.unknown = u->unknown;
	if (c.error) {
		if (is_related(skb, q, f->tenant, u->offset + sizeof(struct icmp_start)))
			return 0;
		STEP(begin_or_refuse(f, &c, false));
	} else {
		STEP(check_contact(f, &c));
	}
	if (u->part)
		remember_fragment(f, q, u);
	return 0;
}

// The end of a packet that check_policy stopped. It is counted with the port whose rules denied it.
static __noinline int drop_refused(struct __sk_buff *skb, const struct flow *f, int outcome)
{
	enum drop_reason reason = outcome & ~AS_REPLY;

	if (reason == (outcome & AS_REPLY ? DROP_POLICY_OUT : DROP_POLICY_IN)) // the receiver's
		return drop_at(f->ifindex, reason);
	return drop(skb, reason);
}
