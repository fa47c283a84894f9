// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// EndpointGroup is endpoints of one network that share policies, a netprofile and, where it has one, a pool of addresses. Inside, a group.
type EndpointGroup struct {
	Key              string   `json:"key"` // tenant:group
	TenantName       string   `json:"tenantName"`
	GroupName        string   `json:"groupName"`
	NetworkName      string   `json:"networkName,omitempty"`      // the network that its endpoints are in; it cannot be changed
	Policies         []string `json:"policies,omitempty"`         // names of policies; an update replaces them all
	NetProfile       string   `json:"netProfile,omitempty"`       // the name of a netprofile; an update without takes it away
	IPPool           string   `json:"ipPool,omitempty"`           // first-last, a part of the network's IPv4 subnet
	CfgdTag          string   `json:"cfgdTag,omitempty"`          // shown as groupTag; left out: group.tenant
	ExtContractsGrps []string `json:"extContractsGrps,omitempty"` // names of external contracts; kept, not enforced
	LinkSets         LinkSets `json:"link-sets"`
	Links            Links    `json:"links"`
}

// EndpointGroupOper is what has become of a group.
type EndpointGroupOper struct {
	AllocatedIPAddresses string         `json:"allocatedIPAddresses,omitempty"` // of its pool, or its endpoints' where it has none; as 10.1.1.1-10.1.1.3, 10.1.1.9
	AvailableIPAddresses string         `json:"availableIPAddresses,omitempty"` // what its next endpoints can get
	Endpoints            []EndpointOper `json:"endpoints,omitempty"`            // those in it
	ExternalPktTag       uint32         `json:"externalPktTag,omitempty"`       // its network's VXLAN network identifier; none for vlan
	GroupTag             string         `json:"groupTag,omitempty"`             // cfgdTag, or group.tenant
	NumEndpoints         int            `json:"numEndpoints,omitempty"`         // how many
	PktTag               uint32         `json:"pktTag,omitempty"`               // its network's tag
}

// EndpointGroupInspect is the answer of inspect.
type EndpointGroupInspect = Inspect[EndpointGroup, EndpointGroupOper]

// EndpointGroupOf is how v1 shows g. Link sets need the World and are the master's to fill.
func EndpointGroupOf(g model.Group) EndpointGroup {
	return EndpointGroup{
		Key: g.Key(), TenantName: g.Tenant, GroupName: g.Name, NetworkName: g.Network, Policies: g.Policies, NetProfile: g.Netprofile,
		IPPool: g.Pool.String(), CfgdTag: g.Label, ExtContractsGrps: g.Contracts, LinkSets: LinkSets{}, Links: Links{},
	}
}

// Model is the group that g asks for; its number is the master's to give.
func (g EndpointGroup) Model() (model.Group, error) {
	m := model.Group{
		Tenant: g.TenantName, Name: g.GroupName, Network: g.NetworkName, Policies: g.Policies, Netprofile: g.NetProfile,
		Contracts: g.ExtContractsGrps, Label: g.CfgdTag,
	}
	var err error
	if m.Pool, err = model.ParseRange("ipPool", g.IPPool); err != nil {
		return m, err
	}
	return m, m.Check()
}
