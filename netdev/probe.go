// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Probed is a TCP port of a local pod at which the node's kubelet asks, where the node has no way to the pod's address: tenants may have equal ones, so
// that what root's processes send there goes by the way to the outside, to the pod's private address.
//
//	chain own { ...
//	  meta skuid 0 dnat to ip daddr . meta l4proto . th dport map @probed4 }
//	chain leaving {
//	  oifname contivh0 meta skuid 0 ip daddr . meta l4proto . th dport @probing4 snat to 192.0.0.7
//	  ... }
//	chain passing {
//	  oifname contivh0 ip saddr 192.0.0.7 drop
//	  ... }
//	map probed4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
//	  10.1.2.1 . tcp . 8080 : 172.19.0.3 . 8080 }
//	set probing4 { type ipv4_addr . inet_proto . inet_service
//	  172.19.0.3 . tcp . 8080 }
//
// It comes under an address that nobody else comes under (model.ProbeSources), by which rules know it. So does what root's processes send to the same port by
// a published one or a service: from a kubelet's probe it cannot be told.
type Probed struct {
	At netip.AddrPort // the pod's
	To netip.Addr     // its private address
}

func probedMap(is addresses) string  { return "probed" + is.suffix }
func probingSet(is addresses) string { return "probing" + is.suffix }

// element is the row of a probed port, and the map that it is in.
func (p Probed) element() (name string, e nftables.SetElement) {
	return probedMap(addressesLike(p.At.Addr())), nftables.SetElement{
		Key: keyOf(p.At.Addr(), unix.IPPROTO_TCP, p.At.Port()), Val: append(p.To.AsSlice(), word(p.At.Port())...),
	}
}

// probing is the row of the same port in the set of those that are probed, by where they are.
func (p Probed) probing() (name string, e nftables.SetElement) {
	return probingSet(addressesLike(p.At.Addr())), nftables.SetElement{Key: keyOf(p.To, unix.IPPROTO_TCP, p.At.Port())}
}

// probeSource is the address of the family under which probes come.
func (f addresses) probeSource() netip.Addr {
	all := model.ProbeSources()
	return all[slices.IndexFunc(all, func(a netip.Addr) bool { return uint32(a.BitLen()/8) == f.length })]
}

// probing sends probes to pods: a rule of chain own.
func (f addresses) probing(sets map[string]*nftables.Set) parts {
	asked, _ := f.goal(register32, false)
	return parts{f.is(), byRoot(), asked, f.lookUp(sets[probedMap(f)])}
}

// byRoot matches what root's processes of this node send.
func byRoot() []expr.Any { return meta(expr.MetaKeySKUID, expr.CmpOpEq, make([]byte, 4)) }

// probes gives them their source: a rule of chain leaving, before others'.
func (f addresses) probes(sets map[string]*nftables.Set) parts {
	return parts{leavesBy(model.OutsideDevice), byRoot(), f.is(), f.toListed(sets[probingSet(f)]), snat(f.probeSource())}
}

// notProbing keeps others from coming as probes: a rule of chain passing.
func (f addresses) notProbing() parts {
	return parts{leavesBy(model.OutsideDevice), from(netip.PrefixFrom(f.probeSource(), int(f.length)*8)), verdict(expr.VerdictDrop)}
}

// Reached leaves out of the probed ports those at addresses to which this node has a route of its own: by that it reaches somebody else. Default
// routes are none, nor are those by which it goes to networks.
func Reached(all []Probed) (out []Probed, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	known := map[int][]netlink.Route{}
	ours := map[int]bool{}
	for _, name := range []string{model.OutsideDevice, model.HostAccess} {
		if link, err := netlink.LinkByName(name); err == nil {
			ours[link.Attrs().Index] = true
		}
	}
	for _, p := range all {
		family := familyOf(p.At.Addr())
		if _, ok := known[family]; !ok {
			if known[family], err = routes(family); err != nil {
				return nil, err
			}
		}
		if !slices.ContainsFunc(known[family], func(r netlink.Route) bool {
			return r.Dst != nil && !ours[r.LinkIndex] && prefixOf(r.Dst).Bits() > 0 && prefixOf(r.Dst).Contains(p.At.Addr())
		}) {
			out = append(out, p)
		}
	}
	return out, nil
}
