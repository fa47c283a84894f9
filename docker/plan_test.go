// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/model"
)

func worldOf(networks ...model.Network) model.World {
	c := model.Change{Revision: 7, Reset: true}
	for _, n := range networks {
		c.Put = append(c.Put, n)
	}
	return model.World{}.With(c)
}

// kept is the engine's network as the keeper makes it for n.
func kept(id string, n model.Network) engineNetwork {
	return keptAs(id, wanted{place: place{network: n}, name: n.DockerName()})
}

// keptAs is the engine's network as the keeper makes it for x.
func keptAs(id string, x wanted) engineNetwork {
	ask := forEngine(x, "netplugin")
	return engineNetwork{ID: id, Name: ask.Name, Driver: ask.Driver, EnableIPv6: ask.EnableIPv6, Internal: ask.Internal, Options: ask.Options, Labels: ask.Labels, IPAM: ask.IPAM}
}

// typed is the engine's network as a user makes it.
func typed(id, name, subnet string, options map[string]string) engineNetwork {
	return engineNetwork{ID: id, Name: name, Driver: "netplugin", Options: options, IPAM: engineIPAM{Driver: "netplugin", Config: []ipamConfig{{Subnet: subnet}}}}
}

func TestPlanLeadsFromTheEngineToTheWorld(t *testing.T) {
	t.Parallel()
	tagged := func(n model.Network, tag uint32) model.Network { n.Tag = tag; return n }
	web := tagged(network4("default", "web", "10.1.2.0/24", "10.1.2.1"), 1)
	blue := tagged(network4("blue", "web", "10.1.2.0/24", ""), 2)
	retagged := tagged(web, 9)
	moved := tagged(network4("default", "web", "10.9.0.0/24", ""), 1)
	ranged := tagged(network4("default", "web", "10.1.2.10-10.1.2.20/24", ""), 3)
	infra := tagged(network4("default", "contivh1", "10.4.0.0/16", ""), 4)
	infra.Type = model.NetworkInfra
	shut := web
	shut.Internal = true
	six := web
	six.IPv6 = model.Pool{Prefix: netip.MustParsePrefix("2001:db8::/64"), Gateway: netip.MustParseAddr("2001:db8::1")}
	usersWeb := tagged(network4("default", "web", "10.1.2.0/24", ""), 1)
	usersWeb.Origin = model.OriginDocker
	dummy := typed("u", "web", "10.1.2.0/24", nil)
	dummy.IPAM.Config[0].Gateway = "10.1.2.0"
	pending := map[string]known{"u": {}}
	for _, c := range []struct {
		name   string
		world  model.World
		have   []engineNetwork
		record map[string]known
		gone   map[string]known
		want   string // verb id key, …
	}{
		{name: "nothing to do", world: worldOf(web, blue), have: []engineNetwork{kept("a", web), kept("b", blue), {ID: "x", Name: "bridge", Driver: "bridge"}},
			record: map[string]known{"a": knownOf(place{network: web}), "b": knownOf(place{network: blue})}},
		{name: "an empty engine gets all but infra", world: worldOf(web, blue, infra), want: "create  blue:web, create  default:web"},
		{name: "both families and a range fit", world: worldOf(ranged), have: []engineNetwork{kept("a", ranged)}, record: map[string]known{"a": knownOf(place{network: ranged})}},
		{name: "both families fit", world: worldOf(six), have: []engineNetwork{kept("a", six)}, record: map[string]known{"a": knownOf(place{network: six})}},
		{name: "a lost record is written again", world: worldOf(web), have: []engineNetwork{kept("a", web)}, want: "note a default:web"},
		{name: "what the World has no more goes", world: worldOf(), have: []engineNetwork{kept("a", web)}, want: "remove a default:web"},
		{name: "a user's network that netctl removed goes", world: worldOf(), have: []engineNetwork{typed("a", "web", "10.1.2.0/24", nil)}, record: map[string]known{"a": knownOf(place{network: web})}, want: "remove a default:web"},
		{name: "another tag is another network", world: worldOf(retagged), have: []engineNetwork{kept("a", web)}, want: "remove a default:web, create  default:web"},
		{name: "another subnet too", world: worldOf(moved), have: []engineNetwork{kept("a", web)}, record: map[string]known{"a": knownOf(place{network: web})}, want: "remove a default:web, create  default:web"},
		{name: "internal is another network", world: worldOf(shut), have: []engineNetwork{kept("a", web)}, want: "remove a default:web, create  default:web"},
		{name: "a user's network of an earlier tag goes", world: worldOf(tagged(usersWeb, 5)), have: []engineNetwork{typed("u", "web", "10.1.2.0/24", nil)}, record: map[string]known{"u": knownOf(place{network: usersWeb})},
			want: "remove u default:web, create  default:web"},
		{name: "one of two goes", world: worldOf(web), have: []engineNetwork{kept("a", web), kept("b", web)}, record: map[string]known{"a": knownOf(place{network: web}), "b": knownOf(place{network: web})}, want: "remove b default:web"},
		{name: "another driver's network of the name is left", world: worldOf(web), have: []engineNetwork{{ID: "x", Name: "web", Driver: "bridge"}}, want: "block  default:web"},
		{name: "a user's network is adopted", world: worldOf(), have: []engineNetwork{typed("u", "web", "10.1.2.0/24", nil)}, record: pending, want: "adopt u default:web"},
		{name: "one that was there before us too", world: worldOf(), have: []engineNetwork{typed("u", "web", "10.1.2.0/24", nil)}, want: "adopt u default:web"},
		{name: "the tenant is in the name", world: worldOf(), have: []engineNetwork{typed("u", "web/blue", "10.1.2.0/24", nil)}, record: pending, want: "adopt u blue:web"},
		{name: "or in the option", world: worldOf(), have: []engineNetwork{typed("u", "web", "10.1.2.0/24", map[string]string{"tenant": "blue"})}, record: pending, want: "adopt u blue:web"},
		{name: "or in both", world: worldOf(), have: []engineNetwork{typed("u", "web/blue", "10.1.2.0/24", map[string]string{"tenant": "blue"})}, record: pending, want: "adopt u blue:web"},
		{name: "but one tenant", world: worldOf(), have: []engineNetwork{typed("u", "web/red", "10.1.2.0/24", map[string]string{"tenant": "blue"})}, record: pending, want: "remove u "},
		{name: "a name that no cluster can have", world: worldOf(), have: []engineNetwork{typed("u", "a b", "10.1.2.0/24", nil)}, record: pending, want: "remove u "},
		{name: "which is only told of when it was there before us", world: worldOf(), have: []engineNetwork{typed("u", "a b", "10.1.2.0/24", nil)}, want: "block u "},
		{name: "adopted and not written down before a crash", world: worldOf(usersWeb), have: []engineNetwork{dummy}, record: pending, want: "note u default:web"},
		{name: "the name is taken by other settings", world: worldOf(web), have: []engineNetwork{typed("u", "web", "10.8.0.0/24", nil)}, record: pending, want: "remove u default:web, create  default:web"},
		{name: "the name is taken in this engine", world: worldOf(web), have: []engineNetwork{kept("a", web), typed("u", "web/default", "10.1.2.0/24", nil)},
			record: map[string]known{"a": knownOf(place{network: web}), "u": {}}, want: "remove u default:web"},
		{name: "the name is that of an infra network", world: worldOf(infra), have: []engineNetwork{typed("u", "contivh1", "10.4.0.0/16", nil)}, record: pending, want: "remove u default:contivh1"},
		{name: "a name that another network of ours took", world: worldOf(blue, web), have: []engineNetwork{typed("u", "web", "10.1.2.0/24", map[string]string{"tenant": "blue"})},
			record: map[string]known{"u": knownOf(place{network: blue})}, want: "block  default:web"},
		{name: "the record forgets what the engine has not", world: worldOf(), record: map[string]known{"z": knownOf(place{network: web})}, want: "forget z default:web"},
		{name: "removed while no master answered", world: worldOf(web), gone: map[string]known{"default:web": knownOf(place{network: web})}, want: "delete  default:web"},
		{name: "removed, and made anew since", world: worldOf(retagged), gone: map[string]known{"default:web": knownOf(place{network: web})}, want: "delete  default:web, create  default:web"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := planText(c.world, c.have, ledger{Networks: c.record, Removed: c.gone})
			if got != c.want {
				t.Errorf("plan: %s\nwant: %s", got, c.want)
			}
			backwards := slices.Clone(c.have)
			slices.Reverse(backwards)
			if again := planText(c.world, backwards, ledger{Networks: c.record, Removed: c.gone}); again != got {
				t.Errorf("in another order of the engine's list: %s", again)
			}
		})
	}
}

func planText(w model.World, have []engineNetwork, l ledger) string {
	var out []string
	for _, a := range plan(w, have, l, "netplugin") {
		out = append(out, fmt.Sprintf("%s %s %s", a.verb, a.id, a.key))
	}
	return strings.Join(out, ", ")
}

func TestRemovedAndMadeAnewIsNotDeletedInTheWorld(t *testing.T) {
	t.Parallel()
	old, now := network4("default", "web", "10.1.2.0/24", ""), network4("default", "web", "10.1.2.0/24", "")
	old.Tag, now.Tag = 1, 2
	for _, a := range plan(worldOf(now), nil, ledger{Removed: map[string]known{"default:web": knownOf(place{network: old})}}, "netplugin") {
		if a.verb == verbDelete && a.name != "" {
			t.Errorf("%+v would delete the new network", a)
		}
	}
}

func TestUsersNetworkIsReadBackFromTheEngine(t *testing.T) {
	t.Parallel()
	n := typed("u", "db/blue", "10.39.0.0/24", map[string]string{"encap": "vlan", "pkt-tag": "112"})
	n.Internal = true
	n.IPAM.Config = []ipamConfig{
		{Subnet: "10.39.0.0/24", IPRange: "10.39.0.128/25", Gateway: "10.39.0.254", AuxiliaryAddresses: map[string]string{"b": "10.39.0.131", "a": "10.39.0.130"}},
		{Subnet: "2001:db8::/64", Gateway: "2001:db8::"},
	}
	got, err := n.asked(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "blue:db vlan 112 10.39.0.128-10.39.0.255/24 10.39.0.254 2001:db8::/64  [10.39.0.130 10.39.0.131] true docker"
	if text := fmt.Sprintln(got.Key, got.Encap, got.PktTag, got.Subnet, got.Gateway, got.IPv6Subnet, got.IPv6Gateway, got.Reserved, got.Internal, got.Origin); text != want+"\n" {
		t.Errorf("got  %swant %s", text, want)
	}
}
