// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Network is v1's network.
type Network struct {
	Key         string `json:"key"`
	TenantName  string `json:"tenantName"`
	NetworkName string `json:"networkName"`
	NwType      string `json:"nwType,omitempty"` // data (default) or infra
	Encap       string `json:"encap,omitempty"`  // vxlan (default) or vlan
	PktTag      uint32 `json:"pktTag,omitempty"` // asked for; 0: any
	Subnet      string `json:"subnet,omitempty"` // a.b.c.d/len or first-last/len
	Gateway     string `json:"gateway,omitempty"`
	IPv6Subnet  string `json:"ipv6Subnet,omitempty"`
	IPv6Gateway string `json:"ipv6Gateway,omitempty"`
	CfgdTag     string `json:"cfgdTag,omitempty"`

	// New since v1, for networks that come from `docker network create`.
	Reserved []netip.Addr `json:"reserved,omitempty"` // --aux-address
	Internal bool         `json:"internal,omitempty"` // --internal
	Origin   string       `json:"origin,omitempty"`   // "docker"

	LinkSets LinkSets `json:"link-sets"`
	Links    Links    `json:"links"`
}

// NetworkOper is what has become of a network.
type NetworkOper struct {
	AllocatedAddressesCount int            `json:"allocatedAddressesCount,omitempty"`
	AllocatedIPAddresses    string         `json:"allocatedIPAddresses,omitempty"`
	AvailableIPAddresses    string         `json:"availableIPAddresses,omitempty"`
	Endpoints               []EndpointOper `json:"endpoints,omitempty"`
	ExternalPktTag          uint32         `json:"externalPktTag,omitempty"` // the VXLAN network identifier
	NetworkTag              string         `json:"networkTag,omitempty"`
	NumEndpoints            int            `json:"numEndpoints,omitempty"`
	PktTag                  uint32         `json:"pktTag,omitempty"`
}

// NetworkInspect is the answer of inspect.
type NetworkInspect = Inspect[Network, NetworkOper]

// NetworkOf is how v1 shows n. Link sets need the World and are the master's to fill.
func NetworkOf(n model.Network) Network {
	out := Network{
		Key: n.Key(), TenantName: n.Tenant, NetworkName: n.Name, NwType: n.Type, Encap: n.Encap, PktTag: n.Requested,
		Subnet: n.IPv4.String(), IPv6Subnet: n.IPv6.String(), CfgdTag: n.Label,
		Reserved: n.Reserved, Internal: n.Internal, Origin: n.Origin,
		LinkSets: LinkSets{}, Links: Links{"Tenant": {Type: "tenant", Key: n.Tenant}},
	}
	if n.IPv4.Gateway.IsValid() {
		out.Gateway = n.IPv4.Gateway.String()
	}
	if n.IPv6.Gateway.IsValid() {
		out.IPv6Gateway = n.IPv6.Gateway.String()
	}
	return out
}

// Model is the network that n asks for; its tag is the master's to give.
func (n Network) Model() (model.Network, error) {
	m := model.Network{
		Tenant: n.TenantName, Name: n.NetworkName, Type: n.NwType, Encap: n.Encap, Requested: n.PktTag,
		Reserved: n.Reserved, Internal: n.Internal, Origin: n.Origin, Label: n.CfgdTag,
	}
	if m.Type == "" {
		m.Type = model.NetworkData
	}
	if m.Encap == "" {
		m.Encap = model.EncapVXLAN
	}
	if n.Origin != "" && n.Origin != model.OriginDocker {
		return m, model.Invalid("origin", "origin %q is unknown; leave it out", n.Origin)
	}
	var err error
	if m.IPv4, err = model.ParsePool(n.Subnet, n.Gateway, false); err != nil {
		return m, err
	}
	if m.IPv6, err = model.ParsePool(n.IPv6Subnet, n.IPv6Gateway, true); err != nil {
		return m, err
	}
	return m, m.Check()
}
