// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func endpoints() noun {
	return noun{
		plural: api.Endpoints,
		list: func(w model.World) any {
			out := []api.Endpoint{}
			for e := range w.Endpoints.Sorted() {
				out = append(out, api.EndpointOf(e))
			}
			return out
		},
		get: func(w model.World, key string) (any, error) {
			e, ok := w.Endpoints.Get(key)
			if !ok {
				return nil, model.NotFound("endpointID", "endpoint %s not found", key)
			}
			return api.EndpointOf(e), nil
		},
		inspect: func(w model.World, key string) (any, error) {
			e, err := meantEndpoint(w, key)
			return api.EndpointInspect{Oper: endpointOper(w, e)}, err
		},
		put:    puts(func(e *api.Endpoint) []part { return []part{{"endpointID", &e.EndpointID}} }, askEndpoint),
		remove: removeEndpoint,
		atOnce: true,
	}
}

// meantEndpoint finds an endpoint by its id, its container's id or name, or by a part of one of them.
func meantEndpoint(w model.World, key string) (model.Endpoint, error) {
	exact, part := namedEndpoints(w, key)
	if len(exact) == 0 {
		exact = part
	}
	return theEndpoint(key, exact)
}

// namedEndpoints are those that key names, and those of which it is a part of a name.
func namedEndpoints(w model.World, key string) (exact, part []model.Endpoint) {
	if e, ok := w.Endpoints.Get(key); ok {
		return []model.Endpoint{e}, nil
	}
	for _, e := range w.Endpoints.All() {
		switch {
		case e.Container == key || e.Name == key:
			exact = append(exact, e)
		case strings.Contains(e.ID, key) || strings.Contains(e.Container, key) || strings.Contains(e.Name, key):
			part = append(part, e)
		}
	}
	return exact, part
}

// theEndpoint is the only one of those that were found.
func theEndpoint(key string, found []model.Endpoint) (model.Endpoint, error) {
	switch len(found) {
	case 0:
		return model.Endpoint{}, model.NotFound("endpointID", "endpoint %s not found; give an endpoint id, a container id or name, or a part of one", key)
	case 1:
		return found[0], nil
	}
	slices.SortFunc(found, func(a, b model.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
	var list []string
	for _, e := range found[:min(len(found), 10)] {
		list = append(list, fmt.Sprintf("%s (%s on %s.%s)", e.ID, nameOf(e), e.Network, e.Tenant))
	}
	if len(found) > 10 {
		list = append(list, "…")
	}
	return model.Endpoint{}, model.Invalid("endpointID", "%q is %d endpoints: %s; give the id of one", key, len(found), model.List(strings.Join(list, ", ")))
}

// nameOf is what an operator knows the endpoint by.
func nameOf(e model.Endpoint) string {
	switch {
	case e.Name != "":
		return "container " + e.Name
	case e.Container != "":
		return "container " + e.Container[:min(len(e.Container), 12)]
	case e.Runtime == model.RuntimeNode:
		return "device " + e.Network
	}
	return "endpoint " + e.ID[:min(len(e.ID), 12)]
}

func endpointOper(w model.World, e model.Endpoint) api.EndpointOper {
	out := api.EndpointOper{
		ContainerID: e.Container, ContainerName: e.Name, EndpointID: e.ID, HomingHost: e.Node, IntfName: e.Port,
		IPAddress: [2]string{text(e.IPv4), text(e.IPv6)}, Labels: fmt.Sprint(e.Labels), MACAddress: e.MAC.String(),
		Network: e.Network + "." + e.Tenant, ServiceName: e.Group, NodeState: nodeState(w, e.Node),
	}
	if e.Group != "" {
		out.EndpointGroupKey = e.Group + ":" + e.Tenant
		if g, ok := w.Groups.Get(model.GroupKey(e.Tenant, e.Group)); ok {
			out.EndpointGroupID = int(g.Number)
		}
	}
	var published []string
	for _, p := range e.Published {
		published = append(published, fmt.Sprintf("%s->%d/%s", netip.AddrPortFrom(p.Host, p.HostPort), p.Port, p.Protocol))
	}
	out.PublishedPorts = strings.Join(published, ", ")
	if e.Port != "" {
		out.VirtualPort = "v" + e.Port
	}
	if n, ok := w.Nodes.Get(e.Node); ok {
		out.VtepIP = n.VTEP.String()
	}
	return out
}

func askEndpoint(asked api.Endpoint) (write, error) {
	e, err := asked.Model()
	return write{decide: func(p *plan) (any, error) {
		decide := p.createEndpoint
		if old, exists := p.world().Endpoints.Get(e.ID); exists {
			decide = func(e model.Endpoint) (model.Endpoint, error) { return p.updateEndpoint(old, e) }
		}
		now, err := decide(e)
		return api.EndpointOf(now), err
	}}, err
}

// updateEndpoint changes what may change of an endpoint. What names its place in the network may not: containers and
// nodes have it in use.
func (p *plan) updateEndpoint(old, e model.Endpoint) (model.Endpoint, error) {
	fixed := func(field, was, now string) error {
		return model.Exists(field, "endpoint %s has %s %s, which cannot be changed to %s: remove the endpoint first", e.ID, field, was, now)
	}
	switch {
	case e.NetworkKey() != old.NetworkKey():
		return e, fixed("networkName", old.NetworkKey(), e.NetworkKey())
	case e.Group != old.Group: // with it goes the pool that the address is from
		return e, fixed("groupName", fmt.Sprintf("%q", old.Group), fmt.Sprintf("%q", e.Group))
	case e.Node != old.Node:
		return e, fixed("homingHost", old.Node, e.Node)
	case e.IPv4.IsValid() && e.IPv4 != old.IPv4:
		return e, fixed("ipv4Address", text(old.IPv4), text(e.IPv4))
	case e.IPv6.IsValid() && e.IPv6 != old.IPv6:
		return e, fixed("ipv6Address", text(old.IPv6), text(e.IPv6))
	case !e.MAC.IsZero() && e.MAC != old.MAC:
		return e, fixed("macAddress", old.MAC.String(), e.MAC.String())
	}
	if n, ok := p.world().Networks.Get(old.NetworkKey()); ok {
		if err := mayBeOn(n, e); err != nil {
			return e, err
		}
	}
	e.IPv4, e.IPv6, e.MAC = old.IPv4, old.IPv6, old.MAC
	if !sameEndpoint(old, e) {
		p.unchanged(old)
		p.put(e)
	}
	return e, nil
}

func sameEndpoint(a, b model.Endpoint) bool {
	// An empty list and none are the same.
	if len(a.Aliases)+len(b.Aliases) == 0 {
		a.Aliases, b.Aliases = nil, nil
	}
	if len(a.Labels)+len(b.Labels) == 0 {
		a.Labels, b.Labels = nil, nil
	}
	if len(a.Unhealthy)+len(b.Unhealthy) == 0 {
		a.Unhealthy, b.Unhealthy = nil, nil
	}
	if len(a.Published)+len(b.Published) == 0 {
		a.Published, b.Published = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

func (p *plan) createEndpoint(e model.Endpoint) (model.Endpoint, error) {
	if _, err := tenant(p.world(), e.Tenant); err != nil {
		return e, err
	}
	n, err := network(p.world(), e.NetworkKey())
	if err != nil {
		return e, err
	}
	at, err := node(p.world(), "homingHost", e.Node)
	if err != nil {
		return e, err
	}
	if err := mayBeOn(n, e); err != nil {
		return e, err
	}
	g, err := p.groupOn(n, e.Group)
	if err != nil {
		return e, err
	}
	p.unchanged(n)
	p.unchanged(at) // or its removal would leave the endpoint behind
	p.absent(e)
	if e.IPv4, err = p.endpointAddress(e, n, g, e.IPv4, false); err != nil {
		return e, err
	}
	if e.IPv6, err = p.endpointAddress(e, n, g, e.IPv6, true); err != nil {
		return e, err
	}
	if e.MAC, err = p.mac(e); err != nil {
		return e, err
	}
	p.put(e)
	return e, nil
}

// groupOn is the group that something on the network is to be in, the zero group for none. The write fails where it is another
// by then, or gone.
func (p *plan) groupOn(n model.Network, name string) (model.Group, error) {
	if name == "" {
		return model.Group{}, nil
	}
	g, err := group(p.world(), model.GroupKey(n.Tenant, name))
	if err != nil {
		return g, err
	}
	if g.Network != n.Name {
		return g, model.Invalid("groupName", "group %s is on network %s, not on %s; name a group of that network with netctl group create", g.Key(), g.NetworkKey(), n.Key())
	}
	p.unchanged(g)
	return g, nil
}

// endpointAddress makes the address of one family the endpoint's: the one that is asked for, or the lowest free.
func (p *plan) endpointAddress(e model.Endpoint, n model.Network, g model.Group, asked netip.Addr, v6 bool) (netip.Addr, error) {
	field := "ipv4Address"
	if v6 {
		field = "ipv6Address"
	}
	a, err := p.addressFor(e, n, g, asked, v6)
	var refused *model.Error
	if errors.As(err, &refused) { // elsewhere an address is asked for as ipAddress
		return a, &model.Error{Kind: refused.Kind, Field: field, Text: refused.Text}
	}
	return a, err
}

func (p *plan) addressFor(e model.Endpoint, n model.Network, g model.Group, asked netip.Addr, v6 bool) (netip.Addr, error) {
	pool := n.IPv4
	if v6 {
		pool = n.IPv6
	}
	if pool.IsZero() {
		if asked.IsValid() {
			return asked, model.Invalid("", "address %s is asked for, but network %s has no subnet of that family", asked, n.Key())
		}
		return asked, nil
	}
	a := asked
	if !a.IsValid() {
		var err error
		if a, err = p.address(n, g, v6, p.ambiguous(newcomer{e.Tenant, e.Node, len(e.Probed()) > 0}, n, v6)); err != nil {
			return a, err
		}
	} else if err := p.usable(n, g, a); err != nil {
		return a, err
	}
	mine := model.Address{Network: n.Key(), Addr: a, Owner: e.ID}
	switch old, taken := p.world().Addresses.Get(mine.Key()); {
	case !taken:
		p.absent(mine)
	case old.Held && old.Owner == e.Node || !old.Held && old.Owner == e.ID:
		p.unchanged(mine)
	default:
		return a, takenAddress(p.world(), old)
	}
	p.put(mine)
	return a, nil
}

// mac is the one that was asked for, or follows from the address.
func (p *plan) mac(e model.Endpoint) (model.MAC, error) {
	derived := model.MACOf(e.Addrs()[0])
	if e.MAC.IsZero() {
		e.MAC = derived
	}
	if e.MAC != derived {
		if e.MAC[0] == 0x02 && (e.MAC[1] == 0x02 || e.MAC[1] == 0x06) {
			return e.MAC, model.Invalid("macAddress", "macAddress %s belongs to another address: those that begin with 02:02 and 02:06 are made from addresses (this endpoint's is %s); choose another",
				e.MAC, derived)
		}
		// Nothing in the store is keyed by MAC, so no other endpoint may come into the network meanwhile.
		p.noneNewer(model.KindAddress, e.NetworkKey()+"/")
	}
	if id := p.ledger.macOwner(e.NetworkKey(), e.MAC); id != "" && id != e.ID {
		other, known := p.world().Endpoints.Get(id)
		if !known { // the ledger is newer than this World, in which the address may have looked free
			return e.MAC, errBusy
		}
		return e.MAC, model.Exists("macAddress", "macAddress %s is in use in network %s by endpoint %s (%s on node %s); choose another",
			e.MAC, e.NetworkKey(), id, other.Name, other.Node)
	}
	return e.MAC, nil
}

// removeEndpoint takes the endpoint's addresses with it. Removing one that is not there succeeds: runtimes
// ask again when they have not heard the answer.
func removeEndpoint(p *plan, key string) error {
	if e, ok := p.world().Endpoints.Get(key); ok {
		p.removeEndpoint(e)
	}
	return nil
}

func (p *plan) removeEndpoint(e model.Endpoint) {
	w := p.world()
	p.unchanged(e) // so its addresses are too
	for _, a := range e.Addrs() {
		if old, ok := w.Addresses.Get(model.AddressKey(e.NetworkKey(), a)); ok && !old.Held && old.Owner == e.ID {
			p.remove(old)
		}
	}
	p.remove(e)
}
