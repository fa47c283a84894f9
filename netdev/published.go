// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// leads tells whether the maps of the table lead from all published ports to where they should.
func (f Firewall) leads(c *nftables.Conn, t *nftables.Table) (bool, error) {
	has := map[string][]nftables.SetElement{}
	for _, p := range f.Published {
		name, want := p.element()
		rows, read := has[name]
		if !read {
			var err error
			if rows, err = c.GetSetElements(&nftables.Set{Table: t, Name: name}); err != nil {
				return false, fmt.Errorf("read nftables map %s: %w", name, err)
			}
			has[name] = rows
		}
		if !slices.ContainsFunc(rows, func(e nftables.SetElement) bool { return bytes.Equal(e.Key, want.Key) && bytes.Equal(e.Val, want.Val) }) {
			return false, nil
		}
	}
	return true, nil
}
