// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// Allocated is the text of those addresses that the pool may give, as 10.1.1.1-10.1.1.3, 10.1.1.254: single ones and whole
// ranges. As in the v1 API, a range pool hides what lies outside its range.
func Allocated(p model.Pool, taken []netip.Addr, ranges []model.Range) string {
	return text(spans(p, taken, ranges))
}

// Available is the text of the rest of the pool, in the same form.
func Available(p model.Pool, taken []netip.Addr, ranges []model.Range) string {
	next, last, ok := p.Bounds()
	if !ok {
		return ""
	}
	var free []model.Range
	for _, s := range spans(p, taken, ranges) {
		if next.Less(s.First) {
			free = append(free, model.Range{First: next, Last: s.First.Prev()})
		}
		if next = s.Last.Next(); !next.IsValid() {
			return text(free)
		}
	}
	if !last.Less(next) {
		free = append(free, model.Range{First: next, Last: last})
	}
	return text(free)
}

// spans joins what touches, lowest first, within the pool.
func spans(p model.Pool, taken []netip.Addr, ranges []model.Range) []model.Range {
	first, last, ok := p.Bounds()
	if !ok {
		return nil
	}
	all := make([]model.Range, 0, len(taken)+len(ranges))
	for _, a := range taken {
		all = append(all, model.Range{First: a, Last: a})
	}
	all = append(all, ranges...)
	slices.SortFunc(all, func(a, b model.Range) int { return a.First.Compare(b.First) })
	var out []model.Range
	for _, r := range all {
		if r.First.BitLen() != first.BitLen() || r.Last.Less(first) || last.Less(r.First) {
			continue
		}
		if r.First.Less(first) {
			r.First = first
		}
		if last.Less(r.Last) {
			r.Last = last
		}
		if n := len(out); n > 0 && (r.First == out[n-1].Last.Next() || !out[n-1].Last.Less(r.First)) {
			if out[n-1].Last.Less(r.Last) {
				out[n-1].Last = r.Last
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

func text(list []model.Range) string {
	parts := make([]string, len(list))
	for i, r := range list {
		if parts[i] = r.String(); r.First == r.Last {
			parts[i] = r.First.String()
		}
	}
	return strings.Join(parts, ", ")
}
