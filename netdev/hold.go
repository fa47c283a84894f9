// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/model"
)

// HoldPort takes a port of the node, 0 for any that is free, so that no process gets it for which packets would never come. The address
// may be unspecified. Nothing is read there. Of SCTP nothing is held, as few kernels have it.
func HoldPort(protocol string, at netip.AddrPort) (held io.Closer, port uint16, err error) {
	family := "4"
	if at.Addr().Is6() {
		family = "6"
	}
	switch protocol {
	case "tcp":
		var l net.Listener
		if l, err = net.Listen("tcp"+family, at.String()); err == nil {
			return l, l.Addr().(*net.TCPAddr).AddrPort().Port(), nil
		}
	case "udp":
		var c net.PacketConn
		if c, err = net.ListenPacket("udp"+family, at.String()); err == nil {
			return c, c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
		}
	default:
		if at.Port() == 0 {
			return nil, 0, model.Invalid("portmap", "a port for %s has to be named: give -p HOST:CONTAINER/%s", protocol, protocol)
		}
		return io.NopCloser(nil), at.Port(), nil
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, 0, model.Exists("portmap", "port %d/%s of this node is in use already: choose another, or stop who has it", at.Port(), protocol)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, 0, model.Invalid("portmap", "%s is no address of this node: publish at one of its own, or at all by leaving it out", at.Addr())
	}
	return nil, 0, fmt.Errorf("take port %s/%s of this node: %w", at, protocol, err)
}
