// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// Infra is the node's own device in a network: a veth pair of which the node's stack has one side, and the data path the other as a port.
type Infra struct {
	Device, Port string         // the two sides
	Addrs        []netip.Prefix // the node's, with the subnets' lengths
	MAC          model.MAC
	MTU          int // bytes
}

// infraAlias marks the device as ours.
const infraAlias = aliasPrefix + "infra"

// MakeInfra makes the pair as it should be. Done twice, it changes nothing. made tells that the pair is new. Where the node is attached to
// what overlaps one of the subnets by another device it is refused, and so is a device of that name that is not ours.
func MakeInfra(i Infra) (made bool, err error) {
	link, err := infraLink(i.Device, i.Port)
	if err != nil {
		return false, err
	}
	all, err := allRoutes()
	if err != nil {
		return false, err
	}
	for _, a := range i.Addrs {
		if err := checkRoute(a.Masked(), link, all); err != nil {
			return false, err
		}
	}
	if link == nil {
		made = true
		if link, err = addPair(i.Device, i.Port, i.MTU, i.MAC, model.RouterMAC); err != nil {
			return false, err
		}
	}
	if err := readyInfra(link, i); err != nil {
		return made, err
	}
	return made, nil
}

// infraLink is the node's side of the pair; nil: there is none.
func infraLink(device, port string) (netlink.Link, error) {
	link, ours, err := findPair(device, port, infraAlias)
	if link != nil && !ours {
		return nil, model.Exists("networkName", "this node has a network device %s that netplugin has not made, so it has no place in infra network %s: rename the device, or give the network another name", device, device)
	}
	return link, err
}

func isInfra(link netlink.Link) bool {
	return isMarked(link, infraAlias)
}

// readyInfra does what the pair lacks.
func readyInfra(link netlink.Link, i Infra) error {
	if err := readyPair(link, infraAlias, i.MTU, i.MAC); err != nil {
		return err
	}
	for _, s := range []struct{ family, key, value string }{
		{"ipv6", "accept_ra", "0"},    // nobody there is a router to listen to
		{"ipv4", "arp_announce", "2"}, // who asks under another of the node's addresses is not answered
		{"ipv4", "forwarding", "1"},   // to published ports: nothing comes there that is not for the node's address
	} {
		if err := set(s.family, i.Device, s.key, s.value); err != nil {
			return err
		}
	}
	if err := readyPort(i.Port); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", i.Device, err)
	}
	return setAddresses(link, i.Addrs)
}

// InfraDevices are the names of the node's own devices in networks, also of those whose maker was killed half-way.
func InfraDevices() ([]string, error) {
	all, err := links()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range all {
		if isInfra(l) {
			out = append(out, l.Attrs().Name)
			continue
		}
		at := slices.IndexFunc(all, func(p netlink.Link) bool { return p.Attrs().Name == model.InfraPort(l.Attrs().Name) })
		if at >= 0 && isPair(l, all[at]) && bytes.Equal(all[at].Attrs().HardwareAddr, model.RouterMAC[:]) {
			out = append(out, l.Attrs().Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// RemoveInfra removes the node's own devices in networks. Their routes go with them. That there is none is fine.
func RemoveInfra() error {
	all, err := InfraDevices()
	if err != nil {
		return err
	}
	for _, device := range all {
		err = errors.Join(err, RemovePort(device))
	}
	return err
}

// NodeRoute is a route of the node's own.
type NodeRoute struct {
	Prefix netip.Prefix
	Via    netip.Addr // invalid: the prefix is on the device itself
}

// SetNodeRoutes makes our routes by the device exactly those given, but for those that would take from the node what it reaches otherwise.
// These are not made, and the error tells of each.
func SetNodeRoutes(device string, want []NodeRoute) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	all, err := allRoutes()
	if err != nil {
		return err
	}
	have := ours(link, all)
	var failed error
	for _, w := range want {
		if err := checkRoute(w.Prefix, link, all); err != nil {
			failed = errors.Join(failed, err)
			continue // one that is there from before goes below
		}
		via, there := have[w.Prefix]
		delete(have, w.Prefix)
		if there && via == w.Via {
			continue
		}
		if err := netlink.RouteReplace(nodeRoute(link, w)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("add route %s by %s: %w", w.Prefix, device, err))
		}
	}
	for p, via := range have {
		if err := netlink.RouteDel(nodeRoute(link, NodeRoute{p, via})); err != nil && !errors.Is(err, unix.ESRCH) {
			failed = errors.Join(failed, fmt.Errorf("remove route %s by %s: %w", p, device, err))
		}
	}
	return failed
}

// MissingRoutes are those of the wanted routes by the device that the node does not have.
func MissingRoutes(device string, want []NodeRoute) ([]NodeRoute, error) {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", device, err)
	}
	all, err := allRoutes()
	if err != nil {
		return nil, err
	}
	have := ours(link, all)
	return slices.DeleteFunc(slices.Clone(want), func(w NodeRoute) bool {
		via, there := have[w.Prefix]
		return there && via == w.Via
	}), nil
}

// allRoutes are the node's, of both families.
func allRoutes() ([]netlink.Route, error) {
	v4, err := routes(netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	v6, err := routes(netlink.FAMILY_V6)
	return append(v4, v6...), err
}

// ours are our routes by the device, with their gateways.
func ours(link netlink.Link, all []netlink.Route) map[netip.Prefix]netip.Addr {
	have := map[netip.Prefix]netip.Addr{}
	for _, r := range all {
		if r.Dst != nil && r.LinkIndex == link.Attrs().Index && r.Protocol == routeProtocol {
			via, _ := netip.AddrFromSlice(r.Gw)
			have[prefixOf(r.Dst)] = via.Unmap()
		}
	}
	return have
}

func nodeRoute(link netlink.Link, w NodeRoute) *netlink.Route {
	r := route(link, w.Prefix)
	r.Priority = 0 // as of a route by hand
	if w.Via.IsValid() {
		r.Gw, r.Scope = net.IP(w.Via.AsSlice()), netlink.SCOPE_UNIVERSE
	}
	return r
}

// checkRoute refuses a subnet that the node reaches by another device than link, which may be nil: one that it is attached to, wholly or in
// part, or to which it has this very route. A wider route to a router goes on for all else. all are the node's routes.
func checkRoute(subnet netip.Prefix, link netlink.Link, all []netlink.Route) error {
	for _, r := range all {
		if r.Dst == nil || link != nil && r.LinkIndex == link.Attrs().Index {
			continue
		}
		to := prefixOf(r.Dst)
		attached := r.Type == unix.RTN_UNICAST && r.Gw == nil && r.Via == nil && len(r.MultiPath) == 0
		if to == subnet || attached && to.Bits() > 0 && to.Overlaps(subnet) {
			return model.Exists("subnet", "subnet %s overlaps %s, to which this node has a route by %s: remove that route, or use another subnet. Until then this node does not reach it by a network of Contiv", subnet, to, deviceName(r.LinkIndex))
		}
	}
	return nil
}
