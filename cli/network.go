// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net/netip"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) network() *cobra.Command {
	n := networks()
	cmd := family("network", "Networks: addresses of a tenant that reach each other", p.networkCreate(),
		n.inspect(p, "Show a network, its addresses and its endpoints"),
		n.ls(p, "List networks"),
		n.rm(p, "Delete a network that no container is on", func(tenant, name string) string { return "Deleting network " + tenant + ":" + name }))
	cmd.Aliases = []string{"net"}
	return cmd
}

func networks() noun[api.Network] {
	return noun[api.Network]{
		plural: api.Networks, command: "net", word: "network", field: "networkName", max: 64, required: "Network name required", argument: "NETWORK", sample: "contiv-net",
		name: func(n api.Network) string { return n.NetworkName }, tenant: func(n api.Network) string { return n.TenantName },
		head: []string{"Tenant", "Network", "Nw Type", "Encap type", "Packet tag", "Subnet", "Gateway", "IPv6Subnet", "IPv6Gateway", "Cfgd Tag"},
		underline: []string{"------", "-------", "-------", "----------", "----------", "-------", "------", "----------", "-----------",
			"---------"},
		row: func(n api.Network) []string {
			return []string{n.TenantName, n.NetworkName, n.NwType, n.Encap, strconv.FormatUint(uint64(n.PktTag), 10),
				n.Subnet, n.Gateway, n.IPv6Subnet, n.IPv6Gateway, n.CfgdTag}
		},
	}
}

func (p *program) networkCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create NETWORK", Short: "Create a network",
		Example: "  netctl net create --subnet=10.1.2.0/24 contiv-net\n" +
			"  netctl net create -t blue -e vlan -p 112 -s 10.1.3.0/24 -g 10.1.3.254 web\n" +
			"  netctl net create -s 10.1.4.0/24 -subnetv6 2001:db8:4::/64 dual",
		Args: one("Network name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	var n api.Network
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&n.NwType, "nw-type", "n", model.NetworkData, "`type` of the network: data, or infra for one of the nodes themselves")
	f.StringVarP(&n.Encap, "encap", "e", model.EncapVXLAN, "how packets travel between nodes: vxlan or vlan")
	f.Uint32VarP(&n.PktTag, "pkt-tag", "p", 0, "`number` of the VLAN (1 to 4094) or VXLAN network (1 to 65535); 0 takes a free one")
	f.StringVarP(&n.Subnet, "subnet", "s", "", "IPv4 `subnet`, as 10.1.2.0/24 or 10.1.2.10-10.1.2.20/24")
	f.StringVarP(&n.Gateway, "gateway", "g", "", "IPv4 `address` of the gateway")
	f.StringVar(&n.IPv6Subnet, "subnetv6", "", "IPv6 `subnet`, as 2001:db8:1::/64")
	f.StringVar(&n.IPv6Gateway, "gatewayv6", "", "IPv6 `address` of the gateway")
	f.StringVar(&n.CfgdTag, "nw-tag", "", "a `label` of your own")
	alias(f, "subnetv6", "s6")
	alias(f, "gatewayv6", "g6")
	alias(f, "nw-tag", "tag")
	p.completeFlag(cmd, "nw-type", words(model.NetworkData, model.NetworkInfra))
	p.completeFlag(cmd, "encap", words(model.EncapVXLAN, model.EncapVLAN))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case n.Subnet == "" && n.IPv6Subnet == "":
			return usage(cmd, "Subnet is required")
		case n.Gateway != "" && !isAddress(n.Gateway, netip.Addr.Is4):
			return usage(cmd, "Invalid gateway - Enter in A.B.C.D format")
		case n.IPv6Gateway != "" && !isAddress(n.IPv6Gateway, netip.Addr.Is6):
			return usage(cmd, "Invalid IPv6 gateway - Enter in A:B::C format")
		}
		o, err := networks().object(*tenant, args[0])
		if err != nil {
			return err
		}
		n.Key, n.TenantName, n.NetworkName = o.key, *tenant, args[0]
		return p.create(cmd, o, n, "Creating network "+o.key)
	}
	return cmd
}

func isAddress(text string, family func(netip.Addr) bool) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && family(a)
}
