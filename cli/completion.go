// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// completionPatience is how long a user who pressed tab waits for a master.
const completionPatience = 2 * time.Second

func (p *program) completion() *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|fish|zsh|powershell", Short: "Print a script that completes netctl's words in your shell",
		Example:   "  source <(netctl completion bash)",
		ValidArgs: []string{"bash", "fish", "zsh", "powershell"},
		Args:      one("Shell name required: bash, fish, zsh or powershell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.Stdout, true)
			case "fish":
				return root.GenFishCompletion(p.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.Stdout)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(p.Stdout)
			}
			return usage(cmd, "shell %q is unknown; use bash, fish, zsh or powershell", args[0])
		},
	}
}

// names are the words that could stand at a place of a command.
type names func(ctx context.Context, c *api.Client, cmd *cobra.Command) ([]cobra.Completion, error)

// completeFirst completes the first name from the server. The shell keeps those that begin as what is written.
func (p *program) completeFirst(of names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.complete(cmd, of)
	}
}

// completeFlag completes a flag's value.
func (p *program) completeFlag(cmd *cobra.Command, name string, of names) {
	err := cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.complete(cmd, of)
	})
	if err != nil {
		panic("netctl defines no flag " + name + ": " + err.Error()) // a slip in this package, seen by every test
	}
}

func (p *program) complete(cmd *cobra.Command, of names) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	words, err := of(ctx, c, cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError // a shell that waits for words has no place for more
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func words(fixed ...cobra.Completion) names {
	return func(context.Context, *api.Client, *cobra.Command) ([]cobra.Completion, error) { return fixed, nil }
}

func namesOf[T any](items []item[T], name func(T) string) []cobra.Completion {
	out := make([]cobra.Completion, 0, len(items))
	for _, i := range items {
		out = append(out, cell(name(i.value)))
	}
	return out
}

func (p *program) tenantNames(ctx context.Context, c *api.Client, _ *cobra.Command) ([]cobra.Completion, error) {
	items, err := list(ctx, c, api.Tenants, everything, byTenantName)
	return namesOf(items, tenantName), err
}

func (p *program) networkNames(ctx context.Context, c *api.Client, cmd *cobra.Command) ([]cobra.Completion, error) {
	tenant := model.DefaultTenant
	if f := cmd.Flag("tenant"); f != nil {
		tenant = f.Value.String()
	}
	items, err := list(ctx, c, api.Networks, func(n api.Network) bool { return n.TenantName == tenant }, byTenantNetwork)
	return namesOf(items, networkName), err
}

func (p *program) nodeNames(ctx context.Context, c *api.Client, _ *cobra.Command) ([]cobra.Completion, error) {
	items, err := list(ctx, c, api.Nodes, everything, byNodeName)
	return namesOf(items, nodeName), err
}

// endpointNames are the names of containers, as nobody remembers an endpoint's id.
func (p *program) endpointNames(ctx context.Context, c *api.Client, _ *cobra.Command) ([]cobra.Completion, error) {
	items, err := list(ctx, c, api.Endpoints, func(e api.Endpoint) bool { return e.ContainerName != "" }, byNetworkAddress)
	return namesOf(items, func(e api.Endpoint) string { return e.ContainerName }), err
}
