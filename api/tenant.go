// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// Tenant is v1's tenant.
type Tenant struct {
	Key            string   `json:"key"`
	TenantName     string   `json:"tenantName"`
	DefaultNetwork string   `json:"defaultNetwork,omitempty"`
	LinkSets       LinkSets `json:"link-sets"`
	Links          Links    `json:"links"`
}

// TenantOper is what a tenant has.
type TenantOper struct {
	EndpointGroups []EndpointGroupOper `json:"endpointGroups,omitempty"`
	Endpoints      []EndpointOper      `json:"endpoints,omitempty"`
	Networks       []NetworkOper       `json:"networks,omitempty"`
	Policies       []PolicyOper        `json:"policies,omitempty"`
	ServiceLBs     []ServiceLBOper     `json:"servicelbs,omitempty"`

	TotalAppProfiles int `json:"totalAppProfiles,omitempty"`
	TotalEPGs        int `json:"totalEPGs,omitempty"`
	TotalEndpoints   int `json:"totalEndpoints,omitempty"`
	TotalNetprofiles int `json:"totalNetprofiles,omitempty"`
	TotalNetworks    int `json:"totalNetworks,omitempty"`
	TotalPolicies    int `json:"totalPolicies,omitempty"`
	TotalServiceLBs  int `json:"totalServicelbs,omitempty"`
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
