// SPDX-License-Identifier: Apache-2.0

package model

import (
	"hash/fnv"
	"iter"
	"maps"
	"slices"
)

const shards = 256

// Table is an immutable map from key to object. A changed copy shares all but one of 256 parts with the
// original, so a change costs a 256th of the table however many revisions are kept.
type Table[T any] struct {
	parts *[shards]map[string]T
	n     int
}

func shard(key string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key))
	return h.Sum32() % shards
}

// Get gives the object under key.
func (t Table[T]) Get(key string) (T, bool) {
	if t.parts == nil {
		var zero T
		return zero, false
	}
	v, ok := t.parts[shard(key)][key]
	return v, ok
}

// Len counts the objects.
func (t Table[T]) Len() int { return t.n }

// All runs over the table in no particular order.
func (t Table[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		if t.parts == nil {
			return
		}
		for _, p := range t.parts {
			for k, v := range p {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// Sorted runs over the objects in the order of their keys.
func (t Table[T]) Sorted() iter.Seq[T] {
	return func(yield func(T) bool) {
		keys := make([]string, 0, t.n)
		for k := range t.All() {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			v, _ := t.Get(k)
			if !yield(v) {
				return
			}
		}
	}
}

// editor is an edit of a table of any type.
type editor interface {
	put(Object)
	remove(key string)
}

// edit changes a table in place, copying a part the first time it is touched, so that others that share it see nothing.
type edit[T Object] struct {
	t     *Table[T]
	fresh [shards]bool
	begun bool
}

func (e *edit[T]) part(key string) map[string]T {
	if !e.begun {
		var parts [shards]map[string]T
		if e.t.parts != nil {
			parts = *e.t.parts
		}
		e.t.parts, e.begun = &parts, true
	}
	i := shard(key)
	if !e.fresh[i] {
		if e.t.parts[i] = maps.Clone(e.t.parts[i]); e.t.parts[i] == nil {
			e.t.parts[i] = map[string]T{}
		}
		e.fresh[i] = true
	}
	return e.t.parts[i]
}

func (e *edit[T]) put(o Object) {
	v, ok := o.(T)
	if !ok {
		return // a kind is one type; another cannot be made outside this package
	}
	key := v.Key()
	p := e.part(key)
	if _, had := p[key]; !had {
		e.t.n++
	}
	p[key] = v
}

func (e *edit[T]) remove(key string) {
	if _, had := e.t.Get(key); !had {
		return
	}
	delete(e.part(key), key)
	e.t.n--
}
