// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

// listing is the flags that every ls has. JSON and YAML go before quiet, quiet before the table.
type listing struct {
	*format
	quiet bool
}

func (p *program) listFlags(cmd *cobra.Command) *listing {
	l := &listing{format: p.formatFlag(cmd, formatTable)}
	l.jsonFlag(cmd)
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
	o, err := tenants().object("", *s.tenant)
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
	return p.print(l.format, items, func() (string, error) {
		var b strings.Builder
		if l.quiet {
			for _, i := range items {
				b.WriteString(cell(name(i.value)) + "\n")
			}
			return b.String(), nil
		}
		for _, i := range items {
			t.rows = append(t.rows, row(i.value))
		}
		return t.String(), nil
	})
}
