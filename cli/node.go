// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) node() *cobra.Command {
	n := nodes()
	rm := n.rm(p, "Forget a node that is gone, with its endpoints and their addresses", func(_, name string) string { return "Deleting node " + name })
	rm.Long = rm.Short + ". One whose netplugin still runs comes back at once, with its\nendpoints: stop that first."
	ls := n.ls(p, "List nodes")
	ls.Long = ls.Short + ". VTEP is the address to which VXLAN packets for the node go; MTU is its underlay's, in bytes."
	return family("node", "Nodes: machines that run netplugin", ls, n.inspect(p, "Show a node"), rm)
}

func nodes() noun[api.Node] {
	return noun[api.Node]{
		plural: api.Nodes, command: "node", word: "node", field: "nodeName", max: 253, required: "Node name required", argument: "NODE", sample: "node1",
		name: func(n api.Node) string { return n.NodeName },
		head: []string{"Node", "State", "VTEP", "MTU", "Endpoints", "Version"},
		row: func(n api.Node) []string {
			mtu := ""
			if n.MTU > 0 {
				mtu = strconv.Itoa(n.MTU)
			}
			return []string{n.NodeName, n.State, address(n.VtepIP), mtu, strconv.Itoa(n.NumEndpoints), n.Version}
		},
	}
}
