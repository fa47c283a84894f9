// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

// redirect is the raw underlay as containers can have it at best: eBPF that sends all that a container sends to the underlay, and all
// that comes from there to the container, and looks at nothing. What a network costs above it is the network's.
type redirect struct{ all []*namespace }

func (r *redirect) Name() string { return "redirect" }

func (r *redirect) Down() error {
	for _, n := range r.all {
		n.close()
	}
	return nil
}

func (r *redirect) Up(context.Context, topology) (pair, error) {
	for range 4 {
		n, err := newNamespace()
		if err != nil {
			return pair{}, err
		}
		r.all = append(r.all, n)
	}
	hosts, containers := r.all[:2], r.all[2:]
	if err := underlay(hosts, netip.PrefixFrom(underlayAddress(0), 24), netip.PrefixFrom(underlayAddress(1), 24)); err != nil {
		return pair{}, err
	}
	for i, h := range hosts {
		const port = "veth0"
		if err := join(cable{in: h, name: port}, cable{in: containers[i], name: "eth0", mac: containerMAC(i)}, underlayMTU); err != nil {
			return pair{}, err
		}
		if err := containers[i].address("eth0", netip.PrefixFrom(containerAddress(i), 24)); err != nil {
			return pair{}, err
		}
		err := netdev.Do(h.path(), func() error {
			if err := shortcut(port, underlayLink, asm.FnRedirect); err != nil {
				return err
			}
			return shortcut(underlayLink, port, asm.FnRedirectPeer)
		})
		if err != nil {
			return pair{}, err
		}
	}
	return pair{client: containers[0].path(), server: containers[1].path(), address: containerAddress(1)}, nil
}

// shortcut has all that comes in by a device of the calling thread's namespace go on by another, or to its peer.
func shortcut(from, to string, how asm.BuiltinFunc) error {
	source, err := net.InterfaceByName(from)
	if err != nil {
		return fmt.Errorf("find %s: %w", from, err)
	}
	target, err := net.InterfaceByName(to)
	if err != nil {
		return fmt.Errorf("find %s: %w", to, err)
	}
	const packetHost = 0 // linux/if_packet.h: it was for another MAC than the device's
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R2, packetHost),
		asm.FnSkbChangeType.Call(),
		asm.Mov.Imm(asm.R1, int32(target.Index)),
		asm.Mov.Imm(asm.R2, 0),
		how.Call(),
		asm.Return(),
	}})
	if err != nil {
		return fmt.Errorf("load a redirect: %w", err)
	}
	defer p.Close() // the filter keeps it
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: source.Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return fmt.Errorf("add a clsact qdisc to %s: %w", from, err)
	}
	err = netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: source.Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
		Fd:          p.FD(), Name: "redirect", DirectAction: true,
	})
	if err != nil {
		return fmt.Errorf("attach a redirect to %s: %w", from, err)
	}
	return nil
}
