// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/features"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// patience is how long a test waits for what must come; silence is how long it waits for what must not.
const (
	patience = 10 * time.Second
	silence  = 300 * time.Millisecond
)

// space is a network namespace without a name: it goes when its handle is closed.
type space struct {
	netns.NsHandle
	nl *netlink.Handle
}

func newSpace(t testing.TB) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces and load eBPF")
	}
	var s space
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		var err error
		if s.NsHandle, err = netns.New(); err == nil {
			s.nl, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skip("needs the right to make network namespaces")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.nl.Close()
		s.Close()
	})
	// Nobody looks for a second holder of an address here. Else a device's link-local one is not used for seconds, and until then the kernel
	// asks for no neighbour of packets that it forwards, and gives them up.
	must(t, s.do(func() error {
		for _, d := range []string{"all", "default"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+d+"/accept_dad", []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}))
	lo, err := s.nl.LinkByName("lo")
	must(t, err)
	must(t, s.nl.LinkSetUp(lo))
	return &s
}

// do runs fn inside the namespace. Sockets that it opens stay there.
func (s *space) do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		if err := netns.Set(s.NsHandle); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPinDir mounts a bpffs of the test's own.
func newPinDir(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a bpffs")
	}
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skipf("needs the right to mount a bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the bpffs: %v", err)
		}
	})
	return filepath.Join(dir, "contiv")
}

// cluster is a World and the nodes that carry it.
type cluster struct {
	t     testing.TB
	world model.World
	nodes []*node

	uplinks []string // of nodes that are made from now on, for VLANs
}

// node is a host as a namespace, with a Datapath.
type node struct {
	*space
	c    *cluster
	name string
	vtep netip.Addr
	opts Options
	dp   *Datapath
	port int
}

func newCluster(t testing.TB, objects ...model.Object) *cluster {
	c := &cluster{t: t}
	c.put(model.Tenant{Name: "red", Number: 1}, model.Tenant{Name: "blue", Number: 2})
	c.put(objects...)
	return c
}

func (c *cluster) put(objects ...model.Object) {
	c.world = c.world.With(model.Change{Revision: c.world.Revision + 1, Put: objects})
}

func (c *cluster) remove(o model.Object) {
	c.world = c.world.With(model.Change{Revision: c.world.Revision + 1, Delete: []model.Ref{model.RefOf(o)}})
}

func net4(t testing.TB, tenant, name string, tag uint32, subnet, gateway string) model.Network {
	t.Helper()
	p, err := model.ParsePool(subnet, gateway, false)
	must(t, err)
	return model.Network{Tenant: tenant, Name: name, Type: model.NetworkData, Encap: model.EncapVXLAN, Tag: tag, IPv4: p}
}

func net46(t testing.TB, tenant, name string, tag uint32, subnet, gateway, subnet6, gateway6 string) model.Network {
	t.Helper()
	n := net4(t, tenant, name, tag, subnet, gateway)
	p, err := model.ParsePool(subnet6, gateway6, true)
	must(t, err)
	n.IPv6 = p
	return n
}

// needTCX skips the test where the kernel has no tcx.
func needTCX(t testing.TB) {
	t.Helper()
	const since = 6<<16 | 6<<8
	if v, err := features.LinuxVersionCode(); err != nil || v < since {
		t.Skip("needs kernel 6.6, for tcx")
	}
}

// newNode makes a host whose uplink is the veth end that is given, or one that leads nowhere.
func (c *cluster) newNode(uplink string, vtep string, s *space, attach AttachMode) *node {
	c.t.Helper()
	n := &node{space: s, c: c, name: fmt.Sprintf("n%d", len(c.nodes)+1), vtep: netip.MustParseAddr(vtep)}
	c.nodes = append(c.nodes, n)
	n.opts = Options{PinDir: newPinDir(c.t), Uplink: uplink, VTEP: n.vtep, Attach: attach, Uplinks: c.uplinks, Flows4: 4096, Flows6: 4096, Connections4: 65536, Connections6: 4096, Translations: 4096}
	n.open()
	c.t.Cleanup(func() { n.dp.Close() })
	c.put(model.Node{Name: n.name, VTEP: n.vtep, VXLANPort: 4789})
	return n
}

func (n *node) open() {
	n.c.t.Helper()
	must(n.c.t, n.do(func() (err error) {
		n.dp, err = Open(n.opts)
		return err
	}))
}

func oneNode(t testing.TB, attach AttachMode, objects ...model.Object) (*cluster, *node) {
	t.Helper()
	c := newCluster(t, objects...)
	s := newSpace(t)
	veth(t, s, "ul0", newSpace(t), "ul0")
	setUp(t, s, "ul0", "192.168.2.10/24")
	return c, c.newNode("ul0", "192.168.2.10", s, attach)
}

func twoNodes(t testing.TB, attach AttachMode, objects ...model.Object) (*cluster, *node, *node) {
	t.Helper()
	return twoNodesAt(t, attach, "192.168.2.10/24", "192.168.2.11/24", objects...)
}

// twoNodes6 have nothing but IPv6 between them.
func twoNodes6(t testing.TB, attach AttachMode, objects ...model.Object) (*cluster, *node, *node) {
	t.Helper()
	return twoNodesAt(t, attach, "fd00:2::10/64", "fd00:2::11/64", objects...)
}

func twoNodesAt(t testing.TB, attach AttachMode, first, second string, objects ...model.Object) (*cluster, *node, *node) {
	t.Helper()
	c := newCluster(t, objects...)
	a, b := newSpace(t), newSpace(t)
	veth(t, a, "ul0", b, "ul0")
	setUp(t, a, "ul0", first)
	setUp(t, b, "ul0", second)
	vtep := func(prefix string) string { return netip.MustParsePrefix(prefix).Addr().String() }
	return c, c.newNode("ul0", vtep(first), a, attach), c.newNode("ul0", vtep(second), b, attach)
}

// veth joins two namespaces.
func veth(t testing.TB, a *space, nameA string, b *space, nameB string) {
	t.Helper()
	must(t, a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nameA, MTU: 1500}, PeerName: nameB, PeerNamespace: netlink.NsFd(b.NsHandle),
	}))
}

// setUp gives a device its addresses, brings it up, and waits until packets to the addresses are taken: the kernel
// does the last step for IPv6 addresses later, on its own time.
func setUp(t testing.TB, s *space, device string, addrs ...string) netlink.Link {
	t.Helper()
	l, err := s.nl.LinkByName(device)
	must(t, err)
	must(t, s.nl.LinkSetUp(l))
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		must(t, err)
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		must(t, s.nl.AddrAdd(l, addr))
		if addr.IP.To4() == nil {
			s.waitLocal(t, addr.IP)
		}
	}
	return l
}

func (s *space) waitLocal(t testing.TB, ip net.IP) {
	t.Helper()
	for end := deadline(); time.Now().Before(end); time.Sleep(time.Millisecond) {
		routes, err := s.nl.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Table: unix.RT_TABLE_LOCAL}, netlink.RT_FILTER_TABLE)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			t.Fatal(err)
		}
		for _, r := range routes {
			if r.Dst != nil && r.Dst.IP.Equal(ip) {
				return
			}
		}
	}
	t.Fatalf("%s is not usable", ip)
}

// container is an endpoint with its namespace.
type container struct {
	*space
	t        testing.TB
	node     *node
	endpoint model.Endpoint
}

var ids atomic.Int64

// start makes a container on the node, as netplugin would, and puts it in the World. Apply is up to the caller.
func (n *node) start(networkKey, addr string, addr6 ...string) *container {
	t := n.c.t
	t.Helper()
	network, ok := n.c.world.Networks.Get(networkKey)
	if !ok {
		t.Fatalf("no network %s", networkKey)
	}
	n.port++
	ip := netip.MustParseAddr(addr)
	e := model.Endpoint{
		ID: fmt.Sprintf("e%d", ids.Add(1)), Tenant: network.Tenant, Network: network.Name, Node: n.name,
		Port: fmt.Sprintf("vvport%d", n.port), IPv4: ip, MAC: model.MACOf(ip),
	}
	c := &container{space: newSpace(t), t: t, node: n, endpoint: e}
	veth(t, n.space, e.Port, c.space, "eth0")
	eth0, err := c.nl.LinkByName("eth0")
	must(t, err)
	must(t, c.nl.LinkSetHardwareAddr(eth0, e.MAC[:]))
	must(t, c.nl.LinkSetMTU(eth0, 1500-Overhead(n.vtep)))
	addrs := []string{netip.PrefixFrom(ip, network.IPv4.Prefix.Bits()).String()}
	if len(addr6) > 0 {
		c.endpoint.IPv6 = netip.MustParseAddr(addr6[0])
		addrs = append(addrs, netip.PrefixFrom(c.endpoint.IPv6, network.IPv6.Prefix.Bits()).String())
	}
	setUp(t, n.space, e.Port)
	setUp(t, c.space, "eth0", addrs...)
	for _, gw := range []netip.Addr{network.IPv4.Gateway, network.IPv6.Gateway} {
		if gw.IsValid() {
			must(t, c.nl.RouteAdd(&netlink.Route{LinkIndex: eth0.Attrs().Index, Gw: net.IP(gw.AsSlice())}))
		}
	}
	must(t, n.dp.Attach(e.Port))
	n.c.put(c.endpoint)
	return c
}

// setMTU is of the container's eth0. The node's side takes all, as netdev makes it.
func (c *container) setMTU(mtu int) {
	c.t.Helper()
	c.node.setMTU(c.t, c.endpoint.Port, 65535)
	c.space.setMTU(c.t, "eth0", mtu)
}

func (s *space) setMTU(t testing.TB, device string, mtu int) {
	t.Helper()
	l, err := s.nl.LinkByName(device)
	must(t, err)
	must(t, s.nl.LinkSetMTU(l, mtu))
}

func (n *node) tables() compile.Tables { return compile.For(n.c.world, n.name) }

// apply brings the World to all nodes.
func (c *cluster) apply() {
	c.t.Helper()
	for _, n := range c.nodes {
		must(c.t, n.dp.Apply(n.tables()))
	}
}

// drops counts what the node dropped for the reason.
func (n *node) drops(reason string) uint64 {
	n.c.t.Helper()
	all, err := n.dp.Drops()
	must(n.c.t, err)
	count, ok := all[reason]
	if !ok {
		n.c.t.Fatalf("no drop reason is called %s; there are %v", reason, all)
	}
	return count
}

// wantDrop runs fn and waits until the node has counted a drop for the reason.
func (n *node) wantDrop(reason string, fn func()) {
	n.c.t.Helper()
	before := n.drops(reason)
	fn()
	for deadline := time.Now().Add(patience); n.drops(reason) == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			all, _ := n.dp.Drops()
			n.c.t.Fatalf("nothing was dropped for %s; drops: %v", reason, nonZero(all))
		}
	}
}

func nonZero(m map[string]uint64) map[string]uint64 {
	out := map[string]uint64{}
	for k, v := range m {
		if v != 0 {
			out[k] = v
		}
	}
	return out
}

// ip is the container's address of the same family as the other.
func (c *container) ip(like netip.Addr) netip.Addr {
	if like.Is4() {
		return c.endpoint.IPv4
	}
	return c.endpoint.IPv6
}

// ping sends an echo request of size bytes and waits for its reply.
func (c *container) ping(to netip.Addr, size int, wait time.Duration) error {
	return c.do(func() error {
		network, request, reply := "ip4:icmp", byte(8), byte(0)
		if to.Is6() {
			network, request, reply = "ip6:ipv6-icmp", 128, 129
		}
		conn, err := net.ListenPacket(network, c.ip(to).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		id := uint16(ids.Add(1))
		m := make([]byte, max(size, 8))
		for i := range m[8:] {
			m[8+i] = byte(i)
		}
		m[0], m[4], m[5], m[7] = request, byte(id>>8), byte(id), 1
		if to.Is4() {
			sum := internetChecksum(m)
			m[2], m[3] = byte(sum>>8), byte(sum)
		}
		if _, err := conn.WriteTo(m, &net.IPAddr{IP: net.IP(to.AsSlice())}); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(wait))
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return err
			}
			if n == len(m) && buf[0] == reply && buf[4] == m[4] && buf[5] == m[5] && from.String() == to.String() {
				return nil
			}
		}
	})
}

func internetChecksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func (c *container) reaches(to netip.Addr) {
	c.t.Helper()
	if err := c.ping(to, 64, patience); err != nil {
		for _, n := range c.node.c.nodes {
			all, _ := n.dp.Drops()
			c.t.Logf("drops on %s: %v", n.name, nonZero(all))
		}
		c.t.Fatalf("%s does not reach %s: %v", c.ip(to), to, err)
	}
}

func (c *container) doesNotReach(to netip.Addr) {
	c.t.Helper()
	if err := c.ping(to, 64, silence); err == nil {
		c.t.Fatalf("%s reaches %s", c.ip(to), to)
	}
}

// accept has each connection served until the listener is closed.
func accept(l net.Listener, serve func(net.Conn)) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
}

// serve answers every TCP connection with the name, then echoes. It gives the address to dial.
func (c *container) serve(ip netip.Addr, name string) netip.AddrPort {
	c.t.Helper()
	var l net.Listener
	must(c.t, c.do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(ip, 0).String())
		return err
	}))
	c.t.Cleanup(func() { l.Close() })
	accept(l, func(conn net.Conn) {
		if _, err := conn.Write([]byte(name)); err != nil {
			return
		}
		buf := make([]byte, 1<<16)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			if _, err := conn.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func (c *container) dial(to netip.AddrPort) net.Conn {
	c.t.Helper()
	var conn net.Conn
	must(c.t, c.do(func() (err error) {
		conn, err = net.DialTimeout("tcp", to.String(), patience)
		return err
	}))
	c.t.Cleanup(func() { conn.Close() })
	must(c.t, conn.SetDeadline(time.Now().Add(2*patience)))
	return conn
}

// echo opens a UDP socket that sends back what it gets.
func (c *container) echo(ip netip.Addr) netip.AddrPort {
	c.t.Helper()
	var conn net.PacketConn
	must(c.t, c.do(func() (err error) {
		conn, err = net.ListenPacket("udp", netip.AddrPortFrom(ip, 0).String())
		return err
	}))
	c.t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if _, err := conn.WriteTo(buf[:n], from); err != nil && errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// asks gives a connected UDP socket.
func (c *container) asks(to netip.AddrPort) *net.UDPConn {
	c.t.Helper()
	var conn net.Conn
	must(c.t, c.do(func() (err error) {
		conn, err = net.Dial("udp", to.String())
		return err
	}))
	c.t.Cleanup(func() { conn.Close() })
	return conn.(*net.UDPConn)
}

// raw is a packet socket on a device: whole Ethernet frames.
type raw struct {
	fd int
	t  testing.TB
}

func (s *space) raw(t testing.TB, device string) *raw {
	t.Helper()
	l, err := s.nl.LinkByName(device)
	must(t, err)
	r := &raw{t: t}
	must(t, s.do(func() (err error) {
		all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
		if r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		return unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Attrs().Index})
	}))
	t.Cleanup(func() { unix.Close(r.fd) })
	return r
}

func (r *raw) send(frame []byte) {
	r.t.Helper()
	if _, err := unix.Write(r.fd, frame); err != nil {
		r.t.Fatal(err)
	}
}

// receive waits for a frame that ok accepts; nil after wait.
func (r *raw) receive(wait time.Duration, ok func(frame []byte) bool) []byte {
	r.t.Helper()
	buf := make([]byte, 65536)
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		must(r.t, unix.SetsockoptTimeval(r.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20000}))
		n, err := unix.Read(r.fd, buf)
		if err == nil && ok(buf[:n]) {
			return append([]byte(nil), buf[:n]...)
		}
	}
	return nil
}

// setOffload switches a device's feature by its ethtool command number.
func (s *space) setOffload(t testing.TB, device string, command uint32, on bool) {
	t.Helper()
	must(t, s.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		value := struct{ command, data uint32 }{command, uint32(flag(on))}
		var request struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:], device)
		request.data = unsafe.Pointer(&value)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("ethtool command %#x on %s: %w", command, device, errno)
		}
		return nil
	}))
}

// ETHTOOL_STSO, ETHTOOL_SGSO and ETHTOOL_STXCSUM of linux/ethtool.h.
const (
	setTSO      = 0x1f
	setGSO      = 0x24
	setChecksum = 0x17
)

// within fails the test when ctx ends before the test does.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// deadline is when what must come has come.
func deadline() time.Time { return time.Now().Add(patience) }

// forward makes a namespace a router.
func forward(t testing.TB, s *space) {
	t.Helper()
	must(t, s.do(func() error {
		for _, setting := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+setting, []byte("1"), 0); err != nil {
				return err
			}
		}
		return nil
	}))
}
