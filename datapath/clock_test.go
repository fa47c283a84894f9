// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"testing"
	"time"
)

func TestClockGoesRoundInTwoDaysAtLeast(t *testing.T) {
	t.Parallel()
	for _, hertz := range []int{100, 250, 300, 1000, 1024} {
		c, err := clockOf(time.Second / time.Duration(hertz))
		must(t, err)
		if unit := c.between(65535, 0); unit < 3*time.Second-time.Millisecond || unit > longestUnit {
			t.Errorf("%d Hz: a unit is %v", hertz, unit)
		}
		if round := c.between(1, 0); round < 2*idleTCP {
			t.Errorf("%d Hz: the clock goes round in %v", hertz, round)
		}
	}
	for _, tick := range []time.Duration{0, -1, time.Hour} {
		if _, err := clockOf(tick); err == nil {
			t.Errorf("ticks of %v are believed", tick)
		}
	}
}

func TestClockOfTheProgramsGoesOn(t *testing.T) {
	t.Parallel()
	n := newBare(t, 2)
	began := time.Now()
	first, err := n.dp.now()
	must(t, err)
	unit := n.dp.clock.between(0, 1)
	for {
		now, err := n.dp.now()
		must(t, err)
		if gone := n.dp.clock.between(first, now); gone > 0 {
			if real := time.Since(began); gone-real > unit || real-gone > unit {
				t.Errorf("%v by the data path's clock, and %v by the other", gone, real)
			}
			return
		}
		if time.Since(began) > 2*unit {
			t.Fatalf("it stands still for %v", 2*unit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
