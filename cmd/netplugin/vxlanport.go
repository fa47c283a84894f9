// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/cmd/internal/sockets"
)

// claimPort takes the VXLAN port for as long as the process lives. Packets to it never reach the socket, as the data
// path takes them at the uplink; but whoever else wants the port hears that it is taken, and so do we.
func claimPort(port uint16) (net.PacketConn, error) {
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(port)})
	if err == nil {
		return c, nil
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d is taken by %s: stop that, or start netplugin on all nodes with another --vxlan-port", port, portOwner(port))
	}
	return nil, fmt.Errorf("take UDP port %d for VXLAN: %w", port, err)
}

// portOwner says who has a UDP port of this namespace.
func portOwner(port uint16) string {
	if links, err := netlink.LinkList(); err == nil {
		for _, l := range links {
			if v, ok := l.(*netlink.Vxlan); ok && v.Port == int(port) {
				return fmt.Sprintf("the VXLAN device %s", l.Attrs().Name)
			}
		}
	}
	if who := sockets.OwnerOfUDP(port); who != "" {
		return who
	}
	return "a VXLAN device in another network namespace (Docker's own overlay network makes one)"
}
