// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/contivnet/contiv/model"
)

// cluster is what has names in Kubernetes: services by namespace and name, and what those tables do not say of themselves. Not safe for
// concurrent use.
type cluster struct {
	namespaces model.Table[model.Namespace]
	services   model.Table[model.ClusterService]
	slices     model.Table[model.EndpointSlice]

	parts   map[string][]string     // by a service's key, those of its slices
	tenants map[podPlace][]string   // of a pod's endpoints with an address
	owners  map[netip.Addr][]string // keys of services: by their addresses, and by those of their providers that have hostnames
}

// podPlace is a pod at one of its addresses.
type podPlace struct {
	pod  string // namespace/name
	addr netip.Addr
}

// clusterOf makes it of all that there is.
func clusterOf(now tables) *cluster {
	c := &cluster{parts: map[string][]string{}, tenants: map[podPlace][]string{}, owners: map[netip.Addr][]string{}}
	c.follow(tables{}, now)
	for e := range now.endpoints.Since(model.Table[model.Endpoint]{}) {
		c.endpoint(e)
	}
	return c
}

// follow goes on to newer tables, but for the endpoints: those are told one by one.
func (c *cluster) follow(was, now tables) {
	c.namespaces, c.services, c.slices = now.namespaces, now.clusterServices, now.slices
	for d := range now.clusterServices.Since(was.clusterServices) {
		if d.Was != nil {
			c.own(d.Was.ClusterIPs, d.Key, remove)
		}
		if d.Is != nil {
			c.own(d.Is.ClusterIPs, d.Key, add)
		}
	}
	for d := range now.slices.Since(was.slices) {
		if d.Was != nil {
			c.slice(*d.Was, remove)
		}
		if d.Is != nil {
			c.slice(*d.Is, add)
		}
	}
}

func (c *cluster) slice(s model.EndpointSlice, to step) {
	key := s.ServiceKey()
	list := without(c.parts[key], s.Key())
	if to == add {
		list = append(list, s.Key())
	}
	put(c.parts, key, list)
	for _, a := range s.Endpoints {
		if a.Hostname != "" {
			c.own([]netip.Addr{a.Addr}, key, to)
		}
	}
}

// own has addresses be a service's. Several of its slices may have one, so it is there once for each.
func (c *cluster) own(addrs []netip.Addr, service string, to step) {
	for _, a := range addrs {
		list := c.owners[a]
		if to == add {
			list = append(list, service)
		} else {
			list = without(list, service)
		}
		put(c.owners, a, list)
	}
}

// endpoint follows what has become of one.
func (c *cluster) endpoint(d model.Difference[model.Endpoint]) {
	for _, at := range podPlaces(d.Was) {
		put(c.tenants, at, without(c.tenants[at], d.Was.Tenant))
	}
	for _, at := range podPlaces(d.Is) {
		c.tenants[at] = append(c.tenants[at], d.Is.Tenant)
	}
}

// podPlaces are where a pod is whose endpoint it is; none for nil, and for one that is no pod's.
func podPlaces(e *model.Endpoint) (out []podPlace) {
	if e == nil {
		return nil
	}
	namespace, name, ok := e.Pod()
	if !ok {
		return nil
	}
	for _, a := range e.Addrs() {
		out = append(out, podPlace{namespace + "/" + name, a})
	}
	return out
}

// providers are the ready ones of a service which who asks may meet. A pod is of the tenants of its endpoints; what is no pod of
// ours, as a machine or a pod in a node's own network, is everybody's.
func (v view) providers(service string) (out []provider) {
	for _, key := range v.cluster.parts[service] {
		s, ok := v.cluster.slices.Get(key)
		if !ok {
			continue
		}
		for _, a := range s.Endpoints {
			if a.Ready && v.meets(s.Namespace, a) {
				out = append(out, provider{a, s.Ports})
			}
		}
	}
	return out
}

// provider is one of a service.
type provider struct {
	model.SliceAddress
	ports []model.SlicePort
}

// host is the name that it has in a headless service: its own, or one made of its address.
func (p provider) host() string {
	if p.Hostname != "" {
		return canonical(p.Hostname)
	}
	return strings.NewReplacer(".", "-", ":", "-").Replace(p.Addr.String())
}

// meets tells whether who asks may know of a provider. A pod that has no endpoint at its address is in a node's own network, unless the address is of
// a network of ours: then its endpoint is gone, or not there yet, and nobody can say whose it is.
func (v view) meets(namespace string, a model.SliceAddress) bool {
	if a.Pod == "" {
		return true
	}
	if tenants := v.cluster.tenants[podPlace{namespace + "/" + a.Pod, a.Addr}]; len(tenants) > 0 {
		return slices.ContainsFunc(v.asker, func(h home) bool { return slices.Contains(tenants, h.tenant) })
	}
	for _, n := range v.networks.All() {
		if p := n.Pool(a.Addr); !p.IsZero() && p.Subnet().Contains(a.Addr) {
			return false
		}
	}
	return true
}
