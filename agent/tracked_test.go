// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// privateOf is a port's address towards the outside.
func privateOf(t *testing.T, port string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr("172.19.0." + strings.TrimPrefix(port, "vvport"))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// track has the node track a connection that the address has begun.
func track(t *testing.T, from netip.Addr) {
	t.Helper()
	a, b := net.IP(from.AsSlice()), net.IPv4(192, 0, 2, 1).To4()
	err := netlink.ConntrackCreate(netlink.ConntrackTable, netlink.FAMILY_V4, &netlink.ConntrackFlow{
		FamilyType: netlink.FAMILY_V4, TimeOut: 1000,
		Forward: netlink.IPTuple{Protocol: 17, SrcIP: a, DstIP: b, SrcPort: 5, DstPort: 53},
		Reverse: netlink.IPTuple{Protocol: 17, SrcIP: b, DstIP: a, SrcPort: 53, DstPort: 5},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func isTracked(t *testing.T, from netip.Addr) bool {
	t.Helper()
	all, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(f *netlink.ConntrackFlow) bool { return f.Forward.SrcIP.Equal(net.IP(from.AsSlice())) })
}

func TestPortIsNobodysUntilTheNodeHasForgottenItsConnections(t *testing.T) {
	_, s, a := onWeb(t)
	if a == nil {
		return
	}
	stays, _ := s.attach(a, "stays", "10.1.2.1")
	goes, _ := s.attach(a, "goes", "10.1.2.2")
	theirs, its := privateOf(t, stays.Port), privateOf(t, goes.Port)
	track(t, theirs)
	track(t, its)
	if err := a.Detach(t.Context(), "goes"); err != nil {
		t.Fatal(err)
	}
	next, _ := s.attach(a, "next", "10.1.2.3")
	if next.Port == goes.Port && isTracked(t, its) {
		t.Error("the next container gets what was sent to the last one")
	}
	eventually(t, "a container that is gone has no connections", func() bool { return !isTracked(t, its) })
	eventually(t, "its port is free", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.gone) == 0
	})
	last, _ := s.attach(a, "last", "10.1.2.4")
	if last.Port != goes.Port && next.Port != goes.Port { // the next one may have come late
		t.Errorf("%s is free, and they got %s and %s", goes.Port, next.Port, last.Port)
	}
	if !isTracked(t, theirs) {
		t.Error("a container has lost its connections")
	}
}

func TestConnectionsOfContainersThatWentWhileTheAgentWasDeadAreForgotten(t *testing.T) {
	_, s, a := onWeb(t)
	if a == nil {
		return
	}
	stays, _ := s.attach(a, "stays", "10.1.2.1")
	goes, _ := s.attach(a, "goes", "10.1.2.2")
	s.stop()
	theirs, its := privateOf(t, stays.Port), privateOf(t, goes.Port)
	track(t, theirs)
	track(t, its)
	if err := netdev.RemovePort(goes.Port); err != nil {
		t.Fatal(err)
	}
	a = s.ready()
	if isTracked(t, its) || !isTracked(t, theirs) {
		t.Errorf("tracked is what is gone: %t, what stays: %t", isTracked(t, its), isTracked(t, theirs))
	}
	// Until the endpoint is swept, what leads to its port is in force, and whoever sends to it is tracked again.
	track(t, its)
	if next, _ := s.attach(a, "next", "10.1.2.3"); next.Port == goes.Port && isTracked(t, its) {
		t.Error("the next container gets what was sent to the last one")
	}
}

func TestPortsThatWereGoneWhenTheAgentBeganAreNobodysAtFirst(t *testing.T) {
	_, s, a := onWeb(t)
	if a == nil {
		return
	}
	goes, _ := s.attach(a, "goes", "10.1.2.1")
	s.stop()
	if err := netdev.RemovePort(goes.Port); err != nil {
		t.Fatal(err)
	}
	next, err := New(s.o)
	if err != nil {
		t.Fatal(err)
	}
	port, err := next.createPort(model.Endpoint{ID: "next", MAC: goes.MAC}, "")
	if err != nil {
		t.Fatal(err)
	}
	if port == goes.Port {
		t.Error("a port is given away to which the last run's rules lead")
	}
}
