// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) bgp() *cobra.Command {
	n := bgps()
	return family("bgp", "BGP: how nodes speak with their routers", p.bgpCreate(),
		n.inspect(p, "Show a node's BGP, its sessions and the routes that it learnt"),
		n.ls(p, "List the nodes that speak BGP"),
		n.rm(p, "Have a node speak BGP no more", func(_, name string) string { return "Deleting Bgp router config: " + name }))
}

func bgps() noun[api.BGP] {
	return noun[api.BGP]{
		plural: api.BGPs, command: "bgp", word: "Bgp", field: "hostname", max: 253, required: "Host name required",
		argument: "HOST", sample: "node1",
		name: func(b api.BGP) string { return b.Hostname },
		head: []string{"HostName", "RouterIP", "AS", "Neighbor", "NeighborAS"}, underline: []string{"---------", "--------", "-------", "--------", "-------"},
		row: func(b api.BGP) []string {
			neighbors, numbers := []string{b.Neighbor}, []string{b.NeighborAS}
			if b.MoreNeighbors != nil {
				for _, n := range *b.MoreNeighbors {
					neighbors, numbers = append(neighbors, n.Neighbor), append(numbers, n.NeighborAS)
				}
			}
			own := b.RouterIP
			if b.RouterIP6 != nil && *b.RouterIP6 != "" {
				own += "," + *b.RouterIP6
			}
			return []string{b.Hostname, own, b.AS, strings.Join(neighbors, ","), strings.Join(numbers, ",")}
		},
	}
}

func (p *program) bgpCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create HOST", Short: "Have a node speak BGP, or change how",
		Long: "Have a node speak BGP with its routers: it announces its endpoints in VLAN networks that are routed, and learns the ways out. A node\n" +
			"that does already changes to what is given; sessions stay up where nothing about them changes.",
		Example: "  netctl bgp create node1 --router-ip=50.1.1.1/24 --as=65002 --neighbor-as=500 --neighbor=50.1.1.2\n" +
			"  netctl bgp create node1 --router-ip=50.1.1.1/24 --router-ip6=2001:db8::1/64 --as=65002 --neighbor=50.1.1.2@500 --neighbor=2001:db8::2@500",
		Args: one("Host name required"), ValidArgsFunction: p.completeArgs(nodes().names),
	}
	var b api.BGP
	var neighbors []string
	f := cmd.Flags()
	f.StringVar(&b.RouterIP, "router-ip", "", "the node's own `address` towards its routers with the subnet's length, as 50.1.1.1/24")
	// All of them are told, so that what is not given is as it is at first.
	b.RouterIP6 = f.String("router-ip6", "", "the same in IPv6, beside one in IPv4: an `address` as 2001:db8::1/64")
	f.StringVar(&b.AS, "as", "", "the node's autonomous system, a `number`")
	f.StringVar(&b.NeighborAS, "neighbor-as", "", "the autonomous system of routers whose own is not given, a `number`")
	f.StringArrayVar(&neighbors, "neighbor", nil, "a router's `address`, or address@as; may be given several times")
	b.Password = f.String("password", "", "signs all sessions (TCP MD5), a `text` of at most 80 characters")
	b.HoldTime = f.Uint16("hold-time", 0, "`seconds` of silence after which a router counts as dead; 0: 90")
	b.Keepalive = f.Uint16("keepalive", 0, "`seconds` between signs of life; 0: a third of the hold time")
	b.Announce = f.String("announce", "", "`what` routers hear: endpoints (each address, the default) or subnets")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if b.RouterIP == "" || b.AS == "" {
			return usage(cmd, "Missing attributes: give --router-ip and --as")
		}
		if _, _, err := net.ParseCIDR(b.RouterIP); err != nil {
			return usage(cmd, "--router-ip %q is not an address with its length; write it as 50.1.1.1/24 or 2001:db8::1/64", b.RouterIP)
		}
		all, err := neighborsOf(neighbors, b.NeighborAS)
		if err != nil {
			return usage(cmd, "%s", err)
		}
		more := []api.Neighbor{}
		if len(all) > 0 { // v1's clients know of one
			b.Neighbor, b.NeighborAS, more = all[0].Neighbor, all[0].NeighborAS, all[1:]
		}
		b.MoreNeighbors = &more
		o, err := bgps().object("", args[0])
		if err != nil {
			return err
		}
		b.Key, b.Hostname = o.key, o.key
		return p.create(cmd, o, b, "")
	}
	return cmd
}

// neighborsOf reads addresses, each with @ and its autonomous system where that is not as.
func neighborsOf(texts []string, as string) (out []api.Neighbor, err error) {
	for _, text := range texts {
		if text == "" { // as v1's clients leave it out
			continue
		}
		n := api.Neighbor{Neighbor: text, NeighborAS: as}
		if at, own, ok := strings.Cut(text, "@"); ok {
			n = api.Neighbor{Neighbor: at, NeighborAS: own}
		}
		if _, err := netip.ParseAddr(n.Neighbor); err != nil {
			return nil, fmt.Errorf("--neighbor %q is not an address; write it as 50.1.1.2, 2001:db8::2 or 50.1.1.2@500", text)
		}
		out = append(out, n)
	}
	return out, nil
}
