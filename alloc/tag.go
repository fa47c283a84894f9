// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"math"

	"github.com/contivnet/contiv/model"
)

// Tags are the tags of the encapsulation that networks have, each with its network's key.
func Tags(w model.World, encap string) map[uint32]string {
	taken := map[uint32]string{}
	for key, n := range w.Networks.All() {
		if n.Encap == encap {
			taken[n.Tag] = key
		}
	}
	return taken
}

// TagSet is the tags of an encapsulation that are taken, for one who gives many. It is not safe for concurrent use.
type TagSet struct {
	taken     map[uint32]string // network's key by tag
	low, next uint32            // all from low to below next are taken
}

// NewTagSet has the tags of w's networks.
func NewTagSet(w model.World, encap string) *TagSet { return &TagSet{taken: Tags(w, encap)} }

// Take makes the tag the network's.
func (s *TagSet) Take(tag uint32, network string) { s.taken[tag] = network }

// Owner is the key of the network that has the tag.
func (s *TagSet) Owner(tag uint32) (network string, taken bool) {
	network, taken = s.taken[tag]
	return network, taken
}

// Lowest is the lowest tag from low to high that no network has. It does not take it.
func (s *TagSet) Lowest(low, high uint32) (uint32, bool) {
	from := low
	if low == s.low {
		from = max(low, s.next)
	}
	tag, ok := lowest(s.taken, from, high)
	if ok {
		s.low, s.next = low, tag
	}
	return tag, ok
}

// Number is the lowest tenant number that is free: 1 or more.
func Number(w model.World) (uint32, bool) {
	taken := map[uint32]string{}
	for key, t := range w.Tenants.All() {
		taken[t.Number] = key
	}
	return lowest(taken, 1, math.MaxUint32)
}

// GroupNumber is the lowest group number that is free in the whole cluster: 1 to 65535, as in v1.
func GroupNumber(w model.World) (uint32, bool) {
	taken := map[uint32]string{}
	for key, g := range w.Groups.All() {
		taken[g.Number] = key
	}
	return lowest(taken, 1, math.MaxUint16)
}

func lowest(taken map[uint32]string, low, high uint32) (uint32, bool) {
	for n := uint64(low); n <= uint64(high); n++ {
		if _, is := taken[uint32(n)]; !is {
			return uint32(n), true
		}
	}
	return 0, false
}
