// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) endpoint() *cobra.Command {
	cmd := family("endpoint", "Endpoints: interfaces of containers in networks", p.endpointLs(), p.endpointInspect())
	cmd.Aliases = []string{"ep"}
	return cmd
}

func (p *program) endpointInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect ENDPOINT", Short: "Show an endpoint", Example: "  netctl endpoint inspect contiv-c1",
		Long: "Show an endpoint, found by its id, its container's id or its container's name, or a part of one.",
		Args: one("Endpoint name required"), ValidArgsFunction: p.completeArgs(endpointNames),
	}
	f := p.formatFlag(cmd, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "." || args[0] == ".." {
			return model.Invalid("endpointID", "endpoint %q is not an id or a name", args[0]) // in a URL it would name another thing
		}
		return p.inspect(cmd, object{api.Endpoints, args[0], "endpoint " + args[0], "; netctl endpoint ls -a shows those that there are"}, f)
	}
	return cmd
}

func (p *program) endpointLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List endpoints",
		Example: "  netctl endpoint ls -t blue\n  netctl endpoint ls -a -o yaml",
		Long:    "List endpoints. State is that of the endpoint's node: down when its netplugin is not heard of.",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	l, s := p.listFlags(cmd), p.scopeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := s.check(cmd.Context(), c); err != nil {
			return err
		}
		endpoints, err := list(cmd.Context(), c, api.Endpoints, func(e api.Endpoint) bool { return s.has(e.TenantName) }, byNetworkAddress)
		if err != nil {
			return err
		}
		nodes, err := nodes().list(cmd.Context(), c, func(api.Node) bool { return true })
		if err != nil {
			return err
		}
		state := map[string]string{}
		for _, n := range nodes {
			state[n.value.NodeName] = n.value.State
		}
		t := table{head: []string{"Tenant", "Network", "Endpoint", "Container", "Node", "State", "IP", "IPv6", "MAC"}}
		return show(p, l, endpoints, endpointName, t, func(e api.Endpoint) []string {
			return endpointRow(e, cmp.Or(state[e.HomingHost], api.NodeDown))
		})
	}
	return cmd
}

func endpointRow(e api.Endpoint, state string) []string {
	mac := ""
	if e.MACAddress != (model.MAC{}) {
		mac = e.MACAddress.String()
	}
	return []string{e.TenantName, e.NetworkName, short(e.EndpointID), cmp.Or(e.ContainerName, short(e.ContainerID)), e.HomingHost, state,
		address(e.IPv4Address), address(e.IPv6Address), mac}
}

// address is a, or nothing where there is none.
func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// endpointNames are the names of containers, as nobody remembers an endpoint's id.
func endpointNames(ctx context.Context, c *api.Client, _ *cobra.Command, _ []string) ([]cobra.Completion, error) {
	items, err := list(ctx, c, api.Endpoints, func(e api.Endpoint) bool { return e.ContainerName != "" }, byNetworkAddress)
	out := make([]cobra.Completion, 0, len(items))
	for _, i := range items {
		out = append(out, cell(i.value.ContainerName))
	}
	return out, err
}

func endpointName(e api.Endpoint) string { return e.EndpointID }

func byNetworkAddress(a, b api.Endpoint) int {
	return cmp.Or(cmp.Compare(a.TenantName, b.TenantName), cmp.Compare(a.NetworkName, b.NetworkName),
		a.IPv4Address.Compare(b.IPv4Address), a.IPv6Address.Compare(b.IPv6Address), cmp.Compare(a.EndpointID, b.EndpointID))
}
