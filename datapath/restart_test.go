// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/contivnet/contiv/model"
)

// probes sends a numbered datagram each 2 ms until stop is called, which gives how many were sent and how many
// never came back.
func probes(t *testing.T, from *container, to netip.AddrPort) (stop func() (sent, lost int)) {
	t.Helper()
	conn := from.asks(to)
	var mu sync.Mutex
	back := map[uint32]bool{}
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := conn.Read(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if n == 4 {
				mu.Lock()
				back[binary.BigEndian.Uint32(buf)] = true
				mu.Unlock()
			}
		}
	}()
	ctx, end := within(t, time.Minute), make(chan struct{})
	done := make(chan int)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := uint32(0); ; i++ {
			select {
			case <-tick.C:
				conn.Write(binary.BigEndian.AppendUint32(nil, i)) // a refused send is a lost probe
			case <-ctx.Done():
				done <- int(i)
				return
			case <-end:
				done <- int(i)
				return
			}
		}
	}()
	returned := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(back)
	}
	return func() (int, int) {
		close(end)
		sent := <-done
		for deadline := time.Now().Add(time.Second); returned() < sent && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		return sent, sent - returned()
	}
}

func TestRestartAndUpgradeLoseNoPacket(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n1, n2 := twoNodes(t, mode, net4(t, "red", "web", 1, "10.1.1.0/24", "10.1.1.254"))
		a, near, far := n1.start("red:web", "10.1.1.1"), n1.start("red:web", "10.1.1.2"), n2.start("red:web", "10.1.1.3")
		c.apply()
		a.reaches(near.endpoint.IPv4)
		a.reaches(far.endpoint.IPv4)
		stopNear, stopFar := probes(t, a, near.echo(near.endpoint.IPv4)), probes(t, a, far.echo(far.endpoint.IPv4))
		for round := range 6 {
			for _, n := range c.nodes {
				must(t, n.dp.Close())
				if round%2 == 1 {
					n.opts.Flows4 *= 2 // another layout, so other maps: as in an upgrade
				}
				n.open()
				must(t, n.dp.Apply(n.tables()))
			}
		}
		for name, stop := range map[string]func() (int, int){"on the node": stopNear, "between nodes": stopFar} {
			if sent, lost := stop(); lost != 0 || sent < 50 {
				t.Errorf("%s: %d of %d packets lost", name, lost, sent)
			}
		}
		for _, n := range c.nodes {
			if dirs, err := filepath.Glob(filepath.Join(n.opts.PinDir, "maps-*")); err != nil || len(dirs) != 1 {
				t.Errorf("maps of earlier layouts are left: %v %v", dirs, err)
			}
		}
	})
}

func TestAttachModeMayChangeAtARestart(t *testing.T) {
	t.Parallel()
	needTCX(t)
	c, n := oneNode(t, AttachTCX, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	a, b := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2")
	c.apply()
	stop := probes(t, a, b.echo(b.endpoint.IPv4))
	for _, mode := range []AttachMode{AttachClsact, AttachTCX, AttachClsact} {
		must(t, n.dp.Close())
		n.opts.Attach = mode
		n.open()
		c.apply()
		found, err := attachments(n.dp.attach.dir)
		must(t, err)
		if len(found) != 3 {
			t.Errorf("attached: %v, want two ports and the uplink", found)
		}
		for _, x := range found {
			if x.mode != mode || !n.dp.attach.alive(x) {
				t.Errorf("%s is attached otherwise than by %s, or not at all", x, mode)
			}
		}
	}
	if sent, lost := stop(); lost != 0 || sent == 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	// What was adopted can also be detached.
	must(t, n.dp.Detach(a.endpoint.Port))
	if f, err := n.dp.attach.filter(attachment{AttachClsact, hookPort, ifindex(t, n, a.endpoint.Port)}); err != nil || f != nil {
		t.Errorf("the filter is still there: %v %v", f, err)
	}
}

// Who starts a container does not wait for tcx.
func TestNewPortsMoveToTCXWithoutLoss(t *testing.T) {
	t.Parallel()
	needTCX(t)
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	c.apply() // the first one moves all ports there are
	a, b, gone := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2"), n.start("red:web", "10.1.1.3")
	c.apply()
	l, err := n.nl.LinkByName(gone.endpoint.Port)
	must(t, err)
	must(t, n.nl.LinkDel(l))
	a.reaches(b.endpoint.IPv4)
	stop := probes(t, a, b.echo(b.endpoint.IPv4))
	inMode := func(mode AttachMode) (count int) {
		for _, x := range []*container{a, b} {
			if have, ok := n.dp.attachment(x.endpoint.Port); ok && have.mode == mode && n.dp.attach.alive(have) {
				count++
			}
		}
		return count
	}
	if inMode(AttachClsact) != 2 {
		t.Error("the new ports did not begin with clsact")
	}
	for end := deadline(); inMode(AttachTCX) != 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the ports are not with tcx")
		}
	}
	if sent, lost := stop(); lost != 0 || sent == 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	for _, x := range []*container{a, b} {
		if f, err := n.dp.attach.filter(attachment{AttachClsact, hookPort, ifindex(t, n, x.endpoint.Port)}); err != nil || f != nil {
			t.Errorf("the filter is still there: %v %v", f, err)
		}
	}
}

func ifindex(t *testing.T, n *node, device string) uint32 {
	t.Helper()
	i, ok, err := n.dp.dev.index(device)
	if err != nil || !ok {
		t.Fatalf("device %s: %v", device, err)
	}
	return i
}

func TestPinsOfDevicesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n := oneNode(t, mode, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
		a, b := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2")
		c.apply()
		for _, x := range []*container{a, b} {
			l, err := n.nl.LinkByName(x.endpoint.Port)
			must(t, err)
			must(t, n.nl.LinkDel(l))
		}
		must(t, n.dp.Detach(a.endpoint.Port)) // while the process runs
		must(t, n.dp.Close())
		n.open() // b's, at a restart
		found, err := attachments(n.dp.attach.dir)
		must(t, err)
		if len(found) != 1 || found[0].hook != hookUplink {
			t.Errorf("still recorded: %v", found)
		}
		must(t, n.dp.Detach(b.endpoint.Port))
		must(t, n.dp.Detach("vvport999"))
	})
}

func TestPortThatComesLaterIsPickedUp(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	a := n.start("red:web", "10.1.1.1")
	later := model.Endpoint{ID: "later", Tenant: "red", Network: "web", Node: n.name, Port: "vvport2", IPv4: netip.MustParseAddr("10.1.1.2"), MAC: model.MACOf(netip.MustParseAddr("10.1.1.2"))}
	c.put(later)
	c.apply() // without its device
	a.doesNotReach(later.IPv4)
	b := n.start("red:web", "10.1.1.2") // makes vvport2
	c.remove(later)
	c.apply()
	a.reaches(b.endpoint.IPv4)
}

func TestAttachServesManyCallersAtOnce(t *testing.T) {
	t.Parallel()
	c, n := oneNode(t, AttachAuto, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
	var ports []string
	for i := range 8 {
		name := "many" + string(rune('a'+i))
		veth(t, n.space, name, newSpace(t), "eth0")
		ports = append(ports, name)
	}
	var wg sync.WaitGroup
	for _, p := range append(ports, ports...) { // each twice
		wg.Go(func() {
			if err := n.dp.Attach(p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if err := n.dp.Apply(n.tables()); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if err := n.dp.Attach("vvport999"); err == nil {
		t.Error("a port without a device was attached")
	}
	found, err := attachments(n.dp.attach.dir)
	must(t, err)
	if len(found) != len(ports)+1 {
		t.Errorf("attached: %v", found)
	}
	c.apply()
}

func TestRemoveLeavesNothing(t *testing.T) {
	t.Parallel()
	eachAttachMode(t, func(t *testing.T, mode AttachMode) {
		c, n := oneNode(t, mode, net4(t, "red", "web", 1, "10.1.1.0/24", ""))
		a, b := n.start("red:web", "10.1.1.1"), n.start("red:web", "10.1.1.2")
		c.apply()
		a.reaches(b.endpoint.IPv4)
		port := ifindex(t, n, a.endpoint.Port)
		must(t, n.do(func() error { return Remove(n.opts.PinDir) }))
		if _, err := os.Stat(n.opts.PinDir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the pins are still there: %v", err)
		}
		if f, err := n.dp.attach.filter(attachment{AttachClsact, hookPort, port}); err != nil || f != nil {
			t.Errorf("a filter is still there: %v %v", f, err)
		}
		a.doesNotReach(b.endpoint.IPv4)
		must(t, n.do(func() error { return Remove(n.opts.PinDir) })) // again is fine
	})
}

func TestOpenSaysWhatTheMachineLacks(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	veth(t, s, "ul0", newSpace(t), "ul0")
	setUp(t, s, "ul0", "192.168.2.10/24")
	good := Options{PinDir: newPinDir(t), Uplink: "ul0", VTEP: netip.MustParseAddr("192.168.2.10"), Flows4: 64, Flows6: 64}
	for name, x := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no bpffs":        {func(o *Options) { o.PinDir = "/proc/contiv" }, "mount -t bpf"},
		"no device":       {func(o *Options) { o.Uplink = "none" }, "find the uplink none"},
		"another address": {func(o *Options) { o.VTEP = netip.MustParseAddr("192.168.2.99") }, "does not have the VTEP address"},
		"not Ethernet":    {func(o *Options) { o.Uplink, o.VTEP = "lo", netip.MustParseAddr("127.0.0.1") }, "not an Ethernet device"},
		"another IPv6":    {func(o *Options) { o.VTEP = netip.MustParseAddr("fd00::1") }, "does not have the VTEP address"},
		"no address":      {func(o *Options) { o.VTEP = netip.Addr{} }, "no VTEP address"},
		"small MTU":       {func(o *Options) { o.MTU = 1200 }, "too small"},
		"unknown mode":    {func(o *Options) { o.Attach = "xdp" }, "is unknown"},
		"no uplink":       {func(o *Options) { o.Uplink = "" }, "no uplink"},
	} {
		o := good
		x.change(&o)
		err := s.do(func() error {
			d, err := Open(o)
			if err == nil {
				d.Close()
			}
			return err
		})
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}
