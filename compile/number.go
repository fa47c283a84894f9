// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"hash/fnv"
	"io"
	"slices"
)

// numbers gives each of several different texts a number of its own that is not 0: a hash of the text, so that it does not depend
// on the other texts nor on their order. Only where two hashes are equal does the later text, in the order of texts,
// take the next number that is free.
func numbers(texts []string) []uint32 {
	out := make([]uint32, len(texts))
	taken := make(map[uint32]bool, len(texts))
	for i, t := range texts {
		out[i] = hash32(t)
		taken[out[i]] = true
	}
	if len(taken) == len(texts) && !taken[0] {
		return out
	}
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(texts[a], texts[b]) })
	clear(taken)
	for _, i := range order {
		n := hash32(texts[i])
		for n == 0 || taken[n] {
			n++ // ends: there are fewer texts than numbers
		}
		out[i], taken[n] = n, true
	}
	return out
}

func hash32(text string) uint32 {
	h := fnv.New32a()
	io.WriteString(h, text)
	return h.Sum32()
}

func hash64(text string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, text)
	return h.Sum64()
}
