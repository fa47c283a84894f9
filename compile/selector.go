// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
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
	pods    string          // podSelector.text
	port    model.NamedPort // that a pod has
	home    bool            // the node itself, in its infra networks
}

func (s selector) String() string {
	switch {
	case s.group != "":
		return "group " + s.group
	case s.network != "":
		return "network " + s.network
	case s.pods != "":
		return s.pods
	case s.port.Port != 0:
		return fmt.Sprintf("port %s %s %d", s.port.Protocol, s.port.Name, s.port.Port)
	case s.home:
		return "the node itself"
	}
	return "prefix " + s.prefix.String()
}

// named is a selector that rules name.
type named struct {
	selector
	domain   *domain
	text     string
	pods     *podSelector // nil for others
	uses     int          // how often rules do
	matching []*class     // that satisfy it, by number
	changed  int          // the turn in which their numbers changed last
}

// name gives a rule one of its selectors.
func (d *domain) name(s selector) *named {
	n := d.selectors[s]
	if n == nil {
		n = &named{selector: s, domain: d, text: s.String()}
		d.selectors[s], d.renamed = n, true
	}
	n.uses++
	return n
}

// namePods is name for what selects pods.
func (d *domain) namePods(p *podSelector) *named {
	n := d.name(selector{pods: p.text})
	n.pods = p
	return n
}

// leave takes a use back.
func (n *named) leave() {
	if n.uses--; n.uses == 0 {
		delete(n.domain.selectors, n.selector)
		n.domain.renamed = true
	}
}

// nest finds the longest of a set of prefixes that contains an address.
type nest[V any] struct {
	at      map[netip.Prefix]V
	lengths [2][]int // that occur, longest first: of IPv4, of IPv6
}

func newNest[V any]() nest[V] { return nest[V]{at: map[netip.Prefix]V{}} }

// add has the nest find value under p, which must be masked.
func (n *nest[V]) add(p netip.Prefix, value V) {
	n.at[p] = value
	f := family(p.Addr())
	i, had := slices.BinarySearchFunc(n.lengths[f], p.Bits(), func(have, want int) int { return want - have })
	if !had {
		n.lengths[f] = slices.Insert(n.lengths[f], i, p.Bits())
	}
}

// find is the value of the longest prefix of at most that many bits that contains a, and its length.
func (n *nest[V]) find(a netip.Addr, bits int) (value V, length int, ok bool) {
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
	return value, 0, false
}

// all are the values of all prefixes of at most that many bits that contain a, longest first.
func (n *nest[V]) all(a netip.Addr, bits int) []V {
	var out []V
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
