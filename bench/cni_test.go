// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
	"time"
)

func TestTimesOfADDsAreReadFromTheLogOfNetplugin(t *testing.T) {
	t.Parallel()
	log := `time=2026-11-21T22:00:00Z level=INFO msg="a CNI call" command=ADD container=p1 took=12.5ms
time=2026-11-21T22:00:00Z level=INFO msg="a CNI call" command=DEL container=p1 took=1ms
time=2026-11-21T22:00:00Z level=WARN msg="a CNI call failed" command=ADD container=p2 error=x
time=2026-11-21T22:00:00Z level=INFO msg="a CNI call" command=ADD container="p 3" took=850µs
`
	if got, want := tookInside(log), []time.Duration{12500 * time.Microsecond, 850 * time.Microsecond}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}
