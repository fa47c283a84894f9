// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/contivnet/contiv/netdev"
)

func TestDatagramsThatCouldNotBeForgottenAreStillToBeForgotten(t *testing.T) {
	one, two, three := netip.MustParseAddrPort("172.19.0.3:53"), netip.MustParseAddrPort("172.19.0.4:53"), netip.MustParseAddrPort("172.19.0.5:53")
	to := func(targets ...netip.AddrPort) []netdev.Entrance {
		if len(targets) == 0 {
			return nil
		}
		return []netdev.Entrance{{Addr: netip.MustParseAddr("10.96.0.10"), Protocol: 17, Port: 53, Outer: targets, Inner: targets}}
	}
	type call struct{ was, is []netdev.Entrance }
	var calls []call
	var answer error
	during := func() {}
	forget := func(was, is []netdev.Entrance) error {
		calls = append(calls, call{was, is})
		during()
		return answer
	}
	var d datagrams
	wants := func(what string, want ...call) {
		t.Helper()
		calls = nil
		if err := d.try(forget); err != answer && !errors.Is(err, answer) {
			t.Errorf("%s: %v", what, err)
		}
		if !slices.EqualFunc(calls, want, func(a, b call) bool {
			return len(a.was) == len(b.was) && len(a.is) == len(b.is) && (len(a.was) == 0 || reflect.DeepEqual(a.was, b.was)) && (len(a.is) == 0 || reflect.DeepEqual(a.is, b.is))
		}) {
			t.Errorf("%s: asked for %v, want %v", what, calls, want)
		}
	}
	d.begin(to(one))
	wants("nothing is in force yet")
	d.follow(nil, true)
	wants("removed while this agent was dead, which may have been killed half-way", call{to(one), nil}, call{nil, nil})
	wants("done")
	d.follow(to(one), false)
	d.follow(to(two), false)
	answer = errors.New("busy")
	wants("two at once, which fail", call{to(one), to(two)})
	d.follow(to(three), false)
	answer = nil
	during = func() { d.follow(nil, false); during = func() {} }
	wants("with what came since", call{to(one, two), to(three)})
	wants("a change while it was done", call{to(one, two, three), nil})
	wants("done again")
	d.follow(nil, true)
	wants("loaded in place of what somebody removed", call{nil, nil}, call{nil, nil})
}
