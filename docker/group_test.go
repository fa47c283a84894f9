// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

func group(tenant, name, network, pool string) model.Group {
	r, err := model.ParseRange("ipPool", pool)
	if err != nil {
		panic(err)
	}
	return model.Group{Tenant: tenant, Name: name, Network: network, Pool: r}
}

func worldWith(objects ...model.Object) model.World {
	return model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects})
}

func TestEngineShouldHaveGroupsUnderTwoNames(t *testing.T) {
	t.Parallel()
	infra := network4("default", "contivh1", "10.4.0.0/16", "")
	infra.Type = model.NetworkInfra
	w := worldWith(
		network4("default", "net", "10.1.2.0/24", ""), network4("blue", "net", "10.1.2.0/24", ""), network4("default", "web.net", "10.1.3.0/24", ""), infra,
		group("default", "db", "net", ""), group("blue", "db", "net", ""),
		group("default", "web", "net", ""),        // its full name is a network's
		group("default", "db.net", "web.net", ""), // its short name is a group's full one
		group("default", "lost", "nowhere", ""), group("default", "in", "contivh1", ""),
	)
	var got []string
	for _, x := range wantedIn(w) {
		text := x.name + " = " + x.key()
		if x.spare {
			text += " spare"
		}
		if x.holder != "" {
			text += " held by " + x.holder
		}
		got = append(got, text)
	}
	want := []string{
		"net/blue = blue:net", "net = default:net", "web.net = default:web.net",
		"db.net/blue = blue:net/db", "db.net = default:net/db", "db.net.web.net = default:web.net/db.net", "web.net = default:net/web held by network web.net",
		"db/blue = blue:net/db spare", "db = default:net/db spare", "db.net = default:web.net/db.net spare held by group db of network net", "web = default:net/web spare",
	}
	if !slices.Equal(got, want) {
		t.Errorf("wanted\n%s\nshould be\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPlanKeepsTheNetworksOfGroups(t *testing.T) {
	t.Parallel()
	net := network4("default", "net", "10.1.2.0/24", "")
	net.Tag = 1
	other := network4("default", "other", "10.1.3.0/24", "")
	other.Tag = 2
	retagged := net
	retagged.Tag = 9
	db := group("default", "db", "net", "")
	at := place{net, "db"}
	full, short := keptAs("f", wanted{place: at, name: "db.net"}), keptAs("s", wanted{place: at, name: "db"})
	all := map[string]known{"a": knownOf(place{network: net}), "f": knownOf(at), "s": knownOf(at)}
	foreign := func(name string) engineNetwork { return engineNetwork{ID: "x", Name: name, Driver: "bridge"} }
	for _, c := range []struct {
		name   string
		world  model.World
		have   []engineNetwork
		record map[string]known
		want   string
	}{
		{name: "nothing to do", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, short}, record: all},
		{name: "an empty engine", world: worldWith(net, db), want: "create  default:net, create  default:net/db, create  default:net/db"},
		{name: "a lost record is written again", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, short},
			want: "note a default:net, note f default:net/db, note s default:net/db"},
		{name: "a group that is gone", world: worldWith(net), have: []engineNetwork{kept("a", net), full, short}, record: all,
			want: "remove f default:net/db, remove s default:net/db"},
		{name: "a network that is gone with its group", world: worldWith(), have: []engineNetwork{kept("a", net), full, short}, record: all,
			want: "remove a default:net, remove f default:net/db, remove s default:net/db"},
		{name: "a group that is in another network now", world: worldWith(net, other, group("default", "db", "other", "")), have: []engineNetwork{kept("a", net), kept("b", other), full, short},
			record: map[string]known{"a": all["a"], "b": knownOf(place{network: other}), "f": all["f"], "s": all["s"]},
			want:   "remove f default:net/db, remove s default:net/db, create  default:other/db, create  default:other/db"},
		{name: "a network of another tag", world: worldWith(retagged, db), have: []engineNetwork{kept("a", net), full, short}, record: all,
			want: "remove a default:net, remove f default:net/db, remove s default:net/db, create  default:net, create  default:net/db, create  default:net/db"},
		{name: "one of two goes", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, short, keptAs("t", wanted{place: at, name: "db"})},
			record: map[string]known{"a": all["a"], "f": all["f"], "s": all["s"], "t": all["s"]}, want: "remove t default:net/db"},
		{name: "a foreign network has the short name", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, foreign("db")}, record: all,
			want: "yield  default:net/db, forget s default:net"},
		{name: "a foreign network has the full name", world: worldWith(net, db), have: []engineNetwork{kept("a", net), foreign("db.net"), short}, record: all,
			want: "block  default:net/db, forget f default:net"},
		{name: "a user asks for a name of a group", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, typed("u", "db/default", "10.9.0.0/24", nil), short},
			record: map[string]known{"a": all["a"], "f": all["f"], "s": all["s"], "u": {}}, want: "remove u default:db"},
		{name: "a user's network was there first", world: worldWith(net, db), have: []engineNetwork{kept("a", net), full, typed("u", "db", "10.9.0.0/24", nil)},
			record: map[string]known{"a": all["a"], "f": all["f"]}, want: "block u default:db, yield  default:net/db"},
		{name: "a network took the full name", world: worldWith(net, network4("default", "db.net", "10.9.0.0/24", ""), db), have: []engineNetwork{kept("a", net), full, short}, record: all,
			want: "remove f default:net/db, create  default:db.net, block  default:net/db"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := planText(c.world, c.have, ledger{Networks: c.record})
			if got != c.want {
				t.Errorf("plan: %s\nwant: %s", got, c.want)
			}
			backwards := slices.Clone(c.have)
			slices.Reverse(backwards)
			if again := planText(c.world, backwards, ledger{Networks: c.record}); again != got {
				t.Errorf("in another order of the engine's list: %s", again)
			}
		})
	}
}

// grouped is a cluster with the network net and, in it, the group db.
func grouped(t *testing.T, pool string) (*fakeMaster, *node) {
	t.Helper()
	m, n := cluster(t)
	m.create(t, network4("default", "net", "10.1.2.0/24", ""))
	m.group(t, group("default", "db", "net", pool))
	eventually(t, "the network and the group's two are in the engine", func() bool {
		return slices.Equal(n.engine.names(), []string{"db", "db.net", "net"})
	})
	return m, n
}

func TestContainersOnTheNetworksOfAGroupAreInIt(t *testing.T) {
	t.Parallel()
	for _, modern := range []bool{false, true} {
		m, n := grouped(t, "10.1.2.20-10.1.2.30")
		n.engine.modern.Store(modern)
		ask := n.engine.lastPosted()
		want := "map[group:db network:net tenant:default] map[encap:vxlan pkt-tag:1 tenant:default] map[io.contiv.group:db io.contiv.network:default:net] [{10.1.2.0/24   map[]}]"
		if got := fmt.Sprint(ask.IPAM.Options, ask.Options, ask.Labels, ask.IPAM.Config); got != want {
			t.Errorf("the engine was asked for %s\nwant %s", got, want)
		}
		address := map[string]string{"net": "10.1.2.1/24", "db.net": "10.1.2.20/24", "db": "10.1.2.21/24"}
		for _, network := range []string{"net", "db.net", "db"} {
			c, err := n.engine.run(runOptions{name: "c-" + network, network: network})
			if err != nil {
				t.Fatal(err)
			}
			e, _ := m.now().Endpoints.Get(c.endpoint)
			group := "db"
			if network == "net" {
				group = ""
			}
			if e.Network != "net" || e.Group != group || c.address != address[network] {
				t.Errorf("on %s: endpoint %+v, address %s", network, e, c.address)
			}
			n.engine.stop(c)
			if network == "db.net" { // so that the next address is another
				m.apply(model.Change{Put: []model.Object{model.Address{Network: "default:net", Addr: e.IPv4, Owner: "x"}}})
			}
		}
		if w := m.now(); w.Endpoints.Len() != 0 || w.Addresses.Len() != 1 {
			t.Errorf("%d endpoints and %d addresses are left", w.Endpoints.Len(), w.Addresses.Len())
		}
	}
}

func TestAddressOfAFailedContainerOfAGroupIsGivenBack(t *testing.T) {
	t.Parallel()
	m, n := grouped(t, "")
	n.agent.refuse = errTest
	if _, err := n.engine.run(runOptions{name: "c", network: "db"}); err == nil || !strings.Contains(err.Error(), "attach to group db of network net") {
		t.Errorf("the engine is told %v", err)
	}
	if w := m.now(); w.Addresses.Len() != 0 {
		t.Errorf("%d addresses are left", w.Addresses.Len())
	}
}

func TestDriverOptionNamesAGroupToo(t *testing.T) {
	t.Parallel()
	m, n := grouped(t, "")
	c, err := n.engine.run(runOptions{name: "c", network: "net", driver: []string{"group=db"}})
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := m.now().Endpoints.Get(c.endpoint); e.Group != "db" {
		t.Errorf("endpoint %+v", e)
	}
	if _, err := n.engine.run(runOptions{name: "d", network: "db", driver: []string{"group=web"}}); err == nil || !strings.Contains(err.Error(), "group=web") {
		t.Errorf("a container of two groups: %v", err)
	}
}

func TestNetworksOfARemovedGroupGo(t *testing.T) {
	t.Parallel()
	m, n := grouped(t, "")
	m.removeGroup("default:db")
	eventually(t, "the engine has the network alone", func() bool { return slices.Equal(n.engine.names(), []string{"net"}) })
	eventually(t, "and the record too", func() bool { l, _ := n.driver.record.read(); return len(l.Networks) == 1 })
}

func TestGroupsThatChangedWhileTheEngineWasDownAreCaughtUpWith(t *testing.T) {
	t.Parallel()
	m, n := grouped(t, "")
	n.engine.kill()
	m.removeGroup("default:db")
	m.group(t, group("default", "web", "net", ""))
	n.engine.revive()
	eventually(t, "it has what the World has", func() bool { return slices.Equal(n.engine.names(), []string{"net", "web", "web.net"}) })
}

func TestRemovedWithDockerTheNetworkOfAGroupComesBack(t *testing.T) {
	t.Parallel()
	_, n := grouped(t, "")
	before := n.engine.byName("db").ID
	if err := n.engine.removeNetwork("db"); err != nil {
		t.Fatal(err)
	}
	if got := n.engine.logged(); len(got) != 1 || !strings.Contains(got[0], "group db of network net belongs to netctl: use netctl group rm -t default db") {
		t.Errorf("the engine logs %q", got)
	}
	eventually(t, "it is made again", func() bool { x := n.engine.byName("db"); return x != nil && x.ID != before })
}

func TestForeignNetworkKeepsAGroupsShortName(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	id, err := n.engine.createNetwork(newNetwork{Name: "db", Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	m.create(t, network4("default", "net", "10.1.2.0/24", ""))
	m.group(t, group("default", "db", "net", ""))
	eventually(t, "the group has its full name", func() bool { return slices.Equal(n.engine.names(), []string{"db", "db.net", "net"}) })
	if got := n.engine.byName("db"); got.ID != id {
		t.Error("the foreign network was touched")
	}
	eventually(t, "the operator is told, of no problem", func() bool {
		n.driver.mu.Lock()
		defer n.driver.mu.Unlock()
		return strings.Contains(n.driver.yields["db"], "group db of network net is called db.net there") && len(n.driver.problems) == 0
	})
	if different, err := n.driver.Differences(context.Background()); err != nil || len(different) != 0 {
		t.Errorf("differences %q, error %v", different, err)
	}
	if err := n.engine.removeNetwork("db"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group has both", func() bool { x := n.engine.byName("db"); return x != nil && x.Driver == "netplugin" })
}

func TestRestartKnowsTheNetworksOfGroups(t *testing.T) {
	t.Parallel()
	m, n := grouped(t, "10.1.2.20-10.1.2.30")
	db := n.engine.byName("db").ID
	n.stop()
	n.start()
	c, err := n.engine.run(runOptions{name: "c", network: "db"})
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := m.now().Endpoints.Get(c.endpoint); e.Group != "db" || c.address != "10.1.2.20/24" || n.engine.byName("db").ID != db {
		t.Errorf("endpoint %+v, address %s", e, c.address)
	}
}

func TestGroupOfANetworkThatAUserMade(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	if _, err := n.engine.createNetwork(userNetwork("shop", "10.3.0.0/24", nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in the World", func() bool { _, ok := m.now().Networks.Get("default:shop"); return ok })
	m.group(t, group("default", "db", "shop", ""))
	eventually(t, "the group is in the engine", func() bool { return slices.Equal(n.engine.names(), []string{"db", "db.shop", "shop"}) })
	for _, network := range []string{"shop", "db"} {
		c, err := n.engine.run(runOptions{name: "c-" + network, network: network})
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := m.now().Endpoints.Get(c.endpoint); e.Network != "shop" {
			t.Errorf("endpoint %+v", e)
		}
	}
}
