// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// What v1 has for ACI fabrics. It is kept as intent and nothing enforces it: NotEnforced says so in each inspection.

// AppProfile makes groups of a tenant an application of an ACI fabric. Kept, not enforced.
type AppProfile struct {
	Key            string   `json:"key"` // tenant:profile
	TenantName     string   `json:"tenantName"`
	AppProfileName string   `json:"appProfileName"`
	EndpointGroups []string `json:"endpointGroups,omitempty"` // names of groups
	LinkSets       LinkSets `json:"link-sets"`
	Links          Links    `json:"links"`
}

// NotEnforced is the Oper of what is kept and has no effect. New since v1.
type NotEnforced struct {
	Note string `json:"note"` // that nothing enforces it
}

// NotEnforcedNote is what it says.
const NotEnforcedNote = "kept as intent; this version enforces nothing of it"

// AppProfileInspect is the answer of inspect.
type AppProfileInspect = Inspect[AppProfile, NotEnforced]

// AppProfileOf is how v1 shows a. Link sets need the World and are the master's to fill.
func AppProfileOf(a model.AppProfile) AppProfile {
	return AppProfile{Key: a.Key(), TenantName: a.Tenant, AppProfileName: a.Name, EndpointGroups: a.Groups, LinkSets: LinkSets{}, Links: Links{}}
}

// Model is the profile that a asks for.
func (a AppProfile) Model() (model.AppProfile, error) {
	m := model.AppProfile{Tenant: a.TenantName, Name: a.AppProfileName, Groups: a.EndpointGroups}
	return m, m.Check()
}

// ExtContractsGroup is contracts of an ACI fabric that groups provide or consume. Kept, not enforced; it cannot be changed. Inside, contracts.
type ExtContractsGroup struct {
	Key                string   `json:"key"` // tenant:contracts
	TenantName         string   `json:"tenantName"`
	ContractsGroupName string   `json:"contractsGroupName"`
	ContractsType      string   `json:"contractsType,omitempty"` // provided or consumed
	Contracts          []string `json:"contracts,omitempty"`     // distinguished names in the fabric
	LinkSets           LinkSets `json:"link-sets"`
	Links              Links    `json:"links"`
}

// ExtContractsGroupInspect is the answer of inspect.
type ExtContractsGroupInspect = Inspect[ExtContractsGroup, NotEnforced]

// ExtContractsGroupOf is how v1 shows c. Link sets need the World and are the master's to fill.
func ExtContractsGroupOf(c model.Contracts) ExtContractsGroup {
	return ExtContractsGroup{Key: c.Key(), TenantName: c.Tenant, ContractsGroupName: c.Name, ContractsType: c.Type, Contracts: c.List, LinkSets: LinkSets{}, Links: Links{}}
}

// Model is what c asks for.
func (c ExtContractsGroup) Model() (model.Contracts, error) {
	m := model.Contracts{Tenant: c.TenantName, Name: c.ContractsGroupName, Type: c.ContractsType, List: c.Contracts}
	return m, m.Check()
}

// ACIGateway is how an ACI fabric would be reached: v1's aciGw. There is one, with key "aciGw". Kept, not used.
type ACIGateway struct {
	Key                 string `json:"key"`                           // aciGw
	Name                string `json:"name"`                          // aciGw
	PathBindings        string `json:"pathBindings,omitempty"`        // as topology/pod-1/paths-101/pathep-[eth1/14], several with commas
	NodeBindings        string `json:"nodeBindings,omitempty"`        // as topology/pod-1/node-101, several with commas
	PhysicalDomain      string `json:"physicalDomain,omitempty"`      // a name in the fabric
	EnforcePolicies     string `json:"enforcePolicies,omitempty"`     // yes (default) or no
	IncludeCommonTenant string `json:"includeCommonTenant,omitempty"` // yes or no (default)
}

// ACIGatewayOper is what is known of the gateway.
type ACIGatewayOper struct {
	NumAppProfiles int    `json:"numAppProfiles,omitempty"` // of all tenants
	Note           string `json:"note"`                     // that nothing enforces it
}

// ACIGatewayInspect is the answer of inspect.
type ACIGatewayInspect = Inspect[ACIGateway, ACIGatewayOper]

// ACIGatewayOf is how v1 shows g.
func ACIGatewayOf(g model.ACIGateway) ACIGateway {
	return ACIGateway{
		Key: g.Key(), Name: g.Key(), PathBindings: g.PathBindings, NodeBindings: g.NodeBindings, PhysicalDomain: g.PhysicalDomain,
		EnforcePolicies: g.EnforcePolicies, IncludeCommonTenant: g.IncludeCommonTenant,
	}
}

// Model is what g asks for.
func (g ACIGateway) Model() (model.ACIGateway, error) {
	m := model.ACIGateway{
		PathBindings: g.PathBindings, NodeBindings: g.NodeBindings, PhysicalDomain: g.PhysicalDomain,
		EnforcePolicies: g.EnforcePolicies, IncludeCommonTenant: g.IncludeCommonTenant,
	}
	if m.EnforcePolicies == "" {
		m.EnforcePolicies = "yes"
	}
	if m.IncludeCommonTenant == "" {
		m.IncludeCommonTenant = "no"
	}
	return m, m.Check()
}
