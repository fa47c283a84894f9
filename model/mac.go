// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"net"
	"net/netip"
)

// MAC is an Ethernet address in wire order.
type MAC [6]byte

// RouterMAC is the address under which every node answers for gateways and for other networks.
// It is the same everywhere, so a container may move without its neighbours noticing. It cannot
// clash with an endpoint's: those end in an IPv4 address, and 0.0.0.1 is never one's.
var RouterMAC = MAC{0x02, 0x02, 0, 0, 0, 0x01}

// MACOf gives an endpoint's MAC: 02:02 and the four bytes of its IPv4 address, or 02:06 and the last four of its
// IPv6 address where it has no IPv4. With 02:02 the endpoint at 2001:db8::1 would have RouterMAC.
func MACOf(a netip.Addr) MAC {
	b := a.Unmap().AsSlice()
	if len(b) < 4 {
		return MAC{}
	}
	second := byte(0x02)
	if len(b) > 4 {
		second = 0x06
	}
	b = b[len(b)-4:]
	return MAC{0x02, second, b[0], b[1], b[2], b[3]}
}

// ParseMAC reads aa:bb:cc:dd:ee:ff. Multicast addresses and zero are refused.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 || hw[0]&1 == 1 || MAC(hw) == (MAC{}) {
		return MAC{}, Invalid("macAddress", "macAddress %q is not a unicast Ethernet address; write it as 02:02:0a:01:02:03", s)
	}
	return MAC(hw), nil
}

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// IsZero tells whether no address is set.
func (m MAC) IsZero() bool { return m == MAC{} }

func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	v, err := ParseMAC(string(b))
	*m = v
	return err
}
