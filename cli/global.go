// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) global() *cobra.Command {
	return family("global", "What holds for the whole cluster", p.globalSet(), p.globalInfo(), p.globalInspect())
}

func globalObject() object {
	return object{api.Globals, model.GlobalName, "global", "; the master makes it when it starts: look at its log"}
}

func (p *program) globalInspect() *cobra.Command {
	return p.inspectOne(globalObject(), "Show the cluster's settings and what is in use of them", "  netctl global inspect")
}

// inspectOne is the command that shows all of an object of which there is one.
func (p *program) inspectOne(o object, short, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect", Short: short, Example: example,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := p.formatFlag(cmd, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.inspect(cmd, o, f) }
	return cmd
}

func (p *program) globalInfo() *cobra.Command {
	return info(p, globalObject(), "Show the cluster's settings", "  netctl global info", func(g api.Global) string {
		subnet := ""
		if g.PvtSubnet.IsValid() {
			subnet = g.PvtSubnet.String()
		}
		text := fmt.Sprintf("Fabric mode: %s\nForward mode: %s\nARP mode: %s\nVlan Range: %s\nVxlan range: %s\nPrivate subnet: %s\n",
			cell(g.NetworkInfraType), cell(g.FwdMode), cell(g.ArpMode), cell(g.Vlans), cell(g.Vxlans), subnet)
		if g.Established != "" && g.Established != model.EstablishedKeep { // the original's six lines, where nothing is new
			text += fmt.Sprintf("Established: %s\n", cell(g.Established))
		}
		return text
	})
}

// info is the command that shows an object of which there is one.
func info[T any](p *program, o object, short, example string, text func(T) string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "info", Short: short, Example: example,
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := p.formatFlag(cmd, formatTable)
	f.jsonFlag(cmd)
	// The original took these here too and looked at neither.
	cmd.Flags().StringP("tenant", "t", "", "has no effect")
	cmd.Flags().BoolP("all", "a", false, "has no effect")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		var answer item[T]
		if err := o.get(cmd.Context(), c, api.ObjectPath(o.plural, o.key), &answer); err != nil {
			return err
		}
		return p.print(f, answer, func() (string, error) { return text(answer.value), nil })
	}
	return cmd
}

func (p *program) globalSet() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set", Short: "Change the cluster's settings; those that are not named stay as they are",
		Example: "  netctl global set --fwd-mode bridge\n  netctl global set --established recheck",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	o := globalObject()
	g := api.Global{Key: o.key, Name: o.key}
	var subnet string
	f := cmd.Flags()
	f.StringVarP(&g.NetworkInfraType, "fabric-mode", "f", "", "default, aci or aci-opflex")
	f.StringVarP(&g.Vlans, "vlan-range", "v", "", "VLAN `tags` that networks may have, as 1-4094")
	f.StringVarP(&g.Vxlans, "vxlan-range", "x", "", "VXLAN `tags` that networks may have, as 1-10000")
	f.StringVarP(&g.FwdMode, "fwd-mode", "b", "", "routing or bridge: whether networks of a tenant reach each other")
	f.StringVarP(&g.ArpMode, "arp-mode", "a", "", "proxy or flood")
	f.StringVarP(&subnet, "private-subnet", "s", "", "IPv4 /16 `subnet` between nodes and containers, as 172.19.0.0/16")
	f.StringVar(&g.Established, "established", "", "keep or recheck: whether a new deny ends connections that are open")
	p.completeFlag(cmd, "established", words(model.EstablishedKeep, model.EstablishedRecheck))
	p.completeFlag(cmd, "fabric-mode", words("default", "aci", "aci-opflex"))
	p.completeFlag(cmd, "fwd-mode", words(model.ForwardRouting, model.ForwardBridge))
	p.completeFlag(cmd, "arp-mode", words(model.ARPProxy, model.ARPFlood))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if subnet != "" {
			var err error
			if g.PvtSubnet, err = netip.ParsePrefix(subnet); err != nil {
				return usage(cmd, "--private-subnet %q is not a subnet; write it as 172.19.0.0/16", subnet)
			}
		}
		if g == (api.Global{Key: o.key, Name: o.key}) {
			return usage(cmd, "No setting is named")
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		_, err = c.Put(cmd.Context(), api.ObjectPath(o.plural, o.key), g, nil)
		return err
	}
	return cmd
}
