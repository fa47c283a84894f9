// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"net"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) bgp() *cobra.Command {
	n := bgps()
	return family("bgp", "BGP: how nodes speak with their routers", p.bgpCreate(),
		n.inspect(p, "Show a node's BGP and its state"),
		n.ls(p, "List the nodes that speak BGP"),
		n.rm(p, "Have a node speak BGP no more", func(_, name string) string { return "Deleting Bgp router config: " + name }))
}

func bgps() noun[api.BGP] {
	return noun[api.BGP]{
		plural: api.BGPs, command: "bgp", word: "Bgp", field: "hostname", max: 253, required: "Host name required",
		argument: "HOST", sample: "node1",
		name: func(b api.BGP) string { return b.Hostname },
		head: []string{"HostName", "RouterIP", "AS", "Neighbor", "NeighborAS"}, underline: []string{"---------", "--------", "-------", "--------", "-------"},
		row: func(b api.BGP) []string { return []string{b.Hostname, b.RouterIP, b.AS, b.Neighbor, b.NeighborAS} },
	}
}

func (p *program) bgpCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create HOST", Short: "Have a node speak BGP, or change how",
		Example: "  netctl bgp create node1 --router-ip=50.1.1.1/24 --as=65002 --neighbor-as=500 --neighbor=50.1.1.2",
		Args:    one("Host name required"), ValidArgsFunction: p.completeArgs(nodes().names),
	}
	var b api.BGP
	f := cmd.Flags()
	f.StringVar(&b.RouterIP, "router-ip", "", "the node's own `address` towards the router with the subnet's length, as 50.1.1.1/24")
	f.StringVar(&b.AS, "as", "", "the node's autonomous system, a `number`")
	f.StringVar(&b.NeighborAS, "neighbor-as", "", "the router's autonomous system, a `number`")
	f.StringVar(&b.Neighbor, "neighbor", "", "the router's `address`")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if b.RouterIP == "" || b.AS == "" {
			return usage(cmd, "Missing attributes: give --router-ip and --as")
		}
		if _, _, err := net.ParseCIDR(b.RouterIP); err != nil {
			return usage(cmd, "Wrong CIDR format. Enter in x.x.x.x/len format")
		}
		if _, err := netip.ParseAddr(b.Neighbor); b.Neighbor != "" && err != nil {
			return usage(cmd, "Wrong IP format. Enter in x.x.x.x format")
		}
		o, err := bgps().object("", args[0])
		if err != nil {
			return err
		}
		b.Key, b.Hostname = o.key, o.key
		return p.create(cmd, o, b, "")
	}
	return cmd
}
