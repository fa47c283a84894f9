// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) drops() *cobra.Command {
	cmd := &cobra.Command{
		Use: "drops", Short: "Show how many packets nodes have dropped, and why",
		Long: "Show how many packets nodes have dropped since they were set up, by reason, network and group. The reasons policy_in and policy_out\n" +
			"are rules that deny, told of the group whose rules they are: netctl policy rule-ls shows which, netctl flows whom. Others are told of\n" +
			"the container that sent the packets; vxlan_forged, vxlan_borrowed and outside_denied are what the node's nftables drop. There is no\n" +
			"group where the packets came from outside, or where nobody knows. Nodes are asked now; one that does not answer is named on standard error.",
		Example: "  netctl drops\n  netctl drops -o json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := p.formatFlag(cmd, formatTable)
	f.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		var d api.Drops
		if err := c.Get(cmd.Context(), api.DropsPath, &d); err != nil {
			return err
		}
		return p.print(f, d, func() (string, error) {
			p.tellSilent(d.Silent)
			t := table{head: []string{"Node", "Reason", "Network", "Group", "Packets"}}
			for _, n := range d.Drops {
				t.rows = append(t.rows, []string{n.Node, n.Reason, n.Network, n.Group, strconv.FormatUint(n.Packets, 10)})
			}
			return t.String(), nil
		})
	}
	return cmd
}

// tellSilent names nodes of which nothing is known, lest that is taken for nothing.
func (p *program) tellSilent(nodes []api.Silent) {
	for _, n := range nodes {
		fmt.Fprintf(p.Stderr, "netctl: node %s is not in this: %s\n", cell(n.Node), cell(n.Error))
	}
}
