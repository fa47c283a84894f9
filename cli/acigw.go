// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) aciGateway() *cobra.Command {
	cmd := family("aci-gw", "ACI gateway: how an ACI fabric is told of application profiles", p.aciSet(), p.aciInfo(), p.aciInspect(), p.aciRm())
	cmd.Long = cmd.Short + ".\n" + notEnforced
	return cmd
}

func aciObject() object {
	return object{api.ACIGateways, model.ACIGatewayName, "aci-gw", "; netctl aci-gw set makes it"}
}

func (p *program) aciInfo() *cobra.Command {
	return info(p, aciObject(), "Show the ACI gateway's settings", "  netctl aci-gw info", func(g api.ACIGateway) string {
		return fmt.Sprintf("Path bindings: %s\nNode bindings: %s\nPhysical domain: %s\nEnforce policies: %s\nInclude Common-Tenant: %s\n",
			cell(g.PathBindings), cell(g.NodeBindings), cell(g.PhysicalDomain), cell(g.EnforcePolicies), cell(g.IncludeCommonTenant))
	})
}

func (p *program) aciInspect() *cobra.Command {
	return p.inspectOne(aciObject(), "Show all of the ACI gateway", "  netctl aci-gw inspect")
}

func (p *program) aciRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm", Aliases: []string{"delete"}, Short: "Delete the ACI gateway's settings", Example: "  netctl aci-gw rm",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.remove(cmd, aciObject(), "Deleting aci-gw") },
	}
}

func (p *program) aciSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set", Short: "Set all of the ACI gateway; what is left out has its default again",
		Example: "  netctl aci-gw set -p topology/pod-1/paths-101/pathep-[eth1/14] -n topology/pod-1/node-101 -d allvlans",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	o := aciObject()
	g := api.ACIGateway{Key: o.key, Name: o.key}
	f := cmd.Flags()
	f.StringVarP(&g.PathBindings, "path-bindings", "p", "", "`paths` to the leaf ports of the nodes, joined by commas")
	f.StringVarP(&g.NodeBindings, "node-bindings", "n", "", "`leaves`, joined by commas")
	f.StringVarP(&g.PhysicalDomain, "phys-dom", "d", "", "`name` of the physical domain")
	f.StringVarP(&g.EnforcePolicies, "enforce-policies", "e", "yes", "yes or no: whether policies become contracts")
	f.StringVarP(&g.IncludeCommonTenant, "include-common-tenant", "i", "no", "yes or no: whether the fabric's tenant common is looked at too")
	p.completeFlag(cmd, "enforce-policies", words("yes", "no"))
	p.completeFlag(cmd, "include-common-tenant", words("yes", "no"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.create(cmd, o, g, "") }
	return cmd
}
