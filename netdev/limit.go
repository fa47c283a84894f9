// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Limit is how much may pass a device in one direction. The zero Limit lets all pass.
type Limit struct {
	Rate  uint64 // bits per second, as programs see it: headers come on top; 0: any
	Burst uint32 // bytes that may go at once; 0: what passes in defaultBurst
}

// A limited device has a token bucket (tc-tbf(8)) in front: what comes too fast waits, and only what the queue cannot hold is
// dropped. So TCP runs at the rate, and a program that sends on this machine is made to wait.
const (
	// queueHandle and otherHandle mark our queues, so that nobody else's is touched. A queue that cannot become another takes its place
	// under the other handle.
	queueHandle = 0xc700 << 16
	otherHandle = 0xc701 << 16
	// defaultBurst outlasts the lateness of a busy machine's timers: what a late timer does not let go is lost to the rate.
	defaultBurst = 20 * time.Millisecond
	// A queue holds what passes in maxWait, and in any case minQueue bytes: TCP needs some packets in flight at any rate.
	maxWait  = 50 * time.Millisecond
	minQueue = 32 << 10

	// headers is what a TCP segment of 1450 bytes has around its payload: it has 66 of Ethernet, IPv4 and TCP, and 1398 of that.
	// The kernel counts all. Who asks for 10 Mbit/s wants to see them in a program, so the device gets 1/headers more.
	headers = 21

	// minMTU is the least that a burst has to hold where the device has a smaller one, in bytes.
	minMTU = 1500

	// tick is the kernel's unit of time in a bucket (PSCHED_SHIFT).
	tick = 64 * time.Nanosecond
)

// LimitSent has what goes out through the other side of the port with that index, in the namespace at path, be within the limit. Done
// twice, it changes nothing; a new limit takes from the queue what waits there only where its burst is smaller. The queue goes with the
// device, and when it is moved.
func LimitSent(path string, port int, l Limit) error {
	return Do(path, func() error {
		link, err := peerOf(port)
		if err != nil {
			return err
		}
		return limit(link, l, link.Attrs().MTU)
	})
}

// LimitReceived has what goes into the port with that index be within the limit, as LimitSent. mtu is the container's, in bytes.
// It holds for packets that are sent through the port, not for those that are handed to the container past it.
func LimitReceived(port int, l Limit, mtu int) error {
	link, err := portAt(port)
	if err != nil {
		return err
	}
	return limit(link, l, mtu)
}

func portAt(index int) (netlink.Link, error) {
	link, err := netlink.LinkByIndex(index)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		err = unix.ENODEV
	}
	if err != nil {
		return nil, fmt.Errorf("find port %d: %w", index, err)
	}
	return link, nil
}

// SentWithin tells whether the limit of LimitSent is in place.
func SentWithin(path string, port int, l Limit) (ok bool, err error) {
	err = Do(path, func() error {
		link, err := peerOf(port)
		if err == nil {
			ok, err = isWithin(link, l, link.Attrs().MTU)
		}
		return err
	})
	return ok, err
}

// ReceivedWithin tells whether the limit of LimitReceived is in place.
func ReceivedWithin(port int, l Limit, mtu int) (bool, error) {
	link, err := portAt(port)
	if err != nil {
		return false, err
	}
	return isWithin(link, l, mtu)
}

func isWithin(link netlink.Link, l Limit, mtu int) (bool, error) {
	have, err := queueOf(link)
	return l.isHeldBy(have, mtu), err
}

func limit(link netlink.Link, l Limit, mtu int) error {
	have, err := queueOf(link)
	if err != nil || l.isHeldBy(have, mtu) {
		return err
	}
	if l.Rate == 0 {
		if err := netlink.QdiscDel(have); err != nil && !errors.Is(err, unix.ENOENT) && !Gone(err) {
			return fmt.Errorf("take the limit off %s: %w", link.Attrs().Name, err)
		}
		return nil
	}
	want := l.queue(mtu)
	want.LinkIndex = link.Attrs().Index
	if have != nil {
		want.Handle = successor(have, want)
	}
	if err := netlink.QdiscReplace(want); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("limit %s: this kernel has no token buckets: load its module sch_tbf: %w", link.Attrs().Name, err)
		}
		return fmt.Errorf("limit %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// queue is the device's queue for the limit, but for the device. A packet of mtu bytes always fits.
func (l Limit) queue(mtu int) *netlink.Tbf {
	rate := float64(l.Rate) / 8 * (1 + 1.0/headers) // bytes per second
	burst := cmp.Or(float64(l.Burst), rate*defaultBurst.Seconds())
	burst = max(burst, 2*float64(max(mtu, minMTU)))
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{Handle: queueHandle, Parent: netlink.HANDLE_ROOT},
		Rate:       uint64(rate),
		Buffer:     uint32(min(math.Ceil(burst/rate*float64(time.Second/tick)), math.MaxUint32)),
		Limit:      uint32(min(burst+max(rate*maxWait.Seconds(), minQueue), math.MaxInt32)),
	}
}

// successor is the handle for a queue that comes after another: the same, so that the kernel keeps what waits, or where the burst is
// smaller the other. A bucket lets nothing go that is longer than its burst, and the kernel does not look again at what it let into the
// queue when that was greater: one such packet, as TCP makes them of 64 kB, would hold back all behind it for good.
func successor(have, want *netlink.Tbf) uint32 {
	switch {
	case bucket(want) >= bucket(have):
		return have.Handle
	case have.Handle == queueHandle:
		return otherHandle
	}
	return queueHandle
}

// bucket is a queue's burst in bytes.
func bucket(q *netlink.Tbf) float64 { return float64(q.Buffer) * tick.Seconds() * float64(q.Rate) }

// isHeldBy tells whether the queue is the limit's; nil is that of no limit.
func (l Limit) isHeldBy(have *netlink.Tbf, mtu int) bool {
	if l.Rate == 0 || have == nil {
		return l.Rate == 0 && have == nil
	}
	want := l.queue(mtu)
	return have.Rate == want.Rate && have.Buffer == want.Buffer && have.Limit == want.Limit
}

// queueOf is our queue on the device; nil when there is none.
func queueOf(link netlink.Link) (*netlink.Tbf, error) {
	all, err := complete(func() ([]netlink.Qdisc, error) { return netlink.QdiscList(link) })
	if err != nil {
		return nil, fmt.Errorf("list queues of %s: %w", link.Attrs().Name, err)
	}
	for _, q := range all {
		if t, ok := q.(*netlink.Tbf); ok && (t.Handle == queueHandle || t.Handle == otherHandle) {
			return t, nil
		}
	}
	return nil, nil
}
