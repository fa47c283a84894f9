// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
)

// wires are the uplinks for VLANs. One is used, the others stand by.
type wires struct {
	names []string
	index []uint32 // by name's place
	mtu   int      // the smallest, in bytes; 0: there are no uplinks
}

// wires checks that the devices can carry VLANs. underlay is the one that has the node's own address.
func (d *devices) wires(names []string, underlay string) (wires, error) {
	var w wires
	for _, name := range names {
		link, err := d.nl.LinkByName(name)
		var missing netlink.LinkNotFoundError
		switch {
		case errors.As(err, &missing):
			return w, fmt.Errorf("the uplink %s for VLANs does not exist: name a device of this machine with --vlan-uplinks", name)
		case err != nil:
			return w, fmt.Errorf("find the uplink %s for VLANs: %w", name, err)
		case name == underlay:
			return w, fmt.Errorf("the uplink %s carries the node's own address: give VLANs a device of their own with --vlan-uplinks", name)
		case slices.Contains(w.names, name):
			return w, fmt.Errorf("the uplink %s for VLANs is given twice with --vlan-uplinks: give each device once", name)
		}
		a := link.Attrs()
		if a.EncapType != "ether" {
			return w, fmt.Errorf("the uplink %s for VLANs is not an Ethernet device (%s): name another with --vlan-uplinks", name, a.EncapType)
		}
		w.names, w.index = append(w.names, name), append(w.index, uint32(a.Index))
		if w.mtu == 0 || a.MTU < w.mtu {
			w.mtu = a.MTU
		}
	}
	return w, nil
}

// promiscuousPrefix begins the name of a record, in the links directory, of a device that we made promiscuous.
const promiscuousPrefix = "promiscuous-"

// adoptWires has the uplinks take frames for containers' MACs, which are not their own, and keeps the one in use that was used
// before, where it still is one of them.
func (d *Datapath) adoptWires() error {
	for i, name := range d.wires.names {
		link, err := d.dev.nl.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find the uplink %s for VLANs: %w", name, err)
		}
		if link.Attrs().RawFlags&unix.IFF_PROMISC != 0 {
			continue // by us, or by somebody who will see to it
		}
		record := filepath.Join(d.attach.dir, fmt.Sprint(promiscuousPrefix, d.wires.index[i]))
		if err := os.Mkdir(record, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("record that the uplink %s is promiscuous: %w", name, err)
		}
		if err := d.dev.nl.SetPromiscOn(link); err != nil {
			return fmt.Errorf("have the uplink %s take frames for containers: %w", name, err)
		}
	}
	var used uint32
	if err := d.objects.Uplink.Lookup(uint32(0), &used); err != nil {
		return fmt.Errorf("read which uplink is used: %w", err)
	}
	switch {
	case slices.Contains(d.wires.index, used):
		return nil
	case len(d.wires.index) == 0:
		return d.writeUplink(0)
	}
	return d.writeUplink(d.wires.index[0])
}

// UseUplink has VLANs leave and enter by one of Options.Uplinks; the others stand by. Flows are decided anew.
func (d *Datapath) UseUplink(name string) error {
	i := slices.Index(d.wires.names, name)
	if i < 0 {
		return fmt.Errorf("%s is no uplink for VLANs: they are %v", name, d.wires.names)
	}
	d.applyMu.Lock()
	defer d.applyMu.Unlock()
	if err := d.writeUplink(d.wires.index[i]); err != nil {
		return err
	}
	return d.forgetFlows()
}

// forgetFlows is called with applyMu held.
func (d *Datapath) forgetFlows() error {
	var epoch uint32
	if err := d.objects.Epoch.Lookup(uint32(0), &epoch); err != nil {
		return fmt.Errorf("read the epoch of decisions: %w", err)
	}
	epoch = nextEpoch(epoch)
	if d.held != nil {
		d.held.epoch = epoch
	}
	return d.writeEpoch(epoch)
}

func (d *Datapath) writeUplink(index uint32) error {
	if err := d.objects.Uplink.Put(uint32(0), index); err != nil {
		return fmt.Errorf("write which uplink is used: %w", err)
	}
	return nil
}

// calmWires undoes what adoptWires did to devices.
func calmWires(t attacher) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list what is attached: %w", err)
	}
	for _, e := range entries {
		var index int
		if _, err := fmt.Sscanf(e.Name(), promiscuousPrefix+"%d", &index); err != nil {
			continue
		}
		err := t.dev.nl.SetPromiscOff(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: index}})
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("have device %d take frames for itself only: %w", index, err)
		}
	}
	return nil
}

// maxMembers is MEMBERS of abi.h.
const maxMembers = 128

// vlanPorts are the rows by which a frame that is for a MAC, or for all, finds a VLAN's ports on this node.
func vlanPorts(ports []compile.Port, ifindex map[string]uint32) (map[contivStationKey]uint32, map[contivMemberKey]uint32) {
	stations, members := map[contivStationKey]uint32{}, map[contivMemberKey]uint32{}
	places := map[uint32]uint32{}
	for _, p := range ports {
		i, ok := ifindex[p.Name]
		if !ok || p.Network&compile.VLAN == 0 {
			continue
		}
		stations[contivStationKey{Network: p.Network, Mac: p.MAC}] = i
		if place := places[p.Network]; place < maxMembers {
			members[contivMemberKey{Network: p.Network, Place: place}] = i
			places[p.Network]++
		}
	}
	return stations, members
}
