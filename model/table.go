// SPDX-License-Identifier: Apache-2.0

package model

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
)

// fan is how many ways a level of a table has.
const fan = 16

// seed is of this process's hashes. Tables never leave it.
var seed = maphash.MakeSeed()

// Table is an immutable map from key to object: three levels of 16 ways, and a short list in each of the 4096 places. A
// changed copy shares all but one way of each level with the original, so a change costs some 600 bytes of copying, and
// 24 bytes for each 4096 objects, however many revisions are kept.
type Table[T any] struct {
	root *[fan]*branch[T]
	n    int
}

type branch[T any] [fan]*twig[T]

type twig[T any] [fan][]entry[T]

// entry points to its value, so that copying a list copies no objects. Nobody writes there.
type entry[T any] struct {
	key   string
	value *T
}

// place is the way that a key takes on each level.
func place(key string) (i, j, k int) {
	h := maphash.String(seed, key)
	return int(h % fan), int(h / fan % fan), int(h / fan / fan % fan)
}

func find[T any](list []entry[T], key string) int {
	for i := range list {
		if list[i].key == key {
			return i
		}
	}
	return -1
}

// Get gives the object under key.
func (t Table[T]) Get(key string) (v T, ok bool) {
	if t.root == nil {
		return v, false
	}
	i, j, k := place(key)
	if t.root[i] == nil || t.root[i][j] == nil {
		return v, false
	}
	list := t.root[i][j][k]
	at := find(list, key)
	if at < 0 {
		return v, false
	}
	return *list[at].value, true
}

// Len counts the objects.
func (t Table[T]) Len() int { return t.n }

// All runs over the table in no particular order.
func (t Table[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for e := range t.entries() {
			if !yield(e.key, *e.value) {
				return
			}
		}
	}
}

func (t Table[T]) entries() iter.Seq[entry[T]] {
	return func(yield func(entry[T]) bool) {
		if t.root == nil {
			return
		}
		for _, b := range t.root {
			if b == nil {
				continue
			}
			for _, g := range b {
				if g == nil {
					continue
				}
				for _, list := range g {
					for _, e := range list {
						if !yield(e) {
							return
						}
					}
				}
			}
		}
	}
}

// Sorted runs over the objects in the order of their keys.
func (t Table[T]) Sorted() iter.Seq[T] {
	return func(yield func(T) bool) {
		all := slices.AppendSeq(make([]entry[T], 0, t.n), t.entries())
		slices.SortFunc(all, func(a, b entry[T]) int { return strings.Compare(a.key, b.key) })
		for _, e := range all {
			if !yield(*e.value) {
				return
			}
		}
	}
}

// Difference is one object that two tables do not have in common. Was is nil for one that came, Is for one that
// went. Both are the tables' own: read only.
type Difference[T any] struct {
	Key     string
	Was, Is *T
}

// Since runs over what makes t differ from old, in no particular order. It looks only into what they do not share, so for
// a table that came from old by a few changes it costs microseconds, however large it is. An object that was put
// again without a change may be among them.
func (t Table[T]) Since(old Table[T]) iter.Seq[Difference[T]] {
	return func(yield func(Difference[T]) bool) {
		if t.root == old.root {
			return
		}
		was, is := orEmpty(old.root), orEmpty(t.root)
		for i := range fan {
			if was[i] == is[i] {
				continue
			}
			was, is := orEmpty(was[i]), orEmpty(is[i])
			for j := range fan {
				if was[j] == is[j] {
					continue
				}
				was, is := orEmpty(was[j]), orEmpty(is[j])
				for k := range fan {
					if !differ(was[k], is[k], yield) {
						return
					}
				}
			}
		}
	}
}

func orEmpty[N any](n *N) *N {
	if n == nil {
		return new(N)
	}
	return n
}

// differ yields what two lists do not have in common, and tells whether to go on.
func differ[T any](was, is []entry[T], yield func(Difference[T]) bool) bool {
	if len(was) == len(is) && (len(was) == 0 || &was[0] == &is[0]) {
		return true
	}
	for at, e := range is {
		before := at // most stay where they were
		if before >= len(was) || was[before].key != e.key {
			before = find(was, e.key)
		}
		d := Difference[T]{Key: e.key, Is: e.value}
		if before >= 0 {
			d.Was = was[before].value
		}
		if d.Was != d.Is && !yield(d) {
			return false
		}
	}
	for at, e := range was {
		if at < len(is) && is[at].key == e.key || find(is, e.key) >= 0 {
			continue
		}
		if !yield(Difference[T]{Key: e.key, Was: e.value}) {
			return false
		}
	}
	return true
}

// editor is an edit of a table of any type.
type editor interface {
	put(Object)
	remove(key string)
}

// edit changes a table in place, copying what others share the first time it is touched.
type edit[T Object] struct {
	t *Table[T]
	// What is this edit's own, a bit for each way.
	begun    bool
	branches uint16
	twigs    [fan]uint16
	lists    *[fan][fan]uint16 // nil until a second list is touched, which in most edits none is
}

// list is the place of a key, as this edit's own, with room for one more.
func (e *edit[T]) list(key string) *[]entry[T] {
	first := !e.begun
	if first {
		e.t.root, e.begun = own(e.t.root), true
	}
	i, j, k := place(key)
	if e.branches&(1<<i) == 0 {
		e.t.root[i] = own(e.t.root[i])
		e.branches |= 1 << i
	}
	if e.twigs[i]&(1<<j) == 0 {
		e.t.root[i][j] = own(e.t.root[i][j])
		e.twigs[i] |= 1 << j
	}
	if !first && e.lists == nil {
		e.lists = new([fan][fan]uint16)
	}
	list := &e.t.root[i][j][k]
	if first || e.lists[i][j]&(1<<k) == 0 {
		*list = append(make([]entry[T], 0, len(*list)+1), *list...)
		if !first {
			e.lists[i][j] |= 1 << k
		}
	}
	return list
}

// own is a copy, or zero for none.
func own[N any](shared *N) *N {
	fresh := new(N)
	if shared != nil {
		*fresh = *shared
	}
	return fresh
}

func (e *edit[T]) put(o Object) {
	v, ok := o.(T)
	if !ok {
		return // a kind is one type; another cannot be made outside this package
	}
	key := v.Key()
	list := e.list(key)
	if at := find(*list, key); at >= 0 {
		(*list)[at] = entry[T]{key, &v}
		return
	}
	*list = append(*list, entry[T]{key, &v})
	e.t.n++
}

func (e *edit[T]) remove(key string) {
	if _, had := e.t.Get(key); !had {
		return
	}
	list := e.list(key)
	at := find(*list, key)
	*list = slices.Delete(*list, at, at+1)
	e.t.n--
}
