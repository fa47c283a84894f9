// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Uplink is a device of this machine on whose wire VLANs are.
type Uplink struct {
	Name  string
	MTU   int          // bytes
	Addrs []netip.Addr // that this machine has there
}

// UplinkNamed finds a device.
func UplinkNamed(name string) (Uplink, bool, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return Uplink{}, false, nil
	case err != nil:
		return Uplink{}, false, fmt.Errorf("find %s: %w", name, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return Uplink{}, false, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	u := Uplink{Name: name, MTU: link.Attrs().MTU}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			u.Addrs = append(u.Addrs, ip.Unmap())
		}
	}
	return u, true, nil
}

// linkPatience is how long a change of a link may go unseen when the kernel's word of it was lost.
const linkPatience = 5 * time.Second

// WatchLinks gives which of the devices have a link (they are up, and so is what they are plugged into): at once, and then at each
// change, until ctx ends. A device that is not there has none.
func WatchLinks(ctx context.Context, names []string) <-chan map[string]bool {
	out := make(chan map[string]bool)
	go func() {
		var last map[string]bool
		tick := time.NewTicker(linkPatience)
		defer tick.Stop()
		for ctx.Err() == nil {
			// The kernel's words only wake us. When it has more to say than is read in time, listening ends and begins again.
			updates := make(chan netlink.LinkUpdate, 64)
			listening, stop := context.WithCancel(ctx)
			if err := netlink.LinkSubscribe(updates, listening.Done()); err != nil {
				updates = nil
			}
			for heard := true; heard; {
				now := linksUp(names)
				for last == nil || !maps.Equal(last, now) {
					select {
					case out <- now:
						last = now
					case <-updates:
						now = linksUp(names)
					case <-ctx.Done():
						stop()
						return
					}
				}
				select {
				case _, heard = <-updates:
				case <-tick.C:
				case <-ctx.Done():
					heard = false
				}
			}
			stop()
		}
	}()
	return out
}

func linksUp(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		link, err := netlink.LinkByName(name)
		const up = unix.IFF_UP | unix.IFF_LOWER_UP
		out[name] = err == nil && link.Attrs().RawFlags&up == up
	}
	return out
}
