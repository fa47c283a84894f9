// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/netip"
)

// underlayMTU is the MTU of every underlay and of the bare path, in bytes.
const underlayMTU = 1500

// bareVeth is two namespaces joined by nothing but a veth pair: the limit, and, as "underlay", the path between two
// nodes without containers. The latter is the former measured a second time, so it also shows how far noise goes.
type bareVeth struct {
	name string
	ends []*namespace
}

func (b *bareVeth) Name() string { return b.name }

func (b *bareVeth) Up(context.Context, topology) (pair, error) {
	for range 2 {
		n, err := newNamespace()
		if err != nil {
			return pair{}, err
		}
		b.ends = append(b.ends, n)
	}
	if err := join(cable{in: b.ends[0], name: "eth0"}, cable{in: b.ends[1], name: "eth0"}, underlayMTU); err != nil {
		return pair{}, err
	}
	for i, n := range b.ends {
		if err := n.address("eth0", netip.PrefixFrom(containerAddress(i), 16)); err != nil {
			return pair{}, err
		}
	}
	return pair{client: b.ends[0].path(), server: b.ends[1].path(), address: containerAddress(1)}, nil
}

func (b *bareVeth) Down() error {
	for _, n := range b.ends {
		n.close()
	}
	return nil
}

func containerAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 200, 0, byte(i + 1)}) }
func underlayAddress(i int) netip.Addr  { return netip.AddrFrom4([4]byte{192, 168, 77, byte(i + 1)}) }
