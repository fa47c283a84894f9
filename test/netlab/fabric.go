// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bridge is the fabric's switch, wire the one on which VLANs are.
const (
	bridge = "underlay"
	wire   = "wire"
)

// fabricNamespaces are those of the machine that is the switch.
const fabricNamespaces = unix.CLONE_NEWNET | unix.CLONE_NEWPID

// buildFabric makes the switches. The calling thread is in the fabric's namespaces.
func buildFabric(mtu int) error {
	// Else frames would pass an (empty) firewall wherever br_netfilter is loaded. Absent where it is not.
	for _, knob := range []string{"iptables", "ip6tables", "arptables"} {
		_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+knob, []byte("0"), 0)
	}
	// Without snooping the switch does not have to learn who wants which neighbour solicitations.
	snooping := false
	for _, name := range []string{bridge, wire} {
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: mtu}, MulticastSnooping: &snooping}
		if err := netlink.LinkAdd(b); err != nil {
			return fmt.Errorf("add bridge %s: %w", name, err)
		}
	}
	for _, name := range []string{"lo", bridge, wire} {
		if err := setUp(name); err != nil {
			return err
		}
	}
	return nil
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("set link %s up: %w", name, err)
	}
	return nil
}

// cable is a host's link to a switch.
type cable struct {
	to     string       // the switch
	port   string       // on the switch
	device string       // in the host
	addr   netip.Prefix // IPv4 or IPv6; zero: none
	mac    [6]byte      // of the device; the same after a power cycle, as a real one
	mtu    int          // bytes; of both ends
	cut    bool         // leave the port off the switch
}

// plug lays the cable from the switch to the network namespace netns. The calling thread is in the fabric's namespaces.
func (c cable) plug(netns *os.File) error {
	// The old port goes with the host's namespace, but not at once.
	if err := unplug(c.port); err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: c.port, MTU: c.mtu},
		PeerName:         c.device,
		PeerHardwareAddr: net.HardwareAddr(c.mac[:]),
		PeerNamespace:    netlink.NsFd(netns.Fd()),
		PeerMTU:          uint32(c.mtu),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", c.port, err)
	}
	if !c.cut {
		if err := join(c.port, c.to); err != nil {
			return err
		}
	}
	return setUp(c.port)
}

// configure gives the host's end its address. The calling thread is in the host's network namespace.
func (c cable) configure() error {
	for _, name := range []string{"lo", c.device} {
		if err := setUp(name); err != nil {
			return err
		}
	}
	link, err := netlink.LinkByName(c.device)
	if err != nil {
		return fmt.Errorf("find link %s: %w", c.device, err)
	}
	if !c.addr.IsValid() {
		return nil
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: c.addr.Addr().AsSlice(), Mask: net.CIDRMask(c.addr.Bits(), c.addr.Addr().BitLen())}}
	if c.addr.Addr().Is6() {
		// Usable at once; a lab gives no address twice.
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", c.addr, c.device, err)
	}
	return nil
}

func join(port, to string) error {
	link, err := netlink.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find port %s (is the host on?): %w", port, err)
	}
	master, err := netlink.LinkByName(to)
	if err == nil {
		err = netlink.LinkSetMaster(link, master)
	}
	if err != nil {
		return fmt.Errorf("put port %s on the switch: %w", port, err)
	}
	return nil
}

func leave(port string) error {
	link, err := netlink.LinkByName(port)
	if err == nil {
		err = netlink.LinkSetNoMaster(link)
	}
	if err != nil {
		return fmt.Errorf("take port %s off the switch (is the host on?): %w", port, err)
	}
	return nil
}

// unplug removes both ends; nothing to remove is fine.
func unplug(port string) error {
	link, err := netlink.LinkByName(port)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	var none netlink.LinkNotFoundError
	if err != nil && !errors.As(err, &none) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove port %s: %w", port, err)
	}
	return nil
}

// startFabric makes the switch, once in a lab's life.
func (l *Lab) startFabric() error {
	m, err := powerOn(l.state.Name, fabricNamespaces, l.state.Ephemeral)
	if err != nil {
		return fmt.Errorf("start the fabric: %w", err)
	}
	l.fabric = m
	if err := save(filepath.Join(l.state.Dir, "fabric.json"), m); err != nil {
		return err
	}
	l.remember(m)
	if err := enter(m.Init, fabricNamespaces, func() error { return buildFabric(l.state.MTU) }); err != nil {
		return fmt.Errorf("build the fabric: %w", err)
	}
	return nil
}

// inFabric runs fn on a thread in the fabric's namespaces.
func (l *Lab) inFabric(fn func() error) error { return enter(l.fabric.Init, fabricNamespaces, fn) }

// Cut takes the host off the network without a sign: its link stays up and its packets get nowhere. It holds until
// Restore, also through a power cycle.
func (h *Host) Cut() error { return h.setCut(true, leave) }

// Restore undoes Cut.
func (h *Host) Restore() error {
	return h.setCut(false, func(port string) error { return join(port, bridge) })
}

func (h *Host) setCut(cut bool, do func(port string) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.machine.on() {
		if err := h.lab.inFabric(func() error { return do(h.port()) }); err != nil {
			return fmt.Errorf("host %s: %w", h.Name(), err)
		}
	}
	return h.lab.update(func(*state) { h.state.Cut = cut })
}
