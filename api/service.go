// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// ServiceLB is one address for many containers: the endpoints of the tenant whose labels carry all selectors. Inside, a service.
type ServiceLB struct {
	Key         string   `json:"key"` // tenant:service
	TenantName  string   `json:"tenantName"`
	ServiceName string   `json:"serviceName"`
	NetworkName string   `json:"networkName,omitempty"` // the network that its address is in; it cannot be changed
	IPAddress   string   `json:"ipAddress,omitempty"`   // the IPv4 address that is asked for; left out: the lowest free
	Selectors   []string `json:"selectors,omitempty"`   // key=value
	Ports       []string `json:"ports,omitempty"`       // port:targetPort:protocol
	// Affinity has a client meet the same provider again. Left out: as it is, at first false. New since v1.
	Affinity *bool `json:"affinity,omitempty"`
	// HealthCheck is how the providers' nodes look whether they work: tcp, http or http:/path; "" for not at all. Left out: as it
	// is, at first not at all. New since v1.
	HealthCheck *string  `json:"healthCheck,omitempty"`
	LinkSets    LinkSets `json:"link-sets"`
	Links       Links    `json:"links"`
}

// ServiceLBOper is what has become of a service.
type ServiceLBOper struct {
	NumProviders int            `json:"numProviders,omitempty"` // how many
	Providers    []EndpointOper `json:"providers,omitempty"`    // the tenant's endpoints whose labels carry all selectors
	ServiceVip   string         `json:"serviceVip,omitempty"`   // its IPv4 address
	// ServiceVipV6 is its IPv6 address, where the network has a subnet for one. New since v1.
	ServiceVipV6 string `json:"serviceVipV6,omitempty"`
}

// States of a provider. Where its service has no health check it is healthy until its container is stopped.
const (
	ProviderHealthy   = "healthy"
	ProviderUnhealthy = "unhealthy" // it gets no new connections until a check succeeds
	ProviderStopping  = "stopping"  // its container was told to stop, and it gets no new connections
	// ProviderAway: nothing is heard of its node, so it gets new connections only where no other provider takes them.
	ProviderAway = "away"
	// ProviderUnreachable: its network and the service's are not joined, so no client could reach both.
	ProviderUnreachable = "unreachable"
)

// ProviderStateOf is how e is doing for s.
func ProviderStateOf(w model.World, s model.Service, e model.Endpoint) string {
	at, _ := w.Networks.Get(s.NetworkKey())
	its, known := w.Networks.Get(e.NetworkKey())
	_, heard := w.Alive.Get(e.Node)
	switch {
	case !known || !w.Forwarding().Reaches(at, its):
		return ProviderUnreachable
	case e.Stopping:
		return ProviderStopping
	case !s.Takes(e):
		return ProviderUnhealthy
	case !heard:
		return ProviderAway
	}
	return ProviderHealthy
}

// ServiceLBInspect is the answer of inspect.
type ServiceLBInspect = Inspect[ServiceLB, ServiceLBOper]

// ServiceLBOf is how v1 shows s. Link sets need the World and are the master's to fill.
func ServiceLBOf(s model.Service) ServiceLB {
	out := ServiceLB{
		Key: s.Key(), TenantName: s.Tenant, ServiceName: s.Name, NetworkName: s.Network, Affinity: &s.Affinity, HealthCheck: &s.Health,
		LinkSets: LinkSets{}, Links: Links{},
	}
	if s.Requested.IsValid() {
		out.IPAddress = s.Requested.String()
	}
	for k, v := range s.Selectors {
		out.Selectors = append(out.Selectors, k+"="+v)
	}
	slices.Sort(out.Selectors)
	for _, p := range s.Ports {
		out.Ports = append(out.Ports, p.String())
	}
	return out
}

// Model is the service that s asks for; its addresses are the master's to give, and what s leaves out is the master's to keep.
func (s ServiceLB) Model() (model.Service, error) {
	m := model.Service{Tenant: s.TenantName, Name: s.ServiceName, Network: s.NetworkName, Selectors: map[string]string{}}
	m.Affinity, m.Health = valueOf(s.Affinity), valueOf(s.HealthCheck)
	if s.IPAddress != "" {
		var err error
		if m.Requested, err = netip.ParseAddr(s.IPAddress); err != nil {
			return m, model.Invalid("ipAddress", "ipAddress %q is not an address; write it as 10.1.1.5", s.IPAddress)
		}
	}
	for _, text := range s.Selectors {
		k, v, err := model.ParseSelector(text)
		if err != nil {
			return m, err
		}
		if old, twice := m.Selectors[k]; twice && old != v {
			return m, model.Invalid("selectors", "selectors ask for both %s=%s and %s=%s: no container has both", k, old, k, v)
		}
		m.Selectors[k] = v
	}
	for _, text := range s.Ports {
		p, err := model.ParseServicePort(text)
		if err != nil {
			return m, err
		}
		m.Ports = append(m.Ports, p)
	}
	return m, m.Check()
}
