// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Outside is the node's end of its containers' way to the outside: a veth pair of which the node's stack has one side,
// model.OutsideDevice, and the data path the other, model.OutsidePort.
type Outside struct {
	Addrs []netip.Prefix // the node's own in the private subnets
	MAC   model.MAC
	MTU   int // bytes
}

// outsideAlias marks the device as ours.
const outsideAlias = aliasPrefix + "outside"

// MakeOutside makes the pair as it should be, and the node forward what comes by it. Done twice, it changes nothing. made tells that the
// pair is new. Where a private subnet is one to which the node has another route it is refused, and nothing is made.
func MakeOutside(o Outside) (made bool, err error) {
	link, err := outsideLink()
	if err != nil {
		return false, err
	}
	for _, a := range o.Addrs {
		if err := checkPrivate(a.Masked(), link); err != nil {
			return false, err
		}
	}
	if link == nil {
		made = true
		if link, err = addPair(model.OutsideDevice, model.OutsidePort, o.MTU, o.MAC, model.MAC{}); err != nil {
			return false, err
		}
	}
	if err := readyOutside(link, o); err != nil {
		return made, err
	}
	return made, nil
}

// outsideLink is the node's side of the pair; nil: there is none.
func outsideLink() (netlink.Link, error) {
	link, ours, err := findPair(model.OutsideDevice, model.OutsidePort, outsideAlias)
	if link != nil && !ours {
		return nil, model.Exists("", "a network device %s is there that netplugin has not made: rename it, or containers in networks with a gateway have no way out", model.OutsideDevice)
	}
	return link, err
}

// checkPrivate refuses a subnet that a route of the node other than by link, which may be nil, leads to.
func checkPrivate(private netip.Prefix, link netlink.Link) error {
	to, device, ok, err := routeInto(private, link)
	if ok {
		err = model.Exists("pvtSubnet", "the private subnet %s overlaps %s, to which this node has a route by %s: choose another with netctl global set --private-subnet, or remove the route. Until then containers in networks with a gateway have no way out here",
			private, to, device)
	}
	return err
}

// RouteInto is a route of this node's main table that overlaps the prefix, and the device of it in words; ok is false where there is none.
// Default routes and those of the way to the outside are none.
func RouteInto(p netip.Prefix) (to netip.Prefix, device string, ok bool, err error) {
	link, err := outsideLink()
	if err != nil && !errors.Is(err, model.ErrExists) {
		return to, "", false, err
	}
	return routeInto(p, link)
}

// routeInto leaves out the routes by link, which may be nil.
func routeInto(p netip.Prefix, link netlink.Link) (to netip.Prefix, device string, ok bool, err error) {
	routes, err := routes(familyOf(p.Addr()))
	if err != nil {
		return to, "", false, err
	}
	for _, r := range routes {
		if r.Dst == nil || link != nil && r.LinkIndex == link.Attrs().Index {
			continue
		}
		if to := prefixOf(r.Dst); to.Bits() > 0 && to.Overlaps(p) {
			return to, deviceName(r.LinkIndex), true, nil
		}
	}
	return to, "", false, nil
}

// routes are those of the node's main table.
func routes(family int) ([]netlink.Route, error) {
	var err error
	for range maxDumps {
		var all []netlink.Route
		all, err = netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return nil, fmt.Errorf("list routes: %w", err)
}

func deviceName(index int) string {
	if link, err := netlink.LinkByIndex(index); err == nil {
		return "device " + link.Attrs().Name
	}
	return fmt.Sprintf("device #%d", index)
}

// readyOutside does what the pair lacks.
func readyOutside(link netlink.Link, o Outside) error {
	name := model.OutsideDevice
	if err := readyPair(link, outsideAlias, o.MTU, o.MAC); err != nil {
		return err
	}
	port, err := netlink.LinkByName(model.OutsidePort)
	if err != nil {
		return fmt.Errorf("find %s: %w", model.OutsidePort, err)
	}
	if err := set("ipv6", model.OutsidePort, "disable_ipv6", "1"); err != nil { // it has nothing to say itself
		return err
	}
	for _, s := range []struct{ family, key, value string }{
		{"ipv4", "forwarding", "1"},
		// A client on the node itself may ask for a published port at 127.0.0.1; the data path lets no container do so.
		{"ipv4", "route_localnet", "1"},
		{"ipv6", "accept_ra", "0"},
		{"ipv6", "addr_gen_mode", "1"}, // no link-local address
	} {
		if err := set(s.family, name, s.key, s.value); err != nil {
			return err
		}
	}
	// Whatever is sent here goes to the data path, which knows whose it is: there are no neighbours to ask for.
	if link.Attrs().RawFlags&unix.IFF_NOARP == 0 {
		if err := netlink.LinkSetARPOff(link); err != nil {
			return fmt.Errorf("turn ARP off on %s: %w", name, err)
		}
	}
	for _, l := range []netlink.Link{port, link} {
		if err := netlink.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", l.Attrs().Name, err)
		}
	}
	return setAddresses(link, o.Addrs)
}

// RemoveOutside has the node's connection tracking forget the connections of private addresses, as it would bring to nobody what comes for them as long as
// something comes, and removes the pair. That there is none, or one that is not ours, is fine. It comes after RemoveFirewall, which begins no more of them.
func RemoveOutside() error {
	link, err := outsideLink()
	if link == nil {
		if errors.Is(err, model.ErrExists) {
			return nil
		}
		return err
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", model.OutsideDevice, err)
	}
	err = ForgetTracked(func(a netip.Addr) bool {
		return slices.ContainsFunc(addrs, func(own netlink.Addr) bool { return !a.IsLinkLocalUnicast() && prefixOf(own.IPNet).Contains(a) })
	})
	return errors.Join(err, RemovePort(model.OutsideDevice))
}

// Uplinks are the devices by which this node reaches others.
type Uplinks struct {
	Devices []string // with routes to routers, and the one of the underlay
	Bridges []string // those of Devices that are bridges, and bridges with a port that is no container's or virtual machine's
}

// FindUplinks looks at the node's routes and devices. underlay is a device that is one in any case.
func FindUplinks(underlay string) (Uplinks, error) {
	all, err := links()
	if err != nil {
		return Uplinks{}, err
	}
	leads := map[int]bool{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rs, err := routes(family)
		if err != nil {
			return Uplinks{}, err
		}
		for _, r := range rs {
			if r.Gw != nil || r.Via != nil {
				leads[r.LinkIndex] = true
			}
			for _, hop := range r.MultiPath {
				leads[hop.LinkIndex] = true
			}
		}
	}
	var out Uplinks
	wide := map[int]bool{} // bridges with a port to elsewhere
	for _, l := range all {
		if t := l.Type(); l.Attrs().MasterIndex != 0 && t != "veth" && t != "tun" {
			wide[l.Attrs().MasterIndex] = true
		}
	}
	for _, l := range all {
		a := l.Attrs()
		if isInfra(l) { // its gateway is no machine
			continue
		}
		used := leads[a.Index] || a.Name == underlay
		if used {
			out.Devices = append(out.Devices, a.Name)
		}
		if l.Type() == "bridge" && (used || wide[a.Index]) {
			out.Bridges = append(out.Bridges, a.Name)
		}
	}
	slices.Sort(out.Devices)
	slices.Sort(out.Bridges)
	return out, nil
}

// Forward has the node forward IPv4 packets that come in by the devices.
func Forward(devices []string) error {
	for _, d := range devices {
		if err := set("ipv4", d, "forwarding", "1"); err != nil {
			return err
		}
	}
	return nil
}

// Forward6 has the node forward IPv6 packets, which the kernel has for all devices or none. Those of the devices that listen to routers
// go on doing so, which forwarding would end.
func Forward6(devices []string) error {
	for _, d := range devices {
		listens, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv6/conf", d, "accept_ra"))
		if err == nil && string(bytes.TrimSpace(listens)) == "1" {
			if err := set("ipv6", d, "accept_ra", "2"); err != nil {
				return err
			}
		}
	}
	return set("ipv6", "all", "forwarding", "1")
}

// set writes a setting of a device. Where the kernel does not have it, as without IPv6, there is nothing to set.
func set(family, device, key, value string) error {
	path := filepath.Join("/proc/sys/net", family, "conf", device, key)
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && string(bytes.TrimSpace(have)) == value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		return fmt.Errorf("set %s of %s to %s: %w", key, device, value, err)
	}
	return nil
}
