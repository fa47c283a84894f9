// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// selector is one way in which a rule names its peer; one field is set. A rule with two selectors means peers
// that satisfy both.
type selector struct {
	group   string
	network string
	prefix  netip.Prefix
}

func (s selector) String() string {
	switch {
	case s.group != "":
		return "group " + s.group
	case s.network != "":
		return "network " + s.network
	}
	return "prefix " + s.prefix.String()
}

// name gives s its index among the selectors that rules name.
func (d *domain) name(s selector) int {
	i := len(d.named)
	d.named = append(d.named, s)
	d.selectors[s] = i
	return i
}

func (d *domain) namePrefix(p netip.Prefix) int {
	s := selector{prefix: p}
	if i, had := d.selectors[s]; had {
		return i
	}
	i := d.name(s)
	d.prefixes.add(p, i)
	return i
}

// nameGroup is false for a group that does not exist.
func (c *compiler) nameGroup(d *domain, group string) (int, bool) {
	s := selector{group: group}
	if i, had := d.selectors[s]; had {
		return i, true
	}
	if _, ok := c.world.Groups.Get(model.GroupKey(d.tenant.Name, group)); !ok {
		return 0, false
	}
	return d.name(s), true
}

// nameNetwork is false for a network that does not exist.
func (c *compiler) nameNetwork(d *domain, network string) (int, bool) {
	s := selector{network: network}
	if i, had := d.selectors[s]; had {
		return i, true
	}
	n, ok := c.world.Networks.Get(model.NetworkKey(d.tenant.Name, network))
	if !ok {
		return 0, false
	}
	i := d.name(s)
	for _, pool := range []model.Pool{n.IPv4, n.IPv6} {
		if pool.IsZero() {
			continue
		}
		at, had := d.subnets.at[pool.Subnet()]
		if !had {
			at = len(d.subnetOf)
			d.subnetOf = append(d.subnetOf, nil)
			d.subnets.add(pool.Subnet(), at)
		}
		d.subnetOf[at] = append(d.subnetOf[at], i) // two networks may have ranges of one subnet
	}
	return i, true
}

// nest finds the longest of a set of prefixes that contains an address.
type nest struct {
	at      map[netip.Prefix]int
	lengths [2][]int // that occur, longest first: of IPv4, of IPv6
}

func newNest() nest { return nest{at: map[netip.Prefix]int{}} }

// add has the nest find value under p, which must be masked.
func (n *nest) add(p netip.Prefix, value int) {
	n.at[p] = value
	f := family(p.Addr())
	i, had := slices.BinarySearchFunc(n.lengths[f], p.Bits(), func(have, want int) int { return want - have })
	if !had {
		n.lengths[f] = slices.Insert(n.lengths[f], i, p.Bits())
	}
}

// find is the value of the longest prefix of at most that many bits that contains a, and its length.
func (n *nest) find(a netip.Addr, bits int) (value, length int, ok bool) {
	for _, l := range n.lengths[family(a)] {
		if l > bits {
			continue
		}
		p, err := a.Prefix(l)
		if err != nil {
			continue // no length is longer than its family's addresses
		}
		if v, ok := n.at[p]; ok {
			return v, l, true
		}
	}
	return 0, 0, false
}

// all are the values of all prefixes of at most that many bits that contain a, longest first.
func (n *nest) all(a netip.Addr, bits int) []int {
	var out []int
	for {
		v, l, ok := n.find(a, bits)
		if !ok {
			return out
		}
		out = append(out, v)
		bits = l - 1
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
