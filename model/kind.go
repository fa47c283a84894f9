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
	KindGlobal     Kind = "global"
	KindTenant     Kind = "tenant"
	KindNetwork    Kind = "network"
	KindGroup      Kind = "group"
	KindPolicy     Kind = "policy"
	KindRule       Kind = "rule"
	KindNetprofile Kind = "netprofile"
	KindService    Kind = "service"
	KindBGP        Kind = "bgp"
	KindAppProfile Kind = "appprofile"
	KindContracts  Kind = "contracts"
	KindACIGateway Kind = "acigateway"
	KindNode       Kind = "node"
	KindAlive      Kind = "alive"
	KindKnown      Kind = "known"
	KindAddress    Kind = "address"
	KindEndpoint   Kind = "endpoint"
	KindLeader     Kind = "leader"

	// Those of Kubernetes.
	KindNamespace      Kind = "namespace"
	KindClusterNode    Kind = "clusternode"
	KindClusterService Kind = "clusterservice"
	KindEndpointSlice  Kind = "endpointslice"

	KindNetworkPolicy        Kind = "networkpolicy"
	KindClusterNetworkPolicy Kind = "clusternetworkpolicy"
)

// columns are all kinds and where World has them, each after those that it refers to. A new noun needs a line here,
// a table in World, and nothing else to be stored, followed and sent.
var columns = []column{
	columnOf(func(w *World) *Table[Global] { return &w.globals }),
	columnOf(func(w *World) *Table[ACIGateway] { return &w.ACIGateways }),
	columnOf(func(w *World) *Table[Tenant] { return &w.Tenants }),
	columnOf(func(w *World) *Table[Network] { return &w.Networks }),
	columnOf(func(w *World) *Table[Netprofile] { return &w.Netprofiles }),
	columnOf(func(w *World) *Table[Contracts] { return &w.Contracts }),
	columnOf(func(w *World) *Table[Policy] { return &w.Policies }),
	columnOf(func(w *World) *Table[Rule] { return &w.Rules }),
	columnOf(func(w *World) *Table[Group] { return &w.Groups }),
	columnOf(func(w *World) *Table[Service] { return &w.Services }),
	columnOf(func(w *World) *Table[AppProfile] { return &w.AppProfiles }),
	columnOf(func(w *World) *Table[BGP] { return &w.BGPs }),
	columnOf(func(w *World) *Table[Node] { return &w.Nodes }),
	columnOf(func(w *World) *Table[Alive] { return &w.Alive }),
	columnOf(func(w *World) *Table[Known] { return &w.Known }),
	columnOf(func(w *World) *Table[Address] { return &w.Addresses }),
	columnOf(func(w *World) *Table[Endpoint] { return &w.Endpoints }),
	columnOf(func(w *World) *Table[Leader] { return &w.Leaders }),
	columnOf(func(w *World) *Table[Namespace] { return &w.Namespaces }),
	columnOf(func(w *World) *Table[ClusterNode] { return &w.ClusterNodes }),
	columnOf(func(w *World) *Table[ClusterService] { return &w.ClusterServices }),
	columnOf(func(w *World) *Table[EndpointSlice] { return &w.EndpointSlices }),
	columnOf(func(w *World) *Table[NetworkPolicy] { return &w.NetworkPolicies }),
	columnOf(func(w *World) *Table[ClusterNetworkPolicy] { return &w.ClusterNetworkPolicies }),
}

// column is what World can do with one kind.
type column struct {
	kind   Kind
	decode func([]byte) (Object, error)
	edit   func(*World) editor
	append func(*World, []Object) []Object
	get    func(w *World, key string) (Object, bool)
	all    func(w *World, yield func(Object) bool) bool // in no particular order
}

func columnOf[T Object](of func(*World) *Table[T]) column {
	var zero T
	return column{
		kind:   zero.Kind(),
		decode: decode[T],
		edit:   func(w *World) editor { return &edit[T]{t: of(w)} },
		append: func(w *World, to []Object) []Object {
			for v := range of(w).Sorted() {
				to = append(to, v)
			}
			return to
		},
		get: func(w *World, key string) (Object, bool) { return of(w).Get(key) },
		all: func(w *World, yield func(Object) bool) bool {
			for _, v := range of(w).All() {
				if !yield(v) {
					return false
				}
			}
			return true
		},
	}
}

// position is the kind's place in columns.
func position(kind Kind) (int, bool) {
	for i := range columns {
		if columns[i].kind == kind {
			return i, true
		}
	}
	return 0, false
}

// Knows tells whether Decode can read objects of the kind.
func Knows(kind Kind) bool {
	_, ok := position(kind)
	return ok
}

// Decode reads an object of the kind as json.Marshal wrote it.
func Decode(kind Kind, b []byte) (Object, error) {
	i, ok := position(kind)
	if !ok {
		return nil, fmt.Errorf("object of unknown kind %q (written by a newer version?)", kind)
	}
	return columns[i].decode(b)
}

func decode[T Object](b []byte) (Object, error) {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("decode %s: %w", v.Kind(), err)
	}
	if s, ok := any(&v).(sharer); ok {
		s.share()
	}
	return v, nil
}
