// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace without a name: it lives as long as its file is open or somebody works in it, so
// that nothing is left of it or of the devices in it when this program ends, however it ends.
type namespace struct {
	file *os.File
	link *netlink.Handle
}

func newNamespace() (*namespace, error) {
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here, with the namespace it is in
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: fmt.Errorf("make a network namespace (this needs root): %w", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		made <- result{f, err}
	}()
	r := <-made
	if r.err != nil {
		return nil, r.err
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(r.file.Fd()))
	if err != nil {
		r.file.Close()
		return nil, fmt.Errorf("speak rtnetlink in a namespace: %w", err)
	}
	n := &namespace{file: r.file, link: h}
	if err := n.up("lo"); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func openNamespace(path string) (*namespace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(f.Fd()))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("speak rtnetlink in %s: %w", path, err)
	}
	return &namespace{file: f, link: h}, nil
}

// path is good for other processes too, while this one lives.
func (n *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

func (n *namespace) close() {
	n.link.Close()
	n.file.Close()
}

func (n *namespace) up(name string) error {
	l, err := n.link.LinkByName(name)
	if err == nil {
		err = n.link.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

func (n *namespace) remove(name string) error {
	l, err := n.link.LinkByName(name)
	if err == nil {
		err = n.link.LinkDel(l)
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func (n *namespace) address(name string, p netip.Prefix) error {
	l, err := n.link.LinkByName(name)
	if err == nil {
		err = n.link.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{
			IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}})
	}
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, p, err)
	}
	return nil
}

// cable is one end of a veth pair.
type cable struct {
	in   *namespace
	name string
	mac  net.HardwareAddr // nil: the kernel's choice
}

// join makes a veth pair and sets both ends up.
func join(a, b cable, mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = a.name, mtu, a.mac
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: b.name, PeerMTU: uint32(mtu), PeerHardwareAddr: b.mac, PeerNamespace: netlink.NsFd(b.in.file.Fd())}
	if err := a.in.link.LinkAdd(v); err != nil {
		return fmt.Errorf("join %s and %s by a veth pair: %w", a.name, b.name, err)
	}
	if err := a.in.up(a.name); err != nil {
		return err
	}
	return b.in.up(b.name)
}
