// SPDX-License-Identifier: Apache-2.0

package model

// DefaultTenant exists from the start and cannot be deleted.
const DefaultTenant = "default"

// Tenant owns networks. Addresses of two tenants may be equal; there is no path between them.
type Tenant struct {
	Name           string `json:"name"`
	DefaultNetwork string `json:"defaultNetwork,omitempty"` // kept as it is given
	// Number is what the data plane knows the tenant by: 1 or more, the lowest that was free.
	Number uint32 `json:"number"`
}

func (Tenant) Kind() Kind    { return KindTenant }
func (t Tenant) Key() string { return t.Name }

// Check refuses a tenant that could never be right, whatever else exists.
func (t Tenant) Check() error {
	if err := CheckName("tenantName", t.Name, 64); err != nil {
		return err
	}
	if t.DefaultNetwork != "" {
		return CheckName("defaultNetwork", t.DefaultNetwork, 64)
	}
	return nil
}
