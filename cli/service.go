// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) service() *cobra.Command {
	n := services()
	return family("service", "Services: an address that stands for all containers with a label", p.serviceCreate(),
		p.serviceInspect(),
		p.serviceLs(),
		p.providerLs(),
		n.rm(p, "Delete a service and free its address", func(tenant, name string) string { return "Deleting Service  " + name + "," + tenant }))
}

func services() noun[api.ServiceLB] {
	return noun[api.ServiceLB]{
		plural: api.ServiceLBs, command: "service", word: "service", field: "serviceName", max: 256, required: "Service name required",
		argument: "SERVICE", sample: "app-service",
		name: func(s api.ServiceLB) string { return s.ServiceName }, tenant: func(s api.ServiceLB) string { return s.TenantName },
		head: []string{"ServiceName", "Tenant", "Network", "Selectors"}, underline: []string{"---------", "--------", "-------", "-------"},
		row: func(s api.ServiceLB) []string {
			return []string{s.ServiceName, s.TenantName, s.NetworkName, "[" + strings.Join(s.Selectors, " ") + "]"}
		},
	}
}

func (p *program) serviceCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create SERVICE", Short: "Create a service",
		Long: "Create a service: an address of a network at which clients reach one of the tenant's containers whose labels carry all selectors.\n" +
			"Where there is a service of that name, it gets what is given instead of what it had, and keeps its address; without --affinity or\n" +
			"--health that part stays as it is.",
		Example: "  netctl service create app-service -s contiv-net -l app=web -p 80:8080:TCP --health http:/ready\n" +
			"  netctl service create dns -t blue --network=web --selector=tier=dns --port=53:53:UDP --ip 10.1.2.53",
		Args: one("Service name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	var s api.ServiceLB
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.StringVarP(&s.NetworkName, "network", "s", "", "`name` of the network that its address is of")
	f.StringArrayVarP(&s.Selectors, "selector", "l", nil, "`key=value` of a label that its containers have; may be repeated, all must match")
	f.StringArrayVarP(&s.Ports, "port", "p", nil, "`port:port:protocol` of the service and of its containers, as 80:8080:TCP; may be repeated")
	f.StringVar(&s.IPAddress, "preferred-ip", "", "IPv4 `address` that it must have; left out: a free one")
	alias(f, "preferred-ip", "ip")
	affinity := f.Bool("affinity", false, "a client meets the same container again")
	health := f.String("health", "", "`check` of the containers: tcp, http or http:/path; \"\" for none")
	p.completeFlag(cmd, "network", networks().names)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := services().object(*tenant, args[0])
		if err != nil {
			return err
		}
		s.Key, s.TenantName, s.ServiceName = o.key, *tenant, args[0]
		if f.Changed("affinity") {
			s.Affinity = affinity
		}
		if f.Changed("health") {
			s.HealthCheck = health
		}
		return p.create(cmd, o, s, "Creating ServiceLB "+o.key)
	}
	return cmd
}
