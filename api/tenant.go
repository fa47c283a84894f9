// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// Tenant owns networks and all that is in them. There is no path between two tenants.
type Tenant struct {
	Key            string   `json:"key"` // tenant
	TenantName     string   `json:"tenantName"`
	DefaultNetwork string   `json:"defaultNetwork,omitempty"` // kept as it is given
	LinkSets       LinkSets `json:"link-sets"`
	Links          Links    `json:"links"`
}

// TenantOper is what a tenant has.
type TenantOper struct {
	EndpointGroups []EndpointGroupOper `json:"endpointGroups,omitempty"` // its groups, in the order of their keys
	Endpoints      []EndpointOper      `json:"endpoints,omitempty"`      // its endpoints
	Networks       []NetworkOper       `json:"networks,omitempty"`       // its networks, in the order of their keys
	Policies       []PolicyOper        `json:"policies,omitempty"`       // its policies, in the order of their keys
	ServiceLBs     []ServiceLBOper     `json:"servicelbs,omitempty"`     // its services, in the order of their keys

	TotalAppProfiles int `json:"totalAppProfiles,omitempty"` // how many application profiles
	TotalEPGs        int `json:"totalEPGs,omitempty"`        // how many groups
	TotalEndpoints   int `json:"totalEndpoints,omitempty"`   // how many endpoints
	TotalNetprofiles int `json:"totalNetprofiles,omitempty"` // how many netprofiles
	TotalNetworks    int `json:"totalNetworks,omitempty"`    // how many networks
	TotalPolicies    int `json:"totalPolicies,omitempty"`    // how many policies
	TotalServiceLBs  int `json:"totalServicelbs,omitempty"`  // how many services
}

// TenantInspect is the answer of inspect.
type TenantInspect = Inspect[Tenant, TenantOper]

// TenantOf is how v1 shows t. Link sets need the World and are the master's to fill.
func TenantOf(t model.Tenant) Tenant {
	return Tenant{Key: t.Key(), TenantName: t.Name, DefaultNetwork: t.DefaultNetwork, LinkSets: LinkSets{}, Links: Links{}}
}

// Model is the tenant that t asks for; its number is the master's to give.
func (t Tenant) Model() (model.Tenant, error) {
	m := model.Tenant{Name: t.TenantName, DefaultNetwork: t.DefaultNetwork}
	return m, m.Check()
}
