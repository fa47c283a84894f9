// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) tenant() *cobra.Command {
	return group("tenant", "Tenants: whose networks never meet",
		p.tenantCreate(), p.tenantInspect(), p.tenantLs(), p.tenantRm())
}

func (p *program) tenantCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create TENANT", Short: "Create a tenant", Example: "  netctl tenant create blue",
		Args: one("Tenant name required"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := tenantObject(args[0])
			if err != nil {
				return err
			}
			return p.create(cmd, o, api.Tenant{Key: o.key, TenantName: o.key}, "Creating tenant: "+o.key)
		},
	}
}

func (p *program) tenantRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm TENANT", Aliases: []string{"delete"}, Short: "Delete a tenant that has no networks",
		Args: one("Tenant name required"), ValidArgsFunction: p.completeFirst(p.tenantNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := tenantObject(args[0])
			if err != nil {
				return err
			}
			return p.remove(cmd, o, "Deleting tenant "+o.key)
		},
	}
}

func (p *program) tenantInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect TENANT", Short: "Show a tenant and what it has, as JSON",
		Args: one("Tenant name required"), ValidArgsFunction: p.completeFirst(p.tenantNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := tenantObject(args[0])
			if err != nil {
				return err
			}
			return p.inspect(cmd, o)
		},
	}
}

func (p *program) tenantLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List tenants",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	l := listFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		tenants, err := list(cmd.Context(), c, api.Tenants, everything, byTenantName)
		if err != nil {
			return err
		}
		t := table{head: []string{"Name"}, underline: []string{"------"}}
		return show(p, l, tenants, tenantName, t, func(t api.Tenant) []string { return []string{t.TenantName} })
	}
	return cmd
}

func tenantName(t api.Tenant) string   { return t.TenantName }
func byTenantName(a, b api.Tenant) int { return cmp.Compare(a.TenantName, b.TenantName) }
