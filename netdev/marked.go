// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// markedTable is the routing table in a container that brings packets back, and the priority of the rule that leads to it: after
// the table of local addresses (0), before all others.
const markedTable = 5399

// ReturnMarked has packets with the mark that are sent in the namespace of the calling thread come back through lo, wherever they
// are sent to, so that sockets there can take them; with v6 those of IPv6 too. There, sockets that are bound to lo answer with
// the mark back: without, they would find no way to an address of another device. Done twice, it changes nothing.
func ReturnMarked(mark, back uint32, v6 bool) error {
	lo, err := netlink.LinkByIndex(Loopback)
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	// Some runtimes leave this to their plugins; a route needs it.
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, family := range families(v6) {
		if err := netlink.RouteReplace(markedRoute(family)); err != nil {
			return fmt.Errorf("add the route to lo: %w", err)
		}
		for _, r := range markedRules(family, mark, back) {
			if err := netlink.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add the rule for mark %#x: %w", r.Mark, err)
			}
		}
	}
	return nil
}

// ForgetMarked takes back what ReturnMarked did in the namespace of the calling thread, if it did.
func ForgetMarked(mark, back uint32) error {
	var failed []error
	for _, family := range families(true) {
		for _, r := range markedRules(family, mark, back) {
			failed = append(failed, netlink.RuleDel(r))
		}
		failed = append(failed, netlink.RouteDel(markedRoute(family)))
	}
	failed = slices.DeleteFunc(failed, func(err error) bool {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EAFNOSUPPORT)
	})
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove the way back through lo: %w", err)
	}
	return nil
}

// Loopback is the index of lo in every namespace.
const Loopback = 1

func families(v6 bool) []int {
	if v6 {
		return []int{netlink.FAMILY_V4, netlink.FAMILY_V6}
	}
	return []int{netlink.FAMILY_V4}
}

func markedRules(family int, mark, back uint32) []*netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Mark, r.Table, r.Priority = family, mark, markedTable, markedTable
	if family == netlink.FAMILY_V4 {
		return []*netlink.Rule{r}
	}
	answers := *r
	answers.Mark, answers.OifName = back, "lo"
	return []*netlink.Rule{r, &answers}
}

func markedRoute(family int) *netlink.Route {
	all := net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == netlink.FAMILY_V6 {
		all = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{Family: family, Table: markedTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: Loopback, Dst: &all}
}
