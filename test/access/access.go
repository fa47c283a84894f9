// SPDX-License-Identifier: Apache-2.0

// Package access makes devices the access ports of a switch: ports that are in one VLAN and whose frames have no tag. The switch is
// a bridge, which carries frames with and without tags alike; a machine behind an access port is a plain
// machine in that VLAN. The kernel needs no VLAN devices for it.
package access

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Port makes the device, in the calling thread's namespace, an access port of a VLAN (IEEE 802.1Q; 1 to 4094): what comes in gets its
// tag, what goes out loses it, and frames of other VLANs or without a tag do not go out. It lasts as long as the device.
func Port(device string, vlan uint16) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("add a clsact qdisc to %s: %w", device, err)
	}
	for parent, code := range map[uint32]asm.Instructions{netlink.HANDLE_MIN_INGRESS: tagging(vlan), netlink.HANDLE_MIN_EGRESS: untagging(vlan)} {
		if err := run(link.Attrs().Index, parent, code); err != nil {
			return fmt.Errorf("make %s an access port of VLAN %d: %w", device, vlan, err)
		}
	}
	return nil
}

func run(index int, parent uint32, code asm.Instructions) error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: code})
	if err != nil {
		return err
	}
	defer p.Close() // the filter keeps it
	return netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "access", DirectAction: true,
	})
}

// Offsets in struct __sk_buff (linux/bpf.h), and ETH_P_8021Q in network order on little-endian machines.
const (
	vlanPresent = 20
	vlanTCI     = 24
	tagProtocol = 0x0081

	pass = 0 // TC_ACT_OK
	shot = 2 // TC_ACT_SHOT
)

func tagging(vlan uint16) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R2, tagProtocol),
		asm.Mov.Imm(asm.R3, int32(vlan)),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, pass),
		asm.Return(),
	}
}

func untagging(vlan uint16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, vlanPresent, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "other"),
		asm.LoadMem(asm.R2, asm.R1, vlanTCI, asm.Word),
		asm.And.Imm(asm.R2, 0xfff),
		asm.JNE.Imm(asm.R2, int32(vlan), "other"),
		asm.FnSkbVlanPop.Call(),
		asm.Mov.Imm(asm.R0, pass),
		asm.Return(),
		asm.Mov.Imm(asm.R0, shot).WithSymbol("other"),
		asm.Return(),
	}
}
