// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// A container's veth pair: vvportN stays on the node, vportN goes into the container, where the runtime
// renames it. The host side's alias names the endpoint, so that a later run finds whose it is.
const (
	portPrefix  = "vvport"
	aliasPrefix = "contiv:"

	// portMTU is the largest that a veth takes, in bytes. The kernel drops without a word what is larger than the MTU of
	// the receiving side. A container that sends too much should hear it, so the data path is to judge.
	portMTU = 65535
)

// Port is the host side of a container's veth pair.
type Port struct {
	Name     string
	Index    int
	Endpoint string // the endpoint's id, from the alias; "" when nobody wrote one
	// Home says that the container's side is in the node's own namespace: not yet or no longer in use.
	Home bool
	// Unnamed says that it is one of ours that was never given its endpoint's id: its maker was killed.
	Unnamed bool
}

// PortName is the N-th port's name.
func PortName(n int) string { return portPrefix + strconv.Itoa(n) }

// PeerName is the name of the container's side of a port before it is moved: vport3 for vvport3.
func PeerName(port string) string { return strings.TrimPrefix(port, "v") }

// IsPortName tells whether a device of that name would be a port.
func IsPortName(name string) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(name, portPrefix))
	return strings.HasPrefix(name, portPrefix) && err == nil && n > 0
}

// CreatePort makes the pair with both ends in this namespace, the host side up. mtu is the container's, in
// bytes; a zero mac leaves the container's to the kernel. A pair of the endpoint that is there already, of a maker who was killed, is made ready.
// model.ErrExists: something else has one of the names.
func CreatePort(name, endpoint string, mac model.MAC, mtu int) error {
	return createPort(name, endpoint, mac, mtu, nil)
}

// CreatePortInto is CreatePort with the container's end in the network namespace at path from the start: to move it there would take the kernel
// longer than to make both.
func CreatePortInto(path, name, endpoint string, mac model.MAC, mtu int) error {
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	return createPort(name, endpoint, mac, mtu, netlink.NsFd(ns.Fd()))
}

// createPort has the container's end in the namespace inside, a netlink.NsFd; nil for this one.
func createPort(name, endpoint string, mac model.MAC, mtu int, inside any) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, portMTU, net.HardwareAddr(model.RouterMAC[:])
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: PeerName(name), PeerMTU: uint32(mtu), PeerNamespace: inside}
	if !mac.IsZero() {
		pair.PeerHardwareAddr = net.HardwareAddr(mac[:])
	}
	if err := netlink.LinkAdd(pair); err != nil {
		if errors.Is(err, unix.EEXIST) {
			if p, ok, err := PortNamed(name); err == nil && ok && p.Endpoint == endpoint {
				return readyPort(name)
			}
			return model.Exists("", "a network device %s or %s is there already", name, PeerName(name))
		}
		return fmt.Errorf("create veth pair %s: %w", name, err)
	}
	err := netlink.LinkSetAlias(pair, aliasPrefix+endpoint)
	if err != nil {
		err = fmt.Errorf("name the endpoint of %s: %w", name, err)
	} else {
		err = ready(pair)
	}
	if err != nil {
		return errors.Join(err, RemovePort(name))
	}
	return nil
}

// readyPort does what a pair lacks once it is made. The container's side got its MTU and MAC with the pair.
func readyPort(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	return ready(link)
}

func ready(link netlink.Link) error {
	name := link.Attrs().Name
	// The node itself has nothing to say on this wire. Where IPv6 is not built in, there is nothing to turn off.
	off := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	if err := os.WriteFile(off, []byte("1"), 0); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EROFS) {
		return fmt.Errorf("turn IPv6 off on the node's side of %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// RemovePort removes the pair, wherever its other side is. Removing nothing succeeds.
func RemovePort(name string) error {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return nil
	case err != nil:
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !Gone(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// Ports are all ports of this node, whoever made them.
func Ports() ([]Port, error) {
	all, err := links()
	if err != nil {
		return nil, err
	}
	var out []Port
	for _, l := range all {
		if p, ok := portOf(l); ok {
			out = append(out, p)
		}
	}
	return out, nil
}

func portOf(l netlink.Link) (Port, bool) {
	a := l.Attrs()
	if l.Type() != "veth" || !IsPortName(a.Name) {
		return Port{}, false
	}
	id, named := strings.CutPrefix(a.Alias, aliasPrefix)
	if !named {
		id = ""
	}
	p := Port{Name: a.Name, Index: a.Index, Endpoint: id, Home: a.NetNsID < 0}
	p.Unnamed = a.Alias == "" && bytes.Equal(a.HardwareAddr, model.RouterMAC[:])
	return p, true
}

// PortNamed finds the port of that name.
func PortNamed(name string) (Port, bool, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	switch {
	case errors.As(err, &missing):
		return Port{}, false, nil
	case err != nil:
		return Port{}, false, fmt.Errorf("find %s: %w", name, err)
	}
	p, ok := portOf(link)
	return p, ok, nil
}

// MovePort moves the container's side of a port into the namespace at path, for runtimes that leave that to us.
func MovePort(name, path string) error {
	peer, err := netlink.LinkByName(PeerName(name))
	if err != nil {
		return fmt.Errorf("find %s: %w", PeerName(name), err)
	}
	ns, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	if err := netlink.LinkSetNsFd(peer, int(ns.Fd())); err != nil {
		return fmt.Errorf("move %s into %s: %w", PeerName(name), path, err)
	}
	return nil
}
