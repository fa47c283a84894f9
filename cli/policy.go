// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

func (p *program) policy() *cobra.Command {
	n := policies()
	return family("policy", "Policies: rules about what groups may send and receive", p.policyCreate(),
		p.policyAudit(),
		n.inspect(p, "Show a policy and the endpoints that it is about"),
		n.ls(p, "List policies"),
		n.rm(p, "Delete a policy that no group has, with its rules", func(tenant, name string) string { return "Deleting policy " + tenant + ":" + name }),
		p.ruleAdd(), p.ruleLs(), p.ruleRm(), p.policyTrace())
}

func policies() noun[api.Policy] {
	return noun[api.Policy]{
		plural: api.Policies, command: "policy", word: "policy", field: "policyName", max: 64, check: model.CheckPolicyName, required: "Policy name required",
		argument: "POLICY", sample: "db-policy",
		name: func(p api.Policy) string { return p.PolicyName }, tenant: func(p api.Policy) string { return p.TenantName },
		head: []string{"Tenant", "Policy"}, underline: []string{"------", "------"},
		row: func(p api.Policy) []string { return []string{p.TenantName, p.PolicyName} },
	}
}

func (p *program) policyCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create POLICY", Short: "Create a policy, without rules", Example: "  netctl policy create db-policy",
		Args: one("Policy name required"), ValidArgsFunction: cobra.NoFileCompletions,
	}
	tenant := p.tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := policies().object(*tenant, args[0])
		if err != nil {
			return err
		}
		return p.create(cmd, o, api.Policy{Key: o.key, TenantName: *tenant, PolicyName: args[0]}, "Creating policy "+o.key)
	}
	return cmd
}

func (p *program) policyAt(cmd *cobra.Command, o object) (api.Policy, error) {
	var it api.Policy
	c, err := p.client(cmd)
	if err != nil {
		return it, err
	}
	return it, o.get(cmd.Context(), c, api.ObjectPath(o.plural, o.key), &it)
}

func (p *program) policyAudit() *cobra.Command {
	cmd := &cobra.Command{
		Use: "audit POLICY on|off", Short: "Try a policy: count what its rules would deny, and let it through",
		Example: "  netctl policy audit db-policy on",
		Args:    two("Policy name and on or off required"), ValidArgsFunction: p.completeArgs(policies().names, words("on", "off")),
	}
	tenant := p.tenantFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[1] != "on" && args[1] != "off" {
			return usage(cmd, "audit %q is unknown; use on or off", args[1])
		}
		o, err := policies().object(*tenant, args[0])
		if err != nil {
			return err
		}
		it, err := p.policyAt(cmd, o)
		if err != nil {
			return err
		}
		on := args[1] == "on"
		it.Audit = &on
		message := "Enforcing policy " + o.key
		if on {
			message = "Auditing policy " + o.key + ": what its rules would deny is let through and counted"
		}
		return p.create(cmd, o, it, message)
	}
	return cmd
}
