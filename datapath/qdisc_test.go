// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hasClsact tells whether the device can have filters.
func hasClsact(t *testing.T, s *space, device string) bool {
	t.Helper()
	l, err := s.nl.LinkByName(device)
	must(t, err)
	all, err := s.nl.QdiscList(l)
	must(t, err)
	for _, q := range all {
		if q.Attrs().Parent == netlink.HANDLE_CLSACT {
			return true
		}
	}
	return false
}

func TestQueueForFiltersGoesWithThemUnlessItIsSomebodyElses(t *testing.T) {
	t.Parallel()
	for _, whose := range []string{"ours", "theirs", "used by others"} {
		t.Run(whose, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			s := newSpace(t)
			veth(t, s, "ul0", newSpace(t), "ul0")
			l := setUp(t, s, "ul0", "192.168.2.10/24")
			at := attachment{AttachClsact, hookUplink, uint32(l.Attrs().Index)}
			if whose == "theirs" {
				must(t, s.nl.QdiscAdd(at.clsact()))
			}
			n := c.newNode("ul0", "192.168.2.10", s, AttachClsact)
			n.dp.Close()
			n.open() // a restart finds the queue, and still knows whose it is
			if whose == "used by others" {
				must(t, s.nl.FilterAdd(&netlink.BpfFilter{
					FilterAttrs: netlink.FilterAttrs{LinkIndex: l.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Priority: 7, Protocol: unix.ETH_P_ALL},
					Fd:          n.dp.objects.FromHost.FD(), Name: "theirs", DirectAction: true,
				}))
			}
			must(t, n.do(func() error { return Remove(n.opts.PinDir) }))
			if has := hasClsact(t, s, "ul0"); has != (whose != "ours") {
				t.Errorf("the uplink has a queue for filters: %t", has)
			}
		})
	}
}
