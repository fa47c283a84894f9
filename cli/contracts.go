// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) externalContracts() *cobra.Command {
	n := contracts()
	cmd := family("external-contracts", "External contracts: what groups provide to and consume from an ACI fabric", p.contractsCreate(),
		n.inspect(p, "Show external contracts"),
		n.ls(p, "List external contracts"),
		n.rm(p, "Delete external contracts that no group names", func(tenant, name string) string {
			return "Deleting external contracts group " + name + " in tenant " + tenant
		}))
	cmd.Long = cmd.Short + ".\n" + notEnforced
	return cmd
}

func contracts() noun[api.ExtContractsGroup] {
	return noun[api.ExtContractsGroup]{
		plural: api.ExtContractsGroups, command: "external-contracts", word: "external contracts group", field: "contractsGroupName", max: 64,
		required: "Contracts group name required", argument: "CONTRACTS", sample: "fabric-web",
		name: func(c api.ExtContractsGroup) string { return c.ContractsGroupName }, tenant: func(c api.ExtContractsGroup) string { return c.TenantName },
		head: []string{"Tenant", "Name", "Type", "Contracts"}, underline: []string{"------", "------", "------", "-------"},
		row: func(c api.ExtContractsGroup) []string {
			return []string{c.TenantName, c.ContractsGroupName, c.ContractsType, strings.Join(c.Contracts, ",")}
		},
	}
}

func (p *program) contractsCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create CONTRACTS", Short: "Create external contracts",
		Example: "  netctl external-contracts create -c -a uni/tn-common/brc-icmp -a uni/tn-common/brc-web fabric-web",
		Args:    one("Contracts group name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	var (
		it                 api.ExtContractsGroup
		consumed, provided bool
	)
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.BoolVarP(&consumed, "consumed", "c", false, "groups consume them")
	f.BoolVarP(&provided, "provided", "p", false, "groups provide them")
	f.StringArrayVarP(&it.Contracts, "contract", "a", nil, "`name` of a contract in the fabric; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(it.Contracts) == 0:
			return usage(cmd, "Contracts not provided")
		case provided && consumed:
			return usage(cmd, "Cannot use both provided and consumed")
		case provided:
			it.ContractsType = model.ContractsProvided
		case consumed:
			it.ContractsType = model.ContractsConsumed
		default:
			return usage(cmd, "Either provided or consumed must be specified")
		}
		o, err := contracts().object(*tenant, args[0])
		if err != nil {
			return err
		}
		it.Key, it.TenantName, it.ContractsGroupName = o.key, *tenant, args[0]
		return p.create(cmd, o, it, "Creating ExternalContracts "+o.key)
	}
	return cmd
}
