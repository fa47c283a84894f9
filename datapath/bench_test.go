// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// BenchmarkKnownFlow is the cost of the program alone for a packet of a known flow to a container of the node.
func BenchmarkKnownFlow(b *testing.B) {
	_, n := oneNode(b, AttachAuto, net4(b, "red", "web", 1, "10.1.1.0/24", ""))
	from, to := netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2")
	// Packets of a test run come in by the loopback device.
	must(b, n.dp.Apply(compile.Tables{
		Revision: 1, Networks: []compile.Network{{Number: 1, Tenant: 1}},
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

// BenchmarkConnection is the cost of the program alone for a packet of a connection of which policy was asked.
func BenchmarkConnection(b *testing.B) {
	n := newBare(b, 2)
	must(b, n.dp.Apply(n.tables(1, []uint32{0, 7}, []uint32{0, 0}, []uint32{0, 0}, []compile.Verdict{
		{Role: 7, Protocol: unix.IPPROTO_TCP, Port: 80, Allow: true, Priority: 1, Rule: 3},
	})))
	for from, flags := range []byte{syn, syn | ack} {
		ports := []uint16{1000, 80}
		if reason := n.run(b, from, n.packet(from, 1-from, false, unix.IPPROTO_TCP, ports[from], ports[1-from], flags)); reason != "" {
			b.Fatal(reason)
		}
	}
	frame := n.packet(0, 1, false, unix.IPPROTO_TCP, 1000, 80, ack)
	if reason := n.run(b, 0, frame); reason != "" {
		b.Fatal(reason)
	}
	must(b, n.do(func() error {
		context, err := n.context(0)
		if err != nil {
			return err
		}
		b.ResetTimer()
		_, err = n.dp.objects.FromContainer.Run(&ebpf.RunOptions{Data: frame, Context: context, Repeat: uint32(max(b.N, 1000))})
		return err
	}))
}

// BenchmarkRules is the cost of asking, by how many rules there are: a packet that the last of them denies.
func BenchmarkRules(b *testing.B) {
	for _, rules := range []int{1, 100, 1000, 10000} {
		b.Run(strconv.Itoa(rules), func(b *testing.B) {
			n := newBare(b, 2)
			var verdicts []compile.Verdict
			for i := range rules {
				verdicts = append(verdicts, compile.Verdict{Role: 7, Protocol: unix.IPPROTO_TCP, Port: uint16(20000 + i), Priority: 1, Rule: uint32(i + 1)})
			}
			must(b, n.dp.Apply(n.tables(1, []uint32{0, 7}, []uint32{0, 0}, []uint32{5, 0}, verdicts)))
			frame := n.packet(0, 1, false, unix.IPPROTO_TCP, 1000, uint16(20000+rules-1), syn)
			if reason := n.run(b, 0, frame); reason != "policy_in" {
				b.Fatal(reason)
			}
			must(b, n.do(func() error {
				context, err := n.context(0)
				if err != nil {
					return err
				}
				b.ResetTimer()
				_, err = n.dp.objects.FromContainer.Run(&ebpf.RunOptions{Data: frame, Context: context, Repeat: uint32(max(b.N, 1000))})
				return err
			}))
		})
	}
}
