// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// clock is how the programs tell when the last packet of a connection was: they count the kernel's ticks, 2^shift of them as one, in 16 bits.
type clock struct {
	tick  time.Duration
	shift uint
}

// longestUnit is that of a clock. It goes round in two days at least, and TCP is forgotten after one.
const longestUnit = 6 * time.Second

// newClock asks the kernel how long its ticks are: time(7), coarse clocks go on by one at a time.
func newClock() (clock, error) {
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return clock{}, fmt.Errorf("ask how long the kernel's ticks are: %w", err)
	}
	return clockOf(time.Duration(tick.Nano()))
}

func clockOf(tick time.Duration) (clock, error) {
	if tick <= 0 || tick > longestUnit/2 {
		return clock{}, fmt.Errorf("the kernel says that its ticks are of %v, which cannot be", tick)
	}
	c := clock{tick: tick}
	for tick<<(c.shift+1) <= longestUnit {
		c.shift++
	}
	return c, nil
}

// between is how long one moment was before another that is less than a round later.
func (c clock) between(earlier, later uint16) time.Duration {
	return time.Duration(later-earlier) * (c.tick << c.shift)
}

// now is this moment, which only a program can tell: ticks are not shown to processes.
func (d *Datapath) now() (uint16, error) {
	var frame [14]byte // an Ethernet header, as the kernel wants a packet
	moment, err := d.objects.TellTime.Run(&ebpf.RunOptions{Data: frame[:]})
	if err != nil {
		return 0, fmt.Errorf("read the data path's clock: %w", err)
	}
	return uint16(moment), nil
}
