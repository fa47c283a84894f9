// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/contivnet/contiv/datapath"
	"github.com/contivnet/contiv/netdev"
)

// buffers are of 64 KiB, lent only while a packet is at hand: a hundred idle containers hold none.
var buffers = sync.Pool{New: func() any { return new([dns.MaxMsgSize]byte) }}

// receive waits for one packet and hands it to use, which must not keep it, with the address that it was sent to.
func receive(rc syscall.RawConn, use func(packet []byte, from netip.AddrPort, to netip.Addr)) error {
	var (
		buf    *[dns.MaxMsgSize]byte
		oob    [128]byte
		n, out int
		from   unix.Sockaddr
		err    error
	)
	// use must not run in this function: closing the socket waits for its end.
	closed := rc.Read(func(fd uintptr) bool {
		buf = buffers.Get().(*[dns.MaxMsgSize]byte)
		for {
			if n, out, _, from, err = unix.Recvmsg(int(fd), buf[:], oob[:], 0); err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			buffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if buf != nil {
		defer buffers.Put(buf)
	}
	if closed != nil {
		return closed
	}
	if err != nil {
		return err
	}
	if to, ok := destinationOf(oob[:out]); ok {
		use(buf[:n], addrPort(from), to)
	}
	return nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// listening prepares a socket at a device before it is bound. On lo it takes what comes, whoever it was sent to; elsewhere only
// questions that were reflected, so that nobody else gets an answer.
func listening(device int) func(network, _ string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		options := append(sent(network, device), option{unix.SOL_IP, unix.IP_PKTINFO, 1})
		transparent := option{unix.SOL_IP, unix.IP_TRANSPARENT, 1}
		if isIPv6(network) {
			options[len(options)-1] = option{unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1}
			transparent = option{unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1}
		}
		if network[0] == 't' {
			// A connection is one when its first question is there. Before, there is nothing to reset when we end: glibc asks again
			// after a reset where it reads, but not where it writes.
			options = append(options, option{unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, int(streamIdle / time.Second)})
		}
		if device == netdev.Loopback {
			return setOptions(c, append(options, transparent, option{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, device})...)
		}
		if err := setOptions(c, options...); err != nil {
			return err
		}
		return datapath.TakeReflected(c)
	}
}

// sending prepares a socket at a device whose packets are let pass, to whom they are sent.
func sending(device int) func(network, _ string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error { return setOptions(c, sent(network, device)...) }
}

// sent are the options of all sockets that send something: what they send is told from what the container's programs do, by its mark
// in the container and by its hops at its ports. On lo they reach everybody.
func sent(network string, device int) []option {
	hops := option{unix.SOL_IP, unix.IP_TTL, datapath.NamesHops}
	if isIPv6(network) {
		hops = option{unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, datapath.NamesHops}
	}
	options := []option{{unix.SOL_SOCKET, unix.SO_MARK, mark}, hops}
	if device != netdev.Loopback {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, device})
	}
	return options
}

// isIPv6 tells the family of a network as package net gives it to those who prepare a socket.
func isIPv6(network string) bool { return network[len(network)-1] == '6' }

// option is a level, a name and a value.
type option [3]int

// setOptions sets a socket's options.
func setOptions(c syscall.RawConn, options ...option) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		for _, o := range options {
			if failed == nil {
				failed = unix.SetsockoptInt(int(fd), o[0], o[1], o[2])
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// dialer makes connections to the servers that a container asks at a door of that device; it has to be used in the container's
// namespace.
func dialer(device int) *net.Dialer {
	d := &net.Dialer{Timeout: patience, Control: sending(device)}
	d.SetMultipathTCP(false)
	return d
}
