// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"fmt"

	"github.com/google/nftables"
)

// leads tells whether the maps of the table lead from all published ports to where they should.
func (f Firewall) leads(c *nftables.Conn, t *nftables.Table) (bool, error) {
	read := map[string]map[string]string{} // by map and key
	var rows []interface {
		element() (string, nftables.SetElement)
	}
	for _, p := range f.Published {
		rows = append(rows, p)
	}
	for _, p := range f.Probed {
		rows = append(rows, p)
	}
	for _, row := range rows {
		name, want := row.element()
		has, known := read[name]
		if !known {
			rows, err := c.GetSetElements(&nftables.Set{Table: t, Name: name})
			if err != nil {
				return false, fmt.Errorf("read nftables map %s: %w", name, err)
			}
			has = make(map[string]string, len(rows))
			for _, e := range rows {
				has[string(e.Key)] = string(e.Val)
			}
			read[name] = has
		}
		if has[string(want.Key)] != string(want.Val) {
			return false, nil
		}
	}
	return true, nil
}
