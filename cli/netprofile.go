// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) netprofile() *cobra.Command {
	n := netprofiles()
	return family("netprofile", "Network profiles: how much each container of a group may send and receive, and how it is marked", p.netprofileCreate(),
		n.inspect(p, "Show a network profile"),
		n.ls(p, "List network profiles"),
		n.rm(p, "Delete a network profile that no group has", nil))
}

func netprofiles() noun[api.Netprofile] {
	return noun[api.Netprofile]{
		plural: api.Netprofiles, command: "netprofile", word: "netprofile", field: "profileName", max: 64, required: "Net profile name required",
		argument: "PROFILE", sample: "gold",
		name: func(n api.Netprofile) string { return n.ProfileName }, tenant: func(n api.Netprofile) string { return n.TenantName },
		head:      []string{"Name", "Tenant", "Bandwidth", "DSCP", "burst size"},
		underline: []string{"------", "------", "---------", "--------", "----------"},
		row: func(n api.Netprofile) []string {
			return []string{n.ProfileName, n.TenantName, rate(n.Bandwidth), strconv.Itoa(n.DSCP), strconv.Itoa(n.Burst)}
		},
	}
}

// rate is a bandwidth as tables show it: 10Mbps, however it was written.
func rate(text string) string {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(number):])
	if unit == "" {
		return text
	}
	return number + strings.ToUpper(unit[:1]) + "bps"
}

func (p *program) netprofileCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create PROFILE", Short: "Create a network profile, or change one",
		Long: "Create a network profile. One of that name gets what is given instead of what it had, at once for all groups that have it.\n" +
			"Limits hold for each container of the group by itself, not for all together.",
		Example: "  netctl netprofile create -b 10mbps -d 46 gold\n" +
			"  netctl netprofile create -t blue --bandwidth=1gbps --ingress-bandwidth=2gbps --burst=1500 silver",
		Args: one("Net profile name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	var n api.Netprofile
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&n.Bandwidth, "bandwidth", "b", "", "`rate` that an endpoint may send at, as 10kbps, 10mbps or 10gbps; left out: any")
	n.IngressBandwidth = f.String("ingress-bandwidth", "", "`rate` that an endpoint may receive at; left out: any")
	f.IntVarP(&n.DSCP, "dscp", "d", 0, "`number` from 1 to 63 with which packets are marked; 0: as they are")
	f.IntVarP(&n.Burst, "burst", "s", 0, "`kilobytes` that may go at once; 0: chosen by the node")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := netprofiles().object(*tenant, args[0])
		if err != nil {
			return err
		}
		n.Key, n.TenantName, n.ProfileName = o.key, *tenant, args[0]
		return p.create(cmd, o, n, "Creating netprofile "+o.key)
	}
	return cmd
}
