// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"iter"
	"slices"
)

// cutsOf are the ports, by protocol, at which a range of any of the rules begins or the next port after one. Between two of them all ports are
// the same to each range, so what is said of ranges is said of such parts, of which a port is in one at most. nil where there are none.
func cutsOf(rules []*rule) map[int16][]uint16 {
	var out map[int16][]uint16
	for _, r := range rules {
		for _, s := range r.spans {
			if !s.isRange() {
				continue
			}
			if out == nil {
				out = map[int16][]uint16{}
			}
			out[s.protocol] = append(out[s.protocol], s.port)
			if s.end != lastPort {
				out[s.protocol] = append(out[s.protocol], s.end+1)
			}
		}
	}
	for protocol, cuts := range out {
		slices.Sort(cuts)
		out[protocol] = slices.Compact(cuts)
	}
	return out
}

const lastPort = 1<<16 - 1

// parts are a range cut at those of the cuts that are in it.
func (s span) parts(cuts []uint16) iter.Seq[span] {
	return func(yield func(span) bool) {
		i, _ := slices.BinarySearch(cuts, s.port)
		for part := s; ; part.port = cuts[i] {
			i++
			if i == len(cuts) || cuts[i] > s.end {
				part.end = s.end
				yield(part)
				return
			}
			part.end = cuts[i] - 1
			if !yield(part) {
				return
			}
		}
	}
}
