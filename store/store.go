// SPDX-License-Identifier: Apache-2.0

// Package store keeps the desired state: one object of package model under one key, in etcd. Whatever is decided on
// what a World said is written in one transaction that takes effect only while that is still so.
//
// Keys are /contiv/v1/<kind>/<key>, values the object's JSON. Revisions are etcd's: one for each transaction
// that changes something, strictly growing, also those of other users of the same etcd.
//
// What bites: an error of Commit does not tell whether it took effect. Look at the next World and decide again.
package store

import (
	"context"
	"errors"

	"github.com/contivnet/contiv/model"
)

// Store is etcd, or a map that behaves like it (package memory). Safe for concurrent use.
type Store interface {
	// Commit does all of t or nothing. ok is false when a guard did not hold. The revision is the one that
	// t made or, when it made none, that at which the guards were looked at.
	Commit(ctx context.Context, t Txn) (revision int64, ok bool, err error)

	// Follow calls handle with the World at some revision (a Reset), then with one Change for each
	// later revision, in order. When what came between is forgotten there is another Reset. Empty changes only say how
	// far the store has come. Follow outlives a store that is away and ends with ctx or with handle's first error.
	Follow(ctx context.Context, handle func(model.Change) error) error

	// Revision is the store's newest, seen by a majority of it. Every follower reaches it soon.
	Revision(ctx context.Context) (int64, error)

	// KeepAlive has the object stay for so many more seconds, and puts it when it is not there and the guards hold;
	// ok is false when they do not. It writes nothing for an object that is there.
	KeepAlive(ctx context.Context, o model.Object, seconds int64, guards ...Guard) (ok bool, err error)
}

// Txn is what is done together, at one revision. An etcd takes MaxOps puts and deletes, and half as many guards.
type Txn struct {
	Guards []Guard
	Put    []Put
	Delete []model.Ref
	// DeleteAll removes all objects of a kind whose keys begin so.
	DeleteAll []model.Ref
}

// MaxOps is how many operations an etcd takes in a transaction where nobody raised its --max-txn-ops. A guard is one or two comparisons.
const MaxOps = 128

// ErrTooMany is Commit's where the store takes no transaction that large, now or later.
var ErrTooMany = errors.New("the transaction is larger than the store takes")

// Empty tells whether t changes nothing.
func (t Txn) Empty() bool { return len(t.Put) == 0 && len(t.Delete) == 0 && len(t.DeleteAll) == 0 }

// Ops counts what t does.
func (t Txn) Ops() int { return len(t.Put) + len(t.Delete) + len(t.DeleteAll) }

// Put writes an object, whether or not there is one under its key.
type Put struct {
	Object model.Object
	// Seconds after which the store forgets it by itself; 0: never.
	Seconds int64
}

// Guard is what must hold for a transaction to take effect.
type Guard struct {
	Kind     GuardKind
	Ref      model.Ref // for NoneNewer, Key is what the keys begin with
	Revision int64
}

// GuardKind says what a guard looks at.
type GuardKind int

// The guards; use the functions of the same names.
const (
	GuardAbsent GuardKind = iota
	GuardUnchanged
	GuardNoneNewer
)

// Absent holds while nothing is under the key.
func Absent(r model.Ref) Guard { return Guard{GuardAbsent, r, 0} }

// Unchanged holds while the object is there and was last written at the revision or before.
func Unchanged(r model.Ref, revision int64) Guard { return Guard{GuardUnchanged, r, revision} }

// NoneNewer holds while no object of the kind whose key begins with prefix was written after the revision. Objects that
// were deleted since do not count.
func NoneNewer(kind model.Kind, prefix string, revision int64) Guard {
	return Guard{GuardNoneNewer, model.Ref{Kind: kind, Key: prefix}, revision}
}
