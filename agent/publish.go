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
	all map[string][]io.Closer // by endpoint
}

func (h *held) replace(id string, with []io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.all[id] {
		_ = c.Close() // of a socket that nobody reads
	}
	delete(h.all, id)
	if len(with) > 0 {
		h.all[id] = with
	}
}

// Publish gives an attached endpoint ports of the node in place of those that it had, and returns when they lead to it. A port that is
// taken is refused, and then none is given.
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
	a.held.replace(id, nil)
	families := a.families(rec.Endpoint)
	var published []model.Published
	var holds []io.Closer
	for _, p := range ask {
		got, closers, err := hold(p, families)
		holds = append(holds, closers...)
		if err != nil {
			a.held.replace(id, holds)
			a.held.replace(id, nil)
			return err
		}
		published = append(published, got...)
	}
	a.held.replace(id, holds)
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
		a.held.replace(id, nil)
		return fmt.Errorf("publish ports of endpoint %s: %w", short(id), err)
	}
	return nil
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
			"leave -p out, or use a vxlan network with a gateway", p.Port, p.Protocol)
	case !p.Host.IsValid():
		return families, nil
	case !slices.ContainsFunc(families, func(f netip.Addr) bool { return f.Is4() == p.Host.Is4() }):
		return nil, model.Invalid("portmap", "port %d/%s cannot be published at %s: the network has no gateway of that address's family; publish at one of the other, or leave the address out",
			p.Port, p.Protocol, p.Host)
	}
	return []netip.Addr{p.Host}, nil
}

// hold takes the first port of those that will do at all addresses.
func hold(p Publishing, families []netip.Addr) ([]model.Published, []io.Closer, error) {
	at, err := p.at(families)
	if err != nil {
		return nil, nil, err
	}
	var failed error
	for port := uint32(p.First); port <= uint32(max(p.First, p.Last)); port++ {
		got, closers, err := holdAt(p, at, uint16(port))
		if err == nil {
			return got, closers, nil
		}
		for _, c := range closers {
			_ = c.Close() // of a socket that nobody reads
		}
		failed = err
		if !errors.Is(err, model.ErrExists) {
			break
		}
	}
	return nil, nil, failed
}

func holdAt(p Publishing, at []netip.Addr, port uint16) (got []model.Published, closers []io.Closer, err error) {
	for _, addr := range at {
		c, is, err := netdev.HoldPort(p.Protocol, netip.AddrPortFrom(addr, port))
		if err != nil {
			return got, closers, err
		}
		port = is // the same at all of them
		closers = append(closers, c)
		got = append(got, model.Published{Protocol: p.Protocol, Host: addr, HostPort: is, Port: p.Port})
	}
	return got, closers, nil
}

// holdPublished takes the ports again that the last run held. One that somebody has taken meanwhile leads to its container all the same.
func (a *Agent) holdPublished() {
	for id, rec := range a.records.list() {
		var holds []io.Closer
		for _, p := range rec.Endpoint.Published {
			c, _, err := netdev.HoldPort(p.Protocol, netip.AddrPortFrom(p.Host, p.HostPort))
			if err != nil {
				a.Log.Warn("a published port is another process's too, which gets nothing there", "endpoint", short(id), "port", p, "error", err)
				continue
			}
			holds = append(holds, c)
		}
		a.held.replace(id, holds)
	}
}
