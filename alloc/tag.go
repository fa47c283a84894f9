// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"math"

	"github.com/contivnet/contiv/model"
)

// Tag is the lowest tag from low to high that no network of the encapsulation has.
func Tag(w model.World, encap string, low, high uint32) (uint32, bool) {
	return lowest(Tags(w, encap), low, high)
}

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
