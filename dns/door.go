// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// door is our sockets of one address family in a container.
type door struct {
	udp *net.UDPConn
	tcp net.Listener
	raw *net.IPConn // sends whole packets, so that answers come from who was asked
}

// openDoor opens the sockets in the namespace of the calling thread, for the family of the address, which is the unspecified one.
func openDoor(at netip.Addr) (d door, err error) {
	version := "6"
	if at.Is4() {
		version = "4"
	}
	listen := net.ListenConfig{Control: listening}
	listen.SetMultipathTCP(false)
	addr := netip.AddrPortFrom(at, port).String()
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	pc, err := listen.ListenPacket(context.Background(), "udp"+version, addr)
	if err == nil {
		d.udp = pc.(*net.UDPConn)
		d.tcp, err = listen.Listen(context.Background(), "tcp"+version, addr)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return d, fmt.Errorf("port %d is taken in the container; its program has to use another for names to work: %w", port, err)
	}
	if err != nil {
		return d, fmt.Errorf("listen in the container: %w", err)
	}
	send := net.ListenConfig{Control: sending}
	pc, err = send.ListenPacket(context.Background(), fmt.Sprintf("ip%s:%d", version, unix.IPPROTO_RAW), "")
	if err != nil {
		return d, fmt.Errorf("open a raw socket in the container: %w", err)
	}
	d.raw = pc.(*net.IPConn)
	return d, nil
}

// send sends a packet that says that it comes from somebody else.
func (d door) send(from, to netip.AddrPort, payload []byte) error {
	_, err := d.raw.WriteToIP(datagram(from, to, payload), &net.IPAddr{IP: to.Addr().AsSlice()})
	return err
}

func (d door) close() {
	if d.udp != nil {
		_ = d.udp.Close()
	}
	if d.tcp != nil {
		_ = d.tcp.Close()
	}
	if d.raw != nil {
		_ = d.raw.Close()
	}
}
