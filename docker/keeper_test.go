// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestNetworksOfNetctlComeAndGoInTheEngine(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "contiv-net", "10.1.2.0/24", ""))
	m.create(t, network4("blue", "contiv-net", "10.1.2.0/24", "10.1.2.1"))
	eventually(t, "both are in the engine", func() bool { return slices.Equal(n.engine.names(), []string{"contiv-net", "contiv-net/blue"}) })
	m.remove("default:contiv-net")
	eventually(t, "the removed one is gone", func() bool { return slices.Equal(n.engine.names(), []string{"contiv-net/blue"}) })
	if got := n.engine.logged(); len(got) != 0 {
		t.Errorf("the engine logged %q", got)
	}
	if _, ok := m.now().Networks.Get("blue:contiv-net"); !ok {
		t.Error("the other tenant's network is gone from the World")
	}
	if l, _ := n.driver.record.read(); len(l.Networks) != 1 || len(l.Pools) != 0 {
		t.Errorf("recorded %+v", l)
	}
}

func TestEngineThatWasDownCatchesUp(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "old", "10.1.1.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return len(n.engine.names()) == 1 })
	n.engine.kill()
	m.remove("default:old")
	m.create(t, network4("default", "new", "10.1.2.0/24", ""))
	if _, known := n.driver.Engine.Live(context.Background()); known {
		t.Error("an engine that is away told what lives")
	}
	n.engine.revive()
	eventually(t, "it has what the World has", func() bool { return slices.Equal(n.engine.names(), []string{"new"}) })
}

func TestNothingIsRemovedBeforeAMasterIsHeard(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return len(n.engine.names()) == 1 })
	n.stop()
	n.agent.stale = true
	m.remove("default:web")
	n.start()
	if _, err := n.driver.Differences(context.Background()); err == nil {
		t.Error("a World that no master sent was compared")
	}
	if got := n.engine.names(); len(got) != 1 {
		t.Errorf("the engine has %v", got)
	}
	n.agent.mu.Lock()
	n.agent.stale = false
	n.agent.mu.Unlock()
	m.apply(model.Change{})
	eventually(t, "it is removed when a master is heard", func() bool { return len(n.engine.names()) == 0 })
}

func TestNetworkWithContainersOnItGoesWithTheLastOne(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return n.engine.byName("web") != nil })
	c, err := n.engine.run(runOptions{name: "c", network: "web"})
	if err != nil {
		t.Fatal(err)
	}
	m.remove("default:web")
	eventually(t, "the operator is told", func() bool {
		p := n.driver.Problems()
		return len(p) == 1 && strings.Contains(p[0], "has active endpoints") && strings.Contains(p[0], "does not exist any more")
	})
	n.engine.stop(c)
	eventually(t, "it is gone", func() bool { return len(n.engine.names()) == 0 })
	eventually(t, "and no problem any more", func() bool { return len(n.driver.Problems()) == 0 })
}

func TestForeignNetworkOfTheNameIsLeftAndToldOf(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	id, err := n.engine.createNetwork(newNetwork{Name: "web", Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "the operator is told", func() bool {
		p := n.driver.Problems()
		return len(p) == 1 && strings.Contains(p[0], "another network of this name, made by driver bridge, is in the engine")
	})
	different, err := n.driver.Differences(context.Background())
	if err != nil || len(different) != 1 {
		t.Errorf("differences %q, error %v", different, err)
	}
	if got := n.engine.byName("web"); got == nil || got.ID != id {
		t.Error("the foreign network was touched")
	}
	if err := n.engine.removeNetwork("web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ours takes its place", func() bool {
		got := n.engine.byName("web")
		return got != nil && got.Driver == "netplugin"
	})
}

func TestRestartMakesNoNetworkTwice(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	if _, err := n.engine.createNetwork(userNetwork("db", "10.3.0.0/24", nil)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are in both", func() bool { return len(n.engine.names()) == 2 && m.now().Networks.Len() == 2 })
	eventually(t, "nothing differs", func() bool {
		d, err := n.driver.Differences(context.Background())
		return err == nil && len(d) == 0
	})
	web, db := n.engine.byName("web").ID, n.engine.byName("db").ID
	n.stop()
	n.start()
	eventually(t, "nothing differs", func() bool {
		d, err := n.driver.Differences(context.Background())
		return err == nil && len(d) == 0
	})
	if n.engine.byName("web").ID != web || n.engine.byName("db").ID != db {
		t.Error("a network was made again")
	}
	c, err := n.engine.run(runOptions{name: "c", network: "db"})
	if err != nil || c.address != "10.3.0.1/24" {
		t.Errorf("container %+v, error %v", c, err)
	}
}

func TestLiveIsWhatTheEngineHas(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return n.engine.byName("web") != nil })
	c, err := n.engine.run(runOptions{name: "c", network: "web"})
	if err != nil {
		t.Fatal(err)
	}
	ids, known := n.driver.Engine.Live(context.Background())
	if !known || len(ids) != 1 || !ids[c.endpoint] {
		t.Errorf("live %v, known %v", ids, known)
	}
}

func TestNamesThatWereMissedAreLearntAfterARestart(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return n.engine.byName("web") != nil })
	c, err := n.engine.run(runOptions{name: "c", network: "web", aliases: []string{"first"}})
	if err != nil {
		t.Fatal(err)
	}
	n.stop()
	n.engine.rename(c, "other")
	n.start()
	eventually(t, "the new name is known", func() bool {
		e, _ := m.now().Endpoints.Get(c.endpoint)
		return e.Name == "other" && slices.Contains(e.Aliases, "first")
	})
}

func TestNamesAreLearntWhenAMasterIsBack(t *testing.T) {
	t.Parallel()
	m, n := cluster(t)
	m.create(t, network4("default", "web", "10.1.2.0/24", ""))
	eventually(t, "it is in the engine", func() bool { return n.engine.byName("web") != nil })
	c, err := n.engine.run(runOptions{name: "c", network: "web"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first name is known", func() bool {
		e, _ := m.now().Endpoints.Get(c.endpoint)
		return e.Name == "c"
	})
	m.setAway(true)
	n.engine.rename(c, "other")
	eventually(t, "it was tried", func() bool {
		n.agent.mu.Lock()
		defer n.agent.mu.Unlock()
		return n.agent.failedUpdates > 1
	})
	m.setAway(false)
	eventually(t, "the new name is known", func() bool {
		e, _ := m.now().Endpoints.Get(c.endpoint)
		return e.Name == "other"
	})
}
