// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDatagramIsAsTheKernelTakesIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, payload, want string }{
		{"10.1.1.2:4242", "192.0.2.53:53", "hello", "45000021000000003d110000" + "0a010102" + "c0000235" + "10920035000dde02" + "68656c6c6f"},
		{"[2001:db8::2]:4242", "[2001:db8::53]:53", "hello!", "60000000000e113d" + "20010db8000000000000000000000002" + "20010db8000000000000000000000053" +
			"10920035000e4f51" + "68656c6c6f21"},
	} {
		got := datagram(netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to), []byte(c.payload))
		want, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("from %s to %s:\n%x, want\n%x", c.from, c.to, got, want)
		}
	}
}

func TestDestinationIsReadFromControlMessages(t *testing.T) {
	t.Parallel()
	four, six := netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")
	for _, want := range []netip.Addr{four, six} {
		var oob []byte
		if want.Is4() {
			oob = unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: 1, Spec_dst: [4]byte{127, 0, 0, 1}, Addr: want.As4()})
		} else {
			oob = unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: 1, Addr: want.As16()})
		}
		other := unix.UnixRights(7) // somebody's before it
		if got, ok := destinationOf(append(other, oob...)); !ok || got != want {
			t.Errorf("got %v, %v; want %v", got, ok, want)
		}
		if got, ok := destinationOf(oob[:len(oob)-8]); ok {
			t.Errorf("cut off, it is %v", got)
		}
	}
}

func FuzzDatagramHasAGoodChecksum(f *testing.F) {
	f.Add([]byte("question"), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, payload []byte, v6 bool) {
		if len(payload) > maxUDP {
			return
		}
		from, to, header := netip.MustParseAddrPort("10.1.1.2:4242"), netip.MustParseAddrPort("192.0.2.53:53"), ipv4HeaderLen
		addresses := header - 8
		if v6 {
			from, to, header = netip.MustParseAddrPort("[2001:db8::2]:4242"), netip.MustParseAddrPort("[2001:db8::53]:53"), ipv6HeaderLen
			addresses = header - 32
		}
		b := datagram(from, to, payload)
		if len(b) != header+udpHeaderLen+len(payload) || int(binary.BigEndian.Uint16(b[header+4:])) != udpHeaderLen+len(payload) {
			t.Fatalf("%x", b)
		}
		// Over a packet with its checksum the sum is all ones.
		if sum := checksum(uint32(unix.IPPROTO_UDP)+uint32(udpHeaderLen+len(payload)), b[addresses:]); sum != 0xffff {
			t.Errorf("sum %#x of %x", sum, b)
		}
	})
}
