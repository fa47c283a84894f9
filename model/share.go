// SPDX-License-Identifier: Apache-2.0

package model

import "unique"

// sharer is an object with strings that very many others have too: the names of their tenant, network or node. Decoding
// makes a string for each of them, which would be a third of a large World.
type sharer interface{ share() }

func (e *Endpoint) share() {
	for _, s := range []*string{&e.Tenant, &e.Network, &e.Group, &e.Node, &e.Port, &e.Runtime} {
		one(s)
	}
}

func (a *Address) share() {
	one(&a.Network)
	if a.Held {
		one(&a.Owner) // a node's name
	}
}

// one replaces a string by the one that all have that ask at about this time. Nothing is kept of strings that nobody has any more.
func one(s *string) { *s = unique.Make(*s).Value() }
