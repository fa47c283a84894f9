// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// addressSpace names our addresses. The engine repeats it in CreateNetwork, which tells a network that takes
// its addresses from elsewhere.
const addressSpace = "contiv"

type ipamCapability struct{ RequiresMACAddress bool }

func ipamCapabilities(context.Context, nothing) (ipamCapability, error) {
	return ipamCapability{}, nil
}

type defaultAddressSpaces struct {
	LocalDefaultAddressSpace, GlobalDefaultAddressSpace string
}

func addressSpaces(context.Context, nothing) (defaultAddressSpaces, error) {
	return defaultAddressSpaces{addressSpace, addressSpace}, nil
}

// A PoolID is a place's key and family, tenant:network|4 or tenant:network/group|4, where the keeper makes the network; and a
// subnet with something random, 10.1.2.0/24#0123456789abcdef, where a user does and the network's name is not known yet.
const (
	familySeparator = "|"
	nonceSeparator  = "#"
	groupSeparator  = "/"
)

func poolID(key string, v6 bool) string {
	if v6 {
		return key + familySeparator + "6"
	}
	return key + familySeparator + "4"
}

type requestPoolRequest struct {
	AddressSpace, Pool, SubPool string
	Options                     map[string]string
	V6                          bool
}

type requestPoolResponse struct {
	PoolID, Pool string
	Data         map[string]string
}

// Names of IPAM options, which the keeper sets.
const (
	ipamOptionTenant  = "tenant"
	ipamOptionNetwork = "network"
	ipamOptionGroup   = "group"
)

func (d *Driver) requestPool(ctx context.Context, req requestPoolRequest) (requestPoolResponse, error) {
	if name := req.Options[ipamOptionNetwork]; name != "" {
		asked := place{model.Network{Tenant: req.Options[ipamOptionTenant], Name: name}, req.Options[ipamOptionGroup]}
		return d.ownPool(asked.key(), req.V6)
	}
	for k := range req.Options {
		if k != ipamOptionTenant && !strings.HasPrefix(k, "com.docker.") {
			return requestPoolResponse{}, model.Invalid("", "IPAM option %q is unknown; options are given with -o: tenant, encap and pkt-tag", k)
		}
	}
	p, err := askedPool(req, d.name)
	if err != nil {
		return requestPoolResponse{}, err
	}
	// CreateNetwork names the subnet and not the PoolID, so of each subnet one is on its way at a time.
	// An engine that died on the way never ends its own: that one is given up.
	on := func(l ledger) (string, bool) {
		for id, other := range l.Pools {
			if other.Network == "" && other.Subnet == p.Subnet {
				return id, true
			}
		}
		return "", false
	}
	wait, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	_ = d.await(wait, func(l ledger) bool { _, busy := on(l); return !busy }) // else it is given up
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails
	id := p.Subnet.String() + nonceSeparator + hex.EncodeToString(nonce[:])
	p.Since = time.Now()
	err = d.record.change(func(l *ledger) {
		if old, busy := on(*l); busy {
			delete(l.Pools, old)
		}
		l.Pools[id] = p
	})
	return requestPoolResponse{PoolID: id, Pool: p.Subnet.String()}, err
}

// ownPool is a pool of a network that the keeper is making in the engine, for the place of that key.
func (d *Driver) ownPool(key string, v6 bool) (requestPoolResponse, error) {
	d.mu.Lock()
	at, ok := d.creating[key]
	d.mu.Unlock()
	if !ok {
		return requestPoolResponse{}, model.Invalid("", "IPAM options tenant, network and group are netplugin's own: networks and groups of netctl appear in every engine by themselves. To make another, leave the options out and give --subnet")
	}
	p := at.network.IPv4
	if v6 {
		p = at.network.IPv6
	}
	if p.IsZero() && !v6 {
		return requestPoolResponse{}, model.Invalid("subnet", "network %s has IPv6 alone; Docker engines before 28 give every network IPv4 as well", at.network.Key())
	}
	if p.IsZero() {
		return requestPoolResponse{}, model.Invalid("ipv6Subnet", "network %s has no IPv6 subnet", at.network.Key())
	}
	return requestPoolResponse{PoolID: poolID(key, v6), Pool: p.Subnet().String()}, nil
}

// askedPool checks what a user gave as --subnet and --ip-range.
func askedPool(req requestPoolRequest, driver string) (pool, error) {
	if req.Pool == "" {
		example := "--subnet 10.1.2.0/24"
		if req.V6 {
			example = "--ipv6 --subnet 10.1.2.0/24 --subnet 2001:db8:1::/64"
		}
		return pool{}, model.Invalid("subnet", "no subnet of IPv%s is given; write it as docker network create -d %s --ipam-driver %s %s NAME", family(req.V6), driver, driver, example)
	}
	p, err := model.ParsePool(req.Pool, "", req.V6)
	if err != nil {
		return pool{}, err
	}
	out := pool{Subnet: p.Subnet()}
	if req.SubPool != "" {
		out.Range, err = netip.ParsePrefix(req.SubPool)
		if err != nil || out.Range.Bits() < out.Subnet.Bits() || !out.Subnet.Contains(out.Range.Addr()) {
			return pool{}, model.Invalid("subnet", "range %q is not inside the subnet %s", req.SubPool, out.Subnet)
		}
		out.Range = out.Range.Masked()
	}
	return out, nil
}

func family(v6 bool) string {
	if v6 {
		return "6"
	}
	return "4"
}

// text is how the API has the pool: its subnet, or range, and gateway.
func (p pool) text() (subnet, gateway string) {
	subnet = p.Subnet.String()
	if p.Range.IsValid() && p.Range != p.Subnet {
		last := model.Pool{Prefix: p.Range}.Broadcast()
		subnet = fmt.Sprintf("%s-%s/%d", p.Range.Addr(), last, p.Subnet.Bits())
	}
	if p.Gateway.IsValid() {
		gateway = p.Gateway.String()
	}
	return subnet, gateway
}

type releasePoolRequest struct{ PoolID string }

// releasePool forgets a pool that no network has come to use. That of a network goes with it in DeleteNetwork.
func (d *Driver) releasePool(_ context.Context, req releasePoolRequest) (nothing, error) {
	return nothing{}, d.record.change(func(l *ledger) {
		if p, ok := l.Pools[req.PoolID]; ok && p.Network == "" {
			delete(l.Pools, req.PoolID)
		}
	})
}

type requestAddressRequest struct {
	PoolID, Address string
	Options         map[string]string
}

type requestAddressResponse struct{ Address string } // address/length

// A request for a network's gateway carries this option.
const (
	optionAddressType = "RequestAddressType"
	typeGateway       = "com.docker.network.gateway"
)

func (d *Driver) requestAddress(ctx context.Context, req requestAddressRequest) (requestAddressResponse, error) {
	var resp requestAddressResponse
	var asked netip.Addr
	if req.Address != "" {
		var err error
		if asked, err = netip.ParseAddr(req.Address); err != nil {
			return resp, model.Invalid("ipAddress", "address %q cannot be read: %s", req.Address, err)
		}
		asked = asked.Unmap()
	}
	gateway := req.Options[optionAddressType] == typeGateway
	l, _ := d.record.read()
	p, users := l.Pools[req.PoolID]
	// A user's pool gives addresses to containers when it has a network; before that it is asked for --aux-address.
	aux := users && p.Network == "" && !gateway
	if !gateway && !aux {
		return d.containerAddress(ctx, req.PoolID, asked)
	}
	subnet := p.Subnet
	if !users {
		var err error
		if subnet, err = d.subnetOf(ctx, req.PoolID); err != nil {
			return resp, err
		}
	}
	if !asked.IsValid() {
		// Engines before 28 insist on a gateway. The subnet's own address costs nobody one, and Join does not use it.
		return requestAddressResponse{subnet.String()}, nil
	}
	if !subnet.Contains(asked) {
		return resp, model.Invalid("ipAddress", "address %s is outside the subnet %s", asked, subnet)
	}
	resp.Address = netip.PrefixFrom(asked, subnet.Bits()).String()
	return resp, d.record.change(func(l *ledger) {
		p, ok := l.Pools[req.PoolID]
		switch {
		case !ok || p.Network != "":
			return
		case gateway:
			p.Gateway = asked
		case !slices.Contains(p.Aux, asked):
			p.Aux = append(p.Aux, asked)
		}
		l.Pools[req.PoolID] = p
	})
}

func unknownPool(id, node string) error {
	return model.NotFound("", "address pool %q is not one that netplugin on %s knows; remove the network and make it again", id, node)
}

// splitPoolID gives the network's key and the group that are in the PoolID of a network that the keeper made.
func splitPoolID(id string) (key, group string, v6, ok bool) {
	key, family, ok := strings.Cut(id, familySeparator)
	if !ok || family != "4" && family != "6" {
		return "", "", false, false
	}
	key, group, _ = strings.Cut(key, groupSeparator)
	return key, group, family == "6", true
}

// poolOf finds the place, and which pool of its network, that a PoolID stands for.
func (d *Driver) poolOf(ctx context.Context, id string) (at place, v6 bool, err error) {
	key, group, v6, ok := splitPoolID(id)
	if !ok {
		text, _, _ := strings.Cut(id, nonceSeparator)
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return at, false, unknownPool(id, d.Agent.NodeName())
		}
		v6 = subnet.Addr().Is6()
		// A network that was made a moment ago has its name when the keeper has seen it.
		if err := d.await(ctx, func(l ledger) bool {
			key = l.keyOfPool(id, subnet)
			return key != ""
		}); err != nil {
			return at, false, unknownPool(id, d.Agent.NodeName())
		}
	}
	at, err = d.inWorld(ctx, key, group)
	return at, v6, err
}

// keyOfPool is the key of the network that has the pool, "" when it is not known. Where the record of the pool is lost, the
// one network with that subnet must be it.
func (l ledger) keyOfPool(id string, subnet netip.Prefix) string {
	if p, ok := l.Pools[id]; ok {
		return l.Networks[p.Network].Key
	}
	found := ""
	for _, k := range l.Networks {
		if k.Key != "" && (k.IPv4 == subnet || k.IPv6 == subnet) {
			if found != "" && found != k.Key { // its groups' have its key and subnet
				return ""
			}
			found = k.Key
		}
	}
	return found
}

// subnetOf is the subnet of a pool of the World, or of a network that the keeper is just making.
func (d *Driver) subnetOf(ctx context.Context, id string) (netip.Prefix, error) {
	_, _, v6, _ := splitPoolID(id)
	key, _, _ := strings.Cut(id, familySeparator)
	d.mu.Lock()
	at, creating := d.creating[key]
	d.mu.Unlock()
	if !creating {
		var err error
		if at, v6, err = d.poolOf(ctx, id); err != nil {
			return netip.Prefix{}, err
		}
	}
	if v6 {
		return at.network.IPv6.Subnet(), nil
	}
	return at.network.IPv4.Subnet(), nil
}

// containerAddress has a master give an address, and hold it until the container is attached.
func (d *Driver) containerAddress(ctx context.Context, id string, asked netip.Addr) (requestAddressResponse, error) {
	at, v6, err := d.poolOf(ctx, id)
	if err != nil {
		return requestAddressResponse{}, err
	}
	n := at.network
	req := api.AddressRequest{Node: d.Agent.NodeName(), IPAddress: asked, IPv6: v6, GroupName: at.group}
	var given api.Address
	stop := time.Now().Add(patience)
	err = d.withMaster(ctx, func(ctx context.Context) error {
		for {
			_, err := d.Agent.Masters().Post(ctx, api.AddressesPath(n.Key()), req, &given)
			if !errors.Is(err, model.ErrExists) || time.Now().After(stop) || !d.leaving(n, asked) {
				return err
			}
			select { // the masters will hear soon that the container that had it is gone
			case <-ctx.Done():
				return err
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	if noMaster(err) {
		return requestAddressResponse{}, fmt.Errorf("address for %s cannot be given: %w; containers that run are not affected", at, err)
	}
	if err != nil {
		return requestAddressResponse{}, fmt.Errorf("address for %s: %w", at, err)
	}
	d.mu.Lock()
	d.held[model.AddressKey(n.Key(), given.IPAddress)] = true
	d.mu.Unlock()
	return requestAddressResponse{netip.PrefixFrom(given.IPAddress, given.Length).String()}, nil
}

// leaving tells whether the address is that of an endpoint which this node has detached already: a container that
// is started again with the address that it had.
func (d *Driver) leaving(n model.Network, a netip.Addr) bool {
	w := d.Agent.World()
	owner, ok := w.Addresses.Get(model.AddressKey(n.Key(), a))
	if !ok {
		return false
	}
	e, ok := w.Endpoints.Get(owner.Owner)
	if !ok || e.Node != d.Agent.NodeName() {
		return false
	}
	_, here := d.Agent.Prepared(e.ID)
	return !here
}

type releaseAddressRequest struct{ PoolID, Address string }

// releaseAddress gives back what no endpoint has claimed; an endpoint's addresses go with it. What cannot be given back now
// comes back by itself after model.HoldSeconds, so this never waits for long and never fails.
// It is not left to a goroutine: the next container may have been given the same address by then.
func (d *Driver) releaseAddress(ctx context.Context, req releaseAddressRequest) (nothing, error) {
	a, err := netip.ParseAddr(req.Address)
	if err != nil {
		return nothing{}, nil
	}
	a = a.Unmap()
	key, _, _, ok := splitPoolID(req.PoolID)
	if !ok {
		l, _ := d.record.read()
		text, _, _ := strings.Cut(req.PoolID, nonceSeparator)
		subnet, err := netip.ParsePrefix(text)
		if err != nil {
			return nothing{}, nil
		}
		key = l.keyOfPool(req.PoolID, subnet)
	}
	address := model.AddressKey(key, a)
	d.mu.Lock()
	held := d.held[address]
	delete(d.held, address)
	d.mu.Unlock()
	if !held {
		return nothing{}, nil
	}
	call, cancel := context.WithTimeout(ctx, briefly)
	defer cancel()
	if _, err := d.Agent.Masters().Delete(call, api.AddressPath(key, a)+"?owner="+d.Agent.NodeName()); err != nil {
		d.Log.Debug("an address that was not used is given back later by itself", "address", address, "error", err)
	}
	return nothing{}, nil
}
