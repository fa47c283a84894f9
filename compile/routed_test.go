// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
	"testing"

	"github.com/contivnet/contiv/model"
)

// Where a node speaks BGP, the default tenant's VLANs are routed: their gateway is the node, and they reach each other, but no VXLAN
// network. Others stay VLANs.
func TestVLANsOfTheDefaultTenantAreRoutedWhereANodeSpeaksBGP(t *testing.T) {
	var objects []model.Object
	for _, o := range twoTenants(t) {
		if n, ok := o.(model.Network); ok && n.Name == "db" || ok && n.Tenant == "blue" {
			n.Encap = model.EncapVLAN
			o = n
		}
		objects = append(objects, o)
	}
	dmz := network(t, "default", "dmz", 4, "10.1.10.0/24", "")
	dmz.Encap = model.EncapVLAN
	objects = append(objects, dmz, endpoint("e5", "default", "dmz", "n1", "vvport5", "10.1.10.1"))
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects})
	const want = `node n1 at revision 8
network 1: tenant 1
network routed 0: tenant 1
network routed 3: tenant 1
network routed 4: tenant 1
network vlan 2: tenant 2, bridged, broadcast 10.1.2.255
peer 192.168.2.11: n2
endpoint 1/10.1.2.1: network 1, 02:02:0a:01:02:01, port vvport1
endpoint 1/10.1.2.2: network 1, 02:02:0a:01:02:02, vtep 192.168.2.11
endpoint 1/10.1.9.2: network routed 3, 02:02:0a:01:09:02, port vvport3
endpoint 1/10.1.10.1: network routed 4, 02:02:0a:01:0a:01, port vvport5
endpoint 2/10.1.2.1: network vlan 2, 02:02:0a:01:02:01, port vvport2
port vvport1: tenant 1, network 1, 02:02:0a:01:02:01, 10.1.2.1
port vvport2: tenant 2, network vlan 2, 02:02:0a:01:02:01, 10.1.2.1, bridged
port vvport3: tenant 1, network routed 3, 02:02:0a:01:09:02, 10.1.9.2, gateway 10.1.9.1
port vvport5: tenant 1, network routed 4, 02:02:0a:01:0a:01, 10.1.10.1, route 10.1.9.0/24
outside: 172.19.255.254/16, fd63:6f6e:7469:7600::fffe/112, 02:02:ac:13:ff:fe
subnet 1/10.1.2.0/24
subnet 1/10.1.9.0/24
subnet 1/10.1.10.0/24
subnet 2/10.1.2.0/24
`
	var memo Memo
	before := memo.For(w, "n1")
	spoken := w.With(model.Change{Revision: 8, Put: []model.Object{model.BGP{Node: "n2"}}})
	if got := memo.For(spoken, "n1").String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	silent := spoken.With(model.Change{Revision: 7, Delete: []model.Ref{{Kind: model.KindBGP, Key: "n2"}}})
	if after := memo.For(silent, "n1"); !slices.Equal(after.Networks, before.Networks) {
		t.Errorf("after BGP the networks are %v, and were %v", after.Networks, before.Networks)
	}
}
