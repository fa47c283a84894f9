// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/contivnet/contiv/compile"
)

// stickyLab is a client of clusterWeb and pods that provide it, whose names are their containers' ids.
type stickyLab struct {
	*node
	t      *testing.T
	client *container
	pods   []*container
}

// newStickyLab makes a lab with so many pods. None provides the service yet.
func newStickyLab(t *testing.T, pods int) stickyLab {
	t.Helper()
	c, n := oneNode(t, AttachAuto, redWeb(t))
	lab := stickyLab{node: n, t: t, client: n.startDual(1)}
	for i := range pods {
		p := n.startDual(10 + i).pod()
		p.provide(p.endpoint.ID)
		lab.pods = append(lab.pods, p)
	}
	c.apply()
	return lab
}

// service has some pods provide the service, and its clients remembered for so many seconds.
func (l stickyLab) service(seconds int, pods ...*container) {
	l.t.Helper()
	s := clusterWeb()
	s.Affinity = seconds
	l.c.put(s)
	l.c.put(providedBy(pods...)...)
	l.c.apply()
}

// meets opens connections until the client has met somebody so often, and gives whom.
func (l stickyLab) meets(client *container, to netip.AddrPort, times int) map[string]int {
	l.t.Helper()
	out := map[string]int{}
	for range times {
		conn, name, _ := client.greeting(to)
		conn.Close()
		out[name]++
	}
	return out
}

// met is the one that the client meets at ten connections.
func (l stickyLab) met(to netip.AddrPort) string {
	l.t.Helper()
	all := l.meets(l.client, to, 10)
	if len(all) != 1 {
		l.t.Errorf("one client met %v at %s", all, to)
	}
	for name := range all {
		return name
	}
	return ""
}

// silence has all clients' last connections be so much longer ago.
func (l stickyLab) silence(d time.Duration) {
	l.t.Helper()
	rows := map[contivClientKey]contivClient{}
	must(l.t, eachRow(l.dp.objects.Clients, func(k contivClientKey, c contivClient) error { rows[k] = c; return nil }))
	for k, c := range rows {
		c.Seen -= uint64(d)
		must(l.t, l.dp.objects.Clients.Put(k, c))
	}
}

// settle has the client be remembered with somebody to whom its address alone would not lead.
func (l stickyLab) settle(to netip.AddrPort, seconds int) string {
	l.t.Helper()
	_, p, ok := l.tables().Choose(l.tables().Ports[0].Tenant, 6, netip.AddrPortFrom(l.addressLike(to), 1), to)
	if !ok {
		l.t.Fatalf("nobody provides %s", to)
	}
	for range 50 {
		l.silence(time.Duration(seconds+1) * time.Second)
		if who := l.met(to); who != p.Endpoint {
			return who
		}
	}
	l.t.Fatalf("50 times free to choose, the client met %s", p.Endpoint)
	return ""
}

// addressLike is the client's of the same family.
func (l stickyLab) addressLike(to netip.AddrPort) netip.Addr {
	if to.Addr().Is4() {
		return l.client.endpoint.IPv4
	}
	return l.client.endpoint.IPv6
}

func (l stickyLab) without(id string) (out []*container) {
	for _, p := range l.pods {
		if p.endpoint.ID != id {
			out = append(out, p)
		}
	}
	return out
}

func TestClientMeetsTheProviderThatItMetLastAsLongAsThatTakesConnections(t *testing.T) {
	t.Parallel()
	l := newStickyLab(t, 6)
	const hour = 3600
	l.service(hour, l.pods[:3]...)
	for _, to := range clusterAt(80) {
		l.service(hour, l.pods[:3]...)
		who := l.settle(to, hour)
		l.silence((hour - 60) * time.Second)
		same := func(when string) {
			t.Helper()
			if now := l.met(to); now != who {
				t.Errorf("%s, %s: the client met %s, and now %s", to, when, who, now)
			}
		}
		same("shortly before its time is over")
		l.service(hour, l.pods...)
		same("others provide it too")
		must(t, l.dp.Close())
		l.open()
		must(t, l.dp.Apply(l.tables()))
		same("netplugin was started again")

		l.service(hour, l.without(who)...)
		next := l.met(to)
		if next == who {
			t.Errorf("%s: the client meets %s, which provides it no more", to, who)
		}
		l.service(hour, l.pods...)
		who = next
		same("the one before is back")

		l.service(0, l.pods...)
		if met := l.meets(l.client, to, 40); len(met) < 2 {
			t.Errorf("%s without affinity: %v", to, met)
		}
	}
}

func TestClientIsFreeAgainAfterItsTime(t *testing.T) {
	t.Parallel()
	l := newStickyLab(t, 3)
	const hour = 3600
	l.service(hour, l.pods...)
	for _, to := range clusterAt(80) {
		all := map[string]bool{}
		for range 100 {
			all[l.met(to)] = true
			if len(all) == len(l.pods) {
				break
			}
			l.silence((hour + 1) * time.Second)
		}
		if len(all) != len(l.pods) {
			t.Errorf("%s: 100 times free to choose, a client met only %v", to, all)
		}
	}

	// By the clock, with a time that is changed meanwhile.
	l.service(1, l.pods...)
	first := ""
	for i := range 20 {
		conn, name, _ := l.client.greeting(clusterAt(80)[0])
		conn.Close()
		if i == 0 {
			first = name
		} else if name != first {
			return
		}
		time.Sleep(1100 * time.Millisecond) // what is tested is silence
	}
	t.Error("a client that is silent for longer than its time meets the same provider 20 times")
}

func TestClientsAreRememberedOneByOne(t *testing.T) {
	t.Parallel()
	l := newStickyLab(t, 2)
	const hour = 3600
	l.service(hour, l.pods...)
	other := l.startDual(100)
	l.c.apply()
	to := clusterAt(80)[0]
	who := l.met(to)
	for range 50 { // until the two meet different ones
		met := l.meets(other, to, 1)
		if met[who] == 0 {
			break
		}
		l.silence((hour + 1) * time.Second)
		who = l.met(to)
	}
	if met := l.meets(other, to, 10); len(met) != 1 || met[who] != 0 {
		t.Errorf("one client meets %s, and another one %v", who, met)
	}
	if now := l.met(to); now != who {
		t.Errorf("the client met %s, and now %s", who, now)
	}
}

func TestManyClientsTakeNoMoreRoomAndNewOnesAreRemembered(t *testing.T) {
	t.Parallel()
	l := newStickyLab(t, 3)
	const hour = 3600
	l.service(hour, l.pods...)
	room := int(l.dp.objects.Clients.MaxEntries())
	now, err := clockAfter(0)
	must(t, err)
	for i := range room + room/2 {
		k := contivClientKey{Tenant: 1000, Service: uint32(i), Address: netip.MustParseAddr("10.1.1.1").As16()}
		must(t, l.dp.objects.Clients.Put(k, contivClient{Seen: now, Provider: 1}))
	}
	for _, to := range clusterAt(80) {
		who := l.settle(to, hour)
		if again := l.met(to); again != who {
			t.Errorf("%s: a client that came after many met %s, and then %s", to, who, again)
		}
	}
	n := 0
	must(t, eachRow(l.dp.objects.Clients, func(contivClientKey, contivClient) error { n++; return nil }))
	if n > room {
		t.Errorf("%d clients are remembered, and there is room for %d", n, room)
	}
}

func TestAffinityIsHeldAsItWasApplied(t *testing.T) {
	t.Parallel()
	l := newStickyLab(t, 1)
	for _, seconds := range []int{0, 1, 86400} {
		l.service(seconds, l.pods...)
		s := web()
		s.Affinity = true
		l.c.put(s)
		l.c.apply()
		held, err := l.dp.Held()
		must(t, err)
		if diff := Differences(l.tables(), held); len(diff) > 0 {
			t.Error(diff)
		}
		var seen []string
		for _, s := range held.Services {
			seen = append(seen, fmt.Sprint(s.Affinity))
			if want := uint32(seconds); s.Affinity != want && s.Affinity != compile.Endless {
				t.Errorf("%s, want an affinity of %d s", s, want)
			}
		}
		if len(seen) < 2 {
			t.Errorf("only %v are held", seen)
		}
	}
}
