// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func ruleObject(tenant, policy, id string) (object, error) {
	o, err := policies().object(tenant, policy)
	if err != nil {
		return o, err
	}
	key := model.RuleKey(tenant, policy, id)
	return object{api.Rules, key, "rule " + key, "; netctl policy rule-ls " + policy + " shows those that there are"}, model.CheckName("ruleId", id, 64)
}

func (p *program) ruleAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rule-add POLICY RULE", Short: "Add a rule to a policy",
		Long: "Add a rule to a policy. Incoming and outgoing are meant from the groups that have the policy. Of the rules that match, the one\n" +
			"with the highest priority decides, and deny where priorities are equal; what no rule matches is allowed.",
		Example: "  netctl policy rule-add db-policy 1 -direction=in -protocol=tcp -action=deny\n" +
			"  netctl policy rule-add db-policy 2 -direction=in -protocol=tcp -port=8888 -action=allow -priority=10\n" +
			"  netctl policy rule-add db-policy 3 -d out -e web -l udp -P 53",
		Args: two("Policy name and Rule ID required"), ValidArgsFunction: p.completeArgs(policies().names),
	}
	var r api.Rule
	tenant := p.tenantFlag(cmd)
	f := cmd.Flags()
	f.IntVarP(&r.Priority, "priority", "p", model.MinPriority, "`number` from 1 to 100; the highest wins")
	f.StringVarP(&r.Direction, "direction", "d", model.In, "in or out")
	f.StringVarP(&r.FromEndpointGroup, "from-group", "g", "", "`group` of the sender, incoming")
	f.StringVarP(&r.ToEndpointGroup, "to-group", "e", "", "`group` of the receiver, outgoing")
	f.StringVarP(&r.FromNetwork, "from-network", "n", "", "`network` of the sender, incoming")
	f.StringVarP(&r.ToNetwork, "to-network", "o", "", "`network` of the receiver, outgoing")
	f.StringVarP(&r.FromIPAddress, "from-ip-address", "i", "", "`address` or subnet of the sender, incoming")
	f.StringVarP(&r.ToIPAddress, "to-ip-address", "s", "", "`address` or subnet of the receiver; incoming: one of the group's own")
	f.StringVarP(&r.Protocol, "protocol", "l", "", "tcp, udp, sctp, icmp or a `number`; left out: all")
	f.Uint16VarP(&r.Port, "port", "P", 0, "`number` of the receiver's port; 0: all")
	f.StringVarP(&r.Action, "action", "j", model.Allow, "allow or deny")
	p.completeFlag(cmd, "direction", words(model.In, model.Out))
	p.completeFlag(cmd, "action", words(model.Allow, model.Deny))
	p.completeFlag(cmd, "protocol", words("tcp", "udp", "sctp", "icmp"))
	for _, name := range []string{"from-group", "to-group"} {
		p.completeFlag(cmd, name, groups().names)
	}
	for _, name := range []string{"from-network", "to-network"} {
		p.completeFlag(cmd, name, networks().names)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if wrong := wrongDirection(r); wrong != "" {
			return usage(cmd, "%s", wrong)
		}
		o, err := ruleObject(*tenant, args[0], args[1])
		if err != nil {
			return err
		}
		r.Key, r.TenantName, r.PolicyName, r.RuleID = o.key, *tenant, args[0], args[1]
		return p.create(cmd, o, r, "")
	}
	return cmd
}

// wrongDirection says in the original's words what does not go with a rule's direction; "" is right.
func wrongDirection(r api.Rule) string {
	in, out := r.Direction == model.In, r.Direction == model.Out
	switch {
	case in && r.ToEndpointGroup != "":
		return "Cant specify to-group for incoming rule"
	case in && r.ToNetwork != "":
		return "Cant specify to-network for incoming rule"
	case in && r.FromEndpointGroup != "" && r.FromNetwork != "":
		return "Can't specify both from-group argument and -from-network"
	case out && r.FromEndpointGroup != "":
		return "Cant specify from-group for outgoing rule"
	case out && r.FromNetwork != "":
		return "Cant specify from-network for outgoing rule"
	case out && r.FromIPAddress != "":
		return "Cant specify from-ip-address for outgoing rule"
	case out && r.ToEndpointGroup != "" && r.ToNetwork != "":
		return "Can't specify both -to-group and -to-network"
	case !in && !out:
		return fmt.Sprintf("Unknown direction %q; use in or out", r.Direction)
	}
	return ""
}

func (p *program) ruleRm() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rule-rm POLICY RULE", Short: "Remove a rule from a policy", Example: "  netctl policy rule-rm db-policy 1",
		Args: two("Policy name and Rule ID required"), ValidArgsFunction: p.completeArgs(policies().names, ruleNames),
	}
	tenant := p.tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := ruleObject(*tenant, args[0], args[1])
		if err != nil {
			return err
		}
		return p.remove(cmd, o, "")
	}
	return cmd
}

func (p *program) ruleLs() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rule-ls POLICY", Short: "List a policy's rules", Example: "  netctl policy rule-ls db-policy",
		Long: "List a policy's rules by their priority, the lowest first. Where nodes tell, the last columns are how many connections each\n" +
			"has let in or refused since it came, and the packets of those that it let in; Audited, shown where there are any, is how many\n" +
			"connections it would have refused.",
		Args: one("Policy name required"), ValidArgsFunction: p.completeArgs(policies().names),
	}
	tenant := p.tenantFlag(cmd)
	l := p.listFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := policies().object(*tenant, args[0])
		if err != nil {
			return err
		}
		if _, err := p.policyAt(cmd, o); err != nil { // a policy that is not there does not look empty
			return err
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		rules, err := rulesOf(cmd.Context(), c, *tenant, args[0])
		if err != nil {
			return err
		}
		if l.quiet {
			return show(p, l, rules, func(r api.Rule) string { return r.RuleID }, table{}, nil)
		}
		counts, err := p.ruleCounts(cmd.Context(), c, *tenant, args[0], len(rules))
		if err != nil {
			return err
		}
		for i := range rules {
			if rules[i].written, err = counts.join(rules[i].written, rules[i].value.Key); err != nil {
				return err
			}
		}
		return p.print(l.format, rules, func() (string, error) { return ruleTables(rules, counts), nil })
	}
	return cmd
}

func rulesOf(ctx context.Context, c *api.Client, tenant, policy string) ([]item[api.Rule], error) {
	return list(ctx, c, api.Rules, func(r api.Rule) bool { return r.TenantName == tenant && r.PolicyName == policy }, byPriority)
}

// byPriority puts equal ones into the order of their ids, 2 before 10.
func byPriority(a, b api.Rule) int {
	m, err1 := strconv.Atoi(a.RuleID)
	n, err2 := strconv.Atoi(b.RuleID)
	if err1 != nil || err2 != nil {
		m, n = 0, 0
	}
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(m, n), cmp.Compare(a.RuleID, b.RuleID))
}

func ruleTables(rules []item[api.Rule], counts ruleCounts) string {
	in := table{
		head: []string{"Rule", "Priority", "From EndpointGroup", "From Network", "From IpAddress", "To IpAddress", "Protocol", "Port", "Action"},
		underline: []string{"----", "--------", "------------------", "------------", "---------", "------------", "--------", "----",
			"------"},
	}
	out := table{
		head:      []string{"Rule", "Priority", "To EndpointGroup", "To Network", "To IpAddress", "Protocol", "Port", "Action"},
		underline: []string{"----", "--------", "----------------", "----------", "---------", "--------", "----", "------"},
	}
	in.add(counts.head())
	out.add(counts.head())
	for _, i := range rules {
		r := i.value
		first := []string{r.RuleID, strconv.Itoa(r.Priority)}
		last := append([]string{r.ToIPAddress, r.Protocol, strconv.Itoa(int(r.Port)), r.Action}, counts.cells(r.Key)...)
		if r.Direction == model.Out {
			out.rows = append(out.rows, append(append(first, r.ToEndpointGroup, r.ToNetwork), last...))
			continue
		}
		in.rows = append(in.rows, append(append(first, r.FromEndpointGroup, r.FromNetwork, r.FromIPAddress), last...))
	}
	return "Incoming Rules:\n" + in.String() + "Outgoing Rules:\n" + out.String()
}

// ruleNames are the ids of the rules of the policy that is the argument before.
func ruleNames(ctx context.Context, c *api.Client, cmd *cobra.Command, args []string) ([]cobra.Completion, error) {
	rules, err := rulesOf(ctx, c, cmd.Flag("tenant").Value.String(), args[0])
	out := make([]cobra.Completion, 0, len(rules))
	for _, r := range rules {
		out = append(out, cell(r.value.RuleID))
	}
	return out, err
}
