// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

// limited is what the lines of n1's ports say of netprofiles, and the notes.
func limited(w model.World, m *Memo) (ports, notes []string) {
	tables := m.For(w, "n1")
	for _, p := range tables.Ports {
		says := ""
		for _, word := range []string{"sends", "receives", "DSCP"} {
			if _, rest, ok := strings.Cut(p.String(), ", "+word); ok {
				says = word + rest
				break
			}
		}
		ports = append(ports, says)
	}
	for _, n := range tables.Notes {
		notes = append(notes, n.Text)
	}
	return ports, notes
}

func TestNetprofileLimitsEachEndpointOfItsGroupsAndFollowsChanges(t *testing.T) {
	t.Parallel()
	objects := twoTenants(t)
	for i, o := range objects {
		if e, ok := o.(model.Endpoint); ok && e.ID != "e2" {
			e.Group = "web"
			objects[i] = e
		}
	}
	objects = append(objects,
		model.Group{Tenant: "default", Name: "web", Network: "net", Netprofile: "slow"}, model.Group{Tenant: "blue", Name: "web", Network: "net"},
		model.Netprofile{Tenant: "default", Name: "slow", Bandwidth: "10 mbps", Burst: 80, DSCP: 46},
		model.Netprofile{Tenant: "blue", Name: "slow", Bandwidth: "1 kbps"})
	w := model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects})
	var memo Memo
	expect := func(want [3]string, noted int) {
		t.Helper()
		ports, notes := limited(w, &memo)
		if strings.Join(ports, "|") != strings.Join(want[:], "|") || len(notes) != noted {
			t.Errorf("ports say %q, notes %q; want %q", ports, notes, want)
		}
	}
	change := func(o model.Object) { w = w.With(model.Change{Revision: w.Revision + 1, Put: []model.Object{o}}) }
	const slow = "sends 10000000 bit/s in bursts of 81920 bytes, DSCP 46"
	expect([3]string{slow, "", slow}, 0)
	change(model.Netprofile{Tenant: "default", Name: "slow", IngressBandwidth: "2 gbps"})
	expect([3]string{"receives 2000000000 bit/s", "", "receives 2000000000 bit/s"}, 0)
	change(model.Netprofile{Tenant: "default", Name: "slow", Burst: 80})
	expect([3]string{}, 0)
	change(model.Group{Tenant: "blue", Name: "web", Network: "net", Netprofile: "slow"})
	expect([3]string{"", "sends 1000 bit/s", ""}, 0)
	change(model.Group{Tenant: "blue", Name: "web", Network: "net", Netprofile: "gone"})
	expect([3]string{}, 1)
}

func TestTighterOfAnEndpointsOwnLimitAndItsGroupsHolds(t *testing.T) {
	t.Parallel()
	own := Limit{Rate: 5000, Burst: 4096}
	for _, row := range []struct{ profile, endpoint, want Limit }{
		{Limit{}, Limit{}, Limit{}}, {Limit{}, own, own}, {own, Limit{}, own},
		{Limit{Rate: 4999}, own, Limit{Rate: 4999}}, {Limit{Rate: 5001, Burst: 9}, own, own},
	} {
		if got := row.profile.or(row.endpoint); got != row.want {
			t.Errorf("%+v and %+v are %+v, want %+v", row.profile, row.endpoint, got, row.want)
		}
	}
	objects := twoTenants(t)
	for i, o := range objects {
		if e, ok := o.(model.Endpoint); ok && e.Tenant == "blue" {
			e.Spec = &model.Spec{Sends: model.Rate{BitsPerSecond: 2000}, Receives: model.Rate{BitsPerSecond: 3000, Burst: 8192}}
			objects[i] = e
		}
	}
	ports, _ := limited(model.World{}.With(model.Change{Revision: 7, Reset: true, Put: objects}), &Memo{})
	if got := strings.Join(ports, "|"); got != "|sends 2000 bit/s, receives 3000 bit/s in bursts of 8192 bytes|" {
		t.Errorf("ports say %q", got)
	}
}
