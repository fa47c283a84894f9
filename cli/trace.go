// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) policyTrace() *cobra.Command {
	cmd := &cobra.Command{
		Use: "trace --from C --to C", Short: "Tell whether a container may reach another, and which rule decides",
		Long: "Tell whether the first packet of a connection would pass, which rule of which policy and group decides, on which node, and what would\n" +
			"decide without that rule. It is computed from the intent; no packet is sent and no node is asked.\n\n" +
			"C is a container's name or id, an endpoint's id, or a part of one; an IPv4 or IPv6 address, which may be outside; or group:NAME, the container\n" +
			"of that group with the lowest address. Names are looked for in the tenant first, then in all.",
		Example: "  netctl policy trace --from web1 --to db1 --proto tcp --port 8888\n" +
			"  netctl policy trace --from group:web --to 10.1.2.7 --proto icmp -t blue",
		Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	tenant := p.tenantFlag(cmd)
	f := p.formatFlag(cmd, formatTable)
	f.jsonFlag(cmd)
	flags := cmd.Flags()
	from := flags.String("from", "", "`container` that sends")
	to := flags.String("to", "", "`container` that receives")
	proto := flags.StringP("proto", "l", "tcp", "tcp, udp, sctp, icmp or a `number`")
	port := flags.Uint16P("port", "P", 0, "`number` of the receiver's port; of tcp, udp and sctp")
	alias(flags, "proto", "protocol")
	for _, name := range []string{"from", "to"} {
		p.completeFlag(cmd, name, endpointNames)
	}
	p.completeFlag(cmd, "proto", words("tcp", "udp", "sctp", "icmp"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *from == "" || *to == "" {
			return usage(cmd, "Both --from and --to are required")
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		q := url.Values{"tenant": {*tenant}, "from": {*from}, "to": {*to}, "proto": {*proto}}
		if *port != 0 {
			q.Set("port", strconv.Itoa(int(*port)))
		}
		var t api.Trace
		if err := c.Get(cmd.Context(), api.TracePath+"?"+q.Encode(), &t); err != nil {
			return err
		}
		return p.print(f, t, func() (string, error) { return traceText(t), nil })
	}
	return cmd
}

// traceText is the answer in a sentence, and where there are rules how it came about.
func traceText(t api.Trace) string {
	var b strings.Builder
	by := ""
	if t.Rule != "" {
		by = " by rule " + t.Rule
	}
	fmt.Fprintf(&b, "%s%s: %s from %s to %s\n", t.Verdict, by, t.Protocol, traceEnd(t.From), traceEnd(t.To))
	if t.Why != "" {
		fmt.Fprintln(&b, "because "+t.Why)
	}
	if t.Rule != "" {
		fmt.Fprintf(&b, "without that rule: %s", t.Otherwise)
		switch {
		case t.OtherwiseRule != "":
			fmt.Fprintf(&b, " by rule %s", t.OtherwiseRule)
		case t.Otherwise == api.TraceAllow:
			b.WriteString(", as no rule would match")
		}
		b.WriteByte('\n')
	} else if t.Why == "" {
		fmt.Fprintln(&b, "because no rule matches")
	}
	if len(t.Steps) == 0 {
		return cellLines(b.String())
	}
	steps := table{head: []string{"Direction", "Node", "Group", "Policy", "Verdict", "Rule", "Audited"}}
	for _, s := range t.Steps {
		steps.rows = append(steps.rows, []string{s.Direction, s.Node, s.Group, s.Policy, s.Verdict, cmp.Or(s.Rule, "none matches"), s.Audited})
	}
	return cellLines(b.String()) + steps.String()
}

// cellLines is text without what could speak to the terminal.
func cellLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = cell(lines[i])
	}
	return strings.Join(lines, "\n")
}

func traceEnd(e api.FlowEnd) string {
	text := flowEnd(e)
	if e.Node != "" {
		text += " on " + e.Node
	}
	return text
}
