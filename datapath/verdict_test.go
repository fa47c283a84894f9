// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
	"github.com/contivnet/contiv/model"
)

// bare is a node whose containers are only devices: the programs are run on packets by the kernel's test run.
type bare struct {
	*node
	ports []compile.Port
}

const bareTenant = 1

func newBare(t testing.TB, ports int) *bare {
	t.Helper()
	_, n := oneNode(t, AttachAuto)
	b, other := &bare{node: n}, newSpace(t)
	veth(t, n.space, model.OutsideDevice, n.space, model.OutsidePort)
	for i := range ports {
		name := fmt.Sprintf("port%d", i)
		veth(t, n.space, name, other, name)
		v4 := netip.AddrFrom4([4]byte{10, 1, 0, byte(i + 1)})
		b.ports = append(b.ports, compile.Port{
			Name: name, Tenant: bareTenant, Network: 1, IPv4: v4, IPv6: netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i + 1)}), MAC: model.MACOf(v4),
			Private4: netip.AddrFrom4([4]byte{172, 19, 0, byte(i + 1)}), Private6: netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x63, 15: byte(i + 1)}),
		})
	}
	return b
}

// tables are those of the ports, with roles and classes by port.
func (b *bare) tables(revision int64, in, out, class []uint32, verdicts []compile.Verdict) compile.Tables {
	t := compile.Tables{
		Revision: revision, Networks: []compile.Network{{Number: 1, Tenant: bareTenant}}, Verdicts: verdicts,
		Outside: compile.Outside{IPv4: netip.MustParsePrefix("172.19.255.254/16"), IPv6: netip.MustParsePrefix("fd63::fffe/112"), MAC: model.RouterMAC},
	}
	rules := map[uint32]bool{}
	for _, v := range verdicts {
		rules[v.Rule], rules[v.Audit] = true, true
	}
	delete(rules, 0)
	for _, r := range slices.Sorted(maps.Keys(rules)) {
		t.Rules = append(t.Rules, compile.Rule{Number: r})
	}
	for i, p := range b.ports {
		p.InRole, p.OutRole = in[i], out[i]
		t.Ports = append(t.Ports, p)
		for _, a := range []netip.Addr{p.IPv4, p.IPv6} {
			t.Endpoints = append(t.Endpoints, compile.Endpoint{Tenant: bareTenant, Addr: a, Network: 1, MAC: p.MAC, Port: p.Name, Class: class[i]})
		}
	}
	slices.SortFunc(t.Endpoints, func(a, b compile.Endpoint) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(t.Verdicts, compile.CompareVerdicts)
	return t
}

// What a program returns.
const (
	ranShot     = 2
	ranRedirect = 7
)

// context is the struct __sk_buff of a packet that comes in by a port.
func (b *bare) context(port int) ([192]byte, error) { return b.contextOf(b.ports[port].Name) }

func (b *bare) contextOf(device string) (context [192]byte, err error) {
	index, ok, err := b.dp.dev.index(device)
	if err != nil || !ok {
		return context, fmt.Errorf("device %s: %t %w", device, ok, err)
	}
	binary.NativeEndian.PutUint32(context[40:], index) // its ifindex
	return context, nil
}

// run has a port send a frame. It gives why it was dropped; "" for carried.
func (b *bare) run(t testing.TB, port int, frame []byte) string {
	t.Helper()
	return b.runAt(t, b.ports[port].Name, b.dp.objects.FromContainer, frame)
}

// runAt has a frame come in by a device.
func (b *bare) runAt(t testing.TB, device string, program *ebpf.Program, frame []byte) string {
	t.Helper()
	before, err := b.dp.Drops()
	must(t, err)
	var code uint32
	must(t, b.do(func() error {
		context, err := b.contextOf(device)
		if err != nil {
			return err
		}
		code, err = program.Run(&ebpf.RunOptions{Data: frame, Context: context, Repeat: 1})
		return err
	}))
	switch code {
	case ranRedirect:
		return ""
	case ranShot:
		after, err := b.dp.Drops()
		must(t, err)
		for reason, n := range after {
			if n > before[reason] {
				return reason
			}
		}
	}
	t.Fatalf("the program returned %d", code)
	return ""
}

// forgetAll empties the tables of connections and of clients.
func (b *bare) forgetAll(t testing.TB) {
	t.Helper()
	for _, m := range []*ebpf.Map{b.dp.objects.Connections4, b.dp.objects.Connections6, b.dp.objects.Openings, b.dp.objects.Fragments, b.dp.objects.Translations, b.dp.objects.Clients} {
		var keys [][]byte
		key, value := make([]byte, m.KeySize()), make([]byte, m.ValueSize())
		all := m.Iterate()
		for all.Next(&key, &value) {
			keys = append(keys, slices.Clone(key))
		}
		must(t, all.Err())
		for _, k := range keys {
			must(t, m.Delete(k))
		}
	}
}

// packet is an Ethernet frame from one port to another. Ports are ICMP's identifier, where it has one.
func (b *bare) packet(from, to int, v6 bool, protocol uint8, source, destination uint16, flags byte) []byte {
	return packetOf(b.ports[from], b.ports[to], v6, protocol, source, destination, flags)
}

// packetOf is packet between two ends, of whom their addresses count.
func packetOf(x, y compile.Port, v6 bool, protocol uint8, source, destination uint16, flags byte) []byte {
	var payload []byte
	switch protocol {
	case unix.IPPROTO_TCP:
		payload = make([]byte, 20)
		payload[12], payload[13] = 0x50, flags
		fallthrough
	case unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
		if payload == nil {
			payload = make([]byte, 12)
		}
		binary.BigEndian.PutUint16(payload, source)
		binary.BigEndian.PutUint16(payload[2:], destination)
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		payload = []byte{flags, 0, 0, 0, byte(source >> 8), byte(source), 0, 1}
	default:
		payload = make([]byte, 16)
	}
	if v6 {
		return ethernet(x.MAC, y.MAC, unix.ETH_P_IPV6, ipv6(x.IPv6, y.IPv6, protocol, payload))
	}
	return ethernet(x.MAC, y.MAC, unix.ETH_P_IP, ipv4(x.IPv4, y.IPv4, protocol, payload))
}

const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10

	echoRequest  = 8
	echoReply    = 0
	echoRequest6 = 128
)

// verdictsMatch applies random tables and compares the kernel with compile.Tables.Verdict on random packets.
func verdictsMatch(t *testing.T, b *bare, revision int64, seed uint64) (dropped int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(of ...uint32) uint32 { return of[r.IntN(len(of))] }
	protocols := []int16{compile.AnyProtocol, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6, unix.IPPROTO_SCTP, 97}
	ports := []uint32{0, 0, 1, 80, 65535}
	ranges := randomRanges(r) // of all roles, which so have no port of two in common
	roles, classes := []uint32{0, 1, 2, 1 << 31}, []uint32{0, 1, 2, 3, 1<<32 - 1}
	rows := map[contivVerdictKey]compile.Verdict{}
	for range r.IntN(80) {
		v := compile.Verdict{
			Role: pick(roles[1:]...), Class: pick(classes...), Protocol: protocols[r.IntN(len(protocols))], Allow: r.IntN(2) == 0,
			Priority: uint8(r.IntN(4)), Rule: uint32(r.IntN(5)), Audit: uint32(r.IntN(2) * (10 + r.IntN(3))), AuditPriority: uint8(r.IntN(4)),
		}
		if v.Protocol == unix.IPPROTO_TCP || v.Protocol == unix.IPPROTO_UDP || v.Protocol == unix.IPPROTO_SCTP {
			v.Port = uint16(pick(ports...))
			if r.IntN(3) == 0 {
				at := ranges[r.IntN(len(ranges))]
				v.Port, v.End = at.first, at.last
			}
		}
		rows[verdictKey(v)] = v
	}
	var in, out, class []uint32
	for range b.ports {
		in, out, class = append(in, pick(roles...)), append(out, pick(roles...)), append(class, pick(classes...))
	}
	tables := b.tables(revision, in, out, class, slices.Collect(maps.Values(rows)))
	tables.Prefixes = randomPrefixes(r, func() uint32 { return pick(classes[1:]...) })
	must(t, b.dp.Apply(tables))
	b.forgetAll(t)
	for i := range 200 {
		v6 := r.IntN(2) == 0
		from, to := b.end(tables, r, v6), b.end(tables, r, v6)
		if from.Name == to.Name {
			continue // the same, or both are outside
		}
		protocol, flags, source, port := uint8(protocols[1+r.IntN(len(protocols)-1)]), byte(syn), uint16(1000+i), uint16(pick(ports[1:]...))
		if r.IntN(2) == 0 { // at the edge of a range
			at := ranges[r.IntN(len(ranges))]
			port = uint16(pick(uint32(at.first), uint32(at.last), uint32(at.first)-1, uint32(at.last)+1, (uint32(at.first)+uint32(at.last))/2))
		}
		asked := port
		switch protocol {
		case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
			protocol, flags = unix.IPPROTO_ICMP, echoRequest
			if v6 {
				protocol, flags = unix.IPPROTO_ICMPV6, echoRequest6
			}
			asked = 0
		case 97:
			asked = 0
			b.forgetAll(t) // without ports, what comes back is a reply
		}
		sent, hasOut := tables.Verdict(from.OutRole, to.class, protocol, asked)
		received, hasIn := tables.Verdict(to.InRole, from.class, protocol, asked)
		want := ""
		switch {
		case hasOut && !sent.Allow:
			want = "policy_out"
		case hasIn && !received.Allow:
			want = "policy_in"
		}
		device, program, at := from.Name, b.dp.objects.FromContainer, to.Port
		if from.Name == "" {
			device, program = model.OutsidePort, b.dp.objects.FromHost
			at.IPv4, at.IPv6 = to.Private4, to.Private6
		}
		if got := b.runAt(t, device, program, packetOf(from.Port, at, v6, protocol, source, port, flags)); got != want {
			t.Errorf("seed %d: protocol %d port %d from %s to %s: %q, want %q\nout: %s\nin: %s\nprefixes: %v", seed, protocol, port, from, to, got, want, sent, received, tables.Prefixes)
		}
		if want != "" {
			dropped++
		}
	}
	return dropped
}

// portRange is from the first to the last.
type portRange struct{ first, last uint16 }

// randomRanges have no port in common.
func randomRanges(r *rand.Rand) (out []portRange) {
	for first := uint32(1 + r.IntN(3)); first < 65535; {
		last := min(first+1+r.Uint32N(1<<r.IntN(16)), 65535)
		out = append(out, portRange{uint16(first), uint16(last)})
		first = last + 1 + r.Uint32N(1<<r.IntN(16))
	}
	return out
}

// end is who sends or receives: a port or, without a name, somebody outside.
type end struct {
	compile.Port
	class uint32
}

func (e end) String() string {
	return fmt.Sprintf("%q at %s and %s (in %d, out %d, class %d)", e.Name, e.IPv4, e.IPv6, e.InRole, e.OutRole, e.class)
}

// end is one of the ports or, now and then, of the outside.
func (b *bare) end(tables compile.Tables, r *rand.Rand, v6 bool) end {
	e := end{Port: compile.Port{IPv4: outsiders4[r.IntN(len(outsiders4))], IPv6: outsiders6[r.IntN(len(outsiders6))], MAC: model.RouterMAC}}
	if r.IntN(3) > 0 {
		e.Port = tables.Ports[r.IntN(len(tables.Ports))]
	}
	a := e.IPv4
	if v6 {
		a = e.IPv6
	}
	e.class = tables.Class(bareTenant, a)
	return e
}

// Addresses of the outside. They share many prefixes and few.
var (
	outsiders4 = addresses("203.0.113.1", "203.0.113.2", "203.0.113.129", "203.0.112.1", "198.51.100.7", "10.1.0.77")
	outsiders6 = addresses("2001:db8::1", "2001:db8::2", "2001:db8::8001", "2001:db8:1::1", "64:ff9b::1", "fd00::77")
)

func addresses(text ...string) (out []netip.Addr) {
	for _, a := range text {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// randomPrefixes have some of those addresses and of the ports', which count as their own, and are of two tenants.
func randomPrefixes(r *rand.Rand, class func() uint32) []compile.Prefix {
	all := map[compile.Prefix]uint32{}
	for range r.IntN(20) {
		of, lengths := outsiders4, []int{0, 1, 8, 16, 23, 24, 25, 30, 31, 32}
		if r.IntN(2) == 0 {
			of, lengths = outsiders6, []int{0, 1, 8, 32, 47, 48, 64, 96, 112, 113, 127, 128}
		}
		p := netip.PrefixFrom(of[r.IntN(len(of))], lengths[r.IntN(len(lengths))]).Masked()
		all[compile.Prefix{Tenant: bareTenant + uint32(r.IntN(4)/3), Prefix: p}] = class()
	}
	var out []compile.Prefix
	for p, class := range all {
		p.Class = class
		out = append(out, p)
	}
	return out
}

func TestVerdictsAreThoseOfTheTables(t *testing.T) {
	t.Parallel()
	b := newBare(t, 6)
	dropped := 0
	for seed := range uint64(40) {
		dropped += verdictsMatch(t, b, int64(seed+1), seed)
	}
	if dropped < 100 {
		t.Errorf("of 8,000 packets only %d were denied: the test says little", dropped)
	}
}

func FuzzVerdictsAreThoseOfTheTables(f *testing.F) {
	f.Add(uint64(1))
	b := newBare(f, 6)
	revision := int64(0)
	f.Fuzz(func(t *testing.T, seed uint64) {
		revision++
		verdictsMatch(t, b, revision, seed)
	})
}

func runOf(frame []byte, context [192]byte) *ebpf.RunOptions {
	return &ebpf.RunOptions{Data: frame, Context: context, Repeat: 1}
}
