// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// town is a node with what is around it, each in a namespace: pods behind contivh0, pods of other nodes behind contivh1, and machines outside.
type town struct {
	t                        *testing.T
	node, pods, far, outside string
}

// The addresses of the town: two pods of the node by their private ones, two of other nodes, and machines of the node's own subnet.
var (
	podA, podB = netip.MustParseAddrPort("172.19.0.3:8080"), netip.MustParseAddrPort("172.19.0.4:8081")
	farA       = netip.MustParseAddrPort("20.1.1.7:8080")
	podA6      = netip.MustParseAddrPort("[fd63::3]:8080")
	podB6      = netip.MustParseAddrPort("[fd63::4]:8081")
	machine    = netip.MustParseAddrPort("192.0.2.9:6443")
	machine6   = netip.MustParseAddrPort("[2001:db8::9]:6444")
	nodeAddr   = netip.MustParseAddr("192.0.2.1")
)

const patience = 10 * time.Second

func newTown(t *testing.T) town {
	t.Helper()
	w := town{t: t, node: namespace(t), pods: namespace(t), far: namespace(t), outside: namespace(t)}
	name := func(path string) string { return strings.TrimPrefix(path, "/run/netns/") }
	script := fmt.Sprintf(`set -e
for n in %[1]s %[2]s %[3]s %[4]s; do ip -n $n link set lo up; done
ip -n %[1]s link add contivh0 type veth peer name eth0 netns %[2]s
ip -n %[1]s link add contivh1 type veth peer name eth0 netns %[3]s
ip -n %[1]s link add ext0 type veth peer name eth0 netns %[4]s
ip -n %[1]s addr add 172.19.255.254/16 dev contivh0
ip -n %[1]s addr add 132.1.1.2/24 dev contivh1
ip -n %[1]s addr add 192.0.2.1/24 dev ext0
ip -n %[2]s addr add 172.19.0.3/16 dev eth0
ip -n %[2]s addr add 172.19.0.4/16 dev eth0
ip -n %[3]s addr add 132.1.1.1/24 dev eth0
ip -n %[3]s addr add 20.1.1.7/32 dev lo
ip -n %[4]s addr add 192.0.2.9/24 dev eth0
ip -n %[4]s addr add 192.0.2.10/24 dev eth0
for d in contivh0 contivh1 ext0; do ip -n %[1]s link set $d up; done
for n in %[2]s %[3]s %[4]s; do ip -n $n link set eth0 up; done
ip -n %[1]s route add default via 192.0.2.9
ip -n %[1]s route add 20.1.1.0/24 via 132.1.1.1
ip -n %[2]s route add default via 172.19.255.254
ip -n %[4]s route add default via 192.0.2.1
ip -n %[1]s addr add fd63::fffe/112 dev contivh0 nodad
ip -n %[1]s addr add 2001:db8::1/64 dev ext0 nodad
ip -n %[2]s addr add fd63::3/112 dev eth0 nodad
ip -n %[2]s addr add fd63::4/112 dev eth0 nodad
ip -n %[4]s addr add 2001:db8::9/64 dev eth0 nodad
ip -n %[1]s -6 route add default via 2001:db8::9
ip -n %[2]s -6 route add default via fd63::fffe
ip -n %[4]s -6 route add default via 2001:db8::1
`, name(w.node), name(w.pods), name(w.far), name(w.outside)) // who is far has no way back but to the node's address there
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	in(t, w.node, func() error {
		return errors.Join(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0), os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0))
	})
	for _, at := range []netip.AddrPort{podA, podA6} {
		w.serve(w.pods, at, "a")
	}
	for _, at := range []netip.AddrPort{podB, podB6} {
		w.serve(w.pods, at, "b")
	}
	w.serve(w.far, farA, "far")
	w.serve(w.outside, machine, "machine")
	w.serve(w.outside, machine6, "machine")
	return w
}

// serve says a name and the client's address to whoever asks, by TCP and UDP.
func (w town) serve(path string, at netip.AddrPort, name string) {
	w.t.Helper()
	var l net.Listener
	var u net.PacketConn
	in(w.t, path, func() (err error) {
		if l, err = net.Listen("tcp", at.String()); err != nil {
			return err
		}
		u, err = net.ListenPacket("udp", at.String())
		return err
	})
	w.t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", name, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
	go func() {
		for buf := make([]byte, 100); ; {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(packetTo{u, from}, "%s %s", name, from.(*net.UDPAddr).IP)
		}
	}()
}

type packetTo struct {
	net.PacketConn
	to net.Addr
}

func (p packetTo) Write(b []byte) (int, error) { return p.WriteTo(b, p.to) }

// ask says what is answered to a client with the source address at a place.
func (w town) ask(path, protocol, source, to string, wait time.Duration) (answer string, err error) {
	d := net.Dialer{Timeout: wait}
	if source != "" && protocol == "tcp" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	var c net.Conn
	if err := Do(path, func() (err error) {
		c, err = d.DialContext(context.Background(), protocol, to)
		return err
	}); err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", err
	}
	if protocol == "udp" { // the kernel tells one host of so many errors a second
		for end := time.Now().Add(wait); ; {
			if _, err := c.Write([]byte("?")); err != nil {
				return "", err
			}
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
				return string(buf[:n]), err
			}
		}
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// met asks often, and gives who answered.
func (w town) met(path, protocol, to string) map[string]int {
	w.t.Helper()
	out := map[string]int{}
	for range 30 {
		answer, err := w.ask(path, protocol, "", to, patience)
		if err != nil {
			w.t.Errorf("%s at %s from %s: %v", protocol, to, path, err)
			return out
		}
		out[answer]++
	}
	return out
}

func entrance(at string, protocol uint8, to ...netip.AddrPort) Entrance {
	a := netip.MustParseAddrPort(at)
	return Entrance{Addr: a.Addr(), Protocol: protocol, Port: a.Port(), Outer: to, Inner: to}
}

func firewallWith(entrances ...Entrance) Firewall {
	f := plain
	f.VTEP = nodeAddr
	f.Private = []netip.Prefix{netip.MustParsePrefix("172.19.0.0/16"), netip.MustParsePrefix("fd63::/112")}
	f.Inside = []string{"contivh1"}
	f.Machines = []Machine{{machine.Addr(), 6, machine.Port()}}
	f.Entrances = entrances
	return f
}

func TestServicesAreMetFromTheNodeAndFromOutside(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	const tcp, udp = 6, 17
	local := entrance("0.0.0.0:30081", tcp, podB)
	local.Inner = []netip.AddrPort{podA, podB}
	elsewhere := entrance("0.0.0.0:30082", tcp)
	elsewhere.Inner, elsewhere.Elsewhere = []netip.AddrPort{podA}, true
	some := entrance("198.51.100.2:80", tcp, podA)
	some.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.18.5.0/24"), netip.MustParsePrefix("192.0.2.1/32")}
	some.Inner, some.Insiders = []netip.AddrPort{podB}, []netip.Prefix{netip.MustParsePrefix("172.19.0.3/32")}
	// Containers' private addresses are in these ranges, and are not meant.
	wide, wide6 := entrance("198.51.100.4:80", tcp, podA), entrance("[2001:db8:9::4]:80", tcp, podA6)
	wide.Sources = []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.0.2.0/24")}
	wide.Insiders = []netip.Prefix{netip.MustParsePrefix("172.19.0.3/32")}
	wide6.Sources = []netip.Prefix{netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("2001:db8::/64")}
	wide6.Insiders = []netip.Prefix{netip.MustParsePrefix("fd63::3/128")}
	sticky := entrance("10.96.0.8:80", tcp, podA, podB, farA)
	sticky.Affinity = 10800
	f := firewallWith(
		entrance("10.96.0.7:80", tcp, podA, podB), entrance("10.96.0.7:53", udp, podA, podB), entrance("0.0.0.0:30080", tcp, podA, podB), entrance("0.0.0.0:30080", udp, farA),
		entrance("10.96.0.9:80", tcp), entrance("10.96.0.9:53", udp), entrance("0.0.0.0:30083", tcp),
		entrance("10.96.0.10:80", tcp, farA), entrance("10.96.0.1:443", tcp, machine), entrance("0.0.0.0:30443", tcp, machine),
		entrance("198.51.100.3:80", tcp, podA), entrance("[2001:db8:9::3]:80", tcp, podA6), entrance("[::]:30444", tcp, machine6),
		local, elsewhere, some, wide, wide6, sticky,
	)
	f.OwnMark = 0x1000
	f.Machines = append(f.Machines, Machine{machine6.Addr(), tcp, machine6.Port()})
	in(t, w.node, func() error {
		for _, program := range []string{"iptables", "ip6tables"} { // as a Docker engine does
			if _, err := iptables(program, "-P", "FORWARD", "DROP"); err != nil {
				return err
			}
			for range 2 {
				if err := PassForwarding(program, []string{"contivh0", "contivh1"}, f.OwnMark); err != nil {
					return err
				}
			}
			if rules, err := forwardRules(program); err != nil || len(rules) != 6 {
				t.Errorf("%s has %q, %v", program, rules, err)
			}
		}
		return f.Load()
	})

	for _, c := range []struct{ path, protocol, to, want string }{
		{w.node, "tcp", "10.96.0.7:80", "a 192.0.2.1, b 192.0.2.1"},
		{w.node, "udp", "10.96.0.7:53", "a 192.0.2.1, b 192.0.2.1"},
		{w.node, "tcp", "192.0.2.1:30080", "a 192.0.2.1, b 192.0.2.1"},
		{w.node, "tcp", "10.96.0.10:80", "far 132.1.1.2"},
		{w.node, "tcp", "10.96.0.1:443", "machine 192.0.2.1"},
		{w.node, "tcp", "192.0.2.1:30081", "a 192.0.2.1, b 192.0.2.1"},
		{w.node, "tcp", "192.0.2.1:30082", "a 192.0.2.1"},
		{w.outside, "tcp", "192.0.2.1:30080", "a 192.0.2.9, b 192.0.2.9"}, // clients keep their address
		{w.outside, "udp", "192.0.2.1:30080", "far 132.1.1.2"},
		{w.outside, "tcp", "132.1.1.2:30080", "a 192.0.2.9, b 192.0.2.9"}, // at each of the node's addresses
		{w.outside, "tcp", "10.96.0.7:80", "a 192.0.2.9, b 192.0.2.9"},
		{w.outside, "tcp", "192.0.2.1:30081", "b 192.0.2.9"},
		{w.outside, "tcp", "192.0.2.1:30443", "machine 192.0.2.1"},
		{w.node, "tcp", "132.1.1.2:30443", "machine 192.0.2.1"}, // to which it would not find back
		{w.pods, "tcp", "192.0.2.1:30082", "a 192.0.2.1"},
		{w.pods, "tcp", "10.96.0.1:443", "machine 192.0.2.1"},
		{w.pods, "tcp", "198.51.100.3:80", "a 192.0.2.1"}, // answers to a virtual address would go to whom the tenant has there
		{w.pods, "tcp", "[2001:db8:9::3]:80", "a 100:0:0:1::1"},
		{w.outside, "tcp", "[2001:db8::1]:30444", "machine 2001:db8::1"},
		{w.node, "tcp", "198.51.100.2:80", "b 192.0.2.1"},
		{w.pods, "tcp", "198.51.100.2:80", "b 192.0.2.1"},
	} {
		met := w.met(c.path, c.protocol, c.to)
		for who := range strings.SplitSeq(c.want, ", ") {
			if met[who] == 0 {
				t.Errorf("%s at %s from %s met %v, want %s", c.protocol, c.to, c.path, met, c.want)
			}
		}
		if len(met) != strings.Count(c.want, ",")+1 {
			t.Errorf("%s at %s from %s met %v, want %s", c.protocol, c.to, c.path, met, c.want)
		}
	}
	for _, c := range []struct{ path, protocol, to string }{
		{w.node, "tcp", "10.96.0.9:80"}, {w.node, "udp", "10.96.0.9:53"}, {w.node, "tcp", "192.0.2.1:30083"},
		{w.outside, "tcp", "10.96.0.9:80"}, {w.outside, "udp", "10.96.0.9:53"}, {w.outside, "tcp", "192.0.2.1:30083"},
		{w.node, "tcp", "127.0.0.1:30080"},
	} {
		if _, err := w.ask(c.path, c.protocol, "", c.to, patience); !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.EPERM) { // the latter of a datagram of the node's own
			t.Errorf("%s at %s from %s: %v, want that it is refused", c.protocol, c.to, c.path, err)
		}
	}
	var late net.Error
	if _, err := w.ask(w.outside, "tcp", "", "192.0.2.1:30082", 300*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("a node without providers of its own answers for others: %v", err)
	}
	if answer, err := w.ask(w.outside, "tcp", "192.0.2.10", "198.51.100.2:80", patience); answer != "a 192.0.2.10" {
		t.Errorf("who may come gets %q, %v", answer, err)
	}
	if _, err := w.ask(w.outside, "tcp", "192.0.2.9", "198.51.100.2:80", 300*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("who may not come: %v", err)
	}
	for _, c := range []struct{ path, source, to, want string }{
		{w.pods, "172.19.0.3", "198.51.100.4:80", "a 192.0.2.1"},
		{w.pods, "fd63::3", "[2001:db8:9::4]:80", "a 100:0:0:1::1"},
		{w.node, "192.0.2.1", "198.51.100.4:80", "a 192.0.2.1"},
		{w.node, "2001:db8::1", "[2001:db8:9::4]:80", "a 2001:db8::1"},
		{w.outside, "192.0.2.9", "198.51.100.4:80", "a 192.0.2.9"},
		{w.outside, "2001:db8::9", "[2001:db8:9::4]:80", "a 2001:db8::9"},
	} {
		if answer, err := w.ask(c.path, "tcp", c.source, c.to, patience); answer != c.want {
			t.Errorf("%s, who may come to %s, gets %q, %v, want %s", c.source, c.to, answer, err, c.want)
		}
	}
	for source, to := range map[string][]string{"172.19.0.4": {"198.51.100.2:80", "198.51.100.4:80"}, "fd63::4": {"[2001:db8:9::4]:80"}} {
		for _, to := range to {
			if answer, err := w.ask(w.pods, "tcp", source, to, 300*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
				t.Errorf("container %s, that may not come to %s: %q, %v", source, to, answer, err)
			}
		}
	}
	first := w.met(w.outside, "tcp", "10.96.0.8:80")
	in(t, w.node, f.Load)
	if again := w.met(w.outside, "tcp", "10.96.0.8:80"); len(first) != 1 || fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("one client met %v and, when the table was loaded anew, %v", first, again)
	}
	in(t, w.node, func() error {
		if ok, err := f.Loaded(); !ok || err != nil {
			t.Errorf("the rules are there: %v, %v", ok, err)
		}
		for _, program := range []string{"iptables", "ip6tables"} {
			if err := UnpassForwarding(program, f.OwnMark); err != nil {
				return err
			}
			if rules, err := forwardRules(program); err != nil || len(rules) != 1 {
				t.Errorf("%s is left with %q, %v", program, rules, err)
			}
		}
		return RemoveFirewall()
	})
	// What others forward, and translate, is dropped as before.
	if answer, err := w.ask(w.pods, "tcp", "", machine.String(), 300*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("what iptables drops passes: %q, %v", answer, err)
	}
}

// A change of one of a thousand services, as it is made by the agent.
func BenchmarkLoadOfAThousandServices(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root to make network namespaces")
	}
	var all []Entrance
	for i := range 1000 {
		for _, at := range []netip.AddrPort{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i / 250), byte(i%250 + 1)}), 80), netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(30000+i)),
		} {
			to := []netip.AddrPort{podA, podB, farA}
			all = append(all, Entrance{Addr: at.Addr(), Protocol: 6, Port: at.Port(), Outer: to, Inner: to})
		}
	}
	name := fmt.Sprintf("ndb%x", time.Now().UnixNano())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	b.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	f := firewallWith(all...)
	run := func(fn func() error) {
		if err := Do("/run/netns/"+name, fn); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			run(f.Load)
		}
	})
	b.Run("one that changes", func(b *testing.B) {
		was := f
		for i := 0; b.Loop(); i++ {
			now := f
			now.Entrances = slices.Clone(f.Entrances)
			e := &now.Entrances[i%2000]
			e.Outer = []netip.AddrPort{podA, farA}[:1+i%2]
			e.Inner = e.Outer
			run(func() error { return now.Change(was) })
			was = now
		}
	})
}

func TestTableThatIsChangedIsAsOneThatIsLoaded(t *testing.T) {
	t.Parallel()
	ruleset := func(path string) string {
		t.Helper()
		out, err := exec.Command("nsenter", "--net="+path, "nft", "-s", "list", "table", "inet", "contiv").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		lines := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' || r == ',' })
		for i := range lines {
			lines[i] = strings.Trim(lines[i], " \t{}")
		}
		slices.Sort(lines) // the order of chains and of elements is that in which they came
		return strings.ReplaceAll(strings.Join(lines, "\n"), "elements = { ", "")
	}
	some := entrance("198.51.100.2:80", 6, podA)
	some.Sources = []netip.Prefix{netip.MustParsePrefix("192.0.2.10/32")}
	others := some
	others.Sources, others.Insiders = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, []netip.Prefix{netip.MustParsePrefix("172.19.0.3/32")}
	changed, loaded := namespace(t), namespace(t)
	was := Firewall{}
	sticky := entrance("10.96.0.8:80", 6, podA, podB)
	sticky.Affinity = 60
	local := sticky
	local.Affinity, local.Outer = 10800, []netip.AddrPort{podA}
	for i, f := range []Firewall{
		firewallWith(), firewallWith(entrance("10.96.0.7:80", 6, podA, podB), some), firewallWith(entrance("10.96.0.7:80", 6, podA), some, entrance("0.0.0.0:30080", 6, podA, podB, farA)),
		firewallWith(entrance("10.96.0.7:80", 6), others), firewallWith(others), plain, firewallWith(entrance("10.96.0.9:80", 6, farA)),
		firewallWith(sticky), firewallWith(local), firewallWith(entrance("10.96.0.8:80", 6, podA, podB)),
	} {
		in(t, changed, func() error { return f.Change(was) })
		in(t, loaded, f.Load)
		if a, b := ruleset(changed), ruleset(loaded); a != b {
			t.Errorf("change %d gives\n%s\nwant\n%s", i, a, b)
		}
		was = f
	}
	in(t, changed, RemoveFirewall) // somebody else has cleared it
	next := firewallWith(entrance("10.96.0.9:80", 6, podB))
	in(t, changed, func() error { return next.Change(was) })
	in(t, loaded, next.Load)
	if a, b := ruleset(changed), ruleset(loaded); a != b {
		t.Errorf("after it was cleared:\n%s\nwant\n%s", a, b)
	}
}

// What a NetworkPolicy lets pass as the node's own must be that: a process of the node, at a pod's address or by a service.
func TestOnlyTheNodesOwnPacketsToTenantsNetworksAreMarkedSo(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	f := firewallWith(entrance("10.96.0.10:80", 6, farA), entrance("0.0.0.0:30080", 6, farA), entrance("0.0.0.0:30080", 17, farA))
	f.OwnMark = 0x1000
	in(t, w.node, f.Load)
	nft := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("nsenter", append([]string{"--net=" + w.node, "nft"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	// Others' rules mark packets too, ours among them, and keep what they have set.
	nft(`add table ip others
add chain ip others first { type filter hook postrouting priority -150; }
add rule ip others first meta mark set 0x5000
add counter ip others own
add counter ip others lent
add counter ip others lost
add chain ip others last { type filter hook postrouting priority 200; }
add rule ip others last oifname contivh1 meta mark 0x5000 counter name own
add rule ip others last oifname contivh1 meta mark 0x4000 counter name lent
add rule ip others last oifname contivh1 meta mark & 0x4000 == 0 counter name lost`)
	for _, c := range []struct{ path, protocol, to, want string }{
		{w.node, "tcp", farA.String(), "own"},
		{w.node, "udp", farA.String(), "own"},
		{w.node, "tcp", "10.96.0.10:80", "own"},
		{w.node, "tcp", "192.0.2.1:30080", "own"},
		{w.outside, "tcp", "192.0.2.1:30080", "lent"},
		{w.outside, "udp", "192.0.2.1:30080", "lent"},
		{w.outside, "tcp", "10.96.0.10:80", "lent"},
		{w.pods, "tcp", "192.0.2.1:30080", "lent"},
	} {
		nft("reset", "counters", "table", "ip", "others")
		answer, err := w.ask(c.path, c.protocol, "", c.to, patience)
		if err != nil || answer != "far 132.1.1.2" {
			t.Errorf("%s at %s from %s: %q, %v", c.protocol, c.to, c.path, answer, err)
		}
		for _, name := range []string{"own", "lent", "lost"} {
			if listed := nft("list", "counter", "ip", "others", name); strings.Contains(listed, "packets 0 ") == (name == c.want) {
				t.Errorf("%s at %s from %s: %s", c.protocol, c.to, c.path, listed)
			}
		}
	}
}
