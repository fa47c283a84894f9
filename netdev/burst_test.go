// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// cable joins two namespaces by devices named wire, with these addresses.
func cable(t *testing.T, a, b string, at, bt netip.Prefix) {
	t.Helper()
	in(t, a, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = "wire", 1450
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far", PeerMTU: 1450}); err != nil {
			return err
		}
		far, err := netlink.LinkByName("far")
		if err != nil {
			return err
		}
		ns, err := os.Open(b)
		if err != nil {
			return err
		}
		defer ns.Close()
		return netlink.LinkSetNsFd(far, int(ns.Fd()))
	})
	for _, end := range []struct {
		namespace, name string
		addr            netip.Prefix
	}{{a, "wire", at}, {b, "far", bt}} {
		in(t, end.namespace, func() error {
			link, err := netlink.LinkByName(end.name)
			if err == nil {
				err = addAddress(link, end.name, end.addr)
			}
			if err == nil {
				err = netlink.LinkSetUp(link)
			}
			return err
		})
	}
}

// A bucket with a smaller burst never lets go a segment that was let into its queue under a greater one.
func TestLimitThatIsChangedUnderLoadLetsPacketsPass(t *testing.T) {
	t.Parallel()
	container, node := namespace(t), namespace(t)
	cable(t, container, node, netip.MustParsePrefix("10.1.2.1/24"), netip.MustParsePrefix("10.1.2.2/24"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var came atomic.Int64
	in(t, node, func() error {
		l, err := net.Listen("tcp", "10.1.2.2:5001")
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { l.Close() })
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			for b := make([]byte, 1<<16); err == nil; {
				var n int
				n, err = conn.Read(b)
				came.Add(int64(n))
			}
		}()
		return nil
	})
	in(t, container, func() error {
		conn, err := net.Dial("tcp", "10.1.2.2:5001")
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		go func() { _, _ = io.Copy(conn, endless{}) }()
		return nil
	})
	moves := func(l Limit) {
		t.Helper()
		in(t, container, func() error {
			link, err := netlink.LinkByName("wire")
			if err != nil {
				return err
			}
			return limit(link, l, 1450)
		})
		until, look := time.After(20*time.Second), time.NewTicker(time.Millisecond)
		defer look.Stop()
		for begin := came.Load(); came.Load()-begin < 300<<10; { // more than all bursts and queues hold
			select {
			case <-look.C:
			case <-until:
				t.Fatalf("with the limit %+v only %d bytes came in 20 s", l, came.Load()-begin)
			}
		}
	}
	for range 4 {
		moves(Limit{Rate: 20e6, Burst: 80 << 10})
		moves(Limit{Rate: 12e6})
		moves(Limit{Rate: 16e6})
		moves(Limit{Rate: 16e6, Burst: 10 << 10})
		moves(Limit{})
	}
}

// endless is read without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
