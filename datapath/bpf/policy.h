// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: what the rules say. compile.Tables.Verdict is the same in Go, and the specification.
#pragma once

// The kinds of rows that a role has for a class.
static __always_inline __u32 kinds_of(__u32 role, __u32 class, __u32 bank)
{
	struct verdict_key key = {.role = role, .class = class, .what = bank << BANK_SHIFT | HEAD << PROTOCOL_SHIFT};
	struct verdict *head = bpf_map_lookup_elem(&verdicts, &key);

	return head ? head->rule : 0;
}

// What first_row need not look for when a role is asked about a class: bit 0: there are rows for this class, the next three the
// kinds of rows for every class, and FLOW_RANGES: there are rows of ranges for either. Found out once a flow, so that asking looks up what there is.
VERIFIED_ONCE int chains_of(__u32 role, __u32 class, __u32 bank)
{
	__u32 peer = 0, every;

	if (!role)
		return 0;
	if (class)
		peer = kinds_of(role, class, bank);
	every = kinds_of(role, 0, bank);
	return !!peer | (every & (ROW_PORT | ROW_PROTOCOL | ROW_ANY)) << 1 | ((peer | every) & ROW_RANGE ? FLOW_RANGES : 0);
}

// Places of the pairs of role and class in a flow's chains.
enum {
	ASKS_SOURCE_OUT = 0,
	ASKS_DESTINATION_IN = 4,
	ASKS_DESTINATION_OUT = 8,
	ASKS_SOURCE_IN = 12,
};

#define CHAINS 0xf // of one pair, without FLOW_RANGES, which is noted for all of them

static __always_inline void note_chains(struct flow *f)
{
	__u32 bank = f->epoch & EPOCH_BANK, a, b, c, d;

	if (!(f->source_out || f->source_in || f->destination_out || f->destination_in))
		return;
	a = chains_of(f->source_out, f->destination_class, bank);
	b = chains_of(f->destination_in, f->source_class, bank);
	c = chains_of(f->destination_out, f->source_class, bank);
	d = chains_of(f->source_in, f->destination_class, bank);
	f->asks |= FLOW_POLICY | ((a | b | c | d) & FLOW_RANGES);
	f->chains = (a & CHAINS) << ASKS_SOURCE_OUT | (b & CHAINS) << ASKS_DESTINATION_IN | (c & CHAINS) << ASKS_DESTINATION_OUT |
		    (d & CHAINS) << ASKS_SOURCE_IN;
}

// What chains_of gave for a pair.
static __always_inline __u32 chains_at(const struct flow *f, __u32 pair)
{
	return (f->chains >> pair & CHAINS) | (f->asks & FLOW_RANGES);
}

// What a row of the range is about in which a port is; 0: it is in none of the role's.
VERIFIED_ONCE int range_of(__u32 role, __u32 what)
{
	struct range_key key = {.bits = 96, .bank = what >> BANK_SHIFT, .role = role};
	__u32 *first;

	key.proto = what >> PROTOCOL_SHIFT & 0xff;
	key.port = bpf_htons(what);
	first = bpf_map_lookup_elem(&ranges, &key);
	return first ? (what & ~0xffffU) | RANGE << PROTOCOL_SHIFT | *first : 0;
}

// The first row of one chain: (protocol, port), (protocol, its range), (protocol, any port), (any protocol).
static __always_inline struct verdict *first_row(__u32 role, __u32 class, __u32 what, __u32 kinds)
{
	struct verdict_key key = {.role = role, .class = class, .what = what};
	struct verdict *row = NULL;

	if (kinds & ROW_PORT && what & 0xffff)
		row = bpf_map_lookup_elem(&verdicts, &key);
	if (!row && kinds & ROW_RANGE && what & 0xffff) {
		key.what = range_of(role, what);
		if (key.what)
			row = bpf_map_lookup_elem(&verdicts, &key);
	}
	if (!row && kinds & ROW_PROTOCOL) {
		key.what = what & ~0xffffU;
		row = bpf_map_lookup_elem(&verdicts, &key);
	}
	if (!row && kinds & ROW_ANY) {
		key.what = (what & 1U << BANK_SHIFT) | ANY_PROTOCOL << PROTOCOL_SHIFT;
		row = bpf_map_lookup_elem(&verdicts, &key);
	}
	return row;
}

struct answer {
	__u32 rule;  // the one that decided; 0: none
	__u32 audit; // of a packet that passes: the one that would deny it; 0: none
};

// Asks a role about packets of a peer. Two chains are asked, the peer's class's and every peer's: the higher priority wins, and
// deny wins a tie. No row is allow. Gives whether it is denied. chains: see chains_of.
VERIFIED_ONCE int is_denied(__u32 role, __u32 class, __u32 what, __u32 chains, struct answer *a)
{
	struct verdict *peer = NULL, *every, *by, *audit;
	__u32 ranges = chains & FLOW_RANGES ? ROW_RANGE : 0;
	bool denied;

	if (!a)
		return true;
	a->rule = 0;
	a->audit = 0;
	if (!role)
		return false;
	if (chains & 1)
		peer = first_row(role, class, what, ROW_PORT | ROW_PROTOCOL | ROW_ANY | ranges);
	every = first_row(role, 0, what, (chains >> 1 & (ROW_PORT | ROW_PROTOCOL | ROW_ANY)) | ranges);
	by = peer;
	audit = peer;
	if (!peer || (every && (every->priority > peer->priority ||
				(every->priority == peer->priority && every->deny && !peer->deny))))
		by = every;
	if (!peer || (every && (every->audit_priority > peer->audit_priority ||
				(every->audit_priority == peer->audit_priority && !peer->audit))))
		audit = every;
	if (!by || !audit)
		return false;
	a->rule = by->rule;
	denied = by->deny;
	if (!denied && audit->audit && audit->audit_priority >= by->priority)
		a->audit = audit->audit;
	return denied;
}

enum tally {
	TALLY_PACKETS,
	TALLY_ALLOWED,
	TALLY_DENIED,
	TALLY_AUDITED,
};

static __always_inline void count(__u32 rule, enum tally what, __u32 n)
{
	struct rule_count *c;

	if (!rule)
		return;
	c = bpf_map_lookup_elem(&rules, &rule);
	if (!c)
		return;
	switch (what) {
	case TALLY_PACKETS:
		c->packets += n;
		break;
	case TALLY_ALLOWED:
		c->allowed += n;
		break;
	case TALLY_DENIED:
		c->denied += n;
		break;
	case TALLY_AUDITED:
		c->audited += n;
		break;
	}
}
