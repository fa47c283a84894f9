// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// Policy is v1's policy. Audit is new since v1.
type Policy struct {
	Key        string   `json:"key"`
	TenantName string   `json:"tenantName"`
	PolicyName string   `json:"policyName"`
	Audit      bool     `json:"audit,omitempty"`
	LinkSets   LinkSets `json:"link-sets"`
	Links      Links    `json:"links"`
}

// PolicyOper is what has become of a policy.
type PolicyOper struct {
	Endpoints        []EndpointOper `json:"endpoints,omitempty"`
	NumEndpoints     int            `json:"numEndpoints,omitempty"`
	PolicyViolations int            `json:"policyViolations,omitempty"`
}

// PolicyInspect is the answer of inspect.
type PolicyInspect = Inspect[Policy, PolicyOper]

// PolicyOf is how v1 shows p. Link sets need the World and are the master's to fill.
func PolicyOf(p model.Policy) Policy {
	return Policy{Key: p.Key(), TenantName: p.Tenant, PolicyName: p.Name, Audit: p.Audit, LinkSets: LinkSets{}, Links: Links{}}
}

// Model is the policy that p asks for.
func (p Policy) Model() (model.Policy, error) {
	m := model.Policy{Tenant: p.TenantName, Name: p.PolicyName, Audit: p.Audit}
	return m, m.Check()
}
