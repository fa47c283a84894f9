// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

// liveHeap is what is in use, in bytes.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// dockerEndpoint is the i-th endpoint and its address as they come from the store: 64 digits for each id, as Docker makes.
func dockerEndpoint(t *testing.T, i int) []Object {
	t.Helper()
	a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	e := Endpoint{
		ID: fmt.Sprintf("%064x", i), Tenant: "default", Network: "net", Group: "web", Node: fmt.Sprintf("node%d", i%1000), Port: fmt.Sprintf("vvport%d", i%100),
		IPv4: a, MAC: MACOf(a), Runtime: "docker", Container: fmt.Sprintf("%064x", i+1<<32), Name: fmt.Sprintf("quiet-swartz-%d", i),
	}
	var decoded []Object
	for _, o := range []Object{e, Address{Network: e.NetworkKey(), Addr: a, Owner: e.ID}} {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode(o.Kind(), b)
		if err != nil {
			t.Fatal(err)
		}
		decoded = append(decoded, d)
	}
	return decoded
}

// The limit is 1 KiB an endpoint in a master or an agent, which have more than the World. Not parallel: it measures the process.
func TestEndpointTakes700BytesOfAWorld(t *testing.T) {
	const count = 50_000
	before := liveHeap()
	var w World
	for i := range count { // one at a time, as they come in life: lists that grow so have no room to spare
		w = w.With(Change{Revision: int64(i + 1), Put: dockerEndpoint(t, i)})
	}
	each := (liveHeap() - before) / count
	runtime.KeepAlive(w)
	t.Logf("%d bytes an endpoint, its address included", each)
	if each > 730 {
		t.Errorf("an endpoint and its address take %d bytes, want at most 730", each)
	}
	w = World{}
	before = liveHeap()
	c := Change{Revision: 1, Reset: true}
	for i := range count {
		c.Put = append(c.Put, dockerEndpoint(t, i)...)
	}
	w = w.With(c)
	c = Change{}
	each = (liveHeap() - before) / count
	runtime.KeepAlive(w)
	t.Logf("%d bytes an endpoint of a World that came whole", each)
	if each > 730 {
		t.Errorf("an endpoint and its address take %d bytes of a World that came whole, want at most 730", each)
	}
}
