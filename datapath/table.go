// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// difference is what turns one table into another.
type difference[K, V comparable] struct {
	keys   []K // to write
	values []V // in the order of keys
	gone   []K // to remove
	// changed tells whether a decision that was made may be wrong now: a row was replaced or removed. Added rows
	// cannot do that, as only decisions to carry are kept, and those needed every row that they rest on.
	changed bool
}

func differenceOf[K, V comparable](held, want map[K]V) difference[K, V] {
	var d difference[K, V]
	for k, v := range want {
		h, ok := held[k]
		if ok && h == v {
			continue
		}
		d.keys, d.values = append(d.keys, k), append(d.values, v)
		d.changed = d.changed || ok
	}
	for k := range held {
		if _, ok := want[k]; !ok {
			d.gone = append(d.gone, k)
			d.changed = true
		}
	}
	return d
}

// table is the rows of a large table in the order of their keys: cheaper to make, to compare and to keep than a map.
type table[K, V comparable] []row[K, V]

type row[K, V comparable] struct {
	key   K
	value V
}

// sorted brings rows into order, which most are in. Of several with one key one stays.
func (t table[K, V]) sorted(compare func(a, b K) int) table[K, V] {
	byKey := func(a, b row[K, V]) int { return compare(a.key, b.key) }
	if !slices.IsSortedFunc(t, byKey) {
		slices.SortStableFunc(t, byKey)
	}
	return slices.CompactFunc(t, func(a, b row[K, V]) bool { return a.key == b.key })
}

// pairs runs over the keys that either table has, in their order, with the row of each; nil for none.
func pairs[K, V comparable](held, want table[K, V], compare func(a, b K) int) iter.Seq2[*row[K, V], *row[K, V]] {
	return func(yield func(h, w *row[K, V]) bool) {
		for len(held) > 0 || len(want) > 0 {
			var h, w *row[K, V]
			order := 0
			switch {
			case len(want) == 0:
				order = -1
			case len(held) == 0:
				order = 1
			default:
				order = compare(held[0].key, want[0].key)
			}
			if order <= 0 {
				h, held = &held[0], held[1:]
			}
			if order >= 0 {
				w, want = &want[0], want[1:]
			}
			if !yield(h, w) {
				return
			}
		}
	}
}

// differenceOfTables is differenceOf for what is in order.
func differenceOfTables[K, V comparable](held, want table[K, V], compare func(a, b K) int) difference[K, V] {
	var d difference[K, V]
	for h, w := range pairs(held, want, compare) {
		switch {
		case w == nil:
			d.drop(h.key)
		case h == nil || h.value != w.value:
			d.add(*w, h != nil)
		}
	}
	return d
}

// add has a row written, in the place of another or not.
func (d *difference[K, V]) add(r row[K, V], replaces bool) {
	d.keys, d.values = append(d.keys, r.key), append(d.values, r.value)
	d.changed = d.changed || replaces
}

// drop has a row removed.
func (d *difference[K, V]) drop(k K) {
	d.gone, d.changed = append(d.gone, k), true
}

// putLast has those rows written last whose values are such.
func (d *difference[K, V]) putLast(such func(V) bool) {
	var first, last difference[K, V]
	for i, v := range d.values {
		of := &first
		if such(v) {
			of = &last
		}
		of.keys, of.values = append(of.keys, d.keys[i]), append(of.values, v)
	}
	d.keys, d.values = slices.Concat(first.keys, last.keys), slices.Concat(first.values, last.values)
}

// put writes the rows that are new or other.
func (d difference[K, V]) put(m *ebpf.Map, name string) error {
	if len(d.keys) == 0 {
		return nil
	}
	_, err := m.BatchUpdate(d.keys, d.values, nil)
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("table %s is full, it holds at most %d rows: %w", name, m.MaxEntries(), err)
	}
	if err != nil {
		return fmt.Errorf("write %d rows of table %s: %w", len(d.keys), name, err)
	}
	return nil
}

// remove takes away the rows that should not be. One that is gone already is fine.
func (d difference[K, V]) remove(m *ebpf.Map, name string) error {
	for _, k := range d.gone {
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a row of table %s: %w", name, err)
		}
	}
	return nil
}

// readTable reads a whole table. Only Go writes tables, so nothing moves meanwhile.
func readTable[K, V comparable](m *ebpf.Map, name string) (map[K]V, error) {
	out := make(map[K]V)
	return out, readRows(m, name, func(k K, v V) { out[k] = v })
}

// readSorted reads a large table.
func readSorted[K, V comparable](m *ebpf.Map, name string, compare func(a, b K) int) (table[K, V], error) {
	var out table[K, V]
	err := readRows(m, name, func(k K, v V) { out = append(out, row[K, V]{k, v}) })
	return out.sorted(compare), err
}

// readRows runs over a table.
func readRows[K, V comparable](m *ebpf.Map, name string, take func(K, V)) error {
	const batch = 1024
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for range m.MaxEntries()/batch + m.MaxEntries() + 1 {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			take(keys[i], values[i])
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if errors.Is(err, unix.ENOSPC) { // a bucket has more rows than fit
			keys, values = make([]K, 2*len(keys)), make([]V, 2*len(values))
			continue
		}
		if err != nil {
			return fmt.Errorf("read table %s: %w", name, err)
		}
	}
	return fmt.Errorf("read table %s: the kernel never came to its end", name)
}
