// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"

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
	const batch = 1024
	out := make(map[K]V)
	keys, values := make([]K, batch), make([]V, batch)
	var cursor ebpf.MapBatchCursor
	for range m.MaxEntries()/batch + m.MaxEntries() + 1 {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		for i := range n {
			out[keys[i]] = values[i]
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return out, nil
		}
		if errors.Is(err, unix.ENOSPC) { // a bucket has more rows than fit
			keys, values = make([]K, 2*len(keys)), make([]V, 2*len(values))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("read table %s: the kernel never came to its end", name)
}
