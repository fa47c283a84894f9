// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
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

// hash32 and hash64 are FNV-1a, of which hash/fnv would copy each text.
func hash32(text string) uint32 {
	h := uint32(2166136261)
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return h
}

const (
	offset64 = 14695981039346656037
	prime64  = 1099511628211
)

func hash64(h uint64, text string) uint64 {
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime64
	}
	return h
}
