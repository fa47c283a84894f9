// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/json"
	"fmt"
)

// Kind names a noun. It is the first part of an object's path in the store.
type Kind string

// The nouns.
const (
	KindGlobal   Kind = "global"
	KindTenant   Kind = "tenant"
	KindNetwork  Kind = "network"
	KindAddress  Kind = "address"
	KindEndpoint Kind = "endpoint"
	KindNode     Kind = "node"
	KindAlive    Kind = "alive"
	KindKnown    Kind = "known"
)

// Object is any noun's value. Key is unique among its kind.
type Object interface {
	Kind() Kind
	Key() string
}

// Ref names an object without its value.
type Ref struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"key"`
}

// RefOf names o.
func RefOf(o Object) Ref { return Ref{o.Kind(), o.Key()} }

// Decode reads an object of the kind as json.Marshal wrote it.
func Decode(kind Kind, b []byte) (Object, error) {
	switch kind {
	case KindGlobal:
		return decode[Global](b)
	case KindTenant:
		return decode[Tenant](b)
	case KindNetwork:
		return decode[Network](b)
	case KindAddress:
		return decode[Address](b)
	case KindEndpoint:
		return decode[Endpoint](b)
	case KindNode:
		return decode[Node](b)
	case KindAlive:
		return decode[Alive](b)
	case KindKnown:
		return decode[Known](b)
	}
	return nil, fmt.Errorf("object of unknown kind %q (written by a newer version?)", kind)
}

func decode[T Object](b []byte) (Object, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("decode %s: %w", v.Kind(), err)
	}
	return v, nil
}

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
	Revision  int64
	Tenants   Table[Tenant]
	Networks  Table[Network]
	Addresses Table[Address]
	Endpoints Table[Endpoint]
	Nodes     Table[Node]
	Alive     Table[Alive]
	Known     Table[Known]

	global *Global
}

// Global is what holds for the whole cluster; the defaults where nobody has said otherwise.
func (w World) Global() Global {
	if w.global == nil {
		return DefaultGlobal()
	}
	return *w.global
}

// HasGlobal tells whether the settings are in the store.
func (w World) HasGlobal() bool { return w.global != nil }

// With is the World after c. w itself does not change.
func (w World) With(c Change) World {
	if c.Reset {
		w = World{}
	}
	var (
		tenants   = edit[Tenant]{t: w.Tenants}
		networks  = edit[Network]{t: w.Networks}
		addresses = edit[Address]{t: w.Addresses}
		endpoints = edit[Endpoint]{t: w.Endpoints}
		nodes     = edit[Node]{t: w.Nodes}
		alive     = edit[Alive]{t: w.Alive}
		known     = edit[Known]{t: w.Known}
	)
	for _, r := range c.Delete {
		switch r.Kind {
		case KindGlobal:
			w.global = nil
		case KindTenant:
			tenants.remove(r.Key)
		case KindNetwork:
			networks.remove(r.Key)
		case KindAddress:
			addresses.remove(r.Key)
		case KindEndpoint:
			endpoints.remove(r.Key)
		case KindNode:
			nodes.remove(r.Key)
		case KindAlive:
			alive.remove(r.Key)
		case KindKnown:
			known.remove(r.Key)
		}
	}
	for _, o := range c.Put {
		switch v := o.(type) {
		case Global:
			w.global = &v
		case Tenant:
			tenants.put(v.Key(), v)
		case Network:
			networks.put(v.Key(), v)
		case Address:
			addresses.put(v.Key(), v)
		case Endpoint:
			endpoints.put(v.Key(), v)
		case Node:
			nodes.put(v.Key(), v)
		case Alive:
			alive.put(v.Key(), v)
		case Known:
			known.put(v.Key(), v)
		}
	}
	w.Tenants, w.Networks, w.Addresses, w.Endpoints = tenants.t, networks.t, addresses.t, endpoints.t
	w.Nodes, w.Alive, w.Known = nodes.t, alive.t, known.t
	w.Revision = c.Revision
	return w
}

// Knows tells whether Decode can read objects of the kind.
func Knows(kind Kind) bool {
	switch kind {
	case KindGlobal, KindTenant, KindNetwork, KindAddress, KindEndpoint, KindNode, KindAlive, KindKnown:
		return true
	}
	return false
}

// Whole is the change that leads from nothing to w, in the order of kinds and keys.
func (w World) Whole() Change {
	c := Change{Revision: w.Revision, Reset: true}
	if w.global != nil {
		c.Put = append(c.Put, *w.global)
	}
	for v := range w.Tenants.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Networks.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Nodes.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Alive.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Known.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Addresses.Sorted() {
		c.Put = append(c.Put, v)
	}
	for v := range w.Endpoints.Sorted() {
		c.Put = append(c.Put, v)
	}
	return c
}
