// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

func TestSinceIsAllThatDiffersAndNoMore(t *testing.T) {
	t.Parallel()
	w := World{}
	worlds := []World{w}
	for i := range 60 {
		c := Change{Revision: int64(i + 1), Reset: i == 40}
		for range rand.IntN(200) {
			name := fmt.Sprint("t", rand.IntN(3000))
			if rand.IntN(3) == 0 {
				c.Delete = append(c.Delete, Ref{KindTenant, name})
			} else {
				c.Put = append(c.Put, Tenant{Name: name, Number: rand.Uint32()})
			}
		}
		w = w.With(c)
		worlds = append(worlds, w)
	}
	for range 200 {
		old, now := worlds[rand.IntN(len(worlds))].Tenants, worlds[rand.IntN(len(worlds))].Tenants
		got, want := maps.Collect(old.All()), maps.Collect(now.All())
		for d := range now.Since(old) {
			if was, had := got[d.Key]; had != (d.Was != nil) || had && was != *d.Was {
				t.Fatalf("%s was %v (%v), told as %v", d.Key, was, had, d.Was)
			}
			if d.Is == nil {
				delete(got, d.Key)
			} else {
				got[d.Key] = *d.Is
			}
		}
		if !maps.Equal(got, want) {
			t.Fatalf("the differences lead to %d objects that are not the %d wanted", len(got), len(want))
		}
		for range now.Since(now) {
			t.Fatal("a table differs from itself")
		}
		for range now.Since(old) {
			break // and may be left early
		}
	}
}

func BenchmarkSinceOneOf100kObjects(b *testing.B) {
	c := Change{Revision: 1}
	for i := range 100_000 {
		c.Put = append(c.Put, Tenant{Name: fmt.Sprint("t", i)})
	}
	old := World{}.With(c)
	now := old.With(Change{Revision: 2, Put: []Object{Tenant{Name: "t77", Number: 1}}})
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for range now.Tenants.Since(old.Tenants) {
			n++
		}
		if n != 1 {
			b.Fatalf("%d differences", n)
		}
	}
}
