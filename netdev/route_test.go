// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"testing"
)

// uplink makes a device with addresses of both families in the calling thread's namespace.
func uplink(name string) error {
	for _, args := range [][]string{
		{"link", "add", name, "type", "veth", "peer", "name", name + "p"}, {"link", "set", name, "up"}, {"link", "set", name + "p", "up"},
		{"addr", "add", "50.1.1.1/24", "dev", name}, {"addr", "add", "2001:db8::1/64", "dev", name, "nodad"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}

func way(prefix string, via ...string) Route {
	r := Route{Prefix: netip.MustParsePrefix(prefix), Device: "up0"}
	for _, v := range via {
		r.Via = append(r.Via, netip.MustParseAddr(v))
	}
	return r
}

func TestTableHoldsTheRoutesThatAreWantedAndNoOthers(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := uplink("up0"); err != nil {
			return err
		}
		holds := func(want ...Route) error {
			slices.SortFunc(want, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
			got, err := BGPRoutes()
			if err == nil && !slices.EqualFunc(got, want, Route.Equal) {
				err = fmt.Errorf("the table holds %v; want %v", got, want)
			}
			return err
		}
		set := func(keep bool, want ...Route) error {
			slices.SortFunc(want, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) })
			return SetBGPRoutes(want, keep)
		}
		if err := holds(); err != nil {
			return err
		}
		all := []Route{
			way("0.0.0.0/0", "50.1.1.2"), way("50.1.1.0/24"), way("60.1.1.0/24", "50.1.1.2", "50.1.1.3"), way("20.1.0.3/32", "50.1.1.9"),
			way("::/0", "2001:db8::2"), way("2001:db8:60::/48", "2001:db8::2", "2001:db8::3"), way("2001:db8::/64"),
		}
		for range 2 {
			if err := set(false, all...); err != nil {
				return err
			}
			if err := holds(all...); err != nil {
				return err
			}
		}
		// Other hops, fewer and more; one that goes and one that stays.
		changed := []Route{way("0.0.0.0/0", "50.1.1.3", "50.1.1.4"), way("60.1.1.0/24", "50.1.1.3"), way("::/0", "2001:db8::3", "2001:db8::4"), way("2001:db8:60::/48", "2001:db8::3")}
		if err := set(false, changed...); err != nil {
			return err
		}
		if err := holds(changed...); err != nil {
			return err
		}
		// What others have put into the table is theirs, and what is kept is kept.
		if out, err := exec.Command("ip", "route", "add", "70.1.1.0/24", "via", "50.1.1.2", "table", "179").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if err := set(true, way("80.1.1.0/24", "50.1.1.2")); err != nil {
			return err
		}
		if err := holds(append(changed, way("80.1.1.0/24", "50.1.1.2"))...); err != nil {
			return err
		}
		for range 2 {
			if err := set(false); err != nil {
				return err
			}
		}
		if err := holds(); err != nil {
			return err
		}
		out, err := exec.Command("ip", "route", "show", "table", "179").CombinedOutput()
		if err != nil || !slices.Contains(append([]byte{}, out...), '7') {
			return fmt.Errorf("another's route has become %q, %w", out, err)
		}
		// One that cannot be set keeps the others not out.
		if err := set(false, Route{Prefix: netip.MustParsePrefix("60.1.1.0/24"), Device: "gone"}, way("80.1.1.0/24", "50.1.1.2")); err == nil {
			return fmt.Errorf("a route by a device that is not there was set")
		}
		return holds(way("80.1.1.0/24", "50.1.1.2"))
	})
}

func TestAddressIsGivenAndTakenBackAsOftenAsOneLikes(t *testing.T) {
	t.Parallel()
	in(t, namespace(t), func() error {
		if err := uplink("up0"); err != nil {
			return err
		}
		for _, own := range []netip.Prefix{netip.MustParsePrefix("50.1.2.1/24"), netip.MustParsePrefix("2001:db8:2::1/64")} {
			if at, err := DeviceWith(own); err != nil || at != "" {
				return fmt.Errorf("%s is on %q at first, %w", own, at, err)
			}
			for range 2 {
				if err := GiveAddress("up0", own); err != nil {
					return err
				}
			}
			if at, err := DeviceWith(own); err != nil || at != "up0" {
				return fmt.Errorf("%s is on %q, %w", own, at, err)
			}
			for range 2 {
				if err := TakeAddress("up0", own); err != nil {
					return err
				}
			}
			if err := TakeAddress("gone", own); err != nil {
				return err
			}
		}
		if at, err := DeviceWith(netip.MustParsePrefix("50.1.1.1/24")); err != nil || at != "up0" {
			return fmt.Errorf("an address of before is on %q, %w", at, err)
		}
		if running, err := Running("up0"); err != nil || !running {
			return fmt.Errorf("the device is running: %v, %w", running, err)
		}
		if out, err := exec.Command("ip", "link", "set", "up0", "down").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if running, err := Running("up0"); err != nil || running {
			return fmt.Errorf("a device that is down is running: %v, %w", running, err)
		}
		return nil
	})
}
