// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/netdev"
)

// door is our sockets of one address family at one device of a container: lo, where questions come as they were sent, or one whose
// port reflects them, with their ends changed round.
type door struct {
	device int // its index
	v6     bool
	udp    *net.UDPConn
	tcp    net.Listener
	raw    *net.IPConn // sends whole packets, so that answers come from who was asked
}

// openDoor opens the sockets in the namespace of the calling thread, for the family of the address, which is the unspecified one.
func openDoor(at netip.Addr, device int) (d door, err error) {
	d.device, d.v6 = device, at.Is6()
	version := "6"
	if at.Is4() {
		version = "4"
	}
	listen := net.ListenConfig{Control: listening(device)}
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
	send := net.ListenConfig{Control: sending(device)}
	pc, err = send.ListenPacket(context.Background(), fmt.Sprintf("ip%s:%d", version, unix.IPPROTO_RAW), "")
	if err != nil {
		return d, fmt.Errorf("open a raw socket in the container: %w", err)
	}
	d.raw = pc.(*net.IPConn)
	return d, nil
}

// reflects tells whether questions come here by a port, else by lo.
func (d door) reflects() bool { return d.device != netdev.Loopback }

// over is how questions come that are datagrams.
func (d door) over() transport {
	if d.reflects() {
		return udpByPort
	}
	return udp
}

// ends are who asks and who is asked, of a packet with these ends.
func (d door) ends(from netip.AddrPort, to netip.Addr) (client, server netip.AddrPort) {
	if d.reflects() {
		return netip.AddrPortFrom(to, from.Port()), netip.AddrPortFrom(from.Addr(), dnsPort)
	}
	return from, netip.AddrPortFrom(to, dnsPort)
}

// answer sends what the client gets in the name of the server.
func (d door) answer(client, server netip.AddrPort, payload []byte) error {
	if d.reflects() { // which has the ends as they should be
		return d.send(netip.AddrPortFrom(client.Addr(), port), netip.AddrPortFrom(server.Addr(), client.Port()), payload)
	}
	return d.send(server, client, payload)
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
