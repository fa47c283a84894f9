// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// Endpoint is one interface of one container in one network.
type Endpoint struct {
	ID      string `json:"id"` // Docker's endpoint id; for CNI the container id and interface name
	Tenant  string `json:"tenant"`
	Network string `json:"network"`
	Group   string `json:"group,omitempty"`
	Node    string `json:"node"`
	// Port is the host side of its veth pair on Node, as vvport3.
	Port string     `json:"port"`
	IPv4 netip.Addr `json:"ipv4,omitzero"` // zero where its network has none
	IPv6 netip.Addr `json:"ipv6,omitzero"` // zero where its network has none
	MAC  MAC        `json:"mac"`
	// Stopping says that its container was told to stop: it still answers, and is to get nothing new. Its node writes it.
	Stopping bool `json:"stopping,omitempty"`
	// Runtime says who owns the container: docker or cni; RuntimeNode where there is none.
	Runtime   string `json:"runtime,omitempty"`
	Container string `json:"container,omitempty"` // the runtime's container id
	Name      string `json:"name,omitempty"`      // the container's name
	// Aliases are more names by which others in the network find it (docker run --network-alias).
	Aliases []string          `json:"aliases,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"` // its container's
	Spec    *Spec             `json:"spec,omitempty"`   // more that is said of it; nil: nothing
	// Published are the ports of its node behind which some of its own are. The engine publishes ports of networks without a gateway
	// itself; those are not here.
	Published []Published `json:"published,omitempty"`
	// Unhealthy are the keys of the services whose health check it fails, sorted. Its node writes them.
	Unhealthy []string `json:"unhealthy,omitempty"`
}

func (Endpoint) Kind() Kind    { return KindEndpoint }
func (e Endpoint) Key() string { return e.ID }

// NetworkKey is the key of the network that it is in.
func (e Endpoint) NetworkKey() string { return NetworkKey(e.Tenant, e.Network) }

// Addrs are its one or two addresses, IPv4 first.
func (e Endpoint) Addrs() []netip.Addr {
	var out []netip.Addr
	for _, a := range []netip.Addr{e.IPv4, e.IPv6} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// Ailing tells whether others should rather be asked: it does not work as one of its services wants it, or is being stopped.
func (e Endpoint) Ailing() bool { return e.Stopping || len(e.Unhealthy) > 0 }

// Check refuses an endpoint that could never be right, whatever else exists.
func (e Endpoint) Check() error {
	if e.ID == "" || len(e.ID) > 256 {
		return Invalid("endpointID", "endpointID has %d characters; 1 to 256 are allowed", len(e.ID))
	}
	if err := CheckName("tenantName", e.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("networkName", e.Network, 64); err != nil {
		return err
	}
	if e.Group != "" {
		if err := CheckName("groupName", e.Group, 64); err != nil {
			return err
		}
	}
	if err := CheckName("homingHost", e.Node, 253); err != nil {
		return err
	}
	if e.IPv4.IsValid() && !e.IPv4.Is4() {
		return Invalid("ipv4Address", "address %s is not an IPv4 address", e.IPv4)
	}
	if e.IPv6.IsValid() && (!e.IPv6.Is6() || e.IPv6.Is4In6() || e.IPv6.Zone() != "") {
		return Invalid("ipv6Address", "address %s is not an IPv6 address", e.IPv6)
	}
	if err := e.Spec.check(); err != nil {
		return err
	}
	return checkPublished(e.Published)
}
