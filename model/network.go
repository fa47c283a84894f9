// SPDX-License-Identifier: Apache-2.0

package model

import "net/netip"

// How a network's packets travel between nodes, and what kind of network it is.
const (
	EncapVXLAN = "vxlan"
	EncapVLAN  = "vlan"

	NetworkData  = "data"
	NetworkInfra = "infra"
)

// OriginDocker marks a network that a user made with `docker network create` and may
// remove with `docker network rm`. Others belong to netctl.
const OriginDocker = "docker"

// Network is a set of addresses of one tenant that reach each other.
type Network struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Type   string `json:"type"`  // data, or infra: its endpoints are the nodes themselves
	Encap  string `json:"encap"` // vxlan or vlan
	// Requested is the tag that the user asked for, 0 for "any". Tag is the one in force: the VXLAN
	// network identifier (24 bits, RFC 7348) or the 802.1Q VLAN id.
	Requested uint32 `json:"requested,omitempty"`
	Tag       uint32 `json:"tag"`
	IPv4      Pool   `json:"ipv4,omitzero"`
	IPv6      Pool   `json:"ipv6,omitzero"`
	// Reserved are addresses that Docker's --aux-address set aside.
	Reserved []netip.Addr `json:"reserved,omitempty"`
	// Internal networks have no way out of the tenant (docker network create --internal).
	Internal bool   `json:"internal,omitempty"`
	Label    string `json:"label,omitempty"`  // the v1 API's cfgdTag
	Origin   string `json:"origin,omitempty"` // OriginDocker or ""
}

func (Network) Kind() Kind    { return KindNetwork }
func (n Network) Key() string { return NetworkKey(n.Tenant, n.Name) }

// NetworkKey is how a network is named in the store and in the v1 API: tenant:network.
func NetworkKey(tenant, name string) string { return tenant + ":" + name }

// Pool is the network's pool of a's family.
func (n Network) Pool(a netip.Addr) Pool {
	if a.Is4() {
		return n.IPv4
	}
	return n.IPv6
}

// DockerName is the network's name in every Docker engine.
func (n Network) DockerName() string {
	if n.Tenant == DefaultTenant {
		return n.Name
	}
	return n.Name + "/" + n.Tenant
}

// Check refuses a network that could never be right, whatever else exists.
func (n Network) Check() error {
	if err := CheckName("tenantName", n.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("networkName", n.Name, 64); err != nil {
		return err
	}
	if n.Type != NetworkData && n.Type != NetworkInfra {
		return Invalid("nwType", "nwType %q is unknown; use data or infra", n.Type)
	}
	if n.Encap != EncapVXLAN && n.Encap != EncapVLAN {
		return Invalid("encap", "encap %q is unknown; use vxlan or vlan", n.Encap)
	}
	if n.IPv4.IsZero() && n.IPv6.IsZero() {
		return Invalid("subnet", "subnet is empty; give one, as 10.1.2.0/24")
	}
	if n.Label != "" {
		if err := CheckName("cfgdTag", n.Label, 128); err != nil {
			return err
		}
	}
	if n.Type == NetworkInfra {
		if err := n.checkInfra(); err != nil {
			return err
		}
	}
	for _, a := range n.Reserved {
		if err := n.Pool(a).Usable(a); err != nil {
			return Invalid("reserved", "address %s cannot be set aside: %s", a, err)
		}
	}
	return nil
}
