// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
)

func TestOwnersOfPortsAreNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	want := fmt.Sprintf("process %d (", os.Getpid())
	if got := OwnerOfTCP(uint16(l.Addr().(*net.TCPAddr).Port)); !strings.HasPrefix(got, want) {
		t.Errorf("TCP: %q, want %q", got, want)
	}
	if got := OwnerOfUDP(uint16(u.LocalAddr().(*net.UDPAddr).Port)); !strings.HasPrefix(got, want) {
		t.Errorf("UDP: %q, want %q", got, want)
	}
	if got := OwnerOfTCP(1); got != "" {
		t.Errorf("nobody's port belongs to %q", got)
	}
}
