// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
	"github.com/contivnet/contiv/model"
)

// noun is a collection of the API as its commands see it, T the shape of its objects.
type noun[T any] struct {
	plural   string
	command  string                                  // netctl's word for it, as net
	word     string                                  // in messages, as network
	field    string                                  // the JSON name of an object's name
	max      int                                     // characters in a name
	check    func(field, name string, max int) error // nil: model.CheckName
	required string                                  // what is said when no name is given
	argument string                                  // how usages show its name, as NETWORK
	sample   string                                  // a name, in examples
	name     func(T) string
	tenant   func(T) string // nil for what belongs to no tenant

	head, underline []string // of its table; nil: as long as the head
	row             func(T) []string
}

// object is the one with that name; tenant is "" where the noun has none.
func (n noun[T]) object(tenant, name string) (object, error) {
	key, ls := name, n.command+" ls"
	if n.tenant != nil {
		key, ls = tenant+":"+name, ls+" -a"
		if err := model.CheckName("tenantName", tenant, 64); err != nil {
			return object{}, err
		}
	}
	return object{n.plural, key, n.word + " " + key, "; netctl " + ls + " shows those that there are"}, n.checkName(name)
}

func (n noun[T]) checkName(name string) error {
	if n.check == nil {
		return model.CheckName(n.field, name, n.max)
	}
	return n.check(n.field, name, n.max)
}

func (n noun[T]) compare(a, b T) int {
	if n.tenant != nil {
		if c := cmp.Compare(n.tenant(a), n.tenant(b)); c != 0 {
			return c
		}
	}
	return cmp.Compare(n.name(a), n.name(b))
}

// tenantFlag adds --tenant where the noun belongs to tenants; else the result points to "".
func (n noun[T]) tenantFlag(p *program, cmd *cobra.Command) *string {
	if n.tenant == nil {
		return new(string)
	}
	return p.tenantFlag(cmd)
}

// ls is the command that lists the objects.
func (n noun[T]) ls(p *program, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: short,
		Example: "  netctl " + n.command + " ls\n  netctl " + n.command + " ls -o json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	l := p.listFlags(cmd)
	s := &scope{all: true}
	if n.tenant != nil {
		cmd.Example = "  netctl " + n.command + " ls -t blue\n  netctl " + n.command + " ls -a -o json"
		s = p.scopeFlags(cmd)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		if err := s.check(cmd.Context(), c); err != nil {
			return err
		}
		items, err := n.list(cmd.Context(), c, func(v T) bool { return n.tenant == nil || s.has(n.tenant(v)) })
		if err != nil {
			return err
		}
		return show(p, l, items, n.name, table{head: n.head, underline: n.underline}, n.row)
	}
	return cmd
}

// list reads the objects that keep says, in the order of their tenants and names.
func (n noun[T]) list(ctx context.Context, c *api.Client, keep func(T) bool) ([]item[T], error) {
	return list(ctx, c, n.plural, keep, n.compare)
}

// inspect is the command that shows all of one object.
func (n noun[T]) inspect(p *program, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "inspect " + n.argument, Short: short, Example: "  netctl " + n.command + " inspect " + n.sample,
		Args: one(n.required), ValidArgsFunction: p.completeArgs(n.names),
	}
	f := p.formatFlag(cmd, formatJSON)
	tenant := n.tenantFlag(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := n.object(*tenant, args[0])
		if err != nil {
			return err
		}
		return p.inspect(cmd, o, f)
	}
	return cmd
}

// rm is the command that deletes one; message, when not nil, is what is said of it.
func (n noun[T]) rm(p *program, short string, message func(tenant, name string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm " + n.argument, Aliases: []string{"delete"}, Short: short, Example: "  netctl " + n.command + " rm " + n.sample,
		Args: one(n.required), ValidArgsFunction: p.completeArgs(n.names),
	}
	tenant := n.tenantFlag(p, cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := n.object(*tenant, args[0])
		if err != nil {
			return err
		}
		said := ""
		if message != nil {
			said = message(*tenant, args[0])
		}
		return p.remove(cmd, o, said)
	}
	return cmd
}

// names are those of the tenant that the flags name.
func (n noun[T]) names(ctx context.Context, c *api.Client, cmd *cobra.Command, _ []string) ([]cobra.Completion, error) {
	tenant := model.DefaultTenant
	if f := cmd.Flag("tenant"); f != nil {
		tenant = f.Value.String()
	}
	items, err := n.list(ctx, c, func(v T) bool { return n.tenant == nil || n.tenant(v) == tenant })
	out := make([]cobra.Completion, 0, len(items))
	for _, i := range items {
		out = append(out, cell(n.name(i.value)))
	}
	return out, err
}

// inspect prints what the master knows of o, with fields that this netctl does not know too.
func (p *program) inspect(cmd *cobra.Command, o object, f *format) error {
	c, err := p.client(cmd)
	if err != nil {
		return err
	}
	var answer json.RawMessage
	if err := o.get(cmd.Context(), c, api.InspectPath(o.plural, o.key), &answer); err != nil {
		return err
	}
	return p.print(f, answer, func() (string, error) { return fieldTable(answer) })
}
