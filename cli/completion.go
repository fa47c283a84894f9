// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
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

// names are the words that could stand at a place of a command, after args.
type names func(ctx context.Context, c *api.Client, cmd *cobra.Command, args []string) ([]cobra.Completion, error)

// completeArgs completes names from the server, each place by its own. The shell keeps those that begin as what is written.
func (p *program) completeArgs(of ...names) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(of) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return p.complete(cmd, args, of[len(args)])
	}
}

// completeFlag completes a flag's value.
func (p *program) completeFlag(cmd *cobra.Command, name string, of names) {
	p.registerFlag(cmd, name, func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.complete(cmd, args, of)
	})
}

// completeList completes the last of a flag's values, which are joined by commas.
func (p *program) completeList(cmd *cobra.Command, name string, of names) {
	p.registerFlag(cmd, name, func(cmd *cobra.Command, args []string, written string) ([]cobra.Completion, cobra.ShellCompDirective) {
		words, directive := p.complete(cmd, args, of)
		before := written[:strings.LastIndex(written, ",")+1]
		for i := range words {
			words[i] = before + words[i]
		}
		return words, directive | cobra.ShellCompDirectiveNoSpace
	})
}

func (p *program) registerFlag(cmd *cobra.Command, name string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
		panic("netctl defines no flag " + name + ": " + err.Error()) // a slip in this package, seen by every test
	}
}

func (p *program) complete(cmd *cobra.Command, args []string, of names) ([]cobra.Completion, cobra.ShellCompDirective) {
	c, err := p.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	words, err := of(ctx, c, cmd, args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError // a shell that waits for words has no place for more
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func words(fixed ...cobra.Completion) names {
	return func(context.Context, *api.Client, *cobra.Command, []string) ([]cobra.Completion, error) {
		return fixed, nil
	}
}
