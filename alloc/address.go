// SPDX-License-Identifier: Apache-2.0

package alloc

import (
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// Address is the lowest address that pool p of network n can give: neither in the World nor claimed. The search begins
// at from, for a caller who knows that everything below is taken; the zero Addr is the pool's
// beginning. Ranges in apart are others' and stepped over whole. claimed is asked only about addresses that the World has
// free, in ascending order; it may be nil.
func Address(w model.World, n model.Network, p model.Pool, from netip.Addr, apart []model.Range, claimed func(netip.Addr) bool) (netip.Addr, bool) {
	first, last, ok := p.Bounds()
	if !ok {
		return netip.Addr{}, false
	}
	if from.IsValid() && first.Less(from) {
		first = from
	}
	key := n.Key()
	for a := first; a.IsValid() && !last.Less(a); a = a.Next() {
		if i := slices.IndexFunc(apart, func(r model.Range) bool { return r.Contains(a) }); i >= 0 {
			a = apart[i].Last
			continue
		}
		if _, taken := w.Addresses.Get(model.AddressKey(key, a)); taken || a == p.Gateway || slices.Contains(n.Reserved, a) {
			continue
		}
		if claimed == nil || !claimed(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}
