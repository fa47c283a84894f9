// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// crowd is some clients of one family outside a town.
type crowd struct {
	town
	from    netip.Prefix
	service netip.AddrPort
	a, b    netip.AddrPort // the pods of the family
}

// crowds are those of a new town, one for each family.
func crowds(t *testing.T) []crowd {
	t.Helper()
	w := newTown(t)
	out := []crowd{
		{w, netip.MustParsePrefix("198.18.0.0/24"), netip.MustParseAddrPort("10.96.0.8:80"), podA, podB},
		{w, netip.MustParsePrefix("2001:db8:18::/64"), netip.MustParseAddrPort("[fd96::8]:80"), podA6, podB6},
	}
	for _, c := range out {
		in(t, w.outside, func() error { return os.WriteFile("/proc/sys/net/ipv6/ip_nonlocal_bind", []byte("1"), 0) })
		cmd := exec.Command("ip", "-n", strings.TrimPrefix(w.outside, "/run/netns/"), "route", "add", "local", c.from.String(), "dev", "lo")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return out
}

// entrance is the crowd's service with an affinity of so many seconds.
func (c crowd) entrance(seconds uint32, to ...netip.AddrPort) Entrance {
	e := entrance(c.service.String(), unix.IPPROTO_TCP, to...)
	e.Affinity = seconds
	return e
}

// client is one of the crowd.
func (c crowd) client(i int) netip.Addr {
	a := c.from.Addr()
	for range i + 1 {
		a = a.Next()
	}
	return a
}

const crowdSize = 24

// meets has each of the crowd ask once, and gives whom it met.
func (c crowd) meets() map[netip.Addr]string {
	c.t.Helper()
	out := map[netip.Addr]string{}
	for i := range crowdSize {
		client := c.client(i)
		answer, err := c.ask(c.outside, "tcp", client.String(), c.service.String(), patience)
		if err != nil {
			c.t.Fatalf("%s at %s: %v", client, c.service, err)
		}
		who, seen, _ := strings.Cut(answer, " ")
		if seen != client.String() {
			c.t.Errorf("%s is seen as %s", client, seen)
		}
		out[client] = who
	}
	return out
}

// change has the node change from one firewall to another.
func (w town) change(was, is Firewall) Firewall {
	w.t.Helper()
	in(w.t, w.node, func() error { return is.Change(was) })
	return is
}

// remembers are the rows of clients that a node has, by their map.
func (w town) remembers(f Firewall) (out map[string][]nftables.SetElement) {
	w.t.Helper()
	in(w.t, w.node, func() error {
		c, err := openNetfilter()
		if err != nil {
			return err
		}
		t := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
		out, err = remembered(c, t, f.sets(t))
		return err
	})
	return out
}

func TestClientsOfTheNodesStackMeetTheSameTargetAsLongAsItTakesConnections(t *testing.T) {
	t.Parallel()
	for _, c := range crowds(t) {
		f := firewallWith(c.entrance(3600, c.a, c.b))
		in(t, c.node, f.Load)
		first := c.meets()
		met := map[string]int{}
		for _, who := range first {
			met[who]++
		}
		if met["a"] == 0 || met["b"] == 0 {
			t.Errorf("%d clients met %v", crowdSize, met)
		}
		same := func(when string) {
			t.Helper()
			if again := c.meets(); !maps.Equal(again, first) {
				t.Errorf("%s: %v met before, and now %v", when, first, again)
			}
		}
		same("again")
		in(t, c.node, f.Load)
		same("the table was loaded anew")

		other := c.a // listens at another port too, and so is a third one
		other = netip.AddrPortFrom(other.Addr(), 9090)
		c.serve(c.pods, other, "other")
		f = c.change(f, firewallWith(c.entrance(3600, other, c.a, c.b)))
		same("another one provides it too")

		f = c.change(f, firewallWith(c.entrance(3600, c.b)))
		for client, who := range c.meets() {
			if who != "b" {
				t.Errorf("%s meets %s, which provides it no more", client, who)
			}
		}
		f = c.change(f, firewallWith(c.entrance(3600, c.a, c.b)))
		for client, who := range c.meets() {
			if who != "b" {
				t.Errorf("%s meets %s, and had met the other one last", client, who)
			}
		}

		// From outside only one is to be met now, from the node both.
		local := c.entrance(3600, c.a, c.b)
		local.Outer = []netip.AddrPort{c.a}
		f = c.change(f, firewallWith(local))
		for client, who := range c.meets() {
			if who != "a" {
				t.Errorf("%s meets %s, which is not for those from outside", client, who)
			}
		}
		if met := c.met(c.node, "tcp", c.service.String()); len(met) != 1 {
			t.Errorf("a process of the node met %v", met)
		}
		f = c.change(f, firewallWith(c.entrance(0, c.a, c.b)))
		if met := c.met(c.outside, "tcp", c.service.String()); len(met) != 2 {
			t.Errorf("without affinity a client met %v", met)
		}
	}
}

func TestClientOfTheNodesStackIsFreeAgainAfterItsTime(t *testing.T) {
	t.Parallel()
	for _, c := range crowds(t) {
		f := firewallWith(c.entrance(3600, c.a, c.b))
		in(t, c.node, f.Load)
		first := c.meets()
		c.change(f, firewallWith(c.entrance(1, c.a, c.b))) // holds at once
		anew := c.meets()
		if maps.Equal(anew, first) {
			t.Errorf("a time that is changed leaves all with whom they met: %v", anew)
		}
		for end := time.Now().Add(patience); len(c.remembers(f)[clientsOf(c)]) > crowdSize; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("who has been silent is remembered for longer than its time")
			}
		}
		if maps.Equal(c.meets(), anew) {
			t.Errorf("after their time all are with whom they met: %v", anew)
		}
	}
}

// clientsOf is the name of the map of a crowd.
func clientsOf(c crowd) string { return addressesLike(c.service.Addr()).clients() }

func TestLoadingTheTableGivesClientsNoMoreTime(t *testing.T) {
	t.Parallel()
	for _, c := range crowds(t) {
		f := firewallWith(c.entrance(3600, c.a, c.b))
		in(t, c.node, f.Load)
		c.meets()
		left := func() map[string]time.Duration {
			out := map[string]time.Duration{}
			for _, e := range c.remembers(f)[clientsOf(c)] {
				out[string(e.Key)] = e.Timeout
			}
			return out
		}
		before := left()
		in(t, c.node, f.Load)
		after := left()
		if len(before) != crowdSize || len(after) != crowdSize {
			t.Errorf("%d clients are remembered, and %d after the table was loaded anew", len(before), len(after))
		}
		for client, had := range before {
			if has := after[client]; has > had || has < had-time.Minute {
				t.Errorf("one had %s left and has %s", had, has)
			}
		}
	}
}

func TestClientsForWhomThereIsNoRoomMeetTheSameTargetByTheirAddress(t *testing.T) {
	t.Parallel()
	for _, c := range crowds(t) {
		f := firewallWith(c.entrance(3600, c.a, c.b))
		in(t, c.node, f.Load)
		first := c.client(crowdSize) // is there before all others come
		known, err := c.ask(c.outside, "tcp", first.String(), c.service.String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		in(t, c.node, func() error {
			conn, err := openNetfilter()
			if err != nil {
				return err
			}
			table := &nftables.Table{Family: nftables.TableFamilyINet, Name: firewallTable}
			var all []nftables.SetElement
			row := c.remembers(f)[clientsOf(c)][0]
			for i := range mostClients - 1 {
				key := append([]byte{198, 19, byte(i >> 8), byte(i)}, row.Key[4:]...)
				all = append(all, nftables.SetElement{Key: key, Val: row.Val, Timeout: time.Hour})
			}
			if err := addElements(conn, f.sets(table)[clientsOf(c)], all); err != nil {
				return err
			}
			return conn.Flush()
		})
		once := c.meets()
		if again := c.meets(); !maps.Equal(again, once) {
			t.Errorf("clients without room met %v and then %v", once, again)
		}
		if again, err := c.ask(c.outside, "tcp", first.String(), c.service.String(), patience); err != nil || again != known {
			t.Errorf("who was there before the others met %s, and now %s, %v", known, again, err)
		}
		if n := len(c.remembers(f)[clientsOf(c)]); n > mostClients {
			t.Errorf("%d clients are remembered", n)
		}
		in(t, c.node, f.Load) // also with a full map
		if again, err := c.ask(c.outside, "tcp", first.String(), c.service.String(), patience); err != nil || again != known {
			t.Errorf("who was there before the others met %s, and when the table was loaded anew %s, %v", known, again, err)
		}
	}
}

func TestOperatorsCanListWhatRemembersClients(t *testing.T) {
	t.Parallel()
	for _, c := range crowds(t) {
		in(t, c.node, firewallWith(c.entrance(60, c.a, c.b)).Load)
		c.meets()
		out, err := exec.Command("nsenter", "--net="+c.node, "nft", "list", "table", "inet", "contiv").CombinedOutput()
		want := fmt.Sprintf("update @%s", clientsOf(c))
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("nft: %v: no %q in\n%s", err, want, out)
		}
	}
}
