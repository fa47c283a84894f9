// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// returnedTable is the routing table in a container that brings packets back, and the priority of the rules that lead to it: after
// the table of local addresses (0), before all others.
const returnedTable = 5399

// Loopback is the index of lo in every namespace.
const Loopback = 1

// WaysOut are how a namespace reaches others.
type WaysOut struct {
	V4, V6             int        // the devices, by their index; 0: none
	Default4, Default6 bool       // they lead everywhere
	Source4            netip.Addr // of what is sent by the first; the zero Addr: none
}

// FindWaysOut finds the devices that the default routes name in the namespace of the calling thread, or else one that has a route.
func FindWaysOut(v6 bool) (w WaysOut, err error) {
	if w.V4, w.Source4, w.Default4, err = wayOut(netlink.FAMILY_V4); err == nil && v6 {
		w.V6, _, w.Default6, err = wayOut(netlink.FAMILY_V6)
	}
	return w, err
}

// Returned says what ReturnSent does.
type Returned struct {
	Port    uint16
	V4, V6  bool       // over which
	Source4 netip.Addr // for who does not care for its address
	Back    uint32     // the mark of what sockets that are bound to lo answer
}

// ReturnSent has what is sent to the port, over UDP or TCP and without a mark, in the namespace of the calling thread come back
// through lo, wherever it is sent to. Sockets that are bound to lo answer over IPv6 with the mark Back: without, they would find no
// way to an address of another device. Done twice, it changes nothing; what is not asked for goes, as do the rules of earlier versions.
//
// Where there are rules of anybody's, the kernel looks for each way by them, which costs a twentieth of the connections. It goes
// on to do so when they are gone.
func ReturnSent(r Returned) error {
	for _, family := range families(r.V4, r.V6) {
		route := returnedRoute(family)
		if family == netlink.FAMILY_V4 && r.Source4.IsValid() {
			route.Src = r.Source4.AsSlice() // or it would be the address of whom it asks
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("add the route to lo: %w", err)
		}
		wanted := returnedRules(family, r)
		for _, rule := range wanted {
			if err := netlink.RuleAdd(rule); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add the rule for port %d: %w", r.Port, err)
			}
		}
		if err := removeRules(family, func(have netlink.Rule) bool {
			return !slices.ContainsFunc(wanted, func(w *netlink.Rule) bool { return w.Mark == have.Mark })
		}); err != nil {
			return err
		}
	}
	return forgetReturned(families(!r.V4, !r.V6))
}

// FindReturned tells for which address families there are rules of ReturnSent's, or of its like in an earlier version, in the namespace
// of the calling thread.
func FindReturned() (v4, v6 bool, err error) {
	four, err := ourRules(netlink.FAMILY_V4)
	if err != nil {
		return false, false, err
	}
	six, err := ourRules(netlink.FAMILY_V6)
	return len(four) > 0, len(six) > 0, err
}

// ForgetReturned takes back what ReturnSent did in the namespace of the calling thread, if it did.
func ForgetReturned() error { return forgetReturned(families(true, true)) }

func forgetReturned(families []int) error {
	var failed []error
	for _, family := range families {
		failed = append(failed, removeRules(family, func(netlink.Rule) bool { return true }))
		err := netlink.RouteDel(returnedRoute(family))
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
			failed = append(failed, fmt.Errorf("remove the route to lo: %w", err))
		}
	}
	return errors.Join(failed...)
}

// SetLoopbackUp sets lo up in the namespace of the calling thread. Some runtimes leave that to their plugins.
func SetLoopbackUp() error {
	lo, err := netlink.LinkByIndex(Loopback)
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// removeRules removes those of the rules to our table that are meant.
func removeRules(family int, meant func(netlink.Rule) bool) error {
	rules, err := ourRules(family)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if !meant(r) {
			continue
		}
		r.Family = family
		if err := netlink.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove the rule to table %d: %w", returnedTable, err)
		}
	}
	return nil
}

// ourRules are the rules to our table; a kernel without the address family has none.
func ourRules(family int) ([]netlink.Rule, error) {
	rules, err := netlink.RuleList(family)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list routing rules: %w", err)
	}
	return slices.DeleteFunc(rules, func(r netlink.Rule) bool { return r.Table != returnedTable }), nil
}

// wayOut finds the device of the route that leads to most, the address of those who take it, and whether it leads everywhere.
func wayOut(family int) (device int, from netip.Addr, everywhere bool, err error) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return 0, from, false, fmt.Errorf("list routes: %w", err)
	}
	bits := 129
	for _, r := range routes {
		n := 0
		if r.Dst != nil {
			n, _ = r.Dst.Mask.Size()
		}
		if r.LinkIndex <= Loopback || n >= bits || r.Type != unix.RTN_UNICAST {
			continue
		}
		src, ok := netip.AddrFromSlice(r.Src)
		if !ok {
			src, ok = firstAddress(r.LinkIndex, family)
		}
		if ok {
			device, from, bits = r.LinkIndex, src.Unmap(), n
		}
	}
	return device, from, bits == 0, nil
}

func firstAddress(device, family int) (netip.Addr, bool) {
	link, err := netlink.LinkByIndex(device)
	if err != nil {
		return netip.Addr{}, false
	}
	addrs, err := netlink.AddrList(link, family)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(addrs[0].IP)
}

func families(v4, v6 bool) (out []int) {
	if v4 {
		out = append(out, netlink.FAMILY_V4)
	}
	if v6 {
		out = append(out, netlink.FAMILY_V6)
	}
	return out
}

func returnedRules(family int, wanted Returned) (rules []*netlink.Rule) {
	for _, protocol := range []int{unix.IPPROTO_UDP, unix.IPPROTO_TCP} {
		r := returnedRule(family)
		// Of what is sent only. Otherwise the kernel would look into all that arrives for its port.
		r.IifName = "lo"
		r.Mask, r.IPProto, r.Dport = new(uint32(0xffffffff)), protocol, netlink.NewRulePortRange(wanted.Port, wanted.Port)
		rules = append(rules, r)
	}
	if family == netlink.FAMILY_V6 {
		answers := returnedRule(family)
		answers.Mark, answers.OifName = wanted.Back, "lo"
		rules = append(rules, answers)
	}
	return rules
}

func returnedRule(family int) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Table, r.Priority = family, returnedTable, returnedTable
	return r
}

func returnedRoute(family int) *netlink.Route {
	all := net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if family == netlink.FAMILY_V6 {
		all = net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	return &netlink.Route{Family: family, Table: returnedTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: Loopback, Dst: &all}
}
