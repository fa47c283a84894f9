// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// span is addresses from first to last, both included.
type span struct{ first, last netip.Addr }

// Allocated is the text of those addresses that the pool may give, as 10.1.1.1-10.1.1.3, 10.1.1.254. As in the v1
// API, a range pool hides what lies outside its range.
func Allocated(p model.Pool, taken []netip.Addr) string { return text(spans(p, taken)) }

// Available is the text of the rest of the pool, in the same form.
func Available(p model.Pool, taken []netip.Addr) string {
	next, last, ok := p.Bounds()
	if !ok {
		return ""
	}
	var free []span
	for _, s := range spans(p, taken) {
		if next.Less(s.first) {
			free = append(free, span{next, s.first.Prev()})
		}
		if next = s.last.Next(); !next.IsValid() {
			return text(free)
		}
	}
	if !last.Less(next) {
		free = append(free, span{next, last})
	}
	return text(free)
}

// spans joins neighbouring addresses, lowest first.
func spans(p model.Pool, taken []netip.Addr) []span {
	first, last, ok := p.Bounds()
	if !ok {
		return nil
	}
	taken = slices.Clone(taken)
	slices.SortFunc(taken, netip.Addr.Compare)
	var out []span
	for _, a := range taken {
		switch {
		case a.BitLen() != first.BitLen() || a.Less(first) || last.Less(a):
		case len(out) > 0 && out[len(out)-1].last == a:
		case len(out) > 0 && out[len(out)-1].last.Next() == a:
			out[len(out)-1].last = a
		default:
			out = append(out, span{a, a})
		}
	}
	return out
}

func text(list []span) string {
	var b strings.Builder
	for i, s := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.first.String())
		if s.last != s.first {
			b.WriteString("-" + s.last.String())
		}
	}
	return b.String()
}
