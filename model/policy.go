// SPDX-License-Identifier: Apache-2.0

package model

// Policy is a named set of rules. It takes effect in the groups that name it.
type Policy struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	// Audit policies count and report what they would deny, and deny nothing.
	Audit bool `json:"audit,omitempty"`
}

func (Policy) Kind() Kind    { return KindPolicy }
func (p Policy) Key() string { return PolicyKey(p.Tenant, p.Name) }

// PolicyKey is how a policy is named in the store and in the v1 API: tenant:policy.
func PolicyKey(tenant, name string) string { return tenant + ":" + name }

// Check refuses a policy that could never be right, whatever else exists.
func (p Policy) Check() error {
	if err := CheckName("tenantName", p.Tenant, 64); err != nil {
		return err
	}
	return CheckPolicyName("policyName", p.Name, 64)
}
