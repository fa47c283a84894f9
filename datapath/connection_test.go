// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/compile"
)

// The roles of these tests: what comes in to a guarded port may come to TCP and UDP port 80 only, by rule 80. Rule 1 denies.
const guarded = 7

func guard() []compile.Verdict {
	deny := compile.Verdict{Role: guarded, Protocol: compile.AnyProtocol, Priority: 1, Rule: 1}
	allow := compile.Verdict{Role: guarded, Protocol: unix.IPPROTO_TCP, Port: 80, Allow: true, Priority: 2, Rule: 80}
	alike := allow
	alike.Protocol = unix.IPPROTO_UDP
	return []compile.Verdict{deny, allow, alike}
}

func denyAll() []compile.Verdict { return guard()[:1] }

// twoPorts are a client (0) and a server (1), which is guarded by the verdicts.
type twoPorts struct {
	*bare
	t        testing.TB
	revision int64
	recheck  bool
	sealed   bool // the server may not send either, by rule 2
}

func newTwoPorts(t testing.TB) *twoPorts { return &twoPorts{bare: newBare(t, 2), t: t} }

func (p *twoPorts) apply(verdicts []compile.Verdict) {
	p.t.Helper()
	p.revision++
	roles := []uint32{0, guarded}
	if verdicts == nil {
		roles[1] = 0
	}
	out := []uint32{0, 0}
	if p.sealed {
		out[1] = guarded + 1
		verdicts = append(verdicts, compile.Verdict{Role: guarded + 1, Protocol: compile.AnyProtocol, Priority: 1, Rule: 2})
	}
	tables := p.tables(p.revision, roles, out, []uint32{0, 0}, verdicts)
	tables.Recheck = p.recheck
	must(p.t, p.dp.Apply(tables))
}

// tcp sends a segment of the client's connection from port 1000 to the server's port, or back.
func (p *twoPorts) tcp(back bool, port uint16, flags byte) string {
	p.t.Helper()
	if back {
		return p.run(p.t, 1, p.packet(1, 0, false, unix.IPPROTO_TCP, port, 1000, flags))
	}
	return p.run(p.t, 0, p.packet(0, 1, false, unix.IPPROTO_TCP, 1000, port, flags))
}

func (p *twoPorts) wants(want, got string) {
	p.t.Helper()
	if want != got {
		p.t.Errorf("got %q, want %q", got, want)
	}
}

// open opens a TCP connection.
func (p *twoPorts) open(port uint16) {
	p.t.Helper()
	p.wants("", p.tcp(false, port, syn))
	p.wants("", p.tcp(true, port, syn|ack))
	p.wants("", p.tcp(false, port, ack))
}

func (p *twoPorts) connections() (count int) {
	p.t.Helper()
	must(p.t, eachRow(p.dp.objects.Connections4, func(contivConnection4Key, contivConnection) error {
		count++
		return nil
	}))
	must(p.t, eachRow(p.dp.objects.Connections6, func(contivConnectionKey, contivConnection) error {
		count++
		return nil
	}))
	return count
}

func TestConnectionSurvivesALaterDeny(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(guard())
	p.open(80)
	p.apply(denyAll())
	p.wants("", p.tcp(false, 80, ack))
	p.wants("", p.tcp(true, 80, ack))
	p.wants("policy_in", p.tcp(false, 80, syn)) // but it does not begin again
	p.sealed = true
	p.apply(denyAll())
	p.wants("", p.tcp(false, 80, ack))
	p.wants("", p.tcp(true, 80, ack))
	p.wants("policy_in", p.tcp(false, 81, ack))
	p.wants("policy_out", p.tcp(true, 81, ack))
}

func TestConnectionEndsAtALaterDenyWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.recheck = true
	p.apply(guard())
	p.open(80)
	p.apply(append(guard(), compile.Verdict{Role: guarded, Protocol: 97, Priority: 2, Rule: 97}))
	p.wants("", p.tcp(true, 80, ack)) // another rule came: it is still allowed
	p.wants("", p.tcp(false, 80, ack))
	p.apply(denyAll())
	p.wants("policy_in", p.tcp(false, 80, ack))
	p.wants("policy_in", p.tcp(true, 80, ack)) // its other direction, though the server may send
	p.recheck = false
	p.apply(guard())
	p.open(80)
	p.apply(denyAll())
	p.recheck = true
	p.apply(denyAll()) // the setting alone ends it too
	p.wants("policy_in", p.tcp(false, 80, ack))
}

func TestConnectionOlderThanTheFirstPolicySurvives(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(nil)
	p.open(80)
	p.sealed = true
	p.apply(denyAll())
	for range 3 {
		p.wants("", p.tcp(false, 80, ack))
		p.wants("", p.tcp(true, 80, ack))
	}
	p.wants("policy_in", p.tcp(false, 80, syn))
	p.wants("policy_in", p.run(t, 0, p.packet(0, 1, false, unix.IPPROTO_UDP, 5, 6, 0)))
	p.recheck = true
	p.apply(denyAll())
	p.wants("policy_in", p.tcp(false, 80, ack))
}

func TestReplyPassesAndNothingElseComesIn(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(denyAll())
	for _, v6 := range []bool{false, true} {
		icmp, request, reply := uint8(unix.IPPROTO_ICMP), byte(echoRequest), byte(echoReply)
		if v6 {
			icmp, request, reply = unix.IPPROTO_ICMPV6, echoRequest6, 129
		}
		to := func(protocol uint8, source, destination uint16, flags byte) string {
			return p.run(t, 0, p.packet(0, 1, v6, protocol, source, destination, flags))
		}
		from := func(protocol uint8, source, destination uint16, flags byte) string {
			return p.run(t, 1, p.packet(1, 0, v6, protocol, source, destination, flags))
		}
		p.wants("policy_in", to(unix.IPPROTO_UDP, 53, 2000, 0))
		p.wants("", from(unix.IPPROTO_UDP, 2000, 53, 0))
		p.wants("", to(unix.IPPROTO_UDP, 53, 2000, 0))
		p.wants("policy_in", to(unix.IPPROTO_UDP, 53, 2001, 0))
		p.wants("policy_in", to(icmp, 9, 0, reply))
		p.wants("", from(icmp, 9, 0, request))
		p.wants("", to(icmp, 9, 0, reply))
		p.wants("policy_in", to(icmp, 9, 0, request)) // the other's own question is no reply
		p.wants("policy_in", to(icmp, 8, 0, reply))
		p.wants("policy_in", to(unix.IPPROTO_TCP, 53, 2000, syn))
		p.wants("", from(unix.IPPROTO_TCP, 2000, 53, syn))
		p.wants("policy_in", to(unix.IPPROTO_TCP, 53, 2000, syn)) // opened at once by both: the server does not want that
		p.wants("", to(unix.IPPROTO_TCP, 53, 2000, syn|ack))
		p.wants("policy_in", to(97, 0, 0, 0))
		p.wants("", from(97, 0, 0, 0))
		p.wants("", to(97, 0, 0, 0))
	}
}

// A connection that the table has lost goes on where the rules would let it begin, from either end.
func TestConnectionThatIsNotKnownIsAskedAboutInBothDirections(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(guard())
	p.open(80)
	p.forgetAll(t)
	p.wants("", p.tcp(true, 80, ack))
	p.wants("", p.tcp(false, 80, ack))
	p.forgetAll(t)
	p.sealed = true
	p.apply(guard())
	p.wants("", p.tcp(false, 80, ack))
	p.forgetAll(t)
	p.wants("", p.tcp(true, 80, ack)) // it may be a reply
	p.wants("policy_in", p.tcp(false, 81, ack))
	p.wants("policy_out", p.tcp(true, 81, ack))
}

func TestConnectionsThatHaveEndedAreForgotten(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(guard())
	p.open(80)
	if n := p.connections(); n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	for _, x := range []struct {
		back  bool
		flags byte
	}{{true, fin | ack}, {false, ack}, {false, fin | ack}, {true, ack}} {
		if n := p.connections(); n != 1 {
			t.Errorf("%d connections before it ended", n)
		}
		p.wants("", p.tcp(x.back, 80, x.flags))
	}
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections after it ended", n)
	}
	p.open(80)
	p.wants("", p.tcp(true, 80, rst|ack))
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections after it was reset", n)
	}
	// Somebody else may get the address.
	p.open(80)
	tables := p.tables(99, []uint32{0, guarded}, []uint32{0, 0}, []uint32{0, 0}, guard())
	tables.Ports, tables.Endpoints = tables.Ports[:1], tables.Endpoints[:1]
	must(t, p.dp.Apply(tables))
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections of an endpoint that is gone", n)
	}
}

func TestIdleConnectionsAreCollected(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	c := p.dp.clock
	units := func(d time.Duration) uint16 { return uint16(d / c.between(0, 1)) }
	for name, x := range map[string]struct {
		proto uint32
		c     contivConnection
		now   uint16
		want  bool
	}{
		"UDP":                         {unix.IPPROTO_UDP, contivConnection{Seen: 10}, 10 + units(4*time.Minute), true},
		"busy UDP":                    {unix.IPPROTO_UDP, contivConnection{Seen: 10}, 11, false},
		"UDP as the clock goes round": {unix.IPPROTO_UDP, contivConnection{Seen: 65535}, 3, false},
		"quiet TCP":                   {unix.IPPROTO_TCP, contivConnection{Seen: 10}, 10 + units(time.Hour), false},
		"TCP after a day":             {unix.IPPROTO_TCP, contivConnection{Seen: 10}, 10 + units(25*time.Hour), true},
		"TCP after a FIN":             {unix.IPPROTO_TCP, contivConnection{Seen: 10, State: uint8(contivConnectionStateSTATE_FIN_LOW)}, 10 + units(3*time.Minute), true},
	} {
		if got := c.isIdle(x.proto, x.c, x.now); got != x.want {
			t.Errorf("%s: idle %t", name, got)
		}
	}
	p.apply(guard())
	p.open(80)
	must(t, p.dp.collectIdle())
	if n := p.connections(); n != 1 {
		t.Fatalf("%d connections, want 1", n)
	}
	must(t, eachRow(p.dp.objects.Connections4, func(k contivConnection4Key, c contivConnection) error {
		c.Seen -= units(25 * time.Hour)
		return p.dp.objects.Connections4.Put(k, c)
	}))
	must(t, p.dp.collectIdle())
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections after a day", n)
	}
}

// One container sends what nobody answers, as fast as it can.
func TestFloodPushesOutNoConnection(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(guard())
	p.open(80)
	before := p.connections()
	frame := p.packet(0, 1, false, unix.IPPROTO_TCP, 0, 80, syn)
	const sources = 60000
	must(t, p.do(func() error {
		context, err := p.context(0)
		if err != nil {
			return err
		}
		for round := range 2 { // more than there is room for openings
			for source := range uint16(sources) {
				binary.BigEndian.PutUint16(frame[34:], 1001+source)
				frame[33] = byte(2 - round) // the second round goes to another address, which nobody has
				if round == 1 {
					frame[47] = ack // and here to the same, without a beginning
					frame[33] = 2
				}
				if _, err := p.dp.objects.FromContainer.Run(runOf(frame, context)); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	if n := p.connections(); n != before {
		t.Errorf("%d connections, before the flood %d", n, before)
	}
	p.apply(denyAll()) // only known connections pass now
	p.wants("", p.tcp(false, 80, ack))
	p.wants("", p.tcp(true, 80, ack))
}

// icmpError is what port from would say about a packet that it got.
func (p *twoPorts) icmpError(from int, about []byte) []byte {
	to := 1 - from
	message := append([]byte{3, 3, 0, 0, 0, 0, 0, 0}, about[14:14+28]...)
	return ethernet(p.ports[from].MAC, p.ports[to].MAC, unix.ETH_P_IP, ipv4(p.ports[from].IPv4, p.ports[to].IPv4, unix.IPPROTO_ICMP, message))
}

func TestErrorsAboutConnectionsPass(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(denyAll())
	sent := p.packet(1, 0, false, unix.IPPROTO_UDP, 2000, 53, 0)
	p.wants("policy_in", p.run(t, 0, p.icmpError(0, sent))) // nobody asked
	p.wants("", p.run(t, 1, sent))
	p.wants("", p.run(t, 0, p.icmpError(0, sent)))
	p.wants("policy_in", p.run(t, 0, p.icmpError(0, p.packet(1, 0, false, unix.IPPROTO_UDP, 2001, 53, 0))))
	p.wants("policy_in", p.run(t, 0, p.icmpError(0, p.packet(0, 1, false, unix.IPPROTO_UDP, 53, 2000, 0)))) // about what it sent itself
}

// fragmentOf is a part of a datagram. Its checksum is right, as readers may look.
func (p *twoPorts) fragmentOf(frame []byte, id, offset uint16, more bool) []byte {
	f := append([]byte{}, frame...)
	binary.BigEndian.PutUint16(f[18:], id)
	if more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(f[20:], offset)
	f[24], f[25] = 0, 0
	binary.BigEndian.PutUint16(f[24:], internetChecksum(f[14:34]))
	return f
}

func TestFragmentsFollowTheirFirstOne(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	p.apply(guard())
	allowed, denied := p.packet(0, 1, false, unix.IPPROTO_UDP, 1000, 80, 0), p.packet(0, 1, false, unix.IPPROTO_UDP, 1000, 81, 0)
	p.wants("policy_fragment", p.run(t, 0, p.fragmentOf(allowed, 1, 100, false)))
	p.wants("", p.run(t, 0, p.fragmentOf(allowed, 1, 0, true)))
	p.wants("", p.run(t, 0, p.fragmentOf(allowed, 1, 100, true)))
	p.wants("", p.run(t, 0, p.fragmentOf(allowed, 1, 200, false)))
	p.wants("policy_in", p.run(t, 0, p.fragmentOf(denied, 2, 0, true)))
	p.wants("policy_fragment", p.run(t, 0, p.fragmentOf(denied, 2, 100, false)))
	p.wants("policy_fragment", p.run(t, 0, p.fragmentOf(allowed, 3, 1, true)))
	// A first fragment whose ports are in the next one.
	x, y := p.ports[0], p.ports[1]
	short := p.fragmentOf(ethernet(x.MAC, y.MAC, unix.ETH_P_IP, ipv4(x.IPv4, y.IPv4, unix.IPPROTO_TCP, make([]byte, 2))), 4, 0, true)
	p.wants("policy_fragment", p.run(t, 0, short))
	flagless := p.fragmentOf(ethernet(x.MAC, y.MAC, unix.ETH_P_IP, ipv4(x.IPv4, y.IPv4, unix.IPPROTO_TCP, []byte{3, 232, 0, 80, 0, 0, 0, 0})), 5, 0, true)
	p.wants("policy_fragment", p.run(t, 0, flagless))
	fragment6 := func(next byte, id byte, offset byte, payload []byte) []byte {
		return ethernet(x.MAC, y.MAC, unix.ETH_P_IPV6, ipv6(x.IPv6, y.IPv6, 44, []byte{next, 0, 0, offset, 0, 0, 0, id}, payload))
	}
	udp := append(udpHeader(1000, 80, 8), make([]byte, 8)...)
	p.wants("policy_fragment", p.run(t, 0, fragment6(17, 1, 16, udp)))
	p.wants("", p.run(t, 0, fragment6(17, 1, 1, udp)))
	p.wants("", p.run(t, 0, fragment6(17, 1, 16, udp)))
	p.wants("policy_in", p.run(t, 0, fragment6(17, 2, 1, append(udpHeader(1000, 81, 8), make([]byte, 8)...))))
	// Ports that hide behind another header after the fragment's.
	p.wants("policy_fragment", p.run(t, 0, fragment6(60, 3, 1, append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, udp...))))
}

func TestRulesCountWhatTheyDecide(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	verdicts := guard()
	verdicts[2].Audit, verdicts[2].AuditPriority = 90, 5 // of UDP port 80
	p.apply(verdicts)
	p.open(80)
	for range 1000 {
		p.wants("", p.tcp(false, 80, ack))
	}
	p.wants("policy_in", p.tcp(false, 81, syn))
	p.wants("policy_in", p.tcp(false, 81, syn))
	p.wants("", p.run(t, 0, p.packet(0, 1, false, unix.IPPROTO_UDP, 5, 80, 0)))
	counts, err := p.dp.RuleCounts()
	must(t, err)
	for rule, want := range map[uint32]RuleCount{80: {Packets: 1004, Allowed: 2}, 1: {Denied: 2}, 90: {Audited: 1}} {
		if counts[rule] != want {
			t.Errorf("rule %d: %+v, want %+v", rule, counts[rule], want)
		}
	}
	p.wants("", p.tcp(true, 80, rst))
	if counts, err = p.dp.RuleCounts(); err != nil || counts[80].Packets != 1005 {
		t.Errorf("after the end: %+v %v", counts[80], err)
	}
	p.apply(denyAll())
	if counts, err = p.dp.RuleCounts(); err != nil || len(counts) != 1 || counts[1].Denied != 2 {
		t.Errorf("after rules went: %+v %v", counts, err)
	}
}

func TestEventsTellWhatBegins(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	verdicts := guard()
	verdicts[2].Audit, verdicts[2].AuditPriority = 90, 5
	p.apply(verdicts)
	p.open(80) // nobody listens
	ctx, cancel := context.WithCancel(within(t, patience))
	got := make(chan Event)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(got)
		for e, err := range p.dp.Events(ctx) {
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case got <- e:
			case <-ctx.Done():
			}
		}
	})
	for end := deadline(); ; time.Sleep(time.Millisecond) {
		var l contivListener
		must(t, p.dp.objects.Listening.Lookup(uint32(0), &l))
		if l.Wanted != 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody listens")
		}
	}
	for _, err := range p.dp.Events(ctx) {
		if !errors.Is(err, ErrListening) {
			t.Errorf("a second reader: %v", err)
		}
	}
	p.wants("", p.tcp(false, 80, ack)) // nothing begins
	p.wants("policy_in", p.tcp(false, 81, syn))
	p.wants("", p.run(t, 0, p.packet(0, 1, true, unix.IPPROTO_UDP, 5, 80, 0)))
	client, server := p.ports[0], p.ports[1]
	for _, want := range []string{
		fmt.Sprintf("refused 6 %s:1000 %s:81 rule 1 out false", client.IPv4, server.IPv4),
		fmt.Sprintf("audited 17 [%s]:5 [%s]:80 rule 90 out false", client.IPv6, server.IPv6),
	} {
		e, ok := <-got
		if !ok {
			t.Fatal("no more events")
		}
		if s := fmt.Sprintf("%s %d %s %s rule %d out %t", e.Kind, e.Protocol, e.Source, e.Destination, e.Rule, e.Out); s != want {
			t.Errorf("%s, want %s", s, want)
		}
		if age := time.Since(e.Time); age < -time.Second || age > patience || e.Tenant != bareTenant {
			t.Errorf("time %s, tenant %d", e.Time, e.Tenant)
		}
	}
	cancel()
	reader.Wait()
	if lost, err := p.dp.EventsLost(); err != nil || lost != 0 {
		t.Errorf("%d events lost: %v", lost, err)
	}
}

// While the rules change from one intent to the other and back, what both allow passes and what both deny does not.
func TestChangesAreAtomic(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	intent := func(priority uint8, own uint16) []compile.Verdict {
		row := func(protocol int16, port uint16, allow bool, priority uint8, rule uint32) compile.Verdict {
			return compile.Verdict{Role: guarded, Protocol: protocol, Port: port, Allow: allow, Priority: priority, Rule: rule}
		}
		return []compile.Verdict{
			row(compile.AnyProtocol, 0, false, priority, 1), row(unix.IPPROTO_UDP, 80, true, priority+1, 80), row(unix.IPPROTO_UDP, own, true, priority+1, 81),
			row(unix.IPPROTO_UDP, 99, false, priority+1, 99),
		}
	}
	intents := [][]compile.Verdict{intent(1, 81), intent(20, 82)}
	p.apply(intents[0])
	ctx, stop := context.WithCancel(within(t, time.Minute))
	var traffic sync.WaitGroup
	for worker := range 2 {
		traffic.Go(func() {
			must(t, p.do(func() error {
				in, err := p.context(0)
				if err != nil {
					return err
				}
				source, counts := uint16(0), [2]int{}
				for ctx.Err() == nil {
					source++
					for _, x := range []struct {
						port uint16
						want uint32
					}{{80, ranRedirect}, {83, ranShot}, {99, ranShot}} {
						code, err := p.dp.objects.FromContainer.Run(runOf(p.packet(0, 1, worker == 1, unix.IPPROTO_UDP, source, x.port, 0), in))
						if err != nil {
							return err
						}
						if code != x.want {
							t.Errorf("to port %d: %d, want %d", x.port, code, x.want)
							return nil
						}
						counts[worker]++
					}
				}
				if counts[worker] < 1000 {
					t.Errorf("only %d packets", counts[worker])
				}
				return nil
			}))
		})
	}
	changes := 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); changes++ {
		p.apply(intents[changes%2])
	}
	stop()
	traffic.Wait()
	t.Logf("%d changes", changes)
	if changes < 20 {
		t.Errorf("only %d changes", changes)
	}
}

// A million connections are to fit into 128 MB, with their places in the table.
func TestConnectionTakesAtMost128Bytes(t *testing.T) {
	t.Parallel()
	b, err := blueprintFor(settings{vtep: netip.MustParseAddr("192.168.2.10"), port: 4789})
	must(t, err)
	const header, bucket, listNode = 48, 16, 8 // struct htab_elem up to its key, struct bucket, struct llist_node
	up8 := func(n uint32) uint32 { return (n + 7) &^ 7 }
	for _, name := range []string{contivMapConnections4, contivMapConnections6} {
		m := b.spec.Maps[name]
		if !isPowerOfTwo(m.MaxEntries) {
			t.Errorf("%s has %d places: the kernel makes more buckets than that", name, m.MaxEntries)
		}
		bytes := header + up8(m.KeySize) + up8(m.ValueSize)
		if m.Flags&unix.BPF_F_NO_PREALLOC != 0 { // then the allocator rounds up
			for _, size := range []uint32{64, 96, 128, 192, 256} {
				if bytes+listNode <= size {
					bytes = size
					break
				}
			}
		}
		t.Logf("%s: %d bytes each in all", name, bytes+bucket)
		if bytes+bucket > 128 {
			t.Errorf("a connection in %s takes %d bytes and %d for its bucket", name, bytes, bucket)
		}
	}
	if n := b.spec.Maps[contivMapConnections4].MaxEntries; n < 1_000_000 {
		t.Errorf("there is room for %d connections", n)
	}
}

func isPowerOfTwo(n uint32) bool { return n&(n-1) == 0 }

// IPv6 has a table of its own.
func TestIPv6ConnectionsAreForgottenToo(t *testing.T) {
	t.Parallel()
	p := newTwoPorts(t)
	open := func() {
		t.Helper()
		p.wants("", p.run(t, 0, p.packet(0, 1, true, unix.IPPROTO_TCP, 1000, 80, syn)))
		p.wants("", p.run(t, 1, p.packet(1, 0, true, unix.IPPROTO_TCP, 80, 1000, syn|ack)))
		p.wants("", p.run(t, 0, p.packet(0, 1, true, unix.IPPROTO_TCP, 1000, 80, ack)))
		if n := p.connections(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	}
	p.apply(guard())
	open()
	p.wants("", p.run(t, 1, p.packet(1, 0, true, unix.IPPROTO_TCP, 80, 1000, rst|ack)))
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections after it was reset", n)
	}
	open()
	tables := p.tables(99, []uint32{0, guarded}, []uint32{0, 0}, []uint32{0, 0}, guard())
	tables.Ports, tables.Endpoints = tables.Ports[:1], tables.Endpoints[:1]
	must(t, p.dp.Apply(tables))
	if n := p.connections(); n != 0 {
		t.Errorf("%d connections of an endpoint that is gone", n)
	}
}
