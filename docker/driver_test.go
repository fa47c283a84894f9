// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
)

var startCalls = []string{"IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join"}

func TestContainerGetsAnAddressADeviceAndItsNames(t *testing.T) {
	for _, modern := range []bool{false, true} {
		t.Run(fmt.Sprintf("modern engine %v", modern), func(t *testing.T) {
			t.Parallel()
			m, n := cluster(t)
			n.engine.modern.Store(modern)
			m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
			eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
			n.engine.sequence()

			c, err := n.engine.run(runOptions{name: "web", network: "contiv-net", aliases: []string{"www"}, driver: []string{"group=db"}, labels: map[string]string{"a": "b"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := n.engine.sequence()[:3]; !slices.Equal(got, startCalls) {
				t.Fatalf("calls %v", got)
			}
			if c.address != "10.1.2.1/24" || c.mac != "02:02:0a:01:02:01" {
				t.Errorf("address %s, MAC %s", c.address, c.mac)
			}
			want := map[string]any{"SrcName": "vport1", "DstPrefix": "eth"}
			if fmt.Sprint(c.joined["InterfaceName"]) != fmt.Sprint(want) || c.joined["Gateway"] != "" {
				t.Errorf("joined %v", c.joined)
			}
			if got := n.agent.sandbox[c.endpoint]; got != "/var/run/docker/netns/"+c.ID[:12] {
				t.Errorf("sandbox %s", got)
			}
			eventually(t, "the endpoint has the container's id, name, labels and aliases", func() bool {
				e, ok := m.now().Endpoints.Get(c.endpoint)
				return ok && e.Container == c.ID && e.Name == "web" && e.Group == "db" && e.Labels["a"] == "b" && e.Runtime == "docker" &&
					len(e.Aliases) == 2 && slices.Contains(e.Aliases, "www") && slices.Contains(e.Aliases, c.ID[:12])
			})
			n.engine.rename(c, "web2")
			eventually(t, "the new name is known", func() bool {
				e, _ := m.now().Endpoints.Get(c.endpoint)
				return e.Name == "web2"
			})

			n.engine.stop(c)
			if got := n.engine.logged(); len(got) != 0 {
				t.Errorf("the engine logged %q", got)
			}
			w := m.now()
			if w.Endpoints.Len() != 0 || w.Addresses.Len() != 0 {
				t.Errorf("%d endpoints and %d addresses are left", w.Endpoints.Len(), w.Addresses.Len())
			}
		})
	}
}

func TestNamesAreKnownAtJoinAlready(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	n.engine.mu.Lock()
	n.engine.listeners = map[chan event]bool{} // no events
	n.engine.mu.Unlock()
	c, err := n.engine.run(runOptions{name: "web", network: "contiv-net", labels: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	e, _ := m.now().Endpoints.Get(c.endpoint)
	// Its labels would make it a provider of services before its program runs.
	if e.Name != "web" || e.Container != c.ID || e.Labels != nil || !slices.Equal(e.Aliases, []string{c.ID[:12]}) {
		t.Errorf("endpoint %+v", e)
	}
}

// Asked when it was connected, an engine that is busy may not know all of a container yet.
func TestContainerIsLookedAtOnceMoreWhenItRuns(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	c, err := n.engine.run(runOptions{name: "web", network: "contiv-net"})
	if err != nil {
		t.Fatal(err)
	}
	label := func() string {
		e, _ := m.now().Endpoints.Get(c.endpoint)
		return e.Labels["a"]
	}
	n.engine.mu.Lock()
	c.Config.Labels = map[string]string{"a": "b"}
	n.engine.mu.Unlock()
	n.engine.emit("container", "start", c.ID, nil)
	eventually(t, "its labels are known", func() bool { return label() == "b" })
}

func TestServicesPassOverContainersThatWereToldToStop(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	for _, row := range []struct {
		signal string
		stops  bool
	}{{"15", true}, {"9", true}, {"3", true}, {"1", false}, {"10", false}, {"", false}} {
		n.engine.emit("container", "kill", "id"+row.signal, map[string]string{"signal": row.signal})
		n.engine.emit("container", "kill", "last"+row.signal, map[string]string{"signal": "15"})
		eventually(t, "the event after it was heard", func() bool { return n.agent.told("last" + row.signal) })
		if row.stops {
			eventually(t, "a container stops by signal "+row.signal, func() bool { return n.agent.told("id" + row.signal) })
		} else if n.agent.told("id" + row.signal) {
			t.Errorf("signal %q is taken for the end", row.signal)
		}
	}
}

func TestAskedAddressesAndMACAreGiven(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	net := network4("blue", "dual", "10.1.2.0/24", "10.1.2.254")
	var err error
	if net.IPv6, err = model.ParsePool("2001:db8:1::/64", "2001:db8:1::1", true); err != nil {
		t.Fatal(err)
	}
	m.create(t, net)
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("dual/blue") != nil })
	c, err := n.engine.run(runOptions{name: "c1", network: "dual/blue", ip: "10.1.2.9", ip6: "2001:db8:1::9", mac: "0a:00:00:00:00:09"})
	if err != nil {
		t.Fatal(err)
	}
	if c.joined["Gateway"] != "10.1.2.254" || c.joined["GatewayIPv6"] != "2001:db8:1::1" {
		t.Errorf("joined %v", c.joined)
	}
	e, _ := m.now().Endpoints.Get(c.endpoint)
	if e.IPv4 != addr("10.1.2.9") || e.IPv6 != addr("2001:db8:1::9") || e.MAC.String() != "0a:00:00:00:00:09" || e.Tenant != "blue" {
		t.Errorf("endpoint %+v", e)
	}
	if _, err := n.engine.run(runOptions{name: "c2", network: "dual/blue", ip: "10.1.2.9"}); err == nil || !strings.Contains(err.Error(), "10.1.2.9 is in use by") {
		t.Errorf("a second owner of an address: %v", err)
	}
	if _, err := n.engine.run(runOptions{name: "c3", network: "dual/blue", mac: "01:00:00:00:00:01"}); err == nil || !strings.Contains(err.Error(), "not a unicast Ethernet address") {
		t.Errorf("a multicast MAC: %v", err)
	}
}

func TestFailedStartGivesItsAddressBack(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	n.agent.refuse = errTest
	if _, err := n.engine.run(runOptions{name: "c1", network: "contiv-net"}); err == nil || !strings.Contains(err.Error(), errTest.Error()) {
		t.Fatalf("error %v", err)
	}
	if w := m.now(); w.Addresses.Len() != 0 || w.Endpoints.Len() != 0 {
		t.Errorf("%d addresses and %d endpoints are left", w.Addresses.Len(), w.Endpoints.Len())
	}
	if len(n.agent.prepared) != 0 {
		t.Errorf("announced endpoints are left: %v", n.agent.prepared)
	}
	if want := []string{"10.1.2.1 by node1"}; !slices.Equal(m.released, want) {
		t.Errorf("given back: %q", m.released)
	}
}

func TestStopNeedsNoMasterAndRunSaysThatNoneAnswers(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	c, err := n.engine.run(runOptions{name: "c1", network: "contiv-net"})
	if err != nil {
		t.Fatal(err)
	}
	m.setAway(true)
	began := time.Now()
	n.engine.stop(c)
	if took := time.Since(began); took > time.Second {
		t.Errorf("stopping took %v", took)
	}
	if got := n.engine.logged(); len(got) != 0 {
		t.Errorf("the engine logged %q", got)
	}
	_, err = n.engine.run(runOptions{name: "c2", network: "contiv-net"})
	if want := "address for network contiv-net cannot be given: "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
	if took := time.Since(began); took < 8*time.Second || took > 15*time.Second {
		t.Errorf("it was said after %v; an engine's own patience is 15 s", took)
	}
}

func TestMasterThatComesBackInTimeIsWaitedFor(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	m.setAway(true)
	defer time.AfterFunc(700*time.Millisecond, func() { m.setAway(false) }).Stop()
	if _, err := n.engine.run(runOptions{name: "c1", network: "contiv-net"}); err != nil {
		t.Error(err)
	}
}

func TestAddressOfAContainerThatJustEndedIsWaitedFor(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("contiv-net") != nil })
	// This node has detached it, and the masters have not heard so yet.
	old := model.Endpoint{ID: "old", Tenant: "default", Network: "contiv-net", Node: "node1", IPv4: addr("10.1.2.7")}
	at := model.Address{Network: "default:contiv-net", Addr: old.IPv4, Owner: old.ID}
	m.apply(model.Change{Put: []model.Object{old, at}})
	defer time.AfterFunc(500*time.Millisecond, func() {
		m.apply(model.Change{Delete: []model.Ref{model.RefOf(old), model.RefOf(at)}})
	}).Stop()
	c, err := n.engine.run(runOptions{name: "c1", network: "contiv-net", ip: "10.1.2.7"})
	if err != nil || c.address != "10.1.2.7/24" {
		t.Errorf("container %+v, error %v", c, err)
	}
}

func TestUsersNetworkIsInEveryEngine(t *testing.T) {
	for _, modern := range []bool{false, true} {
		t.Run(fmt.Sprintf("modern engine %v", modern), func(t *testing.T) {
			t.Parallel()
			m, n1 := cluster(t)
			n2 := newNode(t, m, "node2")
			n1.engine.modern.Store(modern)
			ask := userNetwork("db", "", map[string]string{"tenant": "blue", "pkt-tag": "1001"})
			ask.Internal = true
			ask.IPAM.Config = []ipamConfig{{Subnet: "10.39.0.0/24", Gateway: "10.39.0.254", IPRange: "10.39.0.128/25", AuxiliaryAddresses: map[string]string{"a": "10.39.0.130"}}}
			if _, err := n1.engine.createNetwork(ask); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the other engine has it, under the tenant's name", func() bool { return n2.engine.byName("db/blue") != nil })
			w, ok := m.now().Networks.Get("blue:db")
			if !ok || w.Tag != 1001 || w.Origin != model.OriginDocker || !w.Internal || w.IPv4.String() != "10.39.0.128-10.39.0.255/24" ||
				w.IPv4.Gateway != addr("10.39.0.254") || !slices.Equal(w.Reserved, []netip.Addr{addr("10.39.0.130")}) {
				t.Fatalf("network %+v", w)
			}
			if got := n1.engine.names(); !slices.Equal(got, []string{"db"}) {
				t.Errorf("the first engine has %v", got)
			}
			got := n2.engine.lastPosted()
			if got.Driver != "netplugin" || got.IPAM.Driver != "netplugin" || !got.Internal || !got.Attachable || !got.CheckDuplicate || got.EnableIPv6 ||
				fmt.Sprint(got.Options) != "map[encap:vxlan pkt-tag:1001 tenant:blue]" || fmt.Sprint(got.IPAM.Options) != "map[network:db tenant:blue]" ||
				fmt.Sprint(got.Labels) != "map[io.contiv.network:blue:db]" || fmt.Sprint(got.IPAM.Config) != "[{10.39.0.0/24  10.39.0.254 map[]}]" {
				t.Errorf("asked the other engine for %+v", got)
			}
			c, err := n1.engine.run(runOptions{name: "c1", network: "db"})
			if err != nil || c.address != "10.39.0.128/24" {
				t.Errorf("container %+v, error %v", c, err)
			}
			if err := n2.engine.removeNetwork("db/blue"); err != nil {
				t.Fatal(err)
			}
			if got := n2.engine.logged(); len(got) != 1 || !strings.Contains(got[0], "in use by c1 on node1") {
				t.Errorf("the engine logged %q", got)
			}
			eventually(t, "the network that is in use is made again", func() bool { return n2.engine.byName("db/blue") != nil })
			n1.engine.stop(c)
			if err := n1.engine.removeNetwork("db"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is gone everywhere", func() bool {
				return len(n1.engine.names()) == 0 && len(n2.engine.names()) == 0 && m.now().Networks.Len() == 0
			})
			if l, _ := n1.driver.record.read(); len(l.Networks)+len(l.Pools) != 0 {
				t.Errorf("still recorded: %+v", l)
			}
		})
	}
}

func TestContainerMayFollowItsNetworkAtOnce(t *testing.T) {
	t.Parallel()
	_, n := cluster(t)
	for i := range 5 {
		name := fmt.Sprintf("net%d", i)
		if _, err := n.engine.createNetwork(userNetwork(name, fmt.Sprintf("10.7.%d.0/24", i), nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := n.engine.run(runOptions{name: "c" + name, network: name}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadNetworkIsRefusedInTheUsersTerminal(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "first", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("first") != nil })
	with := func(options map[string]string) newNetwork { return userNetwork("x", "10.9.0.0/24", options) }
	docker := with(nil)
	docker.IPAM.Driver = "default"
	ipam := with(nil)
	ipam.IPAM.Options = map[string]string{"color": "red"}
	copied := with(nil)
	copied.IPAM.Options = map[string]string{"tenant": "default", "network": "first"}
	outside := with(nil)
	outside.IPAM.Config[0].Gateway = "10.8.0.1"
	beyond := with(nil)
	beyond.IPAM.Config[0].IPRange = "10.8.0.0/25"
	six := with(nil)
	six.IPAM.Config = []ipamConfig{{Subnet: "2001:db8::/64"}}
	for _, c := range []struct {
		name string
		ask  newNetwork
		want string
	}{
		{"unknown option", with(map[string]string{"color": "red"}), `option "color" is unknown; known are tenant, encap and pkt-tag`},
		{"unknown IPAM option", ipam, `IPAM option "color" is unknown`},
		{"unknown tenant", with(map[string]string{"tenant": "green"}), "tenant green does not exist"},
		{"unknown encap", with(map[string]string{"encap": "gre"}), `encap "gre" is unknown`},
		{"tag that is no number", with(map[string]string{"pkt-tag": "many"}), "write it as -o pkt-tag=112"},
		{"tag in use", with(map[string]string{"pkt-tag": "1"}), "pktTag 1 is taken"},
		{"subnet in use", userNetwork("x", "10.1.2.0/24", nil), "the new network conflicts with subnet 10.1.2.0/24 of first; for a network of another tenant give -o tenant=NAME"},
		{"subnet too small", userNetwork("x", "10.1.2.0/32", nil), "use /8 to /31"},
		{"no subnet", userNetwork("x", "", nil), "--ipam-driver netplugin --subnet 10.1.2.0/24"},
		{"no IPv4 subnet", six, "no subnet of IPv4 is given"},
		{"gateway outside", outside, "address 10.8.0.1 is outside the subnet 10.9.0.0/24"},
		{"range outside", beyond, `range "10.8.0.0/25" is not inside`},
		{"addresses from elsewhere", docker, "add --ipam-driver netplugin"},
		{"the keeper's own options", copied, "networks and groups of netctl appear in every engine by themselves"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := n.engine.createNetwork(c.ask); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant one with %q", err, c.want)
			}
			if got := n.engine.logged(); len(got) != 0 {
				t.Errorf("undoing it, the engine logged %q", got)
			}
			l, _ := n.driver.record.read()
			if len(l.Pools) != 0 || len(l.Networks) != 1 || m.now().Networks.Len() != 1 {
				t.Errorf("something is left: %+v", l)
			}
		})
	}
}

func TestUsersNetworkWhoseNameIsTakenGoesAgain(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	n.engine.kill() // so that the keeper's own does not take the name first
	m.create(t, network4("default", "taken", "10.1.2.0/24", ""))
	n.engine.revive()
	n.engine.mu.Lock()
	n.engine.nets["other"] = &fakeNetwork{engineNetwork: engineNetwork{ID: "other", Name: "taken", Driver: "bridge"}}
	n.engine.mu.Unlock()
	if _, err := n.engine.createNetwork(userNetwork("taken/default", "10.5.0.0/24", nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second network is gone", func() bool { return slices.Equal(n.engine.names(), []string{"taken"}) })
	if w, _ := m.now().Networks.Get("default:taken"); w.IPv4.String() != "10.1.2.0/24" {
		t.Errorf("network %+v", w)
	}
	eventually(t, "the operator is told", func() bool {
		p := n.driver.Problems()
		return len(p) == 1 && strings.Contains(p[0], "made by driver bridge")
	})
}

func TestNetworkOfNetctlComesBackAfterDockerNetworkRm(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("blue", "web", "10.1.2.0/24", ""))
	eventually(t, "the network is in the engine", func() bool { return n.engine.byName("web/blue") != nil })
	first := n.engine.byName("web/blue").ID
	if err := n.engine.removeNetwork("web/blue"); err != nil {
		t.Fatal(err)
	}
	if got := n.engine.logged(); len(got) != 1 || !strings.Contains(got[0], "network web/blue belongs to netctl: use netctl net rm -t blue web") {
		t.Errorf("the engine logged %q", got)
	}
	eventually(t, "it is back", func() bool {
		again := n.engine.byName("web/blue")
		return again != nil && again.ID != first
	})
	if _, err := n.engine.run(runOptions{name: "c", network: "web/blue"}); err != nil {
		t.Error(err)
	}
}

func TestDockerNetworkRmWithoutAMasterIsDoneLater(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	if _, err := n.engine.createNetwork(userNetwork("db", "10.3.0.0/24", nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the masters have it", func() bool { return m.now().Networks.Len() == 1 })
	eventually(t, "this node knows its key", func() bool {
		l, _ := n.driver.record.read()
		return l.Networks[n.engine.byName("db").ID].Key == "default:db"
	})
	m.setAway(true)
	if err := n.engine.removeNetwork("db"); err != nil {
		t.Fatal(err)
	}
	if got := n.engine.logged(); len(got) != 0 {
		t.Errorf("the engine logged %q", got)
	}
	n.stop()
	n.start()
	m.setAway(false)
	eventually(t, "the masters have forgotten it", func() bool { return m.now().Networks.Len() == 0 })
	if got := n.engine.names(); len(got) != 0 {
		t.Errorf("the engine has %v", got)
	}
}
