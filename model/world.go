// SPDX-License-Identifier: Apache-2.0

package model

import "iter"

// Object is any noun's value. Key is unique among its kind.
type Object interface {
	Kind() Kind
	Key() string
}

// Ref names an object without its value.
type Ref struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key"` // unique among its kind
}

// RefOf names o.
func RefOf(o Object) Ref { return Ref{o.Kind(), o.Key()} }

// Change leads from one World to the next.
type Change struct {
	// Revision of the World after the change: etcd's, strictly growing.
	Revision int64
	// Reset says that Put is the whole World, not a difference.
	Reset  bool
	Put    []Object
	Delete []Ref
}

// Empty tells whether a change only says how far the store has come.
func (c Change) Empty() bool { return !c.Reset && len(c.Put) == 0 && len(c.Delete) == 0 }

// World is all objects at one revision: an immutable value, of the same type in every master and agent.
type World struct {
	Revision    int64
	Tenants     Table[Tenant]
	Networks    Table[Network]
	Groups      Table[Group]
	Policies    Table[Policy]
	Rules       Table[Rule]
	Netprofiles Table[Netprofile]
	Services    Table[Service]
	BGPs        Table[BGP]
	AppProfiles Table[AppProfile]
	Contracts   Table[Contracts]
	Nodes       Table[Node]
	Alive       Table[Alive]
	Known       Table[Known]
	Addresses   Table[Address]
	Endpoints   Table[Endpoint]
	Leaders     Table[Leader]

	// What Kubernetes' API server says.
	Namespaces      Table[Namespace]
	ClusterNodes    Table[ClusterNode]
	ClusterServices Table[ClusterService]
	EndpointSlices  Table[EndpointSlice]

	NetworkPolicies        Table[NetworkPolicy]
	ClusterNetworkPolicies Table[ClusterNetworkPolicy]

	// Of these there is one or none.
	globals     Table[Global]
	ACIGateways Table[ACIGateway]
}

// Global is what holds for the whole cluster; the defaults where nobody has said otherwise.
func (w World) Global() Global {
	if g, ok := w.globals.Get(GlobalName); ok {
		return g
	}
	return DefaultGlobal()
}

// HasGlobal tells whether the settings are in the store.
func (w World) HasGlobal() bool { return w.globals.Len() > 0 }

// ACIGateway is how an ACI fabric would be reached; ok is false where nobody has said it.
func (w World) ACIGateway() (g ACIGateway, ok bool) { return w.ACIGateways.Get(ACIGatewayName) }

// Get gives the object of that name.
func (w World) Get(r Ref) (o Object, ok bool) {
	i, ok := position(r.Kind)
	if !ok {
		return nil, false
	}
	return columns[i].get(&w, r.Key)
}

// Of runs over the objects of a kind, in no particular order.
func (w World) Of(kind Kind) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		if i, ok := position(kind); ok {
			columns[i].all(&w, yield)
		}
	}
}

// With is the World after c. w itself does not change.
func (w World) With(c Change) World {
	if c.Reset {
		w = World{}
	}
	editors := make([]editor, len(columns))
	of := func(kind Kind) editor { // nil for a kind that only newer versions know
		i, ok := position(kind)
		if !ok {
			return nil
		}
		if editors[i] == nil {
			editors[i] = columns[i].edit(&w)
		}
		return editors[i]
	}
	for _, r := range c.Delete {
		if e := of(r.Kind); e != nil {
			e.remove(r.Key)
		}
	}
	for _, o := range c.Put {
		if e := of(o.Kind()); e != nil {
			e.put(o)
		}
	}
	w.Revision = c.Revision
	return w
}

// Whole is the change that leads from nothing to w, in the order of kinds and keys.
func (w World) Whole() Change {
	c := Change{Revision: w.Revision, Reset: true}
	for _, k := range columns {
		c.Put = k.append(&w, c.Put)
	}
	return c
}

// Objects runs over all of w, in the order of kinds. Unlike Whole it makes no copy of w.
func (w World) Objects() iter.Seq[Object] {
	return func(yield func(Object) bool) {
		for _, k := range columns {
			if !k.all(&w, yield) {
				return
			}
		}
	}
}
