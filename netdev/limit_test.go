// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestQueueHoldsWhatALimitNeeds(t *testing.T) {
	t.Parallel()
	const mbit = 1e6
	for _, x := range []struct {
		limit Limit
		mtu   int
		rate  float64 // bytes per second
		burst float64 // bytes
		queue float64 // bytes
	}{
		{Limit{Rate: 10 * mbit}, 1450, 1309523, 26190, 26190 + 65476},
		{Limit{Rate: 10 * mbit, Burst: 80 << 10}, 1450, 1309523, 80 << 10, 80<<10 + 65476},
		{Limit{Rate: 1000}, 1450, 130, 3000, 3000 + 32<<10},                   // a burst that holds no packet would let none pass
		{Limit{Rate: mbit, Burst: 2048}, 8950, 130952, 17900, 17900 + 32<<10}, // nor would this one
		{Limit{Rate: 1e15}, 1450, 130952380952380, 2.6e12, math.MaxInt32},
	} {
		q := x.limit.queue(x.mtu)
		burst := float64(q.Buffer) * tick.Seconds() * float64(q.Rate)
		near := func(got, want float64) bool { return math.Abs(got-want) <= want/100+1 }
		if !near(float64(q.Rate), x.rate) || !near(burst, x.burst) || !near(float64(q.Limit), x.queue) {
			t.Errorf("%+v with MTU %d: rate %d, burst %.0f, queue %d; want %.0f, %.0f, %.0f", x.limit, x.mtu, q.Rate, burst, q.Limit, x.rate, x.burst, x.queue)
		}
	}
}

func TestLimitsAreMadeChangedAndTakenAway(t *testing.T) {
	t.Parallel()
	node, container := namespace(t), namespace(t)
	var port int
	in(t, node, func() error {
		if err := CreatePort("vvport1", "e1", testMAC, 1450); err != nil {
			return err
		}
		if err := MovePort("vvport1", container); err != nil {
			return err
		}
		p, _, err := PortNamed("vvport1")
		port = p.Index
		return err
	})
	// queues are the root queues of the two sides, as the kernel has them.
	queues := func() (inside, outside *netlink.Tbf) {
		in(t, container, func() (err error) {
			link, err := peerOf(port)
			if err == nil {
				inside, err = queueOf(link)
			}
			return err
		})
		in(t, node, func() (err error) {
			link, err := netlink.LinkByIndex(port)
			if err == nil {
				outside, err = queueOf(link)
			}
			return err
		})
		return inside, outside
	}
	for _, x := range []struct{ sent, received Limit }{
		{Limit{}, Limit{}}, // there is nothing to take away
		{Limit{Rate: 10e6}, Limit{Rate: 20e6, Burst: 80 << 10}},
		{Limit{Rate: 10e6}, Limit{Rate: 20e6, Burst: 80 << 10}},
		{Limit{Rate: 30e6}, Limit{}},
		{Limit{Rate: 1e15}, Limit{Rate: 40e9}}, // more than 32 bits of bytes per second
		{Limit{Rate: 1000}, Limit{Rate: 1000, Burst: 10486 << 10}},
		{Limit{}, Limit{}},
	} {
		in(t, node, func() error {
			return errors.Join(LimitSent(container, port, x.sent), LimitReceived(port, x.received, 1450))
		})
		if inside, outside := queues(); !x.sent.isHeldBy(inside, 1450) || !x.received.isHeldBy(outside, 1450) {
			t.Errorf("limits %+v, %+v: the kernel has %+v, %+v", x.sent, x.received, inside, outside)
		}
		in(t, node, func() error {
			for _, more := range []uint64{0, 1e6} {
				sent, received := x.sent, x.received
				sent.Rate, received.Rate = sent.Rate+more, received.Rate+more
				a, err := SentWithin(container, port, sent)
				b, again := ReceivedWithin(port, received, 1450)
				if a != (more == 0) || b != (more == 0) || err != nil || again != nil {
					return fmt.Errorf("limits %+v, %+v are told to be in place: %t, %t; %v, %v", sent, received, a, b, err, again)
				}
			}
			return nil
		})
	}
	// A queue of the container's own is not ours to take away.
	in(t, container, func() error {
		link, err := peerOf(port)
		if err != nil {
			return err
		}
		own := Limit{Rate: 1e6}.queue(1450)
		own.LinkIndex, own.Handle = link.Attrs().Index, 0x10000
		return netlink.QdiscAdd(own)
	})
	in(t, node, func() error { return LimitSent(container, port, Limit{}) })
	in(t, container, func() error {
		link, err := peerOf(port)
		if err != nil {
			return err
		}
		all, err := netlink.QdiscList(link)
		for _, q := range all {
			if q.Attrs().Handle == 0x10000 {
				return nil
			}
		}
		return fmt.Errorf("the container's own queue is gone: %v, %v", all, err)
	})
	in(t, node, func() error { return RemovePort("vvport1") })
	if err := Do(node, func() error { return LimitReceived(port, Limit{Rate: 1e6}, 1450) }); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a port that is gone: %v", err)
	}
}
