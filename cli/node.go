// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) node() *cobra.Command {
	return group("node", "Nodes: machines that run netplugin", p.nodeInspect(), p.nodeLs(), p.nodeRm())
}

func (p *program) nodeInspect() *cobra.Command {
	return &cobra.Command{
		Use: "inspect NODE", Short: "Show a node as JSON",
		Args: one("Node name required"), ValidArgsFunction: p.completeFirst(p.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := nodeObject(args[0])
			if err != nil {
				return err
			}
			return p.inspect(cmd, o)
		},
	}
}

func (p *program) nodeRm() *cobra.Command {
	return &cobra.Command{
		Use: "rm NODE", Aliases: []string{"delete"}, Short: "Forget a node that is gone, with its endpoints and their addresses",
		Long: "Forget a node that is gone, with its endpoints and their addresses. One whose netplugin still runs comes back at once, with its\n" +
			"endpoints: stop that first.",
		Args: one("Node name required"), ValidArgsFunction: p.completeFirst(p.nodeNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := nodeObject(args[0])
			if err != nil {
				return err
			}
			return p.remove(cmd, o, "Deleting node "+o.key)
		},
	}
}

func (p *program) nodeLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List nodes",
		Long: "List nodes. VTEP is the address to which VXLAN packets for the node go; MTU is its underlay's, in bytes.",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	l := listFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		nodes, err := list(cmd.Context(), c, api.Nodes, everything, byNodeName)
		if err != nil {
			return err
		}
		t := table{head: []string{"Node", "State", "VTEP", "MTU", "Endpoints", "Version"}}
		return show(p, l, nodes, nodeName, t, nodeRow)
	}
	return cmd
}

func nodeRow(n api.Node) []string {
	mtu := ""
	if n.MTU > 0 {
		mtu = strconv.Itoa(n.MTU)
	}
	return []string{n.NodeName, n.State, address(n.VtepIP), mtu, strconv.Itoa(n.NumEndpoints), n.Version}
}

func nodeName(n api.Node) string   { return n.NodeName }
func byNodeName(a, b api.Node) int { return cmp.Compare(a.NodeName, b.NodeName) }
