// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Datagrams have no end that can be seen: the node's connection tracking goes on sending those of a client to whom it has sent the first one, for
// as long as they come.

// staleDatagrams are connections of datagrams that a change of entrances leaves with somebody who is none of the targets.
type staleDatagrams struct {
	all  map[netip.AddrPort]Entrance // by where it is met; node ports at unspecified addresses
	were map[netip.AddrPort]Entrance
}

// ForgetDatagrams has the node's connection tracking forget the datagrams that clients send to entrances, where these have changed and whom they go
// to is none of the targets now: somebody who was one, or nobody, from when there was none.
func ForgetDatagrams(was, is []Entrance) error {
	s := staleDatagrams{all: datagramsTo(is), were: datagramsTo(was)}
	for at, e := range s.all {
		if w, ok := s.were[at]; ok && slices.Equal(w.Outer, e.Outer) && slices.Equal(w.Inner, e.Inner) {
			delete(s.all, at)
			delete(s.were, at)
		}
	}
	if len(s.all)+len(s.were) == 0 {
		return nil
	}
	var failed error
	for _, family := range []netlink.InetFamily{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		var err error
		for range maxForgets {
			if _, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, s); !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("forget datagrams to services that have changed: %w", err))
		}
	}
	return failed
}

func datagramsTo(all []Entrance) map[netip.AddrPort]Entrance {
	out := map[netip.AddrPort]Entrance{}
	for _, e := range all {
		if e.Protocol == unix.IPPROTO_UDP {
			out[netip.AddrPortFrom(e.Addr, e.Port)] = e
		}
	}
	return out
}

// MatchConntrackFlow tells whether a connection is stale.
func (s staleDatagrams) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	if f.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	sent, ok := netip.AddrFromSlice(f.Forward.DstIP)
	answers, ok2 := netip.AddrFromSlice(f.Reverse.SrcIP)
	if !ok || !ok2 {
		return false
	}
	sent, answers = sent.Unmap(), answers.Unmap()
	any := netip.IPv4Unspecified()
	if sent.Is6() {
		any = netip.IPv6Unspecified()
	}
	target := netip.AddrPortFrom(answers, f.Reverse.SrcPort)
	translated := target != netip.AddrPortFrom(sent, f.Forward.DstPort)
	for _, at := range []netip.AddrPort{netip.AddrPortFrom(sent, f.Forward.DstPort), netip.AddrPortFrom(any, f.Forward.DstPort)} {
		was, before := s.were[at]
		now, is := s.all[at]
		switch {
		case !before && !is:
			continue
		case !translated:
			return is // to who had nobody, or was none; at a node port it may be the node's own program that answers, and then asks anew
		case slices.Contains(now.Outer, target) || slices.Contains(now.Inner, target):
			return false
		}
		return is || slices.Contains(was.Outer, target) || slices.Contains(was.Inner, target)
	}
	return false
}
