// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// BenchmarkNaming is what a flow costs the agent, in a World of 10,000 endpoints.
func BenchmarkNaming(b *testing.B) {
	c := model.Change{Revision: 1, Reset: true, Put: []model.Object{model.Tenant{Name: "t", Number: 1}}}
	for i := range 100 {
		n := model.Network{Tenant: "t", Name: fmt.Sprint("net", i), Encap: model.EncapVXLAN, Tag: uint32(i + 1)}
		n.IPv4.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)
		c.Put = append(c.Put, n)
		for j := range 100 {
			e := model.Endpoint{ID: fmt.Sprint(i, "-", j), Tenant: "t", Network: n.Name, Node: "one", IPv4: netip.AddrFrom4([4]byte{10, byte(i), 1, byte(j)})}
			c.Put = append(c.Put, e, model.Address{Network: n.Key(), Addr: e.IPv4, Owner: e.ID})
		}
	}
	world := model.World{}.With(c)
	n := naming{world: world}
	for i := 0; b.Loop(); i++ {
		from, to := netip.AddrFrom4([4]byte{10, byte(i % 100), 1, byte(i % 97)}), netip.AddrFrom4([4]byte{10, byte(i % 89), 1, byte(i % 83)})
		f := n.flow(Event{Tenant: 1, From: netip.AddrPortFrom(from, 1), To: netip.AddrPortFrom(to, 2), Protocol: model.ProtocolTCP, Verdict: api.FlowAllowed})
		if f.From.Endpoint == "" || f.To.Endpoint == "" {
			b.Fatalf("%+v", f)
		}
	}
}
