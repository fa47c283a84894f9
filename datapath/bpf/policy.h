// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

// Step: what the rules say. compile.Tables.Verdict is the same in Go, and the specification.
#pragma once

// The first row of one chain: (protocol, port), (protocol, any port), (any protocol).
static __always_inline struct verdict *first_row(__u32 role, __u32 class, __u32 what)
{
	struct verdict_key key = {.role = role, .class = class, .what = what};
	struct verdict *row = bpf_map_lookup_elem(&verdicts, &key);

	if (!row && what & 0xffff) {
		key.what = what & ~0xffffU;
		row = bpf_map_lookup_elem(&verdicts, &key);
	}
	if (!row) {
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
// deny wins a tie. No row is allow. Gives whether it is denied.
VERIFIED_ONCE int is_denied(__u32 role, __u32 class, __u32 what, struct answer *a)
{
	struct verdict *peer = NULL, *every, *by, *audit;
	bool denied;

	if (!a)
		return true;
	a->rule = 0;
	a->audit = 0;
	if (!role)
		return false;
	if (class)
		peer = first_row(role, class, what);
	every = first_row(role, 0, what);
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
