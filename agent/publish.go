// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
	"github.com/contivnet/contiv/netdev"
)

// Publishing asks for a port of the node behind which a container's shall be.
type Publishing struct {
	Protocol string     // tcp, udp or sctp
	Host     netip.Addr // the node's address; invalid for all of them
	// First and Last are the node's ports of which one will do; 0: any.
	First, Last uint16
	Port        uint16 // the container's
}

// held are the node's ports that endpoints have published, so that nobody else takes them.
type held struct {
	mu  sync.Mutex
	all map[string][]hold // by endpoint
}

// hold is a port that is held. Not each has a socket: the kernel may not know its protocol, or another process have it.
type hold struct {
	model.Published
	socket io.Closer
}

// meets tells whether a packet may be for both.
func (h hold) meets(o hold) bool {
	return h.Protocol == o.Protocol && h.HostPort == o.HostPort && h.Host.Is4() == o.Host.Is4() &&
		(h.Host == o.Host || h.Host.IsUnspecified() || o.Host.IsUnspecified())
}

// add has an endpoint hold all of these, or none if a port is held already.
func (h *held) add(id string, these []hold) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for who, theirs := range h.all {
		for _, one := range these {
			if slices.ContainsFunc(theirs, one.meets) {
				return model.Exists("portmap", "port %d/%s of this node is published already by endpoint %s: choose another, or remove that container", one.HostPort, one.Protocol, short(who))
			}
		}
	}
	h.all[id] = append(h.all[id], these...)
	return nil
}

// free lets an endpoint's ports go.
func (h *held) free(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	release(h.all[id])
	delete(h.all, id)
}

func release(these []hold) {
	for _, one := range these {
		if one.socket != nil {
			_ = one.socket.Close() // nobody reads it
		}
	}
}

// Publish gives an attached endpoint ports of the node in place of those that it had, and returns when they lead to it. A port that is
// taken is refused, and then it keeps those that it had.
func (a *Agent) Publish(ctx context.Context, id string, ask []Publishing) error {
	free, err := a.occupy(ctx, id)
	if err != nil {
		return err
	}
	defer free()
	rec, ok := a.records.get(id)
	if !ok || rec.Endpoint.Port == "" {
		return model.NotFound("", "endpoint %s is not attached here", short(id))
	}
	families := a.families(rec.Endpoint)
	if want, ok := exactly(ask, families); ok && len(want) > 0 && slices.Equal(want, rec.Endpoint.Published) {
		return a.OutsideTrouble() // asked for again by who did not hear the answer
	}
	a.held.free(id)
	var published []model.Published
	for _, p := range ask {
		got, err := a.held.take(id, p, families)
		if err != nil {
			a.holdAgain(id)
			return err
		}
		published = append(published, got...)
	}
	if len(published) == 0 && len(rec.Endpoint.Published) == 0 {
		return nil
	}
	rec.Endpoint.Published = published
	revision, err := a.Client.Put(ctx, api.ObjectPath(api.Endpoints, id), api.EndpointOf(rec.Endpoint), nil)
	if err == nil {
		err = a.records.put(rec)
	}
	if err == nil {
		err = a.WaitApplied(ctx, revision)
	}
	if err == nil && len(published) > 0 {
		err = a.OutsideTrouble()
	}
	if err != nil {
		a.holdAgain(id)
		return fmt.Errorf("publish ports of endpoint %s: %w", short(id), err)
	}
	return nil
}

// holdAgain has an endpoint hold what its record says that leads to it, and nothing else: so whoever asks for that again finds it held.
func (a *Agent) holdAgain(id string) {
	a.held.free(id)
	if rec, ok := a.records.get(id); ok {
		a.hold(rec)
	}
}

// Unpublished tells, in words, which of the ports that it was given an attached endpoint does not have; "" where it has all.
func (a *Agent) Unpublished(id string, ask []Publishing) string {
	rec, ok := a.records.get(id)
	if !ok || len(ask) == 0 {
		return ""
	}
	want, _ := exactly(ask, a.families(rec.Endpoint))
	for _, p := range want {
		if !slices.Contains(rec.Endpoint.Published, p) {
			return fmt.Sprintf("the node's port %s does not lead to it", p)
		}
	}
	if err := a.OutsideTrouble(); err != nil {
		return "its ports of the node do not lead to it: " + err.Error()
	}
	return ""
}

// exactly are the ports that are asked for; ok is false where of several any will do, or one cannot be.
func exactly(ask []Publishing, families []netip.Addr) (want []model.Published, ok bool) {
	for _, p := range ask {
		at, err := p.at(families)
		if err != nil || p.First == 0 || p.First != max(p.First, p.Last) {
			return want, false
		}
		for _, addr := range at {
			want = append(want, model.Published{Protocol: p.Protocol, Host: addr, HostPort: p.First, Port: p.Port})
		}
	}
	return want, true
}

// families are the unspecified addresses of the families in which packets from the outside come to an endpoint.
func (a *Agent) families(e model.Endpoint) (out []netip.Addr) {
	w := a.World()
	n, _ := w.Networks.Get(e.NetworkKey())
	v4, v6 := compile.Private(w, n, e.Port)
	if e.IPv4.IsValid() && v4.IsValid() {
		out = append(out, netip.IPv4Unspecified())
	}
	if e.IPv6.IsValid() && v6.IsValid() {
		out = append(out, netip.IPv6Unspecified())
	}
	return out
}

// at are the addresses of the node at which a port is published, where there are families in which that leads to the container.
func (p Publishing) at(families []netip.Addr) ([]netip.Addr, error) {
	switch {
	case len(families) == 0:
		return nil, model.Invalid("portmap", "port %d/%s cannot be published: nothing from outside comes in by this network, as it is a VLAN, internal or without a gateway; "+
			"ask for no port of the node, or use a vxlan network with a gateway", p.Port, p.Protocol)
	case !p.Host.IsValid():
		return families, nil
	case !slices.ContainsFunc(families, func(f netip.Addr) bool { return f.Is4() == p.Host.Is4() }):
		return nil, model.Invalid("portmap", "port %d/%s cannot be published at %s: the network has no gateway of that address's family; publish at one of the other, or leave the address out",
			p.Port, p.Protocol, p.Host)
	}
	return []netip.Addr{p.Host}, nil
}

// take has an endpoint hold the first port of those that will do at all addresses.
func (h *held) take(id string, p Publishing, families []netip.Addr) ([]model.Published, error) {
	at, err := p.at(families)
	if err != nil {
		return nil, err
	}
	var failed error
	for port := uint32(p.First); port <= uint32(max(p.First, p.Last)); port++ {
		these, err := holdAt(p, at, uint16(port))
		if err == nil {
			err = h.add(id, these)
		}
		if err == nil {
			var got []model.Published
			for _, one := range these {
				got = append(got, one.Published)
			}
			return got, nil
		}
		release(these)
		failed = err
		if !errors.Is(err, model.ErrExists) {
			break
		}
	}
	return nil, failed
}

// holdAt takes a port at some addresses. It tells also what it took before an error.
func holdAt(p Publishing, at []netip.Addr, port uint16) (these []hold, err error) {
	for _, addr := range at {
		socket, is, err := netdev.HoldPort(p.Protocol, netip.AddrPortFrom(addr, port))
		if err != nil {
			return these, err
		}
		port = is // the same at all of them
		these = append(these, hold{model.Published{Protocol: p.Protocol, Host: addr, HostPort: is, Port: p.Port}, socket})
	}
	return these, nil
}

// holdPublished takes the ports again that the last run held.
func (a *Agent) holdPublished() {
	for _, rec := range a.records.list() {
		a.hold(rec)
	}
}

// hold takes the ports that an endpoint's record has. One that somebody has taken meanwhile leads to its container all the same.
func (a *Agent) hold(rec record) {
	id := rec.Endpoint.ID
	for _, p := range rec.Endpoint.Published {
		socket, _, err := netdev.HoldPort(p.Protocol, netip.AddrPortFrom(p.Host, p.HostPort))
		if err != nil {
			a.Log.Warn("a published port is another process's too, which gets nothing there", "endpoint", short(id), "port", p, "error", err)
		}
		if err := a.held.add(id, []hold{{p, socket}}); err != nil {
			release([]hold{{p, socket}})
			a.Log.Warn("a published port is another container's too: it leads to one of them", "endpoint", short(id), "port", p, "error", err)
		}
	}
}
