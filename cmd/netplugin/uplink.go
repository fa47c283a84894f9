// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/netdev"
)

// uplinks are the devices on whose wire VLANs are.
type uplinks struct {
	names []string
	mtu   int // bytes, the smallest; 0: there are none
}

// findUplinks refuses devices that cannot be uplinks for VLANs, before anything is changed. own are addresses of the node.
func findUplinks(names []string, own ...netip.Addr) (uplinks, error) {
	u := uplinks{names: names}
	for _, name := range names {
		l, ok, err := netdev.UplinkNamed(name)
		switch {
		case err != nil:
			return u, err
		case !ok:
			return u, fmt.Errorf("--vlan-uplinks: this machine has no device %s; name one that is on the VLANs' wire", name)
		case l.MTU < smallestMTU:
			return u, fmt.Errorf("--vlan-uplinks: device %s has MTU %d, and containers need %d; raise it", name, l.MTU, smallestMTU)
		}
		for _, a := range own {
			if slices.Contains(l.Addrs, a) {
				return u, fmt.Errorf("--vlan-uplinks: device %s carries this node's own address %s; give VLANs a device of their own", name, a)
			}
		}
		if u.mtu == 0 || l.MTU < u.mtu {
			u.mtu = l.MTU
		}
	}
	return u, nil
}

// choose gives the uplink to use: the one that is used while its link is up, or the first whose link is; "" where none is.
func (u uplinks) choose(used string, up map[string]bool) string {
	if up[used] {
		return used
	}
	for _, name := range u.names {
		if up[name] {
			return name
		}
	}
	return ""
}

// again is when the wire is told once more: a frame may be lost, and a port that has just come up may not forward yet.
const again = time.Second

// serve has VLANs use an uplink whose link is up, and tells the wire where this node's containers are: when they come, and when it
// is to be told by another uplink.
func (u uplinks) serve(ctx context.Context, a *agent.Agent, use func(uplink string) error, log *slog.Logger) error {
	if len(u.names) == 0 {
		return nil
	}
	links := netdev.WatchLinks(ctx, u.names)
	var used string // "": no link is up
	var told, recent []netdev.Announcement
	var repeat <-chan time.Time
	for {
		applied := a.AppliedChanged()
		if used != "" {
			stations := stationsOf(a.Tables())
			news := slices.DeleteFunc(slices.Clone(stations), func(s netdev.Announcement) bool {
				_, known := slices.BinarySearchFunc(told, s, compareStations)
				return known
			})
			announce(used, news, log)
			if told = stations; len(news) > 0 {
				recent, repeat = append(recent, news...), time.After(again)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-applied:
		case <-repeat:
			announce(used, recent, log)
			recent, repeat = nil, nil
		case up := <-links:
			next := u.choose(used, up)
			if next == used {
				continue
			}
			if next == "" {
				log.Warn("no uplink for VLANs has a link: containers in VLANs reach those of this node only", "uplinks", u.names)
			} else {
				if err := use(next); err != nil {
					return err
				}
				log.Info("VLANs use an uplink", "uplink", next)
			}
			used, told, recent, repeat = next, nil, nil, nil
		}
	}
}

func announce(uplink string, stations []netdev.Announcement, log *slog.Logger) {
	if uplink == "" || len(stations) == 0 {
		return
	}
	if err := netdev.Announce(uplink, stations); err != nil {
		log.Warn("the VLANs' wire was not told where containers are", "uplink", uplink, "error", err)
	}
}

// stationsOf are the addresses that a node's containers have in VLANs, in the order of compareStations.
func stationsOf(t compile.Tables) []netdev.Announcement {
	var out []netdev.Announcement
	for _, p := range t.Ports {
		for _, a := range [...]netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() && p.Network&compile.VLAN != 0 {
				out = append(out, netdev.Announcement{VLAN: uint16(p.Network &^ compile.VLAN), Addr: a, MAC: p.MAC})
			}
		}
	}
	slices.SortFunc(out, compareStations)
	return out
}

func compareStations(a, b netdev.Announcement) int {
	return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), a.Addr.Compare(b.Addr), slices.Compare(a.MAC[:], b.MAC[:]))
}
