// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hook is a place where a program of ours runs: the ingress of every device of a kind.
type hook string

const (
	hookPort    hook = "port"    // from_container
	hookUplink  hook = "uplink"  // from_uplink
	hookWire    hook = "wire"    // from_wire
	hookOutside hook = "outside" // from_host
)

// attachment is one program on one device. Its name in the links directory says all of it.
type attachment struct {
	mode    AttachMode // tcx or clsact
	hook    hook
	ifindex uint32
}

func (a attachment) String() string { return fmt.Sprintf("%s-%s-%d", a.mode, a.hook, a.ifindex) }

func parseAttachment(name string) (attachment, bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return attachment{}, false
	}
	i, err := strconv.ParseUint(parts[2], 10, 32)
	a := attachment{AttachMode(parts[0]), hook(parts[1]), uint32(i)}
	known := (a.mode == AttachTCX || a.mode == AttachClsact) && (a.hook == hookPort || a.hook == hookUplink || a.hook == hookWire || a.hook == hookOutside)
	return a, err == nil && known
}

// attachments are all that are recorded in a links directory.
func attachments(dir string) ([]attachment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list what is attached: %w", err)
	}
	var out []attachment
	for _, e := range entries {
		if a, ok := parseAttachment(e.Name()); ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// attacher attaches programs to the devices of a namespace and records them in a links directory.
type attacher struct {
	dir string
	dev *devices
}

func (t attacher) path(a attachment) string { return filepath.Join(t.dir, a.String()) }

// attach puts the program on the device, in place of what the same attachment had before, without a gap.
func (t attacher) attach(a attachment, p *ebpf.Program) error {
	if a.mode == AttachClsact {
		return t.attachClsact(a, p)
	}
	if l, err := link.LoadPinnedLink(t.path(a), nil); err == nil {
		defer l.Close()
		if err := l.Update(p); err != nil {
			return fmt.Errorf("replace the program of %s: %w", a, err)
		}
		return nil
	}
	return t.dev.enter(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: int(a.ifindex), Program: p, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return fmt.Errorf("attach %s: %w", a, err)
		}
		defer l.Close() // the pin keeps it
		if err := l.Pin(t.path(a)); err != nil {
			return fmt.Errorf("pin %s: %w", a, err)
		}
		return nil
	})
}

// remove takes the program off its device and forgets it. What is gone already is fine.
func (t attacher) remove(a attachment) error {
	if a.mode == AttachClsact {
		if err := errors.Join(t.detachClsact(a), t.removeQdisc(a)); err != nil {
			return err
		}
	}
	// The pin of a link is its last holder: the program comes off soon after the pin, in the kernel's own time.
	if err := os.Remove(t.path(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget %s: %w", a, err)
	}
	return nil
}

// detach takes a linked program off its device before it returns, which takes the kernel 9 ms.
func (t attacher) detach(a attachment) error {
	if a.mode != AttachTCX {
		return nil
	}
	l, err := link.LoadPinnedLink(t.path(a), nil)
	if err != nil {
		return nil // not there
	}
	defer l.Close()
	if err := l.Detach(); err != nil && !errors.Is(err, unix.ENOLINK) {
		return fmt.Errorf("detach %s: %w", a, err)
	}
	return nil
}

// alive tells whether the program is still on the device. A link whose device was deleted leaves its pin.
func (t attacher) alive(a attachment) bool {
	if _, ok := t.dev.name(a.ifindex); !ok {
		return false
	}
	if a.mode == AttachClsact {
		f, err := t.filter(a)
		return err == nil && f != nil
	}
	l, err := link.LoadPinnedLink(t.path(a), nil)
	if err != nil {
		return false
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false
	}
	tcx := info.TCX()
	return tcx != nil && tcx.Ifindex == a.ifindex
}

// Filters of others stay where they are: ours have a priority and a name of their own.
const (
	clsactPriority = 4789
	clsactName     = "contiv_"
)

func (a attachment) filter() *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: int(a.ifindex), Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: clsactPriority, Protocol: unix.ETH_P_ALL,
		},
		Name: clsactName + string(a.hook), DirectAction: true,
	}
}

// filter finds the attachment's filter; nil when there is none.
func (t attacher) filter(a attachment) (*netlink.BpfFilter, error) {
	device := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: int(a.ifindex)}}
	filters, err := t.dev.nl.FilterList(device, netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil, nil // no clsact, or no device
		}
		return nil, fmt.Errorf("list filters of %s: %w", a, err)
	}
	for _, f := range filters {
		if b, ok := f.(*netlink.BpfFilter); ok && f.Attrs().Priority == clsactPriority {
			return b, nil
		}
	}
	return nil, nil
}

func (t attacher) attachClsact(a attachment, p *ebpf.Program) error {
	empty, err := t.addQdisc(a)
	if err != nil {
		return err
	}
	var old *netlink.BpfFilter
	if !empty {
		if old, err = t.filter(a); err != nil {
			return err
		}
	}
	if old != nil && old.Name != clsactName+string(a.hook) {
		return fmt.Errorf("attach %s: the filter %q of another program has priority %d there: remove it", a, old.Name, clsactPriority)
	}
	// First the record, so that no filter is ever without one.
	if err := os.Mkdir(t.path(a), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("record %s: %w", a, err)
	}
	f := a.filter()
	f.Fd = p.FD()
	if err := t.dev.nl.FilterReplace(f); err != nil {
		return fmt.Errorf("attach %s: %w", a, err)
	}
	return nil
}

// clsact is where a device's filters are.
func (a attachment) clsact() *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: int(a.ifindex), Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// qdiscPath records that a clsact qdisc is ours. A port's goes with its device.
func (t attacher) qdiscPath(a attachment) string {
	return filepath.Join(t.dir, fmt.Sprintf("qdisc-%d", a.ifindex))
}

// addQdisc makes the device ready for filters. What makes it so already stays; empty tells that it has none yet.
func (t attacher) addQdisc(a attachment) (empty bool, err error) {
	recorded := false
	if a.hook != hookPort { // first the record, as below
		err := os.Mkdir(t.qdiscPath(a), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("record the clsact qdisc for %s: %w", a, err)
		}
		recorded = err == nil
	}
	err = t.dev.nl.QdiscAdd(a.clsact())
	there := errors.Is(err, fs.ErrExist)
	if err != nil && recorded { // it is not there, or somebody else's
		_ = os.Remove(t.qdiscPath(a)) // a record too many has an empty qdisc removed
	}
	if err != nil && !there {
		return false, fmt.Errorf("add a clsact qdisc for %s: %w", a, err)
	}
	return !there, nil
}

// removeQdisc removes what addQdisc has added, unless somebody else has filters there by now.
func (t attacher) removeQdisc(a attachment) error {
	if _, err := os.Stat(t.qdiscPath(a)); err != nil {
		return nil // not ours
	}
	device := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: int(a.ifindex)}}
	for _, way := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		if others, err := t.dev.nl.FilterList(device, way); err == nil && len(others) > 0 {
			return nil
		}
	}
	err := t.dev.nl.QdiscDel(a.clsact())
	if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove the clsact qdisc of %s: %w", a, err)
	}
	if err := os.Remove(t.qdiscPath(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the clsact qdisc of %s: %w", a, err)
	}
	return nil
}

func (t attacher) detachClsact(a attachment) error {
	f, err := t.filter(a)
	if err != nil || f == nil || f.Name != clsactName+string(a.hook) {
		return err
	}
	if err := t.dev.nl.FilterDel(a.filter()); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("detach %s: %w", a, err)
	}
	return nil
}

// tcxKnown tells whether the kernel has tcx (6.6).
func (t attacher) tcxKnown(p *ebpf.Program) bool {
	err := t.dev.enter(func() error {
		// No device has this ifindex, so a kernel that knows tcx refuses for that reason.
		l, err := link.AttachTCX(link.TCXOptions{Interface: 1<<31 - 1, Program: p, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			l.Close()
		}
		return err
	})
	return !errors.Is(err, ebpf.ErrNotSupported)
}
