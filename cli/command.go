// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// family is a command that only has others under it. Its example is that of the first.
func family(use, short string, children ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.Example = children[0].Example
	cmd.AddCommand(children...)
	h := help()
	cmd.AddCommand(h)
	cmd.SetHelpCommand(h) // or cobra adds its own to the root
	return cmd
}

// help is the command help of a group: help [command].
func help() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Aliases: []string{"h"}, Short: "Tell about a command", Example: "  netctl help network create",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.Parent()
			for _, name := range args {
				next := subcommand(at, name)
				if next == nil {
					return unknownCommand(at, name)
				}
				at = next
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}

// noArgs is for commands that take no names.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "More arguments than required")
	}
	return nil
}

// one is for commands that take one name; missing is said where there is none.
func one(missing string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return usage(cmd, "%s", missing)
		}
		return noArgs(cmd, args[1:])
	}
}

// two is for commands that take two names.
func two(missing string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 || args[0] == "" || args[1] == "" {
			return usage(cmd, "%s", missing)
		}
		return noArgs(cmd, args[2:])
	}
}

// tenantFlag adds --tenant.
func (p *program) tenantFlag(cmd *cobra.Command) *string {
	tenant := cmd.Flags().StringP("tenant", "t", model.DefaultTenant, "`name` of the tenant")
	p.completeFlag(cmd, "tenant", tenants().names)
	return tenant
}

// object is one object of the API by its URL, and how messages name it.
type object struct {
	plural, key string
	noun        string // as "network blue:web"
	remedy      string // what to do when there is none
}

// get reads the object at path into out. That there is none is said with the object's name.
func (o object) get(ctx context.Context, c *api.Client, path string, out any) error {
	err := c.Get(ctx, path, out)
	if errors.Is(err, model.ErrNotFound) {
		return model.NotFound("", "%s not found%s", o.noun, o.remedy)
	}
	return err
}

// say prints a message about what was done; "" is for commands that have always been silent.
func (p *program) say(message string) {
	if message != "" {
		fmt.Fprintln(p.Stdout, message)
	}
}

// create puts in and says so.
func (p *program) create(cmd *cobra.Command, o object, in any, message string) error {
	c, err := p.client(cmd)
	if err != nil {
		return err
	}
	if _, err := c.Put(cmd.Context(), api.ObjectPath(o.plural, o.key), in, nil); err != nil {
		return err
	}
	p.say(message)
	return nil
}

// remove deletes o and says so. To the API a removal of nothing is fine; whoever types a name wants to hear that it is wrong.
func (p *program) remove(cmd *cobra.Command, o object, message string) error {
	c, err := p.client(cmd)
	if err != nil {
		return err
	}
	path := api.ObjectPath(o.plural, o.key)
	if err := o.get(cmd.Context(), c, path, nil); err != nil {
		return err
	}
	if _, err := c.Delete(cmd.Context(), path); err != nil {
		return err
	}
	p.say(message)
	return nil
}
