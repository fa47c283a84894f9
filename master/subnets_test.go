// SPDX-License-Identifier: Apache-2.0

package master

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestNetworksNearAreThoseThatShareASubnet(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 11))
	pool := func(low, high int, a netip.Addr) model.Pool {
		if r.IntN(4) == 0 {
			return model.Pool{}
		}
		return model.Pool{Prefix: netip.PrefixFrom(a, low+r.IntN(high-low))}
	}
	var all []model.Network
	var w model.World
	for i := range 300 {
		all = append(all, model.Network{
			Tenant: fmt.Sprint("t", r.IntN(2)), Name: fmt.Sprint("n", i),
			IPv4: pool(8, 32, netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(8)), byte(r.IntN(256))})),
			IPv6: pool(8, 128, netip.AddrFrom16([16]byte{0x20, 1, 14: byte(r.IntN(4)), 15: byte(r.IntN(256))})),
		})
		if i < 100 {
			w = w.With(model.Change{Revision: int64(i + 1), Put: []model.Object{all[i]}})
		}
	}
	s := subnetsIn(w)
	for _, n := range all[100:] {
		s.take(n)
		s.take(n) // once more is the same
	}
	shares := func(a, b model.Pool) bool { return !a.IsZero() && !b.IsZero() && a.Subnet().Overlaps(b.Subnet()) }
	found := 0
	for _, n := range all {
		var want []string
		for _, other := range all {
			if other.Tenant == n.Tenant && (shares(n.IPv4, other.IPv4) || shares(n.IPv6, other.IPv6)) {
				want = append(want, other.Name)
			}
		}
		slices.Sort(want)
		if got := s.near(n); !slices.Equal(got, want) {
			t.Fatalf("%s, %v and %v, is near %v, want %v", n.Name, n.IPv4, n.IPv6, got, want)
		}
		found += len(want)
	}
	if found < 2*len(all) {
		t.Errorf("only %d are near each other", found)
	}
}
