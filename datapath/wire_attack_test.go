// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// wired is a node on the wire of VLANs, whose containers are only devices.
type wired struct {
	*bare
	tagger *ebpf.Program
	tables compile.Tables
	mac    model.MAC // of the uplink
	sent   int       // a socket on which all is seen that goes to the containers past what programs return
}

// Tenants of a wired node: the second has addresses of the first, the VLANs of the third are routed.
const (
	firstTenant  = 1
	secondTenant = 2
	routedTenant = 3
)

func newWired(t testing.TB) *wired {
	t.Helper()
	_, _, n, _ := twoNodesOnWire(t, AttachAuto)
	w := &wired{bare: &bare{node: n}}
	other := newSpace(t)
	silent := func(s *space, devices string) { // a device that is up says something else by itself
		must(t, s.do(func() error {
			return os.WriteFile("/proc/sys/net/ipv6/conf/"+devices+"/disable_ipv6", []byte("1"), 0)
		}))
	}
	silent(other, "all")
	for i, p := range []struct {
		tenant, network uint32
		v4, v6          string
	}{
		{firstTenant, compile.VLAN | 112, "10.1.3.1", "fd03::1"},
		{firstTenant, compile.VLAN | 112, "10.1.3.2", "fd03::2"},
		{firstTenant, compile.VLAN | 114, "10.1.4.1", "fd04::1"},
		{firstTenant, 1, "10.1.1.1", "fd01::1"},
		{secondTenant, compile.VLAN | 115, "10.1.3.1", "fd03::1"},
		{routedTenant, compile.Routed | 113, "10.2.0.1", "fd05::1"},
		{secondTenant, compile.VLAN | 116, "", "fd06::1"},
	} {
		name := fmt.Sprintf("port%d", i)
		v4, _ := netip.ParseAddr(p.v4) // none of a network of IPv6 alone
		veth(t, n.space, name, other, name)
		silent(n.space, name)
		setUp(t, n.space, name)
		setUp(t, other, name)
		running(t, n.space, name)
		mac := model.MACOf(cmp.Or(v4, netip.MustParseAddr(p.v6)))
		mac[1] = byte(2 + i) // as two have one address
		w.ports = append(w.ports, compile.Port{Name: name, Tenant: p.tenant, Network: p.network, IPv4: v4, IPv6: netip.MustParseAddr(p.v6), MAC: mac})
	}
	veth(t, n.space, model.OutsideDevice, n.space, model.OutsidePort)
	w.tagger, w.mac = newTagger(t, n.dp.objects.FromWire), macOfDevice(n, "wl0")
	must(t, n.do(func() (err error) {
		w.sent, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.ETH_P_ALL<<8&0xff00|unix.ETH_P_ALL>>8)
		return err
	}))
	t.Cleanup(func() { unix.Close(w.sent) })
	return w
}

// running waits until the kernel sends by a device, whose other side is up.
func running(t testing.TB, s *space, device string) {
	t.Helper()
	for end := deadline(); time.Now().Before(end); time.Sleep(time.Millisecond) {
		l, err := s.nl.LinkByName(device)
		must(t, err)
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
	}
	t.Fatalf("device %s does not come up", device)
}

// copies are the ports to which a copy of a frame was sent since they were asked for last.
func (w *wired) copies(t testing.TB, frame []byte) (to []string) {
	t.Helper()
	for b := make([]byte, 2048); ; {
		n, from, err := unix.Recvfrom(w.sent, b, 0)
		if err == unix.EAGAIN {
			slices.Sort(to)
			return to
		}
		must(t, err)
		at := from.(*unix.SockaddrLinklayer)
		for _, p := range w.ports {
			index, _, err := w.dp.dev.index(p.Name)
			must(t, err)
			if at.Ifindex != int(index) || at.Pkttype != unix.PACKET_OUTGOING {
				continue
			}
			if !bytes.Equal(b[:n], frame) {
				t.Errorf("the copy at %s is % x", p.Name, b[:n])
			}
			to = append(to, p.Name)
		}
	}
}

// newTagger is a program that does what the kernel does before a device's programs run, and runs one of them: it takes the tag, which is in
// the context's cb, out of the frame. What runs programs for tests does not.
func newTagger(t testing.TB, next *ebpf.Program) *ebpf.Program {
	t.Helper()
	table, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	must(t, err)
	t.Cleanup(func() { table.Close() })
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R2, asm.R6, contextCB, asm.Word), // the tag's protocol; 0: there is no tag
		asm.LoadMem(asm.R3, asm.R6, contextCB+4, asm.Word),
		asm.StoreImm(asm.R6, contextCB, 0, asm.Word),
		asm.StoreImm(asm.R6, contextCB+4, 0, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "run"),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("run"),
		asm.LoadMapPtr(asm.R2, table.FD()),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 100),
		asm.Return(),
	}})
	must(t, err)
	t.Cleanup(func() { p.Close() })
	must(t, table.Put(uint32(0), next))
	return p
}

// contextCB is where struct __sk_buff has cb.
const contextCB = 48

// tagged is a frame, and the tag that was in it.
type tagged struct {
	tpid  uint16 // 0: none
	tci   uint16
	frame []byte
}

func (f tagged) String() string { return fmt.Sprintf("tag %#x %#x, % x", f.tpid, f.tci, f.frame) }

// take has a frame come from the wire. It tells what becomes of it as reading does.
func (w *wired) take(t testing.TB, f tagged) string {
	t.Helper()
	w.copies(t, nil)
	outcome := w.takeOne(t, f)
	return copied(w.copies(t, f.frame), outcome)
}

// copied tells of a frame that copies of it went to ports, besides what became of it.
func copied(to []string, outcome string) string {
	if len(to) == 0 {
		return outcome
	}
	return "copied to " + strings.Join(to, ", ") + " and " + outcome
}

func (w *wired) takeOne(t testing.TB, f tagged) string {
	t.Helper()
	before, err := w.dp.Drops()
	must(t, err)
	out := make([]byte, len(f.frame)+64)
	opts := &ebpf.RunOptions{Data: f.frame, DataOut: out, Repeat: 1}
	var code uint32
	must(t, w.do(func() error {
		context, err := w.contextOf("wl0")
		if err != nil {
			return err
		}
		if f.tpid != 0 {
			binary.NativeEndian.PutUint32(context[contextCB:], uint32(f.tpid<<8|f.tpid>>8))
			binary.NativeEndian.PutUint32(context[contextCB+4:], uint32(f.tci))
		}
		opts.Context = context
		code, err = w.tagger.Run(opts)
		return err
	}))
	out = opts.DataOut
	switch int32(code) {
	case ranOn:
		return passed
	case ranRedirect:
		back := bytes.Equal(out[:6], f.frame[6:12]) || bytes.Equal(out[:6], []byte{0x33, 0x33, 0, 0, 0, 1}) // who has no address yet is answered so
		if !bytes.Equal(out, f.frame) && back && !bytes.Equal(out[6:12], model.RouterMAC[:]) {
			return answered
		}
		for _, p := range w.ports {
			if bytes.Equal(out[:6], p.MAC[:]) {
				return "into " + p.Name
			}
		}
		return fmt.Sprintf("redirected as % x", out)
	case ranShot:
		after, err := w.dp.Drops()
		must(t, err)
		for reason, n := range after {
			if n > before[reason] {
				return reason
			}
		}
	}
	return fmt.Sprintf("returned %d", int32(code))
}

// What becomes of a frame from the wire, besides "into" a port, the reason why it is dropped, and "copied" to ports.
const (
	passed   = "passed"   // to the host, of whatever network it is, or from a container to the wire
	answered = "answered" // on the wire
	ranOn    = -1
)

// reading is what should become of a frame, read from the tables alone, where nothing is known of any connection. policy tells that rules were
// asked about a packet that may go on with a connection, or be a part of one, so that they may have let it pass or not.
func (w *wired) reading(f tagged) (want string, policy bool) {
	if f.tpid != 0 && f.tpid != unix.ETH_P_8021Q || len(f.frame) < 14 {
		return passed, false
	}
	to, from, ethertype := model.MAC(f.frame[:6]), model.MAC(f.frame[6:12]), binary.BigEndian.Uint16(f.frame[12:])
	if vid := uint32(f.tci & 0xfff); f.tpid != 0 && vid != 0 {
		n, ok := w.network(compile.VLAN | vid)
		switch {
		case !ok:
			return passed, false
		case ethertype == unix.ETH_P_ARP:
			return w.readingOfARP(n, to, from, f.frame[14:]), false
		case ethertype != unix.ETH_P_IP && ethertype != unix.ETH_P_IPV6:
			return passed, false
		}
		p, ok := parse(ethertype, f.frame[14:])
		if !ok {
			return passed, false
		}
		return w.readingInVLAN(n, to, from, p)
	}
	p, ok := parse(ethertype, f.frame[14:])
	if !ok || to != w.mac {
		return passed, false
	}
	return w.readingOfRouted(p)
}

func (w *wired) network(number uint32) (compile.Network, bool) {
	i := slices.IndexFunc(w.tables.Networks, func(n compile.Network) bool { return n.Number == number })
	if i < 0 {
		return compile.Network{}, false
	}
	return w.tables.Networks[i], true
}

// endpoint is whoever has an address in a tenant; nil: nobody.
func (w *wired) endpoint(tenant uint32, a netip.Addr) *compile.Endpoint {
	i := slices.IndexFunc(w.tables.Endpoints, func(e compile.Endpoint) bool { return e.Tenant == tenant && e.Addr == a.Unmap() })
	if i < 0 {
		return nil
	}
	return &w.tables.Endpoints[i]
}

// claims tells whether somebody with the MAC on the wire of network n may be e.
func claims(n compile.Network, e *compile.Endpoint, mac model.MAC) bool {
	switch {
	case e == nil:
		return true
	case e.Virtual:
		return false
	case e.Network != n.Number:
		return e.Network&(compile.VLAN|compile.Routed) != 0
	}
	return e.Port == "" && e.MAC == mac
}

func (w *wired) readingOfARP(n compile.Network, to, from model.MAC, b []byte) string {
	if len(b) < 28 || !bytes.Equal(b[:6], []byte{0, 1, 8, 0, 6, 4}) {
		return passed
	}
	operation, mac := binary.BigEndian.Uint16(b[6:]), model.MAC(b[8:14])
	sender, target := netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	if !claims(n, w.endpoint(n.Tenant, sender), mac) {
		return "spoofed_arp"
	}
	e := w.endpoint(n.Tenant, target)
	here := e != nil && e.Network == n.Number && e.Port != ""
	switch {
	case operation == 1 && sender != target && !n.Flooded:
		if here {
			return answered
		}
		return passed
	case to[0]&1 == 0 && here && e.MAC == to:
		return "into " + e.Port
	}
	return w.handedToAll(n, to, nil, "")
}

// handedToAll tells of a frame to all that containers of its VLAN get copies, but for the sender's port and those to whose roles p is denied.
func (w *wired) handedToAll(n compile.Network, to model.MAC, p *parsed, sender string) string {
	var ports []string
	for _, x := range w.tables.Ports {
		if to[0]&1 == 0 || x.Network != n.Number || x.Name == sender {
			continue
		}
		if p != nil {
			v, found := w.tables.Verdict(x.InRole, w.tables.Class(n.Tenant, p.source.Unmap()), p.protocol, p.port)
			if found && !v.Allow {
				continue
			}
		}
		ports = append(ports, x.Name)
	}
	return copied(ports, passed)
}

// isForAll tells whether a packet is for all of a network, or for whoever listens.
func isForAll(n compile.Network, p parsed) bool {
	if p.destination.Is4() {
		return p.destination.IsMulticast() || p.destination == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || p.destination == n.Broadcast
	}
	return p.destination.As16()[0] == 0xff
}

func (w *wired) readingInVLAN(n compile.Network, to, from model.MAC, p parsed) (string, bool) {
	source := w.endpoint(n.Tenant, p.source)
	if !claims(n, source, from) {
		return "spoofed_wire", false
	}
	if p.protocol == unix.IPPROTO_ICMPV6 && p.source.Is6() && !p.fragment && p.kind >= 133 && p.kind <= 137 {
		return w.readingOfNeighbours(n, to, from, p, source), false
	}
	if isForAll(n, p) {
		if !n.Flooded || p.cut {
			return passed, false
		}
		return w.handedToAll(n, to, &p, ""), false // by rules alone: no connection is looked for
	}
	if neverCarried(p) {
		return passed, false
	}
	e := w.endpoint(n.Tenant, p.destination)
	if e == nil || e.Network != n.Number || e.Port == "" || e.MAC != to {
		return passed, false
	}
	return w.asked(e, n.Tenant, p)
}

func (w *wired) readingOfNeighbours(n compile.Network, to, from model.MAC, p parsed, source *compile.Endpoint) string {
	gives := func(e *compile.Endpoint, option byte) bool {
		return p.next == unix.IPPROTO_ICMPV6 && len(p.upper) >= 24 && (p.length == 24 ||
			p.length == 32 && len(p.upper) >= 32 && p.upper[24] == option && p.upper[25] == 1 && model.MAC(p.upper[26:32]) == e.MAC)
	}
	if p.kind == 135 && source != nil && source.Network == n.Number && !gives(source, 1) {
		return "spoofed_nd"
	}
	if p.kind != 135 && p.kind != 136 || p.next != unix.IPPROTO_ICMPV6 || p.hops != 255 || len(p.upper) < 24 || p.upper[1] != 0 || p.upper[8] == 0xff {
		return passed
	}
	target := w.endpoint(n.Tenant, netip.AddrFrom16([16]byte(p.upper[8:24])))
	if p.kind == 135 && !n.Flooded {
		if target != nil && target.Network == n.Number && target.Port != "" {
			return answered
		}
		return passed
	}
	if p.kind == 136 && (!claims(n, target, from) || target != nil && target.Network == n.Number && !gives(target, 2)) {
		return "spoofed_nd"
	}
	for _, x := range w.ports {
		if to[0]&1 == 0 && x.Network == n.Number && x.MAC == to {
			return "into " + x.Name
		}
	}
	return w.handedToAll(n, to, nil, "")
}

func (w *wired) readingOfRouted(p parsed) (string, bool) {
	if p.protocol == unix.IPPROTO_ICMPV6 && p.source.Is6() && !p.fragment && p.kind >= 133 && p.kind <= 137 || neverCarried(p) {
		return passed, false
	}
	to := w.endpoint(routedTenant, p.destination)
	if to == nil || to.Port == "" || to.Network&compile.Routed == 0 {
		return passed, false
	}
	if from := w.endpoint(routedTenant, p.source); from != nil && (from.Port != "" || from.Virtual || from.Network&compile.Routed == 0) {
		return "spoofed_wire", false
	}
	return w.asked(to, routedTenant, p)
}

// asked is what rules say of a packet to a container.
func (w *wired) asked(to *compile.Endpoint, tenant uint32, p parsed) (string, bool) {
	port := w.tables.Ports[slices.IndexFunc(w.tables.Ports, func(x compile.Port) bool { return x.Name == to.Port })]
	if port.InRole == 0 && port.OutRole == 0 {
		return "into " + to.Port, false
	}
	if !p.begins() || p.source.Is4In6() {
		return "into " + to.Port, true
	}
	v, found := w.tables.Verdict(port.InRole, w.tables.Class(tenant, p.source.Unmap()), p.protocol, p.port)
	if found && !v.Allow {
		return "policy_in", false
	}
	return "into " + to.Port, false
}

// neverCarried tells of destinations to which nothing is, whoever has them.
func neverCarried(p parsed) bool {
	if p.destination.Is4() {
		return p.destination.As4()[0] >= 224
	}
	return p.destination.As16()[0] == 0xff || p.destination.IsLinkLocalUnicast() || p.source.IsLinkLocalUnicast()
}

// parsed is an IP packet as far as anybody asks.
type parsed struct {
	source, destination netip.Addr
	protocol            uint8  // behind all extension headers
	next                uint8  // behind the first header
	kind                uint8  // of ICMP
	port                uint16 // destination; of a fragment, that of the first
	cut                 bool   // a first fragment ends before its ports
	hops                uint8
	length              int // of what is behind the first header, as it says
	fragment            bool
	flags               byte // of TCP
	upper               []byte
}

// begins tells whether the packet begins something, and is whole: then rules alone decide.
func (p parsed) begins() bool {
	switch p.protocol {
	case unix.IPPROTO_TCP:
		return !p.fragment && len(p.upper) >= 20 && p.flags == syn
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return !p.fragment && (p.kind == echoRequest && p.source.Is4() && p.protocol == unix.IPPROTO_ICMP || p.kind == echoRequest6 && p.source.Is6() && p.protocol == unix.IPPROTO_ICMPV6)
	case unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
		return !p.fragment
	}
	return !p.fragment && p.protocol == 97
}

// readFirstPart reads what the first fragment has behind its headers.
func (p *parsed) readFirstPart(b []byte) {
	if !hasPorts(p.protocol) {
		return
	}
	if p.cut = len(b) < 4; !p.cut {
		p.port = binary.BigEndian.Uint16(b[2:])
	}
}

func hasPorts(protocol uint8) bool {
	return slices.Contains([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE}, protocol)
}

func isICMP(protocol uint8) bool {
	return protocol == unix.IPPROTO_ICMP || protocol == unix.IPPROTO_ICMPV6
}

func parse(ethertype uint16, b []byte) (p parsed, ok bool) {
	switch {
	case ethertype == unix.ETH_P_IP && len(b) >= 20 && b[0]>>4 == 4 && b[0]&15 >= 5:
		p.source, p.destination = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		p.protocol, p.next, p.hops = b[9], b[9], b[8]
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			p.fragment = true
			if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 {
				p.readFirstPart(b[min(len(b), int(b[0]&15)*4):])
			}
			return p, true
		}
		b = b[min(len(b), int(b[0]&15)*4):]
	case ethertype == unix.ETH_P_IPV6 && len(b) >= 40 && b[0]>>4 == 6:
		p.source, p.destination = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		p.protocol, p.next, p.hops, p.length = b[6], b[6], b[7], int(binary.BigEndian.Uint16(b[4:]))
		b = b[40:]
		for headers := 0; slices.Contains([]uint8{0, 43, 44, 60}, p.protocol); headers++ {
			if headers == 8 || len(b) < 4 {
				return p, false
			}
			next := b[0]
			if p.protocol == 44 {
				p.fragment, p.protocol = true, next
				if len(b) >= 8 && binary.BigEndian.Uint16(b[2:])&0xfff8 == 0 {
					p.readFirstPart(b[8:])
				}
				return p, len(b) >= 8
			}
			b, p.protocol = b[min(len(b), (int(b[1])+1)*8):], next
			if headers == 7 {
				return p, false
			}
		}
	default:
		return p, false
	}
	p.upper = b
	if !hasPorts(p.protocol) && !isICMP(p.protocol) {
		return p, true
	}
	if len(b) < 4 {
		return p, false
	}
	switch {
	case isICMP(p.protocol):
		p.kind = b[0]
	default:
		p.port = binary.BigEndian.Uint16(b[2:])
	}
	if p.protocol == unix.IPPROTO_TCP && len(b) >= 14 {
		p.flags = b[13]
	}
	return p, true
}

func macOfDevice(n *node, device string) model.MAC {
	n.c.t.Helper()
	l, err := n.nl.LinkByName(device)
	must(n.c.t, err)
	return model.MAC(l.Attrs().HardwareAddr)
}

// randomTables have all ports of the wired node, endpoints elsewhere and services, and random rules.
func (w *wired) randomTables(r *rand.Rand, revision int64) compile.Tables {
	pick := func(of ...uint32) uint32 { return of[r.IntN(len(of))] }
	addr, flooded := netip.MustParseAddr, r.IntN(2) == 0
	t := compile.Tables{
		Revision: revision,
		Networks: []compile.Network{
			{Number: 1, Tenant: firstTenant}, {Number: compile.Routed, Tenant: routedTenant}, {Number: compile.Routed | 113, Tenant: routedTenant},
			{Number: compile.VLAN | 112, Tenant: firstTenant, Bridged: true, Flooded: flooded, Broadcast: addr("10.1.3.255")},
			{Number: compile.VLAN | 114, Tenant: firstTenant, Bridged: true, Flooded: flooded, Broadcast: addr("10.1.4.255")},
			{Number: compile.VLAN | 115, Tenant: secondTenant, Bridged: true, Flooded: flooded, Broadcast: addr("10.1.3.255")},
			{Number: compile.VLAN | 116, Tenant: secondTenant, Bridged: true, Flooded: flooded},
		},
		Outside: compile.Outside{IPv4: netip.MustParsePrefix("172.19.255.254/16"), IPv6: netip.MustParsePrefix("fd63::fffe/112"), MAC: model.RouterMAC},
	}
	for _, p := range w.ports {
		p.InRole, p.OutRole = pick(0, 0, 1, 2), pick(0, 0, 0, 1)
		t.Ports = append(t.Ports, p)
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			if a.IsValid() {
				t.Endpoints = append(t.Endpoints, compile.Endpoint{Tenant: p.Tenant, Addr: a, Network: p.Network, MAC: p.MAC, Port: p.Name, Class: pick(0, 1, 2)})
			}
		}
	}
	for _, e := range elsewhere {
		for _, a := range []string{e.v4, e.v6} {
			x := compile.Endpoint{Tenant: e.tenant, Addr: addr(a), Network: e.network, MAC: model.MACOf(addr(e.v4)), Class: pick(0, 1, 2), Virtual: e.virtual}
			if !e.virtual {
				x.VTEP = addr("192.168.2.11")
			}
			t.Endpoints = append(t.Endpoints, x)
		}
	}
	rows := map[contivVerdictKey]compile.Verdict{}
	protocols := []int16{compile.AnyProtocol, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, 97}
	for range r.IntN(60) {
		v := compile.Verdict{
			Role: pick(1, 2), Class: pick(0, 1, 2, 3), Protocol: protocols[r.IntN(len(protocols))], Allow: r.IntN(2) == 0,
			Priority: uint8(r.IntN(3)), Rule: 1,
		}
		if v.Protocol == unix.IPPROTO_TCP || v.Protocol == unix.IPPROTO_UDP {
			v.Port = uint16(pick(0, 80))
		}
		rows[verdictKey(v)] = v
	}
	for _, v := range rows {
		t.Verdicts, t.Rules = append(t.Verdicts, v), []compile.Rule{{Number: 1}}
	}
	for _, p := range []string{"10.1.3.0/24", "203.0.113.0/24", "2001:db8::/32", "fd03::/64"} {
		t.Prefixes = append(t.Prefixes, compile.Prefix{Tenant: pick(firstTenant, firstTenant, secondTenant, routedTenant), Prefix: netip.MustParsePrefix(p), Class: pick(1, 2, 3)})
	}
	slices.SortFunc(t.Endpoints, func(a, b compile.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), a.Addr.Compare(b.Addr))
	})
	slices.SortFunc(t.Verdicts, compile.CompareVerdicts)
	return t
}

// elsewhere are endpoints of other nodes, and services.
var elsewhere = []struct {
	tenant, network uint32
	v4, v6          string
	virtual         bool
}{
	{firstTenant, compile.VLAN | 112, "10.1.3.9", "fd03::9", false},
	{firstTenant, compile.VLAN | 114, "10.1.4.9", "fd04::9", false},
	{firstTenant, 1, "10.1.1.9", "fd01::9", false},
	{routedTenant, compile.Routed | 113, "10.2.0.9", "fd05::9", false},
	{firstTenant, compile.VLAN | 112, "10.1.3.99", "fd03::99", true},
	{firstTenant, 0, "10.96.0.1", "fd96::1", true},
	{routedTenant, compile.Routed | 113, "10.2.0.99", "fd05::99", true},
}

// Addresses that a stranger may write into its frames, besides those of endpoints.
var (
	strange4 = []string{"10.1.3.254", "10.1.3.200", "10.1.3.255", "203.0.113.1", "0.0.0.0", "127.0.0.1", "224.0.0.251", "240.0.0.1", "255.255.255.255"}
	strange6 = []string{"fd03::fe", "fd03::c8", "2001:db8::1", "::", "::1", "fe80::1", "ff02::1", "ff02::fb", "::ffff:10.1.3.1", "::ffff:10.1.3.9", "::ffff:203.0.113.1"}
)

// randomFrame is what a stranger sends: many are nearly right.
func (w *wired) randomFrame(r *rand.Rand) tagged {
	one := func(of ...uint16) uint16 { return of[r.IntN(len(of))] }
	v6 := r.IntN(2) == 0
	source, destination := w.randomAddress(r, v6, 2), w.randomAddress(r, v6, 6)
	to, from := w.randomMAC(r, destination), w.randomMAC(r, source)
	f := tagged{tpid: unix.ETH_P_8021Q, tci: one(112, 112, 112, 112, 114, 115, 116, 113, 7, 0, 4095) | one(0, 0, 0x2000, 0xf000)}
	switch r.IntN(8) {
	case 0:
		f.tpid, f.tci = one(0, unix.ETH_P_8021AD), f.tci&^0xfff|one(0, 112)
	case 1, 2:
		f.tpid = 0
		source, destination = w.randomAddress(r, v6, 2), w.addressOf(w.ports[5], v6)
		to = w.mac
	case 3:
		destination = netip.MustParseAddr([]string{"224.0.0.251", "10.1.3.255", "10.1.4.255", "255.255.255.255"}[r.IntN(4)])
		if v6 {
			destination = netip.MustParseAddr("ff02::fb")
		}
		to = w.randomMAC(r, destination)
	}
	switch {
	case !v6 && r.IntN(4) == 0:
		b := []byte{0, 1, 8, 0, 6, 4, 0, byte(one(1, 1, 2, 2, 3, 8))}
		mac, target := w.randomMAC(r, source), w.randomMAC(r, destination)
		b = append(append(b, mac[:]...), source.AsSlice()...)
		b = append(append(b, target[:]...), destination.AsSlice()...)
		if r.IntN(2) == 0 {
			to = broadcast
		}
		f.frame = ethernet(from, to, unix.ETH_P_ARP, b)
	case v6 && r.IntN(3) == 0:
		f.frame = ethernet(from, to, unix.ETH_P_IPV6, w.randomNeighbour(r, source, destination))
	case v6:
		f.frame = ethernet(from, to, unix.ETH_P_IPV6, randomIPv6(r, source, destination))
	default:
		f.frame = ethernet(from, to, unix.ETH_P_IP, randomIPv4(r, source, destination))
	}
	switch r.IntN(16) {
	case 0:
		f.frame[r.IntN(len(f.frame))] ^= 1 << r.IntN(8)
	case 1:
		if shortest := 14 + map[bool]int{false: 20, true: 40}[v6]; len(f.frame) > shortest {
			f.frame = f.frame[:shortest+r.IntN(len(f.frame)-shortest)]
		}
	case 2: // a tag inside of the tag
		f.frame = slices.Concat(f.frame[:12], []byte{0x81, 0, 0, byte(one(112, 114))}, f.frame[12:])
	}
	return f
}

func (w *wired) addressOf(p compile.Port, v6 bool) netip.Addr {
	if v6 {
		return p.IPv6
	}
	return cmp.Or(p.IPv4, netip.MustParseAddr("10.1.6.1"))
}

// randomAddress is that of one of the ports in about of ten cases.
func (w *wired) randomAddress(r *rand.Rand, v6 bool, of int) netip.Addr {
	e := elsewhere[r.IntN(len(elsewhere))]
	at, strange := e.v4, strange4
	if v6 {
		at, strange = e.v6, strange6
	}
	switch n := r.IntN(10); {
	case n < of:
		return w.addressOf(w.ports[r.IntN(len(w.ports))], v6)
	case n < of+(10-of)/2:
		return netip.MustParseAddr(at)
	}
	return netip.MustParseAddr(strange[r.IntN(len(strange))])
}

// randomMAC is the one that belongs to the address, where one does, in most cases.
func (w *wired) randomMAC(r *rand.Rand, a netip.Addr) model.MAC {
	if r.IntN(4) > 0 {
		if a.IsMulticast() || a.Is4() && a.As4()[3] == 255 {
			return broadcast
		}
		for _, p := range w.ports {
			if p.IPv4 == a || p.IPv6 == a {
				return p.MAC
			}
		}
		for _, e := range elsewhere {
			if e.v4 == a.String() || e.v6 == a.String() {
				return model.MACOf(netip.MustParseAddr(e.v4))
			}
		}
	}
	all := []model.MAC{stranger, stranger, broadcast, {0x33, 0x33, 0, 0, 0, 1}, {}, w.mac, model.RouterMAC, w.ports[0].MAC, model.MACOf(netip.MustParseAddr("10.1.3.9"))}
	return all[r.IntN(len(all))]
}

// randomNeighbour is a message of neighbour discovery, or something like it.
func (w *wired) randomNeighbour(r *rand.Rand, source, destination netip.Addr) []byte {
	target, mac := w.randomAddress(r, true, 4), model.MAC{}
	kind := []byte{135, 135, 136, 136, 136, 133, 134, 137}[r.IntN(8)]
	if mac = w.randomMAC(r, target); kind == 135 {
		mac = w.randomMAC(r, source)
	}
	m := append([]byte{kind, byte(r.IntN(9) / 8), 0, 0, 0x20, 0, 0, 0}, target.AsSlice()...)
	for range []int{1, 1, 1, 1, 0, 2}[r.IntN(6)] {
		m = append(append(m, 1+(kind-135+byte(r.IntN(9)/8))&1, 1), mac[:]...)
		mac = w.randomMAC(r, target)
	}
	p := ipv6(source, destination, unix.IPPROTO_ICMPV6, m)
	if r.IntN(8) == 0 {
		p = ipv6(source, destination, 60, append([]byte{unix.IPPROTO_ICMPV6, 0, 1, 4, 0, 0, 0, 0}, m...))
	}
	if p[7] = 255; r.IntN(8) == 0 {
		p[7] = 64
	}
	return p
}

// randomUpper is what is in a packet, and its protocol.
func randomUpper(r *rand.Rand, v6 bool) (protocol byte, b []byte) {
	protocol = []byte{unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_SCTP, 97}[r.IntN(7)]
	b = make([]byte, 40)
	switch protocol {
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if protocol = unix.IPPROTO_ICMP; v6 {
			protocol = unix.IPPROTO_ICMPV6
		}
		b[0] = []byte{echoRequest, echoReply, echoRequest6, 129, 1, 2, 3, 11, 130, 143}[r.IntN(10)]
	case unix.IPPROTO_TCP:
		b[12], b[13] = 0x50, []byte{syn, syn, syn, ack, rst, syn | ack, fin | ack}[r.IntN(7)]
		fallthrough
	default:
		binary.BigEndian.PutUint16(b, uint16(1024+r.IntN(60000)))
		binary.BigEndian.PutUint16(b[2:], []uint16{80, 81}[r.IntN(2)])
	}
	return protocol, b
}

func randomIPv4(r *rand.Rand, source, destination netip.Addr) []byte {
	protocol, b := randomUpper(r, false)
	p := ipv4(source, destination, protocol, b)
	switch r.IntN(8) {
	case 0: // a source route
		p = slices.Concat(p[:20], []byte{131, 7, 4, 10, 1, 3, 1, 0}, p[20:])
		p[0], p[3] = 0x47, p[3]+8
	case 1: // a fragment
		binary.BigEndian.PutUint16(p[6:], []uint16{0x2000, 0x2001, 1, 0x1fff}[r.IntN(4)])
	case 2:
		p[0] = byte(r.Uint32())
	}
	return p
}

func randomIPv6(r *rand.Rand, source, destination netip.Addr) []byte {
	next, b := randomUpper(r, true)
	for range r.IntN(12) - 2 {
		kind := []byte{0, 43, 60, 44}[r.IntN(4)]
		header := make([]byte, 8)
		header[0] = next
		if kind == 44 {
			binary.BigEndian.PutUint16(header[2:], []uint16{0, 1, 8, 9}[r.IntN(4)])
		}
		next, b = kind, append(header, b...)
	}
	return ipv6(source, destination, next, b)
}

// runs tells whether the kernel runs programs for tests on such a frame: it wants the whole header of an IP packet.
func runs(frame []byte) bool {
	if len(frame) < 15 || len(frame) > 1500 {
		return false
	}
	return len(frame) >= map[uint16]int{unix.ETH_P_IP: 34, unix.ETH_P_IPV6: 54}[binary.BigEndian.Uint16(frame[12:])]
}

// meets compares what becomes of a frame with what is read from the tables.
func (w *wired) meets(t *testing.T, seed uint64, f tagged) string {
	t.Helper()
	if !runs(f.frame) {
		return ""
	}
	w.forgetAll(t)
	want, policy := w.reading(f)
	got := w.take(t, f)
	if got != want && !(policy && slices.Contains([]string{"policy_in", "policy_out", "policy_fragment", "malformed"}, got)) {
		t.Errorf("seed %d: %s: %s, want %s", seed, f, got, want)
	}
	return got
}

func TestWhatComesFromTheWireMeetsTheTables(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	seen := map[string]int{}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		w.tables = w.randomTables(r, int64(seed+1))
		must(t, w.dp.Apply(w.tables))
		for range 400 {
			got := w.meets(t, seed, w.randomFrame(r))
			what, _, _ := strings.Cut(got, " ")
			seen[what]++
			if strings.HasSuffix(got, "port6") || got == copied([]string{"port6"}, passed) {
				seen["of IPv6 alone"]++
			}
			if got == copied([]string{"port0"}, passed) || got == copied([]string{"port1"}, passed) {
				seen["copied to one of two"]++ // the other's rules deny it
			}
		}
	}
	for _, what := range []string{passed, answered, "into", "copied", "copied to one of two", "of IPv6 alone", "spoofed_wire", "spoofed_arp", "spoofed_nd", "policy_in"} {
		if seen[what] < 10 {
			t.Errorf("of 12,000 frames %d came to %q: the test says little: %v", seen[what], what, seen)
		}
	}
}

// What a container sends to all of its VLAN goes out where its own rules let it, and to each of the others where theirs do.
func TestWhatAContainerSendsToAllOfItsVLANMeetsTheTables(t *testing.T) {
	t.Parallel()
	w := newWired(t)
	seen := map[string]int{}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		w.tables = w.randomTables(r, int64(seed+1))
		must(t, w.dp.Apply(w.tables))
		for range 50 {
			from := w.tables.Ports[r.IntN(3)]
			n, _ := w.network(from.Network)
			frame := ethernet(from.MAC, broadcast, unix.ETH_P_IPV6, randomIPv6(r, from.IPv6, netip.MustParseAddr("ff02::fb")))
			if r.IntN(2) == 0 {
				to := []netip.Addr{netip.MustParseAddr("224.0.0.251"), n.Broadcast}[r.IntN(2)]
				frame = ethernet(from.MAC, broadcast, unix.ETH_P_IP, randomIPv4(r, from.IPv4, to))
			}
			p, ok := parse(binary.BigEndian.Uint16(frame[12:]), frame[14:])
			if !ok || !p.begins() {
				continue
			}
			want := "multicast"
			if v, found := w.tables.Verdict(from.OutRole, w.tables.Class(n.Tenant, p.destination), p.protocol, p.port); n.Flooded && found && !v.Allow {
				want = "policy_out"
			} else if n.Flooded {
				want = w.handedToAll(n, broadcast, &p, from.Name)
			}
			w.forgetAll(t)
			w.copies(t, nil)
			outcome := cmp.Or(w.runAt(t, from.Name, w.dp.objects.FromContainer, frame), passed)
			got := copied(w.copies(t, frame), outcome)
			if got != want {
				t.Errorf("seed %d: %s sends % x: %s, want %s", seed, from.Name, frame, got, want)
			}
			what, _, _ := strings.Cut(got, " ")
			seen[what]++
		}
	}
	for _, what := range []string{"copied", passed, "multicast", "policy_out"} {
		if seen[what] < 10 {
			t.Errorf("%d frames came to %q: the test says little: %v", seen[what], what, seen)
		}
	}
}

func FuzzWhatComesFromTheWireMeetsTheTables(f *testing.F) {
	w := newWired(f)
	r := rand.New(rand.NewPCG(1, 2))
	for seed := range uint64(40) {
		x := w.randomFrame(r)
		f.Add(seed, x.tpid, x.tci, x.frame)
	}
	revision := int64(0)
	f.Fuzz(func(t *testing.T, seed uint64, tpid, tci uint16, frame []byte) {
		if tpid != 0 && tpid != unix.ETH_P_8021AD {
			tpid = unix.ETH_P_8021Q
		}
		revision++
		w.tables = w.randomTables(rand.New(rand.NewPCG(seed, 2)), revision)
		must(t, w.dp.Apply(w.tables))
		w.meets(t, seed, tagged{tpid, tci, frame})
	})
}

// A stranger has a trunk port of the wire and sends what it likes. Nothing of it comes to a container as another's, and what names
// nobody else comes.
func TestStrangersOnTheWireSpeakForNobodyElse(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{model.ARPProxy, model.ARPFlood} {
		t.Run("ARP mode "+mode, func(t *testing.T) {
			t.Parallel()
			g := model.DefaultGlobal()
			g.ARPMode = mode
			c, w, a, b := twoNodesOnWire(t, AttachAuto, g, lan(t), redWeb(t), lanWeb("red"), vlan46(t, "red", "dmz", 114, "10.1.4.0/24", "", "fd04::/64", ""))
			one, two := a.start("red:lan", "10.1.3.1", "fd03::1"), b.start("red:lan", "10.1.3.2", "fd03::2")
			near := a.start("red:lan", "10.1.3.3", "fd03::3")
			tunnelled := b.startDual(7)
			c.apply()
			one.reaches(two.endpoint.IPv6) // and knows its MAC
			s := newSpace(t)
			w.plug(s, "eth0")
			setUp(t, s, "eth0")
			wire, there := s.raw(t, "eth0"), one.raw(t, "eth0")
			addr := netip.MustParseAddr
			tag := func(tpid, tci uint16, f []byte) []byte {
				return slices.Concat(f[:12], binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), tci), f[12:])
			}
			in := func(f []byte) []byte { return tag(unix.ETH_P_8021Q, 112, f) }
			from := func(mac model.MAC, source netip.Addr) []byte {
				return udp4(mac, one.endpoint.MAC, source, one.endpoint.IPv4, 7)
			}
			advertised := func(sender, option model.MAC, more ...byte) []byte {
				body := slices.Concat(two.endpoint.IPv6.AsSlice(), []byte{2, 1}, option[:])
				f := nd(sender, 255, 136, "fd03::c8", "fd03::1", body, more...)
				copy(f, one.endpoint.MAC[:])
				return f
			}
			second := slices.Concat([]byte{2, 1}, stranger[:])
			for name, x := range map[string]struct {
				reason string
				frame  []byte
			}{
				"a container's address on another node": {"spoofed_wire", in(from(stranger, two.endpoint.IPv4))},
				"its own address":                       {"spoofed_wire", in(from(stranger, one.endpoint.IPv4))},
				"the address of a container beside it":  {"spoofed_wire", in(from(near.endpoint.MAC, near.endpoint.IPv4))},
				"an address of a tunnelled network":     {"spoofed_wire", in(from(stranger, tunnelled.endpoint.IPv4))},
				"a service's address":                   {"spoofed_wire", in(from(stranger, addr("10.1.3.99")))},
				"an address with a routing header":      {"spoofed_wire", in(ethernet(stranger, one.endpoint.MAC, unix.ETH_P_IPV6, ipv6(two.endpoint.IPv6, one.endpoint.IPv6, 43, []byte{17, 0, 0, 0, 0, 0, 0, 0}, udpHeader(1, 2, 7), make([]byte, 7))))},
				"an address with a priority in the tag": {"spoofed_wire", tag(unix.ETH_P_8021Q, 0xe000|112, from(stranger, two.endpoint.IPv4))},
				"ARP for a container on another node":   {"spoofed_arp", in(arp(2, stranger, stranger, two.endpoint.IPv4, one.endpoint.IPv4))},
				"ARP for itself":                        {"spoofed_arp", in(arp(1, stranger, stranger, one.endpoint.IPv4, one.endpoint.IPv4))},
				"ARP for a service":                     {"spoofed_arp", in(arp(2, stranger, stranger, addr("10.1.3.99"), one.endpoint.IPv4))},
				"an advertisement from another's MAC":   {"spoofed_nd", in(advertised(stranger, stranger))},
				"an advertisement of another's MAC":     {"spoofed_nd", in(advertised(two.endpoint.MAC, stranger))},
				"an advertisement of two MACs":          {"spoofed_nd", in(advertised(two.endpoint.MAC, two.endpoint.MAC, second...))},
				"an advertisement of the container's own": {"spoofed_nd", in(func() []byte {
					f := nd(stranger, 255, 136, "fd03::c8", "fd03::1", slices.Concat(one.endpoint.IPv6.AsSlice(), []byte{2, 1}, stranger[:]))
					copy(f, one.endpoint.MAC[:])
					return f
				}())},
			} {
				t.Run(name, func(t *testing.T) {
					a.wantDrop(x.reason, func() { wire.send(x.frame) })
				})
			}
			good := from(stranger, addr("10.1.3.200"))
			for name, f := range map[string][]byte{
				"another VLAN":                    tag(unix.ETH_P_8021Q, 114, good),
				"a VLAN that nobody has":          tag(unix.ETH_P_8021Q, 999, good),
				"no tag":                          good,
				"a tag without a VLAN":            tag(unix.ETH_P_8021Q, 0x2000, good),
				"a service tag":                   tag(unix.ETH_P_8021AD, 112, good),
				"a service tag around":            tag(unix.ETH_P_8021AD, 7, in(good)),
				"two tags":                        in(in(good)),
				"the tag inside of another":       tag(unix.ETH_P_8021Q, 999, in(good)),
				"another's MAC":                   in(udp4(stranger, near.endpoint.MAC, addr("10.1.3.200"), one.endpoint.IPv4, 7)),
				"a packet for one in one for all": in(udp4(stranger, broadcast, addr("10.1.3.200"), one.endpoint.IPv4, 7)),
				"a router's advertisement":        in(nd(stranger, 255, 134, "fe80::1", "ff02::1", make([]byte, 8))),
				"a redirect":                      in(nd(stranger, 255, 137, "fe80::1", "fd03::1", make([]byte, 32))),
				"a header cut short":              in(good)[:30],
			} {
				wire.send(f)
				if got := there.receive(50*time.Millisecond, func(f []byte) bool { return bytes.Contains(f[6:], stranger[:]) }); got != nil {
					t.Errorf("%s: % x has arrived", name, got)
				}
			}
			for name, f := range map[string][]byte{
				"a machine":                 in(good),
				"one with a priority":       tag(unix.ETH_P_8021Q, 0xa000|112, good),
				"another VLAN, by a router": in(from(stranger, addr("10.1.4.9"))),
			} {
				wire.send(f)
				if there.receive(patience, func(f []byte) bool { return bytes.Equal(f[6:12], stranger[:]) }) == nil {
					t.Errorf("%s: nothing has arrived", name)
				}
			}
			two.reaches(one.endpoint.IPv4) // the switch has learnt wrong things meanwhile
			one.reaches(two.endpoint.IPv6)
		})
	}
}
