// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) tenant() *cobra.Command {
	n := tenants()
	return family("tenant", "Tenants: whose networks never meet", p.tenantCreate(),
		n.inspect(p, "Show a tenant and what it has"),
		n.ls(p, "List tenants"),
		n.rm(p, "Delete a tenant that has no networks", func(_, name string) string { return "Deleting tenant " + name }))
}

func tenants() noun[api.Tenant] {
	return noun[api.Tenant]{
		plural: api.Tenants, command: "tenant", word: "tenant", field: "tenantName", max: 64, required: "Tenant name required", argument: "TENANT", sample: "blue",
		name: func(t api.Tenant) string { return t.TenantName },
		head: []string{"Name"}, underline: []string{"------"},
		row: func(t api.Tenant) []string { return []string{t.TenantName} },
	}
}

func (p *program) tenantCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create TENANT", Short: "Create a tenant", Example: "  netctl tenant create blue",
		Args: one("Tenant name required"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := tenants().object("", args[0])
			if err != nil {
				return err
			}
			return p.create(cmd, o, api.Tenant{Key: o.key, TenantName: o.key}, "Creating tenant: "+o.key)
		},
	}
}
