// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// EndpointGroup is v1's endpointGroup: inside, a group.
type EndpointGroup struct {
	Key              string   `json:"key"`
	TenantName       string   `json:"tenantName"`
	GroupName        string   `json:"groupName"`
	NetworkName      string   `json:"networkName,omitempty"`
	Policies         []string `json:"policies,omitempty"`
	NetProfile       string   `json:"netProfile,omitempty"`
	IPPool           string   `json:"ipPool,omitempty"` // first-last, a part of the network's IPv4 subnet
	CfgdTag          string   `json:"cfgdTag,omitempty"`
	ExtContractsGrps []string `json:"extContractsGrps,omitempty"`
	LinkSets         LinkSets `json:"link-sets"`
	Links            Links    `json:"links"`
}

// EndpointGroupOper is what has become of a group.
type EndpointGroupOper struct {
	AllocatedIPAddresses string         `json:"allocatedIPAddresses,omitempty"`
	AvailableIPAddresses string         `json:"availableIPAddresses,omitempty"`
	Endpoints            []EndpointOper `json:"endpoints,omitempty"`
	ExternalPktTag       uint32         `json:"externalPktTag,omitempty"`
	GroupTag             string         `json:"groupTag,omitempty"`
	NumEndpoints         int            `json:"numEndpoints,omitempty"`
	PktTag               uint32         `json:"pktTag,omitempty"`
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
