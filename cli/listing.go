// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

// listing is the flags that every ls has. JSON goes before quiet, quiet before the table.
type listing struct{ json, quiet bool }

func listFlags(cmd *cobra.Command) *listing {
	l := &listing{}
	cmd.Flags().BoolVarP(&l.json, "json", "j", false, "print JSON objects")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print names only, one a line")
	return l
}

// scope is which tenant's objects an ls shows.
type scope struct {
	tenant *string
	all    bool
}

func (p *program) scopeFlags(cmd *cobra.Command) *scope {
	s := &scope{tenant: p.tenantFlag(cmd)}
	cmd.Flags().BoolVarP(&s.all, "all", "a", false, "show those of all tenants")
	return s
}

// check refuses a tenant that there is not, so that a misspelt one does not look empty.
func (s *scope) check(ctx context.Context, c *api.Client) error {
	if s.all {
		return nil
	}
	o, err := tenantObject(*s.tenant)
	if err != nil {
		return err
	}
	return o.get(ctx, c, api.ObjectPath(o.plural, o.key), nil)
}

func (s *scope) has(tenant string) bool { return s.all || tenant == *s.tenant }

// item is one object of a list: as this netctl reads it, and as the master wrote it.
type item[T any] struct {
	value   T
	written json.RawMessage
}

func (i *item[T]) UnmarshalJSON(b []byte) error {
	i.written = bytes.Clone(b)
	return json.Unmarshal(b, &i.value)
}

func (i item[T]) MarshalJSON() ([]byte, error) { return i.written, nil }

// list reads a collection, keeps what keep says and sorts it.
func list[T any](ctx context.Context, c *api.Client, plural string, keep func(T) bool, compare func(a, b T) int) ([]item[T], error) {
	all := []item[T]{} // never nil: an empty list prints as [], not null
	if err := c.Get(ctx, api.ListPath(plural), &all); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i item[T]) bool { return !keep(i.value) })
	slices.SortStableFunc(all, func(a, b item[T]) int { return compare(a.value, b.value) })
	return slices.Clip(all), nil
}

func everything[T any](T) bool { return true }

// show prints items in the way that the flags ask for.
func show[T any](p *program, l *listing, items []item[T], name func(T) string, t table, row func(T) []string) error {
	switch {
	case l.json:
		if items == nil {
			items = []item[T]{}
		}
		return p.printJSON(items)
	case l.quiet:
		for _, i := range items {
			fmt.Fprintln(p.Stdout, cell(name(i.value)))
		}
		return nil
	}
	for _, i := range items {
		t.rows = append(t.rows, row(i.value))
	}
	fmt.Fprint(p.Stdout, t)
	return nil
}

// printJSON prints v with two spaces of indent and a newline, and < > & as they are.
func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
