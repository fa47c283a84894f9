// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"testing"

	"github.com/contivnet/contiv/model"
)

// A VLAN and a VXLAN network may have the same tag. A VLAN's gateway is on the wire, and no other network is reached but by it.
func TestAVLANIsItsOwnNetworkBesideTheVXLANNetworkOfItsTag(t *testing.T) {
	objects := twoTenants(t)
	for i, o := range objects {
		if n, ok := o.(model.Network); ok && n.Name == "db" {
			n.Encap, n.Tag = model.EncapVLAN, 1
			objects[i] = n
		}
	}
	const want = `node n1 at revision 7
network 1: tenant 1
network 2: tenant 2
network vlan 1: tenant 1, bridged, broadcast 10.1.9.255
peer 192.168.2.11: n2
endpoint 1/10.1.2.1: network 1, 02:02:0a:01:02:01, port vvport1
endpoint 1/10.1.2.2: network 1, 02:02:0a:01:02:02, vtep 192.168.2.11
endpoint 1/10.1.9.2: network vlan 1, 02:02:0a:01:09:02, port vvport3
endpoint 2/10.1.2.1: network 2, 02:02:0a:01:02:01, port vvport2
port vvport1: tenant 1, network 1, 02:02:0a:01:02:01, 10.1.2.1
port vvport2: tenant 2, network 2, 02:02:0a:01:02:01, 10.1.2.1, gateway 10.1.2.254, outside 172.19.0.2
port vvport3: tenant 1, network vlan 1, 02:02:0a:01:09:02, 10.1.9.2, bridged
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
subnet 1/10.1.9.0/24
subnet 2/10.1.2.0/24
`
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects})
	var memo Memo
	if got := memo.For(w, "n1").String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	g := model.DefaultGlobal()
	g.ARPMode = model.ARPFlood
	for _, n := range memo.For(w.With(model.Change{Revision: 8, Put: []model.Object{g}}), "n1").Networks {
		if n.Flooded != (n.Number == VLAN|1) {
			t.Errorf("in ARP mode flood there is %s", n)
		}
	}
}
