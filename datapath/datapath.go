// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"

	"github.com/contivnet/contiv/compile"
)

// Datapath is the data plane of one node. Make one with Open. All methods may be called from any goroutine.
type Datapath struct {
	opts        Options
	dev         *devices
	objects     *contivObjects
	reasons     []string // drop reasons by number
	clock       clock
	abi         string // the directory of the maps
	connections string // the directory of the maps of connections, which outlive the others
	attach      attacher
	mode        AttachMode // tcx or clsact
	uplink      uint32     // its ifindex
	wires       wires      // the uplinks for VLANs

	forgotten packetCounts
	listening sync.Mutex // held while somebody reads events
	collector *collector
	settler   *settler // nil: ports are attached as they stay

	names nameLocks // taken for a port while it is attached or detached

	switched atomic.Bool // all links run the programs of this process

	portsMu sync.Mutex
	ports   map[string]attachment // by the device's name

	applyMu  sync.Mutex
	held     *rows // what the kernel's tables hold; nil: not known, read them
	revision int64 // of the tables that were applied last
	noRoute  map[netip.Addr]bool
	grace    chan struct{} // closed when nothing reads the bank of policy that is not in force
}

// Open checks the machine, loads the programs with the maps that are pinned, and attaches to the uplink. Ports
// that are attached go on with the programs they have until the first Apply.
//
// Errors say what the machine lacks: root, a bpffs, kernel 5.15, an uplink that is Ethernet, has the VTEP
// address and an MTU large enough.
func Open(o Options) (*Datapath, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	o.VTEP = o.VTEP.Unmap()
	if err := checkMachine(o.PinDir); err != nil {
		return nil, err
	}
	dev, err := devicesHere()
	if err != nil {
		return nil, err
	}
	d := &Datapath{opts: o, dev: dev, ports: map[string]attachment{}, noRoute: map[netip.Addr]bool{}}
	if err := d.open(); err != nil {
		d.Close()
		return nil, err
	}
	if d.mode == AttachTCX && d.opts.Attach == AttachAuto {
		d.startSettling()
	}
	d.startCollecting()
	return d, nil
}

func (d *Datapath) open() error {
	index, mtu, err := d.dev.uplink(d.opts.Uplink, d.opts.VTEP)
	if err != nil {
		return err
	}
	d.uplink = index
	if d.wires, err = d.dev.wires(d.opts.Uplinks, d.opts.Uplink); err != nil {
		return err
	}
	if d.opts.MTU == 0 {
		if need := minMTU(d.opts.VTEP); mtu < need {
			return fmt.Errorf("the MTU of %s, %d bytes, is too small: IPv6 in VXLAN needs %d", d.opts.Uplink, mtu, need)
		}
		d.opts.MTU = mtu
	}
	kernel, err := features.LinuxVersionCode()
	if err != nil {
		return fmt.Errorf("read the kernel's version: %w", err)
	}
	if d.clock, err = newClock(); err != nil {
		return err
	}
	b, err := blueprintFor(settings{
		clock: d.clock, vtep: d.opts.VTEP, port: d.opts.VXLANPort, wireMTU: d.wires.mtu, decapSetsProtocol: kernel >= d.opts.decapFrom,
		flows4: d.opts.Flows4, flows6: d.opts.Flows6, connections4: d.opts.Connections4, connections6: d.opts.Connections6,
		translations: d.opts.Translations,
	})
	if err != nil {
		return err
	}
	if d.reasons, err = dropReasons(b.spec); err != nil {
		return err
	}
	d.abi = b.abi
	d.attach = attacher{dir: filepath.Join(d.opts.PinDir, "links"), dev: d.dev}
	d.connections = b.connections
	for _, dir := range []string{d.attach.dir, filepath.Join(d.opts.PinDir, b.abi), filepath.Join(d.opts.PinDir, b.connections)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the directory for pins: %w", err)
		}
	}
	if d.objects, err = b.load(filepath.Join(d.opts.PinDir, b.abi), filepath.Join(d.opts.PinDir, b.connections)); err != nil {
		return err
	}
	if d.mode, err = d.chooseMode(); err != nil {
		return err
	}
	return d.adopt()
}

func (d *Datapath) chooseMode() (AttachMode, error) {
	if d.opts.Attach == AttachClsact {
		return AttachClsact, nil
	}
	known := d.attach.tcxKnown(d.objects.FromContainer)
	switch {
	case known:
		return AttachTCX, nil
	case d.opts.Attach == AttachTCX:
		return "", errors.New("this kernel has no tcx, which came with 6.6: attach with clsact")
	}
	return AttachClsact, nil
}

// adopt takes over what an earlier process attached, and forgets what has lost its device.
func (d *Datapath) adopt() error {
	found, err := attachments(d.attach.dir)
	if err != nil {
		return err
	}
	served := map[attachment]bool{} // as if in the mode of today
	for _, a := range found {
		name, ok := d.dev.name(a.ifindex)
		if !ok || !d.attach.alive(a) {
			if err := errors.Join(d.attach.remove(a), d.unreflect(a.ifindex)); err != nil {
				return err
			}
			d.opts.Log.Info("forgot what was attached to a device that is gone", "attachment", a.String())
			continue
		}
		if a.hook == hookPort {
			d.ports[name] = a
		}
		served[attachment{d.mode, a.hook, a.ifindex}] = true
	}
	for _, a := range d.uplinks() {
		if served[a] {
			continue
		}
		if err := d.attach.attach(a, d.program(a.hook)); err != nil {
			return err
		}
	}
	return d.adoptWires()
}

// uplinks are the attachments to devices that are no ports.
func (d *Datapath) uplinks() []attachment {
	out := []attachment{{d.mode, hookUplink, d.uplink}}
	for _, index := range d.wires.index {
		out = append(out, attachment{d.mode, hookWire, index})
	}
	return out
}

// program is what runs at a hook.
func (d *Datapath) program(h hook) *ebpf.Program {
	switch h {
	case hookUplink:
		if d.opts.VTEP.Is6() {
			return d.objects.FromUplink6
		}
		return d.objects.FromUplink
	case hookWire:
		return d.objects.FromWire
	case hookOutside:
		return d.objects.FromHost
	}
	return d.objects.FromContainer
}

// switchLinks puts this process's programs in the place of earlier ones, everywhere. Repeating it is fine.
func (d *Datapath) switchLinks() error {
	found, err := attachments(d.attach.dir)
	if err != nil {
		return err
	}
	for _, a := range found {
		if err := d.switchLink(a); err != nil {
			return err
		}
	}
	return d.removeOldMaps()
}

func (d *Datapath) switchLink(a attachment) error {
	name, ok := d.dev.name(a.ifindex)
	defer d.names.lock(name)() // against a caller who is just attaching or detaching it
	now := attachment{d.mode, a.hook, a.ifindex}
	if !ok || !d.attach.alive(a) || a.hook != hookPort && a.hook != hookOutside && !slices.Contains(d.uplinks(), now) {
		return d.attach.remove(a) // its device is gone, or no uplink any more
	}
	if err := d.attach.attach(now, d.program(a.hook)); err != nil || now == a {
		return err
	}
	// Both are attached for a moment. tcx runs first and decides, so no packet is handled twice.
	if err := d.attach.remove(a); err != nil {
		return err
	}
	if a.hook == hookPort {
		d.setAttachment(name, now)
	}
	return nil
}

// removeOldMaps takes away maps of other layouts, once no program uses them.
func (d *Datapath) removeOldMaps() error {
	entries, err := os.ReadDir(d.opts.PinDir)
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, e := range entries {
		ours := strings.HasPrefix(e.Name(), "maps-") || strings.HasPrefix(e.Name(), "connections-")
		if !ours || e.Name() == d.abi || e.Name() == d.connections {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.opts.PinDir, e.Name())); err != nil {
			return fmt.Errorf("remove maps of an earlier layout: %w", err)
		}
		d.opts.Log.Info("removed the maps of an earlier version", "directory", e.Name())
	}
	return nil
}

// Close lets go of the kernel objects. What is pinned goes on carrying packets.
func (d *Datapath) Close() error {
	var err error
	if d.settler != nil {
		d.settler.close()
	}
	if d.collector != nil {
		d.collector.close()
	}
	if d.objects != nil {
		err = d.objects.Close()
	}
	d.dev.close()
	return err
}

// Attach has the packets that come out of the port (the node's side of a veth pair) pass the data path. Attaching
// again succeeds. Packets are dropped until tables that have the port are applied.
func (d *Datapath) Attach(port string) error {
	defer d.names.lock(port)()
	index, ok, err := d.dev.index(port)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("attach port %s: there is no such device", port)
	}
	have, attached := d.attachment(port)
	if attached && have.ifindex == index {
		return nil
	}
	if attached { // the device was deleted, and another made with its name
		if err := d.attach.remove(have); err != nil {
			return err
		}
	}
	a := attachment{d.mode, hookPort, index}
	if d.settler != nil {
		a.mode = AttachClsact
	}
	if err := d.attach.attach(a, d.objects.FromContainer); err != nil {
		return err
	}
	d.setAttachment(port, a)
	if d.settler != nil {
		d.settler.add(port)
	}
	return nil
}

// Detach forgets the port. That its device is gone, or that it never was attached, is fine.
func (d *Datapath) Detach(port string) error {
	defer d.names.lock(port)()
	a, ok := d.attachment(port)
	if !ok {
		return nil
	}
	if err := errors.Join(d.attach.remove(a), d.unreflect(a.ifindex)); err != nil {
		return err
	}
	d.portsMu.Lock()
	delete(d.ports, port)
	d.portsMu.Unlock()
	return nil
}

// Drops counts the packets that were dropped since the maps were made, by reason. Every reason is there.
func (d *Datapath) Drops() (map[string]uint64, error) {
	out := make(map[string]uint64, len(d.reasons))
	var perCPU []uint64
	for number, name := range d.reasons {
		if number == 0 {
			continue
		}
		if err := d.objects.Drops.Lookup(uint32(number), &perCPU); err != nil {
			return nil, fmt.Errorf("read the drops for reason %s: %w", name, err)
		}
		var sum uint64
		for _, n := range perCPU {
			sum += n
		}
		out[name] = sum
	}
	return out, nil
}

// PortDrop is where packets were dropped, and why.
type PortDrop struct {
	Port   string // by which it came, or where rules denied it, whose rules they are; the device's name; "": the uplink, or a port that is gone
	Reason string // as in Drops
}

// PortDrops counts the packets that were dropped, by port. Those of the longest ago may be missing:
// Drops has all.
func (d *Datapath) PortDrops() (map[PortDrop]uint64, error) {
	names := map[uint32]string{}
	d.portsMu.Lock()
	for name, a := range d.ports {
		names[a.ifindex] = name
	}
	d.portsMu.Unlock()
	out := map[PortDrop]uint64{}
	var key contivPortDrop
	var packets uint64
	all := d.objects.PortDrops.Iterate()
	for all.Next(&key, &packets) {
		if int(key.Reason) < len(d.reasons) {
			out[PortDrop{names[key.Ifindex], d.reasons[key.Reason]}] += packets
		}
	}
	// While rows come and go a reading may have to begin again; after that, what is there is told.
	if err := all.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read the drops of ports: %w", err)
	}
	return out, nil
}

// Held is what the kernel's tables hold. Revision, the names of nodes, the ids of endpoints, and routes are not there.
func (d *Datapath) Held() (compile.Tables, error) {
	d.applyMu.Lock()
	defer d.applyMu.Unlock()
	r, err := d.read()
	if err != nil {
		return compile.Tables{}, err
	}
	d.held = &r // should somebody else have written, the next Apply mends it
	return decode(r, d.dev.name), nil
}

// Remove takes away every link, program, map and pin below the directory. Containers lose their network. Nothing
// there is fine. It works in the namespace of the calling thread, as Open does.
func Remove(pinDir string) error {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	if _, err := os.Stat(pinDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := checkBPFFS(pinDir); err != nil {
		return err
	}
	dev, err := devicesHere()
	if err != nil {
		return err
	}
	defer dev.close()
	t := attacher{dir: filepath.Join(pinDir, "links"), dev: dev}
	found, err := attachments(t.dir)
	if err != nil {
		return err
	}
	for _, a := range found {
		if err := errors.Join(t.detach(a), t.remove(a)); err != nil {
			return err
		}
	}
	if err := calmWires(t); err != nil {
		return err
	}
	if err := os.RemoveAll(pinDir); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}
