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
	var m Memo
	return m.For(w, node)
}

// Memo compiles one World after another and keeps what the next has in common with the last: where endpoints are, when only
// rules have changed, and the rows of the rules that have not. The tables are the same as without it. It is for one goroutine
// at a time.
type Memo struct {
	turn    int      // counts the Worlds
	places  compiler // after where
	book    book
	classes struct { // of places, by what the book's rules name
		endpoints []Endpoint
		prefixes  []Prefix
	}
	folder folder
	folded map[string]foldedRole // by role.text
}

// For is the function For. Nobody may write to the tables, as the next ones share some.
func (m *Memo) For(w model.World, node string) Tables {
	m.turn++
	moved := !m.places.holdsFor(w, node)
	if moved {
		m.places = where(w, node, m.places.slots)
	}
	m.places.world = w
	reselected := m.book.world.Namespaces != w.Namespaces
	if renamed := m.book.read(w, &m.places, moved); renamed || moved || reselected {
		m.classes.endpoints, m.classes.prefixes = m.book.classify(&m.places, m.turn)
	}
	c := m.places
	c.out.Revision, c.out.Recheck = w.Revision, w.Global().Established == model.EstablishedRecheck
	c.out.Notes, c.out.Ports = append(m.book.allNotes(), c.out.Notes...), slices.Clone(c.out.Ports)
	c.out.Endpoints, c.out.Prefixes = m.classes.endpoints, m.classes.prefixes
	c.out.Verdicts, c.out.Rules = m.verdicts(m.book.rolesOf(&c, c.out.Ports))
	c.limits()
	slices.SortFunc(c.out.Notes, func(a, b Note) int {
		return cmp.Or(cmp.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Object.Key, b.Object.Key), cmp.Compare(a.Text, b.Text))
	})
	return c.out
}

// compiler is what has nothing to do with rules: where endpoints are.
type compiler struct {
	world      model.World
	node       string
	forwarding model.Forwarding
	flooded    bool // VLANs carry broadcast and multicast
	out        Tables

	located      []located // all endpoints' addresses, in the order of Tables.Endpoints
	affiliations []affiliation
	pods         pods
	podsOf       map[string]*tenantPods // by tenant
	local        []model.Endpoint       // this node's, in the order of Tables.Ports

	candidates map[label][]*model.Endpoint  // by the labels that services select by
	named      map[string][]*model.Endpoint // of pods, by namespace and name, where Kubernetes has services
	nobodys    int32                        // the affiliation of services' addresses
	clustered  []clusterPort                // of Kubernetes
	slots      map[string]slots             // by their providers' numbers

	published map[Published]bool // without where they lead
}

// where compiles what has nothing to do with rules. earlier are slots that may be had again.
func where(w model.World, node string, earlier map[string]slots) compiler {
	c := compiler{world: w, node: node, forwarding: w.Forwarding(), flooded: w.Global().ARPMode == model.ARPFlood, slots: earlier}
	c.out.Node = node
	c.networks()
	c.peers()
	c.selectedLabels()
	c.endpoints()
	c.services()
	c.ports()
	c.infra()
	c.outside()
	c.probes()
	c.entrances()
	c.findPods()
	return c
}

// holdsFor tells whether where would give the same again. It reads nothing else of a World.
func (c *compiler) holdsFor(w model.World, node string) bool {
	was := c.world
	return c.node == node && c.located != nil && c.forwarding == w.Forwarding() && was.Global().ARPMode == w.Global().ARPMode &&
		was.Global().PrivateSubnet == w.Global().PrivateSubnet && was.Tenants == w.Tenants && was.Networks == w.Networks && was.Groups == w.Groups && was.Nodes == w.Nodes && was.Endpoints == w.Endpoints &&
		was.Services == w.Services && was.ClusterServices == w.ClusterServices && was.EndpointSlices == w.EndpointSlices && was.ClusterNodes == w.ClusterNodes && (w.Services.Len() == 0 || was.Alive == w.Alive)
}

func (c *compiler) note(o model.Object, format string, args ...any) {
	c.out.Notes = append(c.out.Notes, Note{model.RefOf(o), fmt.Sprintf(format, args...)})
}

func compareAddr(a, b netip.Addr) int { return a.Compare(b) }
