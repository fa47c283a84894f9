// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// devices finds the devices and routes of one network namespace.
type devices struct {
	space  netns.NsHandle
	inode  uint64 // of the namespace
	socket int    // for ioctls: a name's ifindex costs 1 µs by ioctl and 20 µs by netlink
	nl     *netlink.Handle
	ways   *ways
}

const threadNamespace = "/proc/thread-self/ns/net"

// devicesHere are those of the calling thread's namespace.
func devicesHere() (*devices, error) {
	var st unix.Stat_t
	if err := unix.Stat(threadNamespace, &st); err != nil {
		return nil, fmt.Errorf("find the own network namespace: %w", &os.PathError{Op: "stat", Path: threadNamespace, Err: err})
	}
	space, err := netns.GetFromPath(threadNamespace)
	if err != nil {
		return nil, fmt.Errorf("open the own network namespace: %w", err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		space.Close()
		return nil, fmt.Errorf("open a socket to look up devices: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		space.Close()
		unix.Close(socket)
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	ways, err := newWays()
	if err != nil {
		nl.Close()
		space.Close()
		unix.Close(socket)
		return nil, err
	}
	return &devices{space: space, inode: st.Ino, socket: socket, nl: nl, ways: ways}, nil
}

func (d *devices) close() {
	d.nl.Close()
	d.ways.close()
	unix.Close(d.socket)
	d.space.Close()
}

// enter runs fn in the namespace: in place when the calling thread is there, else on a thread of its own.
func (d *devices) enter(fn func() error) error {
	var st unix.Stat_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Stat(threadNamespace, &st); err == nil && st.Ino == d.inode {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		if err := netns.Set(d.space); err != nil {
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// index is a device's ifindex. ok is false when no device has the name.
func (d *devices) index(name string) (index uint32, ok bool, err error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return 0, false, fmt.Errorf("device name %q cannot be: it is longer than %d characters", name, unix.IFNAMSIZ-1)
	}
	err = unix.IoctlIfreq(d.socket, unix.SIOCGIFINDEX, ifr)
	if errors.Is(err, unix.ENODEV) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("look up device %s: %w", name, err)
	}
	return ifr.Uint32(), true, nil
}

// name is the name of the device with an ifindex. ok is false when there is none.
func (d *devices) name(index uint32) (name string, ok bool) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return "", false
	}
	ifr.SetUint32(index)
	if err := unix.IoctlIfreq(d.socket, unix.SIOCGIFNAME, ifr); err != nil {
		return "", false
	}
	return ifr.Name(), true
}

// uplink checks that the device can carry tunnels from the VTEP address, and gives its ifindex and MTU.
func (d *devices) uplink(name string, vtep netip.Addr) (index uint32, mtu int, err error) {
	link, err := d.nl.LinkByName(name)
	if err != nil {
		return 0, 0, fmt.Errorf("find the uplink %s: %w", name, err)
	}
	attrs := link.Attrs()
	if attrs.EncapType != "ether" {
		return 0, 0, fmt.Errorf("the uplink %s is not an Ethernet device (%s): choose another, with an address of its own, for the VTEP", name, attrs.EncapType)
	}
	addrs, err := d.nl.AddrList(link, familyOf(vtep))
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return 0, 0, fmt.Errorf("list the addresses of the uplink %s: %w", name, err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP); ok && ip.Unmap() == vtep {
			return uint32(attrs.Index), attrs.MTU, nil
		}
	}
	return 0, 0, fmt.Errorf("the uplink %s does not have the VTEP address %s: give one of its addresses", name, vtep)
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// hop is the way from the VTEP to another node's: the device, and the next router or the node itself.
func (d *devices) hop(from, to netip.Addr) (contivPeer, error) {
	if from.Is4() != to.Is4() {
		return contivPeer{}, fmt.Errorf("tunnels from %s cannot go to %s: give both nodes addresses of one family with netplugin's --vtep-ip", from, to)
	}
	routes, err := d.nl.RouteGetWithOptions(net.IP(to.AsSlice()), &netlink.RouteGetOptions{SrcAddr: net.IP(from.AsSlice())})
	if err != nil {
		return contivPeer{}, fmt.Errorf("no route to node %s: %w", to, err)
	}
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST || r.LinkIndex == 0 || r.Via != nil {
			continue
		}
		next := to
		if gw, ok := netip.AddrFromSlice(r.Gw); ok {
			next = gw.Unmap()
		}
		if next.Is4() != to.Is4() {
			continue
		}
		return contivPeer{Ifindex: uint32(r.LinkIndex), NextHop: next.As16()}, nil
	}
	return contivPeer{}, fmt.Errorf("no route to node %s that tunnels can take", to)
}
