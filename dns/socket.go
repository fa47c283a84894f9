// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// buffers are of 64 KiB, lent only while a packet is at hand: a hundred idle containers hold none.
var buffers = sync.Pool{New: func() any { return new([dns.MaxMsgSize]byte) }}

// receive waits for one packet and hands it to use, which must not keep it.
func receive(rc syscall.RawConn, use func(packet []byte, from netip.AddrPort)) error {
	var (
		buf  *[dns.MaxMsgSize]byte
		n    int
		from unix.Sockaddr
		err  error
	)
	// use must not run in this function: closing the socket waits for its end.
	closed := rc.Read(func(fd uintptr) bool {
		buf = buffers.Get().(*[dns.MaxMsgSize]byte)
		for {
			if n, from, err = unix.Recvfrom(int(fd), buf[:], 0); err != unix.EINTR {
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
	use(buf[:n], addrPort(from))
	return nil
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	if v4, ok := sa.(*unix.SockaddrInet4); ok {
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
	}
	return netip.AddrPort{} // a connected socket of ours, which knows its peer
}

// control prepares each of our sockets in a container before it is bound or connected.
func control(network, address string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		// 127.0.0.11 may be bound before the runtime has brought lo up.
		if failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1); failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark)
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// dialer makes connections to Docker's resolver; it has to be used in the container's namespace.
func dialer() *net.Dialer {
	d := &net.Dialer{Timeout: patience, Control: control}
	d.SetMultipathTCP(false)
	return d
}

func resolverAddr() string { return netip.AddrPortFrom(resolver, dnsPort).String() }

func listenAddr() string { return netip.AddrPortFrom(resolver, port).String() }
