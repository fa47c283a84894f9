// SPDX-License-Identifier: Apache-2.0

package model

import "regexp"

// What an ACI fabric would be told. Kept as intent; nothing here enforces it.

// AppProfile groups a tenant's groups into an application.
type AppProfile struct {
	Tenant string   `json:"tenant"`
	Name   string   `json:"name"`
	Groups []string `json:"groups,omitempty"`
}

func (AppProfile) Kind() Kind    { return KindAppProfile }
func (a AppProfile) Key() string { return a.Tenant + ":" + a.Name }

// Check refuses an application profile that could never be right, whatever else exists.
func (a AppProfile) Check() error {
	if err := CheckName("tenantName", a.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("appProfileName", a.Name, 64); err != nil {
		return err
	}
	return checkNames("endpointGroups", a.Groups, CheckName)
}

// Types of contracts.
const (
	ContractsProvided = "provided"
	ContractsConsumed = "consumed"
)

// Contracts is a named list of contracts outside of Contiv that groups provide or consume. The v1 API calls it
// extContractsGroup.
type Contracts struct {
	Tenant string   `json:"tenant"`
	Name   string   `json:"name"`
	Type   string   `json:"type"` // ContractsProvided or ContractsConsumed
	List   []string `json:"list"` // distinguished names in the fabric
}

func (Contracts) Kind() Kind    { return KindContracts }
func (c Contracts) Key() string { return c.Tenant + ":" + c.Name }

// Check refuses contracts that could never be right, whatever else exists.
func (c Contracts) Check() error {
	if err := CheckName("tenantName", c.Tenant, 64); err != nil {
		return err
	}
	if err := CheckName("contractsGroupName", c.Name, 64); err != nil {
		return err
	}
	if c.Type != ContractsProvided && c.Type != ContractsConsumed {
		return Invalid("contractsType", "contractsType %q is unknown: Contracts group need to be either 'provided' or 'consumed'", c.Type)
	}
	if len(c.List) == 0 {
		return Invalid("contracts", "contracts is empty; name at least one")
	}
	for _, name := range c.List {
		if name == "" || len(name) > 256 {
			return Invalid("contracts", "contract %.80q has %d characters; 1 to 256 are allowed", name, len(name))
		}
	}
	return nil
}

// ACIGatewayName is the key of the one ACIGateway.
const ACIGatewayName = "aciGw"

// ACIGateway is how an ACI fabric would be reached.
type ACIGateway struct {
	PathBindings        string `json:"pathBindings,omitempty"`   // as topology/pod-1/paths-101/pathep-[eth1/14], several with commas
	NodeBindings        string `json:"nodeBindings,omitempty"`   // as topology/pod-1/node-101, several with commas
	PhysicalDomain      string `json:"physicalDomain,omitempty"` // a name in the fabric
	EnforcePolicies     string `json:"enforcePolicies"`          // yes or no
	IncludeCommonTenant string `json:"includeCommonTenant"`      // yes or no
}

func (ACIGateway) Kind() Kind  { return KindACIGateway }
func (ACIGateway) Key() string { return ACIGatewayName }

var (
	nodeBindings = regexp.MustCompile(`^(topology/pod-[0-9]{1,4}/node-[0-9]{1,4})(,topology/pod-[0-9]{1,4}/node-[0-9]{1,4})*$`)
	pathBindings = regexp.MustCompile(`^(topology/pod-[0-9]{1,4}/paths-[0-9]{1,4}/pathep-\[eth[0-9]{1,4}/[0-9]{1,4}\])(,topology/pod-[0-9]{1,4}/paths-[0-9]{1,4}/pathep-\[eth[0-9]{1,4}/[0-9]{1,4}\])*$`)
)

// Check refuses settings that could never be right, whatever else exists.
func (g ACIGateway) Check() error {
	for _, f := range []struct {
		field, value, example string
		grammar               *regexp.Regexp
	}{
		{"nodeBindings", g.NodeBindings, "topology/pod-1/node-101", nodeBindings},
		{"pathBindings", g.PathBindings, "topology/pod-1/paths-101/pathep-[eth1/14]", pathBindings},
	} {
		if f.value != "" && (len(f.value) > 2048 || !f.grammar.MatchString(f.value)) {
			return Invalid(f.field, "%s %.80q is not a list of bindings; write it as %s, several with commas, at most 2048 characters", f.field, f.value, f.example)
		}
	}
	if g.PhysicalDomain != "" {
		if err := CheckName("physicalDomain", g.PhysicalDomain, 128); err != nil {
			return err
		}
	}
	for _, f := range []struct{ field, value string }{{"enforcePolicies", g.EnforcePolicies}, {"includeCommonTenant", g.IncludeCommonTenant}} {
		if f.value != "yes" && f.value != "no" {
			return Invalid(f.field, "%s %q is unknown; use yes or no", f.field, f.value)
		}
	}
	return nil
}
