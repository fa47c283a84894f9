// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/contivnet/contiv/model"
)

func TestAnnouncementsAreFramesOfTheirVLAN(t *testing.T) {
	t.Parallel()
	mac := model.MAC{2, 2, 10, 1, 3, 1}
	for addr, want := range map[string]string{
		"10.1.3.1": "ffffffffffff" + "02020a010301" + "81000070" + "0806" + "0001080006040001" +
			"02020a010301" + "0a010301" + "000000000000" + "0a010301",
		"fd03::1": "333300000001" + "02020a010301" + "81000070" + "86dd" + "60000000" + "00203aff" +
			"fd030000000000000000000000000001" + "ff020000000000000000000000000001" +
			"8800" + "XXXX" + "20000000" + "fd030000000000000000000000000001" + "020102020a010301",
	} {
		f := Announcement{VLAN: 112, Addr: netip.MustParseAddr(addr), MAC: mac}.frame()
		got := hex.EncodeToString(f)
		for i, c := range want {
			if c != 'X' && (i >= len(got) || got[i] != byte(c)) {
				t.Fatalf("%s is announced by\n%s, want\n%s", addr, got, want)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s is announced by %d bytes, want %d", addr, len(got)/2, len(want)/2)
		}
	}
	// RFC 1071: with its checksum, what is summed adds up to ones. The sum is over the addresses, the length, 58, and the message.
	f := Announcement{VLAN: 112, Addr: netip.MustParseAddr("fd03::1"), MAC: mac}.frame()
	sum := uint32(32 + 58)
	for i := 18 + 8; i < len(f); i += 2 {
		sum += uint32(f[i])<<8 | uint32(f[i+1])
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	if sum != 0xffff {
		t.Errorf("the advertisement's checksum is wrong: %#x", sum)
	}
}
