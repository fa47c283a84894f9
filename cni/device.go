// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net"
	"net/netip"

	"github.com/contivnet/contiv/agent"
	"github.com/contivnet/contiv/model"
)

// device is how the container should see the endpoint.
func device(e model.Endpoint, n model.Network, name string) agent.Device {
	d := agent.Device{Name: name, MAC: e.MAC}
	for _, a := range e.Addrs() {
		p := n.Pool(a)
		d.Addrs = append(d.Addrs, netip.PrefixFrom(a, p.Prefix.Bits()))
		if p.Gateway.IsValid() {
			d.Gateways = append(d.Gateways, p.Gateway)
		}
	}
	return d
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is what package net writes as an IPNet, of either length; the zero Prefix for what is none.
func prefixOf(n net.IPNet) netip.Prefix {
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if !ok {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a.Unmap(), bits)
}
