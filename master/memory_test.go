// SPDX-License-Identifier: Apache-2.0

package master

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/contivnet/contiv/model"
)

// An endpoint may take 1 KiB of a master: of its World, of what is derived from that, and of what is kept for watchers. Not
// parallel: it measures the process.
func TestEndpointTakes800BytesOfAMaster(t *testing.T) {
	const count = 50_000
	heap := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	decoded := func(o model.Object) model.Object {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		d, err := model.Decode(o.Kind(), b)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := heap()
	l := newLedger(New(Options{}).Backlog)
	for i := range count {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		e := model.Endpoint{
			ID: fmt.Sprintf("%064x", i), Tenant: "default", Network: "net", Group: "web", Node: fmt.Sprintf("node%d", i%1000), Port: fmt.Sprintf("vvport%d", i%100),
			IPv4: a, MAC: model.MACOf(a), Runtime: "docker", Container: fmt.Sprintf("%064x", i+1<<32), Name: fmt.Sprintf("quiet-swartz-%d", i),
		}
		if err := l.apply(model.Change{Revision: int64(i + 1), Put: []model.Object{
			decoded(model.Address{Network: e.NetworkKey(), Addr: a, Owner: e.ID}), decoded(e),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / count
	runtime.KeepAlive(l)
	t.Logf("%d bytes an endpoint", each)
	if each > 800 {
		t.Errorf("an endpoint takes %d bytes of a master, want at most 800", each)
	}
}

func TestDerivedMACIsFoundByItsAddress(t *testing.T) {
	t.Parallel()
	v4, v6 := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("2001:db8::a01:203")
	chosen := model.MAC{0x06, 1, 2, 3, 4, 5}
	l := newLedger(1)
	c := model.Change{Revision: 1, Reset: true}
	for id, e := range map[string]model.Endpoint{
		"four": {IPv4: v4, MAC: model.MACOf(v4)},
		"six":  {IPv6: v6, MAC: model.MACOf(v6)},
		"own":  {IPv4: v4.Next(), MAC: chosen},
	} {
		e.ID, e.Tenant, e.Network = id, "default", "net"
		c.Put = append(c.Put, e)
		for _, a := range e.Addrs() {
			c.Put = append(c.Put, model.Address{Network: e.NetworkKey(), Addr: a, Owner: id})
		}
	}
	if err := l.apply(c); err != nil {
		t.Fatal(err)
	}
	for mac, want := range map[model.MAC]string{
		model.MACOf(v4): "four", model.MACOf(v6): "six", chosen: "own",
		model.MACOf(v4.Next()): "", // that address's endpoint has another
	} {
		if got := l.macOwner("default:net", mac); got != want {
			t.Errorf("%s is %q's, want %q", mac, got, want)
		}
		if got := l.macOwner("default:other", mac); got != "" {
			t.Errorf("%s is %q's in another network", mac, got)
		}
	}
}
