// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// observed asks what services carry: those of a tenant, or all for "", and of a name, or all for "". nil for a master that is older.
func (p *program) observed(ctx context.Context, c *api.Client, tenant, service string) (map[string]api.ObservedService, error) {
	q := url.Values{}
	for name, text := range map[string]string{"tenant": tenant, "service": service} {
		if text != "" {
			q.Set(name, text)
		}
	}
	var answer api.ObservedServices
	switch err := c.Get(ctx, api.ServicesPath+"?"+q.Encode(), &answer); {
	case errors.Is(err, model.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	p.tellSilent(answer.Silent)
	out := map[string]api.ObservedService{}
	for _, s := range answer.Services {
		out[s.Service] = s
	}
	return out, nil
}

// observedOne gets the service of a name by path and asks what it carries.
func (p *program) observedOne(cmd *cobra.Command, tenant, name string, path func(plural, key string) string, answer any) (o object, all map[string]api.ObservedService, err error) {
	if o, err = services().object(tenant, name); err != nil {
		return o, nil, err
	}
	c, err := p.client(cmd)
	if err != nil {
		return o, nil, err
	}
	if err = o.get(cmd.Context(), c, path(o.plural, o.key), answer); err != nil {
		return o, nil, err
	}
	all, err = p.observed(cmd.Context(), c, tenant, name)
	return o, all, err
}

// withField adds a field to an object as the master wrote it.
func withField(written json.RawMessage, name string, v any) (json.RawMessage, error) {
	more, err := json.Marshal(map[string]any{name: v})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	object, ok := bytes.CutSuffix(bytes.TrimSpace(written), []byte("}"))
	if !ok || len(bytes.TrimSpace(object)) < 2 { // it has a field at least
		return written, nil
	}
	return append(append(bytes.Clone(object), ','), more[1:]...), nil
}

func (p *program) serviceInspect() *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect SERVICE", Short: "Show a service, its address and its providers", Example: "  netctl service inspect app-service",
		Long: "Show a service, its address and its providers. Observed is what nodes tell when they are asked: the state of each provider, and the\n" +
			"connections, packets and bytes that clients had of it.",
		Args: one("Service name required"), ValidArgsFunction: p.completeArgs(services().names),
	}
	f := p.formatFlag(cmd, formatJSON)
	tenant := p.tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var answer json.RawMessage
		o, all, err := p.observedOne(cmd, *tenant, args[0], api.InspectPath, &answer)
		if err != nil {
			return err
		}
		if s, ok := all[o.key]; ok {
			if answer, err = withField(answer, "Observed", s); err != nil {
				return err
			}
		}
		return p.print(f, answer, func() (string, error) { return fieldTable(answer) })
	}
	return cmd
}

func (p *program) serviceLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List services",
		Long: "List services. Providers is how many containers a service has, and before the stroke how many of them take new connections; the\n" +
			"last columns are what clients had of all of them. service provider-ls shows them one by one.",
		Example: "  netctl service ls -t blue\n  netctl service ls -a -o json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	n := services()
	l, s := p.listFlags(cmd), p.scopeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := s.check(cmd.Context(), c); err != nil {
			return err
		}
		items, err := n.list(cmd.Context(), c, func(v api.ServiceLB) bool { return s.has(v.TenantName) })
		if err != nil {
			return err
		}
		var all map[string]api.ObservedService
		if len(items) > 0 && !(l.quiet && l.is() == formatTable) {
			tenant := *s.tenant
			if s.all {
				tenant = ""
			}
			if all, err = p.observed(cmd.Context(), c, tenant, ""); err != nil {
				return err
			}
		}
		for i := range items {
			if o, ok := all[items[i].value.Key]; ok {
				if items[i].written, err = withField(items[i].written, "observed", o); err != nil {
					return err
				}
			}
		}
		t := table{head: n.head, underline: n.underline}
		if all != nil { // scripts know the columns of v1 by their places
			t.add([]string{"VIP", "Ports", "Providers", "Connections", "Packets", "Bytes"})
		}
		return show(p, l, items, n.name, t, func(v api.ServiceLB) []string {
			o, ok := all[v.Key]
			if !ok {
				return n.row(v)
			}
			sum, taken := total(o)
			return append(n.row(v), cmp.Or(o.VIP, o.VIPv6), strings.Join(v.Ports, ","), fmt.Sprintf("%d/%d", taken, len(o.Providers)),
				number(sum.Connections), number(sum.PacketsIn+sum.PacketsOut), number(sum.BytesIn+sum.BytesOut))
		})
	}
	return cmd
}

// total is what all providers of a service have carried, and how many of them take new connections.
func total(s api.ObservedService) (sum api.Traffic, taken int) {
	for _, o := range s.Providers {
		sum = sum.Plus(o.Traffic)
		if o.State == api.ProviderHealthy {
			taken++
		}
	}
	return sum, taken
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

func (p *program) providerLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "provider-ls SERVICE", Short: "List a service's providers", Example: "  netctl service provider-ls app-service",
		Long: "List the containers behind a service: where they are, whether they take new connections, and what clients on all nodes had of them\n" +
			"since they became providers. In and Out are the provider's: In is what clients sent.",
		Args: one("Service name required"), ValidArgsFunction: p.completeArgs(services().names),
	}
	tenant := p.tenantFlag(cmd)
	l := p.listFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, all, err := p.observedOne(cmd, *tenant, args[0], api.ObjectPath, nil) // so one that is not there does not look empty
		if err != nil {
			return err
		}
		if all == nil {
			return model.NotFound("", "this netmaster is older and does not tell of providers; netctl service inspect %s shows them", args[0])
		}
		items := []item[api.ObservedProvider]{}
		for _, o := range all[o.key].Providers {
			b, err := json.Marshal(o)
			if err != nil {
				return fmt.Errorf("encode a provider: %w", err)
			}
			items = append(items, item[api.ObservedProvider]{value: o, written: b})
		}
		t := table{head: []string{"Endpoint", "Container", "Node", "IP", "State", "Connections", "Open", "PacketsIn", "BytesIn", "PacketsOut", "BytesOut"}}
		name := func(o api.ObservedProvider) string { return cmp.Or(o.Container, o.Endpoint) }
		return show(p, l, items, name, t, func(o api.ObservedProvider) []string {
			return []string{short(o.Endpoint), o.Container, o.Node, cmp.Or(o.IPv4, o.IPv6), o.State, number(o.Connections), number(o.Open),
				number(o.PacketsIn), number(o.BytesIn), number(o.PacketsOut), number(o.BytesOut)}
		})
	}
	return cmd
}
