// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/netip"

	"github.com/contivnet/contiv/model"
)

// Network is a set of addresses of one tenant that reach each other.
type Network struct {
	Key         string `json:"key"` // tenant:network
	TenantName  string `json:"tenantName"`
	NetworkName string `json:"networkName"`
	NwType      string `json:"nwType,omitempty"`      // data (default) or infra
	Encap       string `json:"encap,omitempty"`       // vxlan (default) or vlan
	PktTag      uint32 `json:"pktTag,omitempty"`      // asked for; 0: any
	Subnet      string `json:"subnet,omitempty"`      // a.b.c.d/len or first-last/len
	Gateway     string `json:"gateway,omitempty"`     // an address of the subnet that containers do not get; left out: none
	IPv6Subnet  string `json:"ipv6Subnet,omitempty"`  // prefix/len; IPv4, IPv6 or both
	IPv6Gateway string `json:"ipv6Gateway,omitempty"` // an address of the IPv6 subnet
	CfgdTag     string `json:"cfgdTag,omitempty"`     // shown as networkTag; left out: network.tenant

	// New since v1, for networks that come from `docker network create`.
	Reserved []netip.Addr `json:"reserved,omitempty"` // set aside (--aux-address); new since v1
	Internal bool         `json:"internal,omitempty"` // no way out of the tenant (--internal); new since v1
	Origin   string       `json:"origin,omitempty"`   // docker: made with docker network create; new since v1

	LinkSets LinkSets `json:"link-sets"`
	Links    Links    `json:"links"`
}

// NetworkOper is what has become of a network.
type NetworkOper struct {
	AllocatedAddressesCount int            `json:"allocatedAddressesCount,omitempty"` // endpoints and services
	AllocatedIPAddresses    string         `json:"allocatedIPAddresses,omitempty"`    // as 10.1.1.1-10.1.1.3, 10.1.1.9: with the gateway and the pools of groups
	AvailableIPAddresses    string         `json:"availableIPAddresses,omitempty"`    // the rest
	Endpoints               []EndpointOper `json:"endpoints,omitempty"`               // those on it
	ExternalPktTag          uint32         `json:"externalPktTag,omitempty"`          // the VXLAN network identifier
	NetworkTag              string         `json:"networkTag,omitempty"`              // cfgdTag, or network.tenant
	NumEndpoints            int            `json:"numEndpoints,omitempty"`            // how many
	PktTag                  uint32         `json:"pktTag,omitempty"`                  // the tag in force
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
