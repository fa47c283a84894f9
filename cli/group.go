// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) group() *cobra.Command {
	n := groups()
	return family("group", "Groups: endpoints of a network that share policies", p.groupCreate(),
		n.inspect(p, "Show a group, its addresses and its endpoints"),
		n.ls(p, "List groups"),
		n.rm(p, "Delete a group that no container is in", nil))
}

func groups() noun[api.EndpointGroup] {
	return noun[api.EndpointGroup]{
		plural: api.EndpointGroups, command: "group", word: "group", field: "groupName", max: 64, required: "EndpointGroup name required",
		argument: "GROUP", sample: "web",
		name: func(g api.EndpointGroup) string { return g.GroupName }, tenant: func(g api.EndpointGroup) string { return g.TenantName },
		head:      []string{"Tenant", "Group", "Network", "IP Pool", "CfgdTag", "Policies", "Network profile"},
		underline: []string{"------", "-----", "-------", "-------", "-------", "--------", "---------------"},
		row: func(g api.EndpointGroup) []string {
			return []string{g.TenantName, g.GroupName, g.NetworkName, g.IPPool, g.CfgdTag, strings.Join(g.Policies, ","), g.NetProfile}
		},
	}
}

func (p *program) groupCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NETWORK GROUP", Short: "Create a group, or give one other policies",
		Long: "Create a group on a network. Where there is one of that name, it gets the policies, the network profile and the external\n" +
			"contracts that are given, and loses those that are not; its network, pool and tag cannot change.",
		Example: "  netctl group create contiv-net web -policy=prod_web\n" +
			"  netctl group create contiv-net db -p db-policy -p audit -n gold -r 10.1.2.100-10.1.2.120",
		Args: two("Network and group name required"), ValidArgsFunction: p.completeArgs(networks().names, groups().names),
	}
	var g api.EndpointGroup
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&g.Policies, "policy", "p", nil, "`name` of a policy; may be repeated")
	f.StringVarP(&g.NetProfile, "networkprofile", "n", "", "`name` of the network profile that limits and marks its packets")
	f.StringArrayVarP(&g.ExtContractsGrps, "external-contract", "e", nil, "`name` of external contracts; may be repeated")
	f.StringVarP(&g.IPPool, "ip-pool", "r", "", "`range` of the network's IPv4 addresses for this group alone, as 10.1.2.10-10.1.2.20")
	f.StringVar(&g.CfgdTag, "epg-tag", "", "a `label` of your own")
	alias(f, "epg-tag", "tag")
	p.completeFlag(cmd, "policy", policies().names)
	p.completeFlag(cmd, "networkprofile", netprofiles().names)
	p.completeFlag(cmd, "external-contract", contracts().names)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := networks().object(*tenant, args[0]); err != nil {
			return err
		}
		o, err := groups().object(*tenant, args[1])
		if err != nil {
			return err
		}
		g.Key, g.TenantName, g.NetworkName, g.GroupName = o.key, *tenant, args[0], args[1]
		return p.create(cmd, o, g, "Creating EndpointGroup "+o.key)
	}
	return cmd
}
