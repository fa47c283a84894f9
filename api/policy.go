// SPDX-License-Identifier: Apache-2.0

package api

import "github.com/contivnet/contiv/model"

// Policy is a named set of rules. It takes effect in the groups that name it.
type Policy struct {
	Key        string   `json:"key"` // tenant:policy
	TenantName string   `json:"tenantName"`
	PolicyName string   `json:"policyName"`
	Audit      *bool    `json:"audit,omitempty"` // count and report what it would deny, and deny nothing; left out: as it is, at first false; new since v1
	LinkSets   LinkSets `json:"link-sets"`
	Links      Links    `json:"links"`
}

// PolicyOper is what has become of a policy.
type PolicyOper struct {
	Endpoints        []EndpointOper `json:"endpoints,omitempty"`        // those of all groups that name it
	NumEndpoints     int            `json:"numEndpoints,omitempty"`     // how many
	PolicyViolations int            `json:"policyViolations,omitempty"` // not counted: nodes tell of drops
}

// PolicyInspect is the answer of inspect.
type PolicyInspect = Inspect[Policy, PolicyOper]

// PolicyOf is how v1 shows p. Link sets need the World and are the master's to fill.
func PolicyOf(p model.Policy) Policy {
	return Policy{Key: p.Key(), TenantName: p.Tenant, PolicyName: p.Name, Audit: &p.Audit, LinkSets: LinkSets{}, Links: Links{}}
}

// Model is the policy that p asks for. Whether it is audited is the master's to keep where p does not say.
func (p Policy) Model() (model.Policy, error) {
	m := model.Policy{Tenant: p.TenantName, Name: p.PolicyName, Audit: p.Audit != nil && *p.Audit}
	return m, m.Check()
}
