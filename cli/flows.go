// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) flows() *cobra.Command {
	cmd := &cobra.Command{
		Use: "flows", Short: "Show connections as they were opened and refused",
		Long: "Show connections as they were opened and refused, with their ends and the rule that decided: of those that nodes still know, the newest.\n" +
			"A node keeps " + strconv.Itoa(api.MaxLastFlows) + ", of containers whose groups have policies. Audited is what a policy in audit mode would have refused; it was\n" +
			"allowed, and is told as that too. Nodes that do not answer, and flows that were too many to be told, are named on standard error.",
		Example: "  netctl flows --verdict denied\n  netctl flows -f --group db -t blue\n  netctl flows --last 1000 -o json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	var q api.FlowQuery
	f := p.formatFlag(cmd, formatTable)
	f.jsonFlag(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&q.Follow, "follow", "f", false, "go on with those that come, until interrupted")
	flags.StringVarP(&q.Tenant, "tenant", "t", "", "`name` of the tenant; left out: all")
	flags.StringVarP(&q.Group, "group", "g", "", "`name` of a group that one of the ends is in")
	flags.StringVar(&q.Verdict, "verdict", "", "allowed, denied or audited")
	last := flags.Uint16P("last", "n", api.DefaultLastFlows, "`number` of those that were before, the newest; at most "+strconv.Itoa(api.MaxLastFlows))
	p.completeFlag(cmd, "tenant", tenants().names)
	p.completeFlag(cmd, "verdict", words(api.FlowAllowed, api.FlowDenied, api.FlowAudited))
	p.completeFlag(cmd, "group", groups().names)
	check := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		switch q.Verdict {
		case "", api.FlowAllowed, api.FlowDenied, api.FlowAudited:
			return check(cmd, args)
		}
		return usage(cmd, "verdict %q is unknown; use %s, %s or %s", q.Verdict, api.FlowAllowed, api.FlowDenied, api.FlowAudited)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		ctx := cmd.Context()
		if q.Follow {
			ctx = p.whole
		}
		if q.Last = int(*last); q.Last == 0 {
			q.Last = -1
		}
		out := &flowPrinter{program: p, format: f.is()}
		err = c.Flows(ctx, q, out.take)
		if err == nil {
			err = out.end()
		}
		if q.Follow && ctx.Err() != nil {
			return nil // the user has seen enough
		}
		return err
	}
	return cmd
}

// flowPrinter prints lines as they come. What was there before is a table with columns as wide as they have to be; what follows
// keeps to them.
type flowPrinter struct {
	*program
	format string
	rows   [][]string // that wait for all that was there
	past   bool
	widths []int
}

func (o *flowPrinter) take(l api.FlowLine) error {
	switch {
	case l.Silent != nil:
		o.tellSilent([]api.Silent{*l.Silent})
		return nil
	case l.Lost != nil:
		fmt.Fprintf(o.Stderr, "netctl: %d flows of node %s are not in this: %s\n", l.Lost.Flows, cell(l.Lost.Node), cell(l.Lost.Why))
		return nil
	case l.Flow == nil:
		return o.end()
	}
	switch o.format {
	case formatJSON:
		e := json.NewEncoder(o.Stdout)
		e.SetEscapeHTML(false)
		return e.Encode(l.Flow)
	case formatYAML:
		if _, err := fmt.Fprintln(o.Stdout, "---"); err != nil {
			return err
		}
		return o.printYAML(l.Flow)
	}
	if !o.past {
		o.rows = append(o.rows, flowRow(*l.Flow))
		return nil
	}
	return o.print([][]string{flowRow(*l.Flow)})
}

// end prints what waits, the first time with a head.
func (o *flowPrinter) end() error {
	if o.past || o.format != formatTable {
		return nil
	}
	o.past = true
	head := []string{"Time", "Node", "Verdict", "Protocol", "From", "To", "Rule"}
	under := make([]string, len(head))
	for i, h := range head {
		under[i] = strings.Repeat("-", len(h))
	}
	rows := o.rows
	o.rows = nil
	return o.print(append([][]string{head, under}, rows...))
}

func (o *flowPrinter) print(rows [][]string) error {
	for _, row := range rows {
		for i := range row {
			if i == len(o.widths) {
				o.widths = append(o.widths, 0)
			}
			o.widths[i] = max(o.widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(c + strings.Repeat(" ", o.widths[i]-utf8.RuneCountInString(c)+2))
		}
		if _, err := fmt.Fprintln(o.Stdout, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

func flowRow(f api.Flow) []string {
	rule := f.Rule
	if rule == "" {
		rule = f.Reason
	}
	row := []string{f.Time.UTC().Format("2006-01-02T15:04:05.000Z"), f.Node, f.Verdict, f.Protocol, flowEnd(f.From), flowEnd(f.To), rule}
	for i := range row {
		row[i] = cell(row[i])
	}
	return row
}

// flowEnd is an end as web (front) 10.1.2.3:80: the container, its group, its address.
func flowEnd(e api.FlowEnd) string {
	var parts []string
	if name := e.Container; name != "" {
		parts = append(parts, name)
	} else if e.Endpoint != "" {
		parts = append(parts, short(e.Endpoint))
	}
	if e.Group != "" {
		parts = append(parts, "("+e.Group+")")
	}
	at := address(e.Address)
	if e.Port != 0 {
		at = netip.AddrPortFrom(e.Address, e.Port).String()
	}
	return strings.Join(append(parts, at), " ")
}
