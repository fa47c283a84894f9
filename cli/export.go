// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/contivnet/contiv/api"
)

func (p *program) export() *cobra.Command {
	cmd := &cobra.Command{
		Use: "export", Short: "Print all objects as a file that apply takes",
		Long: "Print all objects that say what is wanted as a file that apply takes. Endpoints and nodes are not in it: they come from\n" +
			"containers and machines.",
		Example: "  netctl export > intent.yaml\n  netctl export -o json",
		Args:    noArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := p.formatFlag(cmd, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if f.is() == formatTable {
			return usage(cmd, "--output table is not possible here; use yaml or json")
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		var all api.ApplyRequest
		if err := c.Get(cmd.Context(), api.ExportPath, &all); err != nil {
			return err
		}
		docs := []any{}
		for _, o := range all.Objects {
			b, err := documentOf(o)
			if err != nil {
				return err
			}
			docs = append(docs, json.RawMessage(b))
		}
		if f.is() == formatJSON {
			return p.printJSON(docs)
		}
		return p.printYAML(docs...)
	}
	return cmd
}

// documentOf is an object with its kind first and its fields in the order of its shape, those that this netctl
// does not know at the end.
func documentOf(o api.ApplyObject) ([]byte, error) {
	k := kindOf(o.Collection)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(o.Object, &fields); err != nil {
		return nil, fmt.Errorf("read %s of the master: %w", k.name, err)
	}
	var order []string
	if k.shape != nil {
		order = k.fields()
	}
	place := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int { return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b)) })
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"kind":%q`, k.name)
	for _, name := range names {
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, fmt.Errorf("read %s of the master: %w", k.name, err)
		}
		fmt.Fprintf(&b, ",%s:%s", quoted, fields[name])
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
