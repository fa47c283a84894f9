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
	Endpoints      []EndpointOper `json:"endpoints,omitempty"`
	Networks       []NetworkOper  `json:"networks,omitempty"`
	TotalEndpoints int            `json:"totalEndpoints,omitempty"`
	TotalNetworks  int            `json:"totalNetworks,omitempty"`
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
