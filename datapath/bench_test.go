// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// BenchmarkKnownFlow is the cost of the program alone for a packet of a known flow to a container of the node.
func BenchmarkKnownFlow(b *testing.B) {
	_, n := oneNode(b, AttachAuto, net4(b, "red", "web", 1, "10.1.1.0/24", ""))
	from, to := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2")
	// Packets of a test run come in by the loopback device.
	must(b, n.dp.Apply(compile.Tables{
		Revision: 1, Networks: []compile.Network{{Tag: 1, Tenant: 1}},
		Ports: []compile.Port{
			{Name: "lo", Tenant: 1, Network: 1, IPv4: from, MAC: model.MACOf(from)}, {Name: "ul0", Tenant: 1, Network: 1, IPv4: to, MAC: model.MACOf(to)},
		},
		Endpoints: []compile.Endpoint{
			{Tenant: 1, Addr: from, Network: 1, MAC: model.MACOf(from), Port: "lo"}, {Tenant: 1, Addr: to, Network: 1, MAC: model.MACOf(to), Port: "ul0"},
		},
	}))
	must(b, n.do(func() error {
		repeat := uint32(max(b.N, 1000))
		const redirect = 7 // TC_ACT_REDIRECT
		options := ebpf.RunOptions{Data: udp4(model.MACOf(from), model.RouterMAC, from, to, 100), Repeat: repeat}
		b.ResetTimer()
		code, err := n.dp.objects.FromContainer.Run(&options)
		if err == nil && code != redirect {
			all, _ := n.dp.Drops()
			b.Errorf("the program returned %d; drops %v", code, nonZero(all))
		}
		return err
	}))
}
