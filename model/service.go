// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Service is one address for many containers: its providers are the tenant's endpoints whose labels carry all of its
// selectors. The v1 API calls it serviceLB.
type Service struct {
	Tenant    string            `json:"tenant"`
	Name      string            `json:"name"`
	Network   string            `json:"network"`
	Selectors map[string]string `json:"selectors"` // labels that a provider has
	Ports     []ServicePort     `json:"ports"`     // one or more
	// Requested is the IPv4 address that the user asked for; zero: the lowest free.
	Requested netip.Addr `json:"requested,omitzero"`
	// Affinity has a client meet the same provider again, chosen by its address alone.
	Affinity bool `json:"affinity,omitempty"`
	// Health is how each provider's node looks whether it works, as ParseHealth reads it; "" for not at all.
	Health string     `json:"health,omitempty"`
	IPv4   netip.Addr `json:"ipv4,omitzero"` // its virtual address in the network, of each family that the network has
	IPv6   netip.Addr `json:"ipv6,omitzero"`
}

// ServicePort is where a service listens, and where its providers do.
type ServicePort struct {
	Port     uint16 `json:"port"`     // at the virtual address
	Target   uint16 `json:"target"`   // at the providers'
	Protocol string `json:"protocol"` // TCP, UDP or SCTP
}

func (Service) Kind() Kind    { return KindService }
func (s Service) Key() string { return ServiceKey(s.Tenant, s.Name) }

// ServiceKey is how a service is named in the store and in the v1 API: tenant:service.
func ServiceKey(tenant, name string) string { return tenant + ":" + name }

// NetworkKey is the key of the network that its address is in.
func (s Service) NetworkKey() string { return NetworkKey(s.Tenant, s.Network) }

// Addrs are its one or two addresses, IPv4 first.
func (s Service) Addrs() []netip.Addr { return Endpoint{IPv4: s.IPv4, IPv6: s.IPv6}.Addrs() }

// Selects tells whether an endpoint with these labels is one of its providers.
func (s Service) Selects(labels map[string]string) bool {
	for k, v := range s.Selectors {
		if has, ok := labels[k]; !ok || has != v {
			return false
		}
	}
	return len(s.Selectors) > 0
}

// Provides tells whether e is one of its providers.
func (s Service) Provides(e Endpoint) bool { return e.Tenant == s.Tenant && s.Selects(e.Labels) }

// Takes tells whether new connections may go to an endpoint: it is a provider, is not being stopped, and no health check says
// that it does not work.
func (s Service) Takes(e Endpoint) bool {
	return s.Provides(e) && !e.Stopping && (s.Health == "" || !slices.Contains(e.Unhealthy, s.Key()))
}

// CheckedPort is the port at a provider of which a health check asks: the first target of TCP. ok is false where there is none.
func (s Service) CheckedPort() (target uint16, ok bool) {
	for _, p := range s.Ports {
		if p.Protocol == "TCP" {
			return p.Target, true
		}
	}
	return 0, false
}

// Check refuses a service that could never be right, whatever else exists.
func (s Service) Check() error {
	if err := CheckName("tenantName", s.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("serviceName", s.Name, 256); err != nil {
		return err
	}
	if err := CheckName("networkName", s.Network, 64); err != nil {
		return err
	}
	if len(s.Selectors) == 0 {
		return Invalid("selectors", "selectors is empty: every container would be a provider; give at least one, as app=web")
	}
	if len(s.Ports) == 0 {
		return Invalid("ports", "ports is empty; give at least one, as 80:8080:TCP")
	}
	seen := map[string]bool{}
	for _, p := range s.Ports {
		listens := fmt.Sprint(p.Port, p.Protocol)
		if seen[listens] {
			return Invalid("ports", "port %d of %s is given twice; give each once", p.Port, p.Protocol)
		}
		seen[listens] = true
		if p.Protocol == "SCTP" && p.Port != p.Target {
			return Invalid("ports", "port %d of SCTP cannot lead to target port %d: SCTP's checksum covers the ports and the whole packet; have both the same, as %d:%d:SCTP", p.Port, p.Target, p.Target, p.Target)
		}
	}
	if s.Health != "" {
		if _, err := ParseHealth(s.Health); err != nil {
			return err
		}
		if _, ok := s.CheckedPort(); !ok {
			return Invalid("healthCheck", "healthCheck %s needs a port of TCP, and ports has none; add one, or set healthCheck to \"\"", Short(s.Health))
		}
	}
	if s.Requested.IsValid() && !s.Requested.Is4() {
		return Invalid("ipAddress", "address %s is not an IPv4 address", s.Requested)
	}
	return nil
}

// String is what ParseServicePort reads: 80:8080:TCP.
func (p ServicePort) String() string { return fmt.Sprintf("%d:%d:%s", p.Port, p.Target, p.Protocol) }

// ParseServicePort reads port:targetPort:protocol. The protocol's case does not matter.
func ParseServicePort(text string) (ServicePort, error) {
	wrong := Invalid("ports", "port %q is not a mapping; write it as port:targetPort:protocol with ports from 1 to 65535 and tcp, udp or sctp, as 80:8080:TCP", text)
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return ServicePort{}, wrong
	}
	port, err1 := strconv.ParseUint(parts[0], 10, 16)
	target, err2 := strconv.ParseUint(parts[1], 10, 16)
	p := ServicePort{uint16(port), uint16(target), strings.ToUpper(parts[2])}
	known := p.Protocol == "TCP" || p.Protocol == "UDP" || p.Protocol == "SCTP"
	if err1 != nil || err2 != nil || port == 0 || target == 0 || !known {
		return ServicePort{}, wrong
	}
	return p, nil
}

// ParseSelector reads key=value. Neither may be empty.
func ParseSelector(text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" || value == "" || len(text) > 512 {
		return "", "", Invalid("selectors", "Invalid selector %s. selector format is key1=value1", text)
	}
	return key, value, nil
}
