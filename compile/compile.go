// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/contivnet/contiv/model"
)

// For gives what the kernel of the named node should hold.
func For(w model.World, node string) Tables {
	c := compiler{
		world: w, node: node, bridged: w.Global().ForwardMode == model.ForwardBridge,
		classes: make([]class, 1), classTexts: make([]string, 1), classIndex: map[string]int{},
		roles: newRoles(),
	}
	c.out.Revision, c.out.Node = w.Revision, node
	c.out.Recheck = w.Global().Established == model.EstablishedRecheck
	c.networks()
	c.peers()
	c.policies()
	c.endpoints()
	c.prefixes()
	c.numberClasses()
	c.ports()
	c.numberRoles()
	c.verdicts()
	slices.SortFunc(c.out.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Key, b.Object.Key), cmp.Compare(a.Text, b.Text))
	})
	return c.out
}

type compiler struct {
	world   model.World
	node    string
	bridged bool
	local   []model.Endpoint // this node's, found on the way through all endpoints
	out     Tables

	domains    map[string]*domain // by tenant; empty where nobody has rules
	classes    []class            // the first is nobody's
	classTexts []string           // what each is, in the same order
	classIndex map[string]int     // by that
	roles      roles
	fold       folder
}

func (c *compiler) note(o model.Object, format string, args ...any) {
	c.out.Notes = append(c.out.Notes, Note{model.RefOf(o), fmt.Sprintf(format, args...)})
}

// reaches tells whether endpoints of one network may talk to those of the other.
func (c *compiler) reaches(a, b model.Network) bool {
	return a.Tenant == b.Tenant && (a.Name == b.Name || !c.bridged && !a.Internal && !b.Internal)
}

func compareAddr(a, b netip.Addr) int { return a.Compare(b) }
