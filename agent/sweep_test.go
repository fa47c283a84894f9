// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Each row is one endpoint "e" as the World, the kernel, the record and the engine see it.
func TestLeftoversAreToldFromWhatLives(t *testing.T) {
	now := time.Now()
	attached := model.Endpoint{ID: "e", Node: "n1", Port: "vvport1", Runtime: "docker"}
	away := netdev.Port{Name: "vvport1", Index: 7, Endpoint: "e"}
	home := netdev.Port{Name: "vvport1", Index: 7, Endpoint: "e", Home: true}
	for _, row := range []struct {
		name     string
		inWorld  bool
		port     *netdev.Port
		record   *record
		live     map[string]bool // nil: the engine cannot be asked
		detached bool
		busy     bool
		since    time.Duration // how long it has been a suspect; 0: it was none
		want     verb          // "": nothing to do
	}{
		{name: "all agree", inWorld: true, port: &away, record: &record{Endpoint: attached}, live: map[string]bool{"e": true}},
		{name: "engine down", inWorld: true, port: &away, record: &record{Endpoint: attached}},
		{name: "record lost", inWorld: true, port: &away},
		{name: "device gone", inWorld: true, record: &record{Endpoint: attached}, want: verbForget},
		{name: "device gone after a reboot", inWorld: true, want: verbForget},
		{name: "device gone, detached, masters not told", inWorld: true, detached: true},
		{name: "detached, device still there", inWorld: true, port: &away, detached: true, want: verbForget},
		{name: "being attached", inWorld: true, busy: true},
		{name: "masters lost it", port: &away, record: &record{Endpoint: attached}, want: verbPut},
		{name: "masters lost it, engine too, first look", port: &away, record: &record{Endpoint: attached}, live: map[string]bool{}, want: verbAwait},
		{name: "engine does not have it, first look", inWorld: true, port: &away, record: &record{Endpoint: attached}, live: map[string]bool{}, want: verbAwait},
		{name: "engine does not have it, looked at before", inWorld: true, port: &away, record: &record{Endpoint: attached}, live: map[string]bool{}, since: 10 * time.Second, want: verbAwait},
		{name: "engine does not have it for long", inWorld: true, port: &away, record: &record{Endpoint: attached}, live: map[string]bool{}, since: time.Minute, want: verbForget},
		{name: "device in no container, first look", inWorld: true, port: &home, record: &record{Endpoint: attached}, want: verbAwait},
		{name: "device in no container for long", inWorld: true, port: &home, record: &record{Endpoint: attached}, since: time.Minute, want: verbForget},
		{name: "nobody's device for long", port: &away, since: time.Minute, want: verbForget},
		{name: "killed between device and store", port: &home, record: &record{Endpoint: model.Endpoint{ID: "e"}}, since: time.Minute, want: verbForget},
		{name: "announced just now", record: &record{Endpoint: model.Endpoint{ID: "e"}, Since: now}},
		{name: "announced and forgotten", record: &record{Endpoint: model.Endpoint{ID: "e"}, Since: now.Add(-time.Hour)}, want: verbDrop},
		{name: "record of a device that is gone", record: &record{Endpoint: attached}, want: verbDrop},
	} {
		t.Run(row.name, func(t *testing.T) {
			ev := evidence{
				node: "n1", now: now, patience: 30 * time.Second, live: row.live, liveKnown: row.live != nil,
				records: map[string]record{}, busy: map[string]bool{"e": row.busy}, detached: map[string]bool{"e": row.detached},
				suspects: map[string]time.Time{},
			}
			c := model.Change{Put: []model.Object{model.Endpoint{ID: "other", Node: "n2", Port: "vvport1"}}}
			if row.inWorld {
				c.Put = append(c.Put, attached)
			}
			ev.world = model.World{}.With(c)
			if row.port != nil {
				ev.ports = append(ev.ports, *row.port)
			}
			if row.record != nil {
				ev.records["e"] = *row.record
			}
			if row.since > 0 {
				ev.suspects["e"] = now.Add(-row.since)
			}
			var got verb
			for _, x := range leftovers(ev) {
				if x.id != "e" {
					t.Errorf("another node's endpoint is swept: %s", x)
				}
				got = x.verb
			}
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestWhatIsOnDiskIsFoundAgain(t *testing.T) {
	dir := t.TempDir()
	r, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"e1", "../../etc/passwd", "e2"} {
		if err := r.put(record{Endpoint: model.Endpoint{ID: id}, Sandbox: "/run/ns/" + id}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.remove("e2"); err != nil {
		t.Fatal(err)
	}
	if err := r.remove("never"); err != nil {
		t.Fatal(err)
	}
	again, err := openRecords(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.list(); len(got) != 2 || got["../../etc/passwd"].Sandbox != "/run/ns/../../etc/passwd" || got["e1"].Endpoint.ID != "e1" {
		t.Errorf("found %v", got)
	}

	d, err := openDetached(dir + "/detached")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.add("e1"); err != nil {
		t.Fatal(err)
	}
	if d, err = openDetached(dir + "/detached"); err != nil || !d.has("e1") {
		t.Errorf("a detached endpoint is forgotten: %v", err)
	}
}

func TestSnapshotGivesTheSameWorld(t *testing.T) {
	dir := t.TempDir()
	if w, err := loadSnapshot(dir); err != nil || w.Revision != 0 {
		t.Fatalf("no snapshot gives %v, %v", w, err)
	}
	w := model.World{}.With(model.Change{Revision: 9, Put: []model.Object{
		model.Tenant{Name: "blue", Number: 2}, model.DefaultGlobal(), model.Endpoint{ID: "e", Node: "n1", MAC: model.MAC{2, 2, 1, 2, 3, 4}},
	}})
	if err := saveSnapshot(dir, w); err != nil {
		t.Fatal(err)
	}
	got, err := loadSnapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !equalJSON(got.Whole().Put, w.Whole().Put) || got.Revision != 9 {
		t.Errorf("got %+v", got.Whole())
	}
}
