// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// Labels mark the networks that the keeper has made: with the key of their network in the World, and with the name of
// their group.
const (
	labelNetwork = "io.contiv.network"
	labelGroup   = "io.contiv.group"
)

// verb is what the keeper does about a difference.
type verb string

const (
	verbRemove verb = "remove" // from the engine
	verbAdopt  verb = "adopt"  // put a user's network into the World
	verbNote   verb = "note"   // the engine's network is that of the World: only write it down
	verbCreate verb = "create" // in the engine
	verbBlock  verb = "block"  // nothing can be done before an operator does something
	verbYield  verb = "yield"  // a group goes without its second name, which another network has
	verbForget verb = "forget" // the engine does not have it any more: drop the record
	verbDelete verb = "delete" // a user removed it while no master answered: delete it in the World
)

// action is one difference between the World's networks and the engine's.
type action struct {
	verb   verb
	id     string      // the engine's id, where the engine has it
	name   string      // the engine's name for it
	key    string      // the place's, where it is known
	intent wanted      // for verbCreate and verbNote
	asked  api.Network // for verbAdopt
	reason string
}

func (a action) String() string {
	return fmt.Sprintf("Docker network %s: %s", cmp.Or(a.name, short(a.id)), a.reason)
}

// plan compares. It is pure. Removals come first, as names become free by them; then what users made;
// then what is missing.
func plan(w model.World, have []engineNetwork, l ledger, driver string) []action {
	all := wantedIn(w)
	p := planner{world: w, claimed: map[string]string{}, groups: map[string]wanted{}, grouped: map[string]string{}, removed: map[string]bool{}}
	for _, x := range all {
		if x.group != "" && x.holder == "" {
			p.groups[x.name] = x
		}
	}
	have = slices.SortedFunc(slices.Values(have), func(a, b engineNetwork) int { return cmp.Compare(a.ID, b.ID) })
	var users []engineNetwork
	exists := map[string]bool{}
	for _, n := range have {
		exists[n.ID] = true
		if n.Driver != driver {
			continue
		}
		k := l.Networks[n.ID]
		key, group := k.Key, k.Group
		if labelled := n.Labels[labelNetwork]; labelled != "" {
			key, group = labelled, n.Labels[labelGroup]
		}
		switch {
		case key == "":
			users = append(users, n)
		case group != "":
			p.judgeGroups(n, key, group, k)
		default:
			p.judge(n, key, k)
		}
	}
	for key, k := range l.Removed {
		if n, ok := p.network(key); ok && k.is(place{network: n}) {
			p.add(action{verb: verbDelete, name: n.DockerName(), key: key, reason: "was removed while no netmaster answered"})
			p.claimed[key] = ""
		} else {
			p.add(action{verb: verbDelete, key: key, reason: "is gone, as it should be"})
		}
	}
	for _, n := range users {
		p.judgeUsers(n, l)
	}
	for _, x := range all {
		if !p.has(x) {
			p.miss(x, have)
		}
	}
	for id := range l.Networks {
		if !exists[id] {
			p.add(action{verb: verbForget, id: id, key: l.Networks[id].Key, reason: "is not in the engine any more"})
		}
	}
	order := map[verb]int{verbDelete: 0, verbRemove: 1, verbNote: 2, verbAdopt: 3, verbCreate: 4, verbBlock: 5, verbYield: 5, verbForget: 6}
	slices.SortStableFunc(p.out, func(a, b action) int {
		return cmp.Or(cmp.Compare(order[a.verb], order[b.verb]), cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id), cmp.Compare(a.name, b.name))
	})
	return p.out
}

type planner struct {
	world   model.World
	claimed map[string]string // keys that have a network in the engine, or are about to; its id
	groups  map[string]wanted // groups' networks, by their name in the engine
	grouped map[string]string // the names of those that the engine has; its id
	removed map[string]bool   // ids that go
	out     []action
}

func (p *planner) add(a action) { p.out = append(p.out, a) }

func (p *planner) remove(n engineNetwork, key, reason string) {
	p.removed[n.ID] = true
	p.add(action{verb: verbRemove, id: n.ID, name: n.Name, key: key, reason: reason})
}

// network is the World's, if it is one for containers.
func (p *planner) network(key string) (model.Network, bool) {
	n, ok := p.world.Networks.Get(key)
	return n, ok && n.Type == model.NetworkData
}

// judge looks at a network of which the key is known.
func (p *planner) judge(n engineNetwork, key string, k known) {
	w, ok := p.network(key)
	switch other := p.claimed[key]; {
	case !ok:
		p.remove(n, key, "does not exist any more")
	case k.Key != "" && !k.is(place{network: w}) || !n.fits(w):
		p.remove(n, key, "has been made anew with other settings")
	case other != "":
		p.remove(n, key, "is in the engine twice")
	default:
		p.claimed[key] = n.ID
		p.note(n, wanted{place: place{network: w}, name: w.DockerName()}, k)
	}
}

// judgeGroups looks at a network of which the group is known. Users make none.
func (p *planner) judgeGroups(n engineNetwork, key, group string, k known) {
	x, ok := p.groups[n.Name]
	switch {
	case !ok || x.network.Key() != key || x.group != group:
		p.remove(n, key+groupSeparator+group, "is no name of a group any more")
	case k.Key != "" && !k.is(x.place) || !n.fits(x.network):
		p.remove(n, x.key(), "has been made anew with other settings")
	case p.grouped[n.Name] != "":
		p.remove(n, x.key(), "is in the engine twice")
	default:
		p.grouped[n.Name] = n.ID
		p.note(n, x, k)
	}
}

func (p *planner) note(n engineNetwork, x wanted, k known) {
	if k.Key == "" {
		p.add(action{verb: verbNote, id: n.ID, name: n.Name, key: x.key(), intent: x, reason: "is not written down on this node"})
	}
}

// has tells whether the engine has what is wanted, or is about to.
func (p *planner) has(x wanted) bool {
	if x.group == "" {
		_, ok := p.claimed[x.key()]
		return ok
	}
	return x.holder == "" && p.grouped[x.name] != ""
}

// judgeUsers looks at a network that a user made and that is not in the World yet.
func (p *planner) judgeUsers(n engineNetwork, l ledger) {
	k, seen := l.Networks[n.ID]
	// A network that was made while we watched is taken away when it cannot be. One that was there before is left.
	refuse := func(key, reason string) {
		if seen {
			p.remove(n, key, reason)
			return
		}
		p.add(action{verb: verbBlock, id: n.ID, name: n.Name, key: key, reason: reason + "; remove it with docker network rm"})
	}
	asked, err := n.asked(k.Asked)
	if err != nil {
		refuse("", "cannot be a network of the cluster: "+err.Error())
		return
	}
	key := asked.Key
	w, exists := p.world.Networks.Get(key)
	_, claimed := p.claimed[key]
	group, named := p.groups[model.Network{Tenant: asked.TenantName, Name: asked.NetworkName}.DockerName()]
	switch {
	case named:
		refuse(key, fmt.Sprintf("has a name of %s; choose another", group))
	case claimed || exists && !n.fits(w):
		refuse(key, fmt.Sprintf("clashes with network %s, which exists already; choose another name", key))
	case exists && w.Type != model.NetworkData:
		refuse(key, fmt.Sprintf("clashes with network %s, which is not for containers; choose another name", key))
	case exists:
		p.claimed[key] = n.ID
		p.note(n, wanted{place: place{network: w}, name: w.DockerName()}, known{})
	default:
		p.claimed[key] = n.ID
		p.add(action{verb: verbAdopt, id: n.ID, name: n.Name, key: key, asked: asked, reason: "was made with docker network create and netmaster does not have it yet"})
	}
}

// miss looks at a network that the engine does not have.
func (p *planner) miss(x wanted, have []engineNetwork) {
	a := action{verb: verbBlock, name: x.name, key: x.key(), intent: x}
	foreign := slices.IndexFunc(have, func(other engineNetwork) bool { return other.Name == x.name && !p.removed[other.ID] })
	switch {
	case x.holder != "":
		a.reason = fmt.Sprintf("%s has the name that %s should have; to use it, remove and make anew one of them with another name", x.holder, x)
	case foreign >= 0:
		a.reason = fmt.Sprintf("another network of this name, made by driver %s, is in the engine; remove or rename it there (docker network rm %s), or remove ours with %s",
			have[foreign].Driver, x.name, x.removal())
	default:
		a.verb, a.reason = verbCreate, "is missing in the engine"
	}
	if x.spare && a.verb == verbBlock {
		full, _ := groupNames(model.Group{Tenant: x.network.Tenant, Name: x.group, Network: x.network.Name})
		a.verb, a.reason = verbYield, fmt.Sprintf("another network of this name is in the engine and is left alone; %s is called %s there", x, full)
	}
	p.add(a)
}

// fits tells whether a container in the engine's network gets what the World's says. Options that a user left
// out are the master's to choose.
func (n engineNetwork) fits(w model.Network) bool {
	has, err := n.settings()
	if err != nil {
		return false
	}
	for _, p := range []struct {
		pool            model.Pool
		subnet, gateway string
	}{{w.IPv4, has.Subnet, has.Gateway}, {w.IPv6, has.IPv6Subnet, has.IPv6Gateway}} {
		subnet, gateway := "", ""
		if !p.pool.IsZero() {
			subnet = p.pool.Subnet().String()
		}
		if p.pool.Gateway.IsValid() {
			gateway = p.pool.Gateway.String()
		}
		if p.subnet != subnet || p.gateway != gateway {
			return false
		}
	}
	tenant, named := n.Options[optionTenant]
	return has.Internal == w.Internal &&
		(!named || cmp.Or(tenant, model.DefaultTenant) == w.Tenant) &&
		(has.Encap == "" || has.Encap == w.Encap) &&
		(has.PktTag == 0 || has.PktTag == w.Tag)
}

// settings are the engine's network in the API's words, without names; subnets without their ranges.
func (n engineNetwork) settings() (api.Network, error) {
	out := api.Network{TenantName: model.DefaultTenant, Internal: n.Internal, Origin: model.OriginDocker}
	if err := setOptions(&out, n.Options); err != nil {
		return out, err
	}
	for _, c := range n.IPAM.Config {
		subnet, err := netip.ParsePrefix(c.Subnet)
		if err != nil {
			return out, model.Invalid("subnet", "subnet %q cannot be read", c.Subnet)
		}
		// Some engines show the gateway that we made up, which is the subnet's own address.
		gateway, _, _ := strings.Cut(c.Gateway, "/")
		if a, err := netip.ParseAddr(gateway); err != nil || a == subnet.Masked().Addr() {
			gateway = ""
		} else {
			gateway = a.String()
		}
		if subnet.Addr().Is4() {
			out.Subnet, out.Gateway = subnet.Masked().String(), gateway
		} else {
			out.IPv6Subnet, out.IPv6Gateway = subnet.Masked().String(), gateway
		}
	}
	return out, nil
}

// asked is the network that a user's `docker network create` asks for. seen is what the driver saw of it, nil when this
// node's record does not have it.
func (n engineNetwork) asked(seen *api.Network) (api.Network, error) {
	out, err := n.settings()
	if err != nil {
		return out, err
	}
	if seen != nil {
		out = *seen
	} else if err := n.ranges(&out); err != nil {
		return out, err
	}
	name, tenant, suffixed := strings.Cut(n.Name, "/")
	if suffixed {
		if _, given := n.Options[optionTenant]; given && tenant != out.TenantName {
			return out, model.Invalid("tenantName", "its name says tenant %s and its option tenant=%s; choose one", tenant, out.TenantName)
		}
		out.TenantName = tenant
	}
	out.NetworkName = name
	out.Key = model.NetworkKey(out.TenantName, out.NetworkName)
	_, err = out.Model()
	return out, err
}

// ranges adds --ip-range and --aux-address as the engine shows them.
func (n engineNetwork) ranges(out *api.Network) error {
	for _, c := range n.IPAM.Config {
		subnet, err := netip.ParsePrefix(c.Subnet)
		if err != nil {
			return model.Invalid("subnet", "subnet %q cannot be read", c.Subnet)
		}
		p := pool{Subnet: subnet.Masked()}
		if c.IPRange != "" {
			if p.Range, err = netip.ParsePrefix(c.IPRange); err != nil {
				return model.Invalid("subnet", "range %q cannot be read", c.IPRange)
			}
			p.Range = p.Range.Masked()
		}
		text, _ := p.text()
		if subnet.Addr().Is4() {
			out.Subnet = text
		} else {
			out.IPv6Subnet = text
		}
		for _, aux := range c.AuxiliaryAddresses {
			text, _, _ := strings.Cut(aux, "/")
			a, err := netip.ParseAddr(text)
			if err != nil {
				return model.Invalid("reserved", "address %q cannot be read", aux)
			}
			out.Reserved = append(out.Reserved, a)
		}
	}
	slices.SortFunc(out.Reserved, netip.Addr.Compare)
	return nil
}

// forEngine is the request that makes x in an engine.
func forEngine(x wanted, driver string) newNetwork {
	n := x.network
	out := newNetwork{
		Name: x.name, CheckDuplicate: true, Driver: driver, Internal: n.Internal, Attachable: true,
		EnableIPv6: !n.IPv6.IsZero(),
		IPAM:       engineIPAM{Driver: driver, Options: map[string]string{ipamOptionTenant: n.Tenant, ipamOptionNetwork: n.Name}},
		Options:    map[string]string{optionTenant: n.Tenant, optionEncap: n.Encap, optionTag: strconv.FormatUint(uint64(n.Tag), 10)},
		Labels:     map[string]string{labelNetwork: n.Key()},
	}
	if x.group != "" {
		out.IPAM.Options[ipamOptionGroup] = x.group
		out.Labels[labelGroup] = x.group
	}
	if n.IPv4.IsZero() {
		out.EnableIPv4 = new(bool)
	}
	for _, p := range []model.Pool{n.IPv4, n.IPv6} {
		if p.IsZero() {
			continue
		}
		c := ipamConfig{Subnet: p.Subnet().String()}
		if p.Gateway.IsValid() {
			c.Gateway = p.Gateway.String()
		}
		out.IPAM.Config = append(out.IPAM.Config, c)
	}
	return out
}
