// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// infra makes a network of nodes.
func (ms *masters) infra(name, subnet string) {
	ms.t.Helper()
	key := model.NetworkKey(model.DefaultTenant, name)
	if _, err := ms.client.Put(ms.t.Context(), api.ObjectPath(api.Networks, key), api.Network{NwType: model.NetworkInfra, Subnet: subnet}, nil); err != nil {
		ms.t.Fatal(err)
	}
}

// remove removes a network of the default tenant.
func (ms *masters) remove(network string) {
	ms.t.Helper()
	if _, err := ms.client.Delete(ms.t.Context(), api.ObjectPath(api.Networks, model.NetworkKey(model.DefaultTenant, network))); err != nil {
		ms.t.Fatal(err)
	}
}

// addressOf is the IPv4 address that the node has on the device, "" for none.
func addressOf(device string) string {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return ""
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 {
		return ""
	}
	return addrs[0].IPNet.String()
}

func TestNodeHasItsPlaceInAnInfraNetworkForAsLongAsThatIs(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	ms.infra("contivh1", "132.1.1.0/24")
	has := func(want string) {
		t.Helper()
		eventually(t, "the node has address "+want, func() bool { return addressOf("contivh1") == want })
	}
	has("132.1.1.1/24")
	attached := func() bool {
		s.kernel.mu.Lock()
		defer s.kernel.mu.Unlock()
		return s.kernel.ports["vvcontivh1"]
	}
	eventually(t, "all is well", func() bool { return len(a.InfraTrouble()) == 0 && attached() })
	if err := a.Repair(t.Context()); err != nil { // takes it for no leftover
		t.Error(err)
	}
	has("132.1.1.1/24")

	link, err := netlink.LinkByName("contivh1")
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(a.InfraTrouble()) == 0 {
		t.Error("nobody misses the device")
	}
	_, before := s.kernel.held()
	a.MendInfra()
	has("132.1.1.1/24")
	eventually(t, "the data path looks at it anew", func() bool { _, times := s.kernel.held(); return times > before })

	s.stop()
	a = s.ready()
	has("132.1.1.1/24")
	ms.remove("contivh1")
	eventually(t, "the device goes with its network", func() bool { return addressOf("contivh1") == "" && !attached() })

	ms.infra("contivh1", "132.1.1.0/24")
	has("132.1.1.1/24")
	s.stop()
	ms.remove("contivh1")
	s.ready()
	eventually(t, "the device goes whose network went meanwhile", func() bool { return addressOf("contivh1") == "" && !attached() })
}

func TestNodeThatGetsNoPlaceSaysSoAndGoesOn(t *testing.T) {
	ms, s, a := onWeb(t)
	if a == nil {
		return
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "storage"}}); err != nil {
		t.Fatal(err)
	}
	ms.infra("storage", "140.1.1.0/24") // whose name is another device's
	ms.infra("tiny", "141.1.1.0/30")
	eventually(t, "it has a place in the other", func() bool { return addressOf("tiny") == "141.1.1.1/30" })
	eventually(t, "it is told", func() bool { return len(a.InfraTrouble()) == 1 })
	s.attach(a, "e1", "10.1.2.1")
	link, err := netlink.LinkByName("storage")
	if err != nil || link.Type() != "bridge" {
		t.Errorf("the other device is %v, %v", link, err)
	}
	ms.remove("storage")
	eventually(t, "nothing is amiss", func() bool { return len(a.InfraTrouble()) == 0 })
}
