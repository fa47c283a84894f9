// SPDX-License-Identifier: Apache-2.0

package master

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// ownerService begins the owner of a service's virtual address; its key follows.
const ownerService = "service:"

func services() noun {
	return reading(noun{
		plural: api.ServiceLBs,
		put: puts(func(s *api.ServiceLB) []part {
			return []part{{"tenantName", &s.TenantName}, {"serviceName", &s.ServiceName}}
		}, askService),
		remove: removeService,
		atOnce: true,
	}, func(w model.World) model.Table[model.Service] { return w.Services }, noService,
		func(_ model.World, s model.Service) api.ServiceLB { return serviceOf(s) }, serviceOper)
}

func noService(key string) error {
	return model.NotFound("serviceName", "serviceLB %s not found; netctl service ls -a lists those there are", key)
}

func serviceOf(s model.Service) api.ServiceLB {
	out := api.ServiceLBOf(s)
	out.Links["Tenant"] = api.Link{Type: typeTenant, Key: s.Tenant}
	out.Links["Network"] = api.Link{Type: typeNetwork, Key: s.NetworkKey()}
	return out
}

func serviceOper(w model.World, s model.Service) api.ServiceLBOper {
	out := api.ServiceLBOper{ServiceVip: text(s.IPv4), ServiceVipV6: text(s.IPv6)}
	for _, e := range w.Endpoints.All() {
		if s.Provides(e) {
			p := endpointOper(w, e)
			p.ProviderState = api.ProviderStateOf(w, s, e)
			out.Providers = append(out.Providers, p)
		}
	}
	slices.SortFunc(out.Providers, func(a, b api.EndpointOper) int { return cmp.Compare(a.EndpointID, b.EndpointID) })
	out.NumProviders = len(out.Providers)
	return out
}

func askService(asked api.ServiceLB) (write, error) {
	wanted, err := asked.Model()
	return write{picky: wanted.Requested.IsValid(), decide: func(p *plan) (any, error) {
		s := wanted
		old, exists := p.world().Services.Get(s.Key())
		if !exists {
			now, err := p.createService(s)
			return serviceOf(now), err
		}
		if asked.Affinity == nil { // a v1 client that writes it again must not take away what it does not know
			s.Affinity = old.Affinity
		}
		if asked.HealthCheck == nil {
			s.Health = old.Health
		}
		if err := s.Check(); err != nil { // what is kept may not go with what is new
			return nil, err
		}
		now, err := p.updateService(old, s)
		return serviceOf(now), err
	}}, err
}

// createService gives it an address of each family that its network has: the one that is asked for, or the lowest free.
func (p *plan) createService(s model.Service) (model.Service, error) {
	t, err := tenant(p.world(), s.Tenant)
	if err != nil {
		return s, err
	}
	n, err := network(p.world(), s.NetworkKey())
	if err != nil {
		return s, err
	}
	p.unchanged(t)
	p.unchanged(n)
	p.absent(s)
	if n.IPv4.IsZero() && s.Requested.IsValid() {
		return s, model.Invalid("ipAddress", "address %s is asked for, but network %s has no IPv4 subnet; leave it out", s.Requested, n.Key())
	}
	if s.IPv4, err = p.virtualAddress(s, n, s.Requested, false); err != nil {
		return s, err
	}
	if s.IPv6, err = p.virtualAddress(s, n, netip.Addr{}, true); err != nil {
		return s, err
	}
	p.put(s)
	return s, nil
}

// virtualAddress makes an address of the family the service's; the zero Addr where the network has none.
func (p *plan) virtualAddress(s model.Service, n model.Network, asked netip.Addr, v6 bool) (a netip.Addr, err error) {
	switch {
	case !v6 && n.IPv4.IsZero() || v6 && n.IPv6.IsZero():
		return a, nil
	case asked.IsValid():
		a, err = asked, p.usable(n, model.Group{}, asked)
	default:
		a, err = p.address(n, model.Group{}, v6, nil)
	}
	if err != nil {
		return a, err
	}
	mine := model.Address{Network: n.Key(), Addr: a, Owner: ownerService + s.Key()}
	if old, taken := p.world().Addresses.Get(mine.Key()); taken {
		return a, takenAddress(p.world(), old)
	}
	p.absent(mine)
	p.put(mine)
	return a, nil
}

// updateService replaces selectors, ports, affinity and health check. The addresses stay: clients have them.
func (p *plan) updateService(old, s model.Service) (model.Service, error) {
	if s.Network != old.Network {
		return s, model.Exists("networkName", "service %s has its address in network %s, which cannot be changed to %s: delete the service first", s.Key(), old.Network, s.Network)
	}
	if s.Requested.IsValid() && s.Requested != old.IPv4 {
		return s, model.Exists("ipAddress", "service %s has address %s, which cannot be changed to %s: delete the service first, or leave ipAddress out", s.Key(), old.IPv4, s.Requested)
	}
	if !s.Requested.IsValid() {
		s.Requested = old.Requested
	}
	s.IPv4, s.IPv6 = old.IPv4, old.IPv6
	if !reflect.DeepEqual(old, s) {
		p.unchanged(old)
		p.put(s)
	}
	return s, nil
}

func removeService(p *plan, key string) error {
	s, ok := p.world().Services.Get(key)
	if !ok {
		return noService(key)
	}
	p.unchanged(s) // so its addresses are too
	p.remove(s)
	for _, a := range s.Addrs() {
		if old, ok := p.world().Addresses.Get(model.AddressKey(s.NetworkKey(), a)); ok && old.Owner == ownerService+s.Key() {
			p.remove(old)
		}
	}
	return nil
}
