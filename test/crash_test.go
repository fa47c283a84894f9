// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/test/cluster"
)

// How long masters die, and the seed that makes a run again, from the environment.
const (
	crashTime = "CONTIV_TEST_CRASH"
	crashSeed = "CONTIV_TEST_SEED"
)

func TestKilledMastersWithTheirOwnStoreGiveNothingTwiceAndLoseNothing(t *testing.T) {
	crash(t, false)
}

func TestKilledMastersAndEtcdsGiveNothingTwiceAndLoseNothing(t *testing.T) {
	crash(t, true)
}

const (
	crowd    = 64 // clients that make and delete endpoints
	fillers  = 70 // the number of the first client that only makes
	subnet   = "10.1.0.0/22"
	room     = 1022 - 1 // endpoints, beside the gateway
	lowVLAN  = 100      // so many that they run out
	highVLAN = 115
)

func crash(t *testing.T, external bool) {
	t.Parallel()
	limit, seed := 10*time.Second, rand.Uint64()
	if text := os.Getenv(crashTime); text != "" {
		var err error
		if limit, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", crashTime, err)
		}
	}
	if text := os.Getenv(crashSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", crashSeed, err)
		}
	}
	t.Logf("%s=%d makes the same choices again", crashSeed, seed)
	s := newSite(t, external)
	h := follow(t, s.etcd)
	s.put(api.Globals, "global", api.Global{Name: "global", Vlans: fmt.Sprintf("%d-%d", lowVLAN, highVLAN)})
	s.put(api.Networks, "default:net", api.Network{TenantName: "default", NetworkName: "net", Subnet: subnet, Gateway: "10.1.3.254"})
	s.put(api.Nodes, "n1", api.Node{VtepIP: netip.MustParseAddr("192.168.2.10"), VXLANPort: 4789})

	d := &drive{site: s, acked: map[string]string{}, held: map[string]string{}}
	for i := range s.masters { // each list begins with another
		d.clients = append(d.clients, s.client(append(slices.Clone(s.masters[i:]), s.masters[:i]...)...))
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit+3*time.Minute)
	defer cancel()
	dying, over := context.WithTimeout(ctx, limit)
	defer over()
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() { d.run(ctx, dying, rand.New(rand.NewPCG(seed, uint64(i))), i, endpointsOf) })
	}
	for i, of := range []func(int) craft{vlansOf, vlansOf, vlansOf, groupsOf, groupsOf, groupsOf, tenantsOf, tenantsOf} {
		all.Go(func() { d.run(ctx, dying, rand.New(rand.NewPCG(seed, uint64(crowd+i))), i, of) })
	}
	s.murder(dying, rand.New(rand.NewPCG(seed, 1<<32)))
	all.Wait()
	s.ready()
	d.report(t, h)
	d.agree(t, h)

	// Full, and no fuller.
	for _, what := range []struct {
		of   func(int) craft
		kind string
		room int
		says string
	}{{endpointsOf, api.Endpoints, room, "no address is free"}, {vlansOf, api.Networks, highVLAN - lowVLAN + 1, "no vlans available"}} {
		var refused atomic.Int64
		for i := range crowd {
			all.Go(func() {
				c := what.of(fillers + i)
				for n := range what.room + 1 { // one client alone could fill it
					if !d.make(ctx, c, n) {
						refused.Add(1)
						return
					}
				}
			})
		}
		all.Wait()
		if refused.Load() != crowd {
			t.Errorf("%d of %d clients were refused in the end", refused.Load(), crowd)
		}
		if n := d.count(what.kind); n != what.room {
			t.Errorf("there are %d %s where %d have room", n, what.kind, what.room)
		}
		for i, m := range s.masters {
			c := what.of(fillers - 1)
			if _, err := s.client(m).Put(ctx, api.ObjectPath(c.plural, c.key(i)), c.object(i), nil); !errors.Is(err, model.ErrInUse) || !strings.Contains(err.Error(), what.says) {
				t.Errorf("%s, of one %s too many: %v", m.name, what.kind, err)
			}
		}
	}
	d.agree(t, h)

	// Empty.
	d.mu.Lock()
	left := slices.Collect(maps.Keys(d.acked))
	d.mu.Unlock()
	slices.Sort(left) // endpoints and groups go before networks and tenants
	for _, plural := range []string{api.Endpoints, api.EndpointGroups, api.Networks, api.Tenants} {
		todo := make(chan string, len(left))
		for _, id := range left {
			if strings.HasPrefix(id, plural+"/") {
				todo <- id
			}
		}
		close(todo)
		for range crowd {
			all.Go(func() {
				for id := range todo {
					d.unmake(ctx, id)
				}
			})
		}
		all.Wait()
	}
	d.agree(t, h)
	for key := range h.whole() {
		rest := strings.TrimPrefix(key, keysRoot)
		if !slices.Contains([]string{"tenant/default", "network/default:net", "address/default:net/10.1.3.254", "global/global", "node/n1", "known/n1", "alive/n1"}, rest) {
			t.Errorf("in the end there is %s", rest)
		}
	}
}

// murder kills and starts until the time is over; then everything is up.
func (s *site) murder(ctx context.Context, random *rand.Rand) {
	s.t.Helper()
	kills := 0
	for ctx.Err() == nil {
		victims := s.all()
		random.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		// Mostly one; now and then so many that there is no majority.
		n := 1
		if random.IntN(4) == 0 {
			n = 2 + random.IntN(len(victims)-1)
		}
		lifetime, death := time.Duration(random.IntN(1500))*time.Millisecond, time.Duration(random.IntN(600))*time.Millisecond
		pace(ctx, lifetime)
		for _, v := range victims[:n] {
			v.kill()
			kills++
		}
		pace(ctx, death)
		for _, v := range victims[:n] {
			if err := v.start(); err != nil {
				s.t.Error(err)
			}
		}
		s.revive()
	}
	s.t.Logf("%d times a process was killed", kills)
}

// pace is for how long something is left as it is.
func pace(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// craft is what a client makes and deletes.
type craft struct {
	plural string
	most   int // at a time
	key    func(n int) string
	object func(n int) any
}

func endpointsOf(client int) craft {
	return craft{api.Endpoints, 24, func(n int) string { return fmt.Sprintf("e-%d-%d", client, n) }, func(int) any {
		return api.Endpoint{TenantName: "default", NetworkName: "net", HomingHost: "n1"}
	}}
}

func vlansOf(client int) craft {
	return craft{api.Networks, 8, func(n int) string { return fmt.Sprintf("default:v-%d-%d", client, n) }, func(n int) any {
		// Of a kind that no other overlaps.
		return api.Network{Encap: model.EncapVLAN, Subnet: fmt.Sprintf("10.%d.%d.%d/28", 100+client, n>>4&255, n&15<<4)}
	}}
}

func groupsOf(client int) craft {
	return craft{api.EndpointGroups, 8, func(n int) string { return fmt.Sprintf("default:g-%d-%d", client, n) }, func(int) any {
		return api.EndpointGroup{NetworkName: "net"}
	}}
}

func tenantsOf(client int) craft {
	return craft{api.Tenants, 8, func(n int) string { return fmt.Sprintf("t-%d-%d", client, n) }, func(int) any { return api.Tenant{} }}
}

// drive is what all clients did and were told.
type drive struct {
	*site
	clients []*api.Client
	mu      sync.Mutex
	acked   map[string]string // plural/key → address, "" where it has none: acknowledged and not deleted
	held    map[string]string // address → plural/key
	took    []time.Duration   // of an acknowledged write, with all its tries
	writes  int
	refused int
	again   int // tries of which nobody knows what came
}

// run makes and deletes until the time is over, and then finishes what it began.
func (d *drive) run(ctx, until context.Context, random *rand.Rand, client int, of func(int) craft) {
	c := of(client)
	var mine []string
	for n := 0; until.Err() == nil && ctx.Err() == nil; n++ {
		if len(mine) < c.most && (len(mine) == 0 || random.IntN(5) < 3) {
			if d.make(ctx, c, n) {
				mine = append(mine, c.plural+"/"+c.key(n))
			}
			continue
		}
		i := random.IntN(len(mine))
		d.unmake(ctx, mine[i])
		mine = slices.Delete(mine, i, i+1)
	}
}

// make is whether the object is there. It tries until a master says so.
func (d *drive) make(ctx context.Context, c craft, n int) bool {
	id := c.plural + "/" + c.key(n)
	var out struct{ IPv4Address string }
	unsure := false
	began := time.Now()
	for {
		err := d.try(ctx, n, func(ctx context.Context, client *api.Client) error {
			_, err := client.Put(ctx, api.ObjectPath(c.plural, c.key(n)), c.object(n), &out)
			return err
		})
		switch {
		case err == nil:
			d.mu.Lock()
			defer d.mu.Unlock()
			if other, twice := d.held[out.IPv4Address]; twice && out.IPv4Address != "" {
				d.t.Errorf("%s is acknowledged for %s and for %s", out.IPv4Address, other, id)
			}
			d.acked[id], d.held[out.IPv4Address] = out.IPv4Address, id
			d.writes++
			d.took = append(d.took, time.Since(began))
			return true
		case ctx.Err() != nil:
			d.t.Errorf("%s: out of time: %v", id, err)
			return false
		case gone(err):
			unsure = true
		case !errors.Is(err, model.ErrInUse):
			d.t.Errorf("make %s: %v", id, err)
			return false
		default: // there is no room
			d.mu.Lock()
			d.refused++
			d.mu.Unlock()
			if unsure { // or an earlier try took the last
				d.unmake(ctx, id)
			}
			return false
		}
	}
}

// unmake deletes the object and tries until a master says that it is not there.
func (d *drive) unmake(ctx context.Context, id string) {
	plural, key, _ := strings.Cut(id, "/")
	d.mu.Lock()
	delete(d.held, d.acked[id])
	delete(d.acked, id)
	d.mu.Unlock()
	began := time.Now()
	for {
		err := d.try(ctx, len(id), func(ctx context.Context, client *api.Client) error {
			_, err := client.Delete(ctx, api.ObjectPath(plural, key))
			return err
		})
		switch {
		case err == nil:
			d.mu.Lock()
			defer d.mu.Unlock()
			d.writes++
			d.took = append(d.took, time.Since(began))
			return
		case ctx.Err() != nil || !gone(err):
			d.t.Errorf("delete %s: %v", id, err)
			return
		}
	}
}

// try asks the masters once, another one first each time.
func (d *drive) try(ctx context.Context, first int, ask func(context.Context, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	err := ask(ctx, d.clients[first%len(d.clients)])
	if gone(err) {
		d.mu.Lock()
		d.again++
		d.mu.Unlock()
		pace(ctx, 20*time.Millisecond)
	}
	return err
}

func (d *drive) count(plural string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.acked {
		if strings.HasPrefix(id, plural+"/") && id != api.Networks+"/default:net" {
			n++
		}
	}
	return n
}

func (d *drive) report(t *testing.T, h *history) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.took)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(d.took) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	t.Logf("%d writes acknowledged (half within %s, 99%% within %s, the slowest %s), %d refused for lack of room, %d tries without an answer; etcd has had %d events",
		d.writes, d.took[len(d.took)/2].Round(time.Millisecond), d.took[len(d.took)*99/100].Round(time.Millisecond), d.took[len(d.took)-1].Round(time.Millisecond), d.refused, d.again, h.events)
}

// agree compares what was acknowledged with what each master says and with what etcd has, from the start on.
func (d *drive) agree(t *testing.T, h *history) {
	t.Helper()
	d.mu.Lock()
	want := map[string]string{"networks/default:net": "", "tenants/default": ""}
	maps.Copy(want, d.acked)
	d.mu.Unlock()
	got := map[string]string{}
	addresses := 0
	for key, r := range h.whole() {
		kind, name, _ := strings.Cut(strings.TrimPrefix(key, keysRoot), "/")
		switch kind {
		case "endpoint", "network", "tenant":
			got[kind+"s/"+name] = string(r.IPv4)
		case "group":
			got[api.EndpointGroups+"/"+name] = ""
		case "address":
			addresses++
		}
	}
	differ(t, "etcd", want, got)
	if n := d.count(api.Endpoints) + 1; addresses != n {
		t.Errorf("etcd has %d addresses for %d endpoints and a gateway", addresses, n-1)
	}
	for _, m := range d.masters {
		err := cluster.Eventually(t.Context(), patience, func() error {
			got, err := listed(t.Context(), d.client(m))
			if err == nil && !maps.Equal(got, want) {
				err = fmt.Errorf("it lists %d objects, %d were acknowledged", len(got), len(want))
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		var in api.NetworkInspect
		if err := d.client(m).Get(t.Context(), api.InspectPath(api.Networks, "default:net"), &in); err != nil || in.Oper.AllocatedAddressesCount != addresses-1 {
			t.Errorf("%s says that %d addresses are given, etcd has %d: %v", m.name, in.Oper.AllocatedAddressesCount, addresses-1, err)
		}
	}
}

func differ(t *testing.T, who string, want, got map[string]string) {
	t.Helper()
	shown := 0
	for id, addr := range want {
		if have, there := got[id]; (!there || have != addr) && shown < 10 {
			shown++
			t.Errorf("lost: %s %q was acknowledged, %s has %q (%v)", id, addr, who, have, there)
		}
	}
	for id, addr := range got {
		if _, there := want[id]; !there && shown < 20 {
			shown++
			t.Errorf("leaked: %s has %s %q, which was deleted or never acknowledged", who, id, addr)
		}
	}
}

func listed(ctx context.Context, c *api.Client) (map[string]string, error) {
	out := map[string]string{}
	for _, plural := range []string{api.Endpoints, api.Networks, api.EndpointGroups, api.Tenants} {
		var list []struct{ Key, IPv4Address string }
		if err := c.Get(ctx, api.ListPath(plural), &list); err != nil {
			return nil, err
		}
		for _, o := range list {
			out[plural+"/"+o.Key] = o.IPv4Address
		}
	}
	return out, nil
}
