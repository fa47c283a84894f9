// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// patience bounds every blocking call of a worker, in seconds: a path that has died ends the test.
const patience = 5

// socket is a blocking socket. Its calls are raw: the runtime does not see them block, so it neither hands
// the processor on nor wakes its monitor, and a round trip costs what it costs a C program. The price: a
// goroutine in one keeps its processor, so a worker needs more of these than it has such goroutines.
type socket int

func open(kind int) (socket, error) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, unix.AF_INET, uintptr(kind|unix.SOCK_CLOEXEC), 0)
	if errno != 0 {
		return -1, fmt.Errorf("open socket: %w", errno)
	}
	return socket(fd), nil
}

func (s socket) option(level, name int, value unsafe.Pointer, size uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(s), uintptr(level), uintptr(name), uintptr(value), size, 0)
	if errno != 0 {
		return fmt.Errorf("set socket option %d: %w", name, errno)
	}
	return nil
}

func (s socket) number(level, name int, value int32) error {
	return s.option(level, name, unsafe.Pointer(&value), unsafe.Sizeof(value))
}

// timeouts bounds the socket's calls, connect and accept too. Accepted sockets inherit them.
func (s socket) timeouts(t unix.Timeval) error {
	if err := s.option(unix.SOL_SOCKET, unix.SO_SNDTIMEO, unsafe.Pointer(&t), unsafe.Sizeof(t)); err != nil {
		return err
	}
	return s.option(unix.SOL_SOCKET, unix.SO_RCVTIMEO, unsafe.Pointer(&t), unsafe.Sizeof(t))
}

// stream makes a TCP socket with what all tests want; accepted sockets inherit it from the listener.
func stream() (socket, error) {
	s, err := open(unix.SOCK_STREAM)
	if err != nil {
		return s, err
	}
	cubic := [5]byte{'c', 'u', 'b', 'i', 'c'}
	err = s.option(unix.IPPROTO_TCP, unix.TCP_CONGESTION, unsafe.Pointer(&cubic), unsafe.Sizeof(cubic))
	if err == nil {
		err = s.number(unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = s.timeouts(unix.Timeval{Sec: patience})
	}
	if err != nil {
		s.close()
	}
	return s, err
}

// rawAddress is a as the kernel reads it: port in network byte order.
func rawAddress(a netip.AddrPort) unix.RawSockaddrInet4 {
	port := a.Port()
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: a.Addr().As4()}
	*(*[2]byte)(unsafe.Pointer(&raw.Port)) = [2]byte{byte(port >> 8), byte(port)}
	return raw
}

func (s socket) connect(to *unix.RawSockaddrInet4) error {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(to)), unsafe.Sizeof(*to))
	if errno != 0 {
		return fmt.Errorf("connect: %w", errno)
	}
	return nil
}

func dial(to *unix.RawSockaddrInet4) (socket, error) {
	s, err := stream()
	if err != nil {
		return s, err
	}
	if err := s.connect(to); err != nil {
		s.close()
		return -1, err
	}
	return s, nil
}

func (s socket) bind(port uint16) error {
	if err := s.number(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	a := rawAddress(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(s), uintptr(unsafe.Pointer(&a)), unsafe.Sizeof(a))
	if errno != 0 {
		return fmt.Errorf("bind port %d: %w", port, errno)
	}
	return nil
}

func listen(port uint16) (socket, error) {
	s, err := stream()
	if err != nil {
		return s, err
	}
	if err := s.bind(port); err != nil {
		s.close()
		return -1, err
	}
	if err := unix.Listen(int(s), 4096); err != nil {
		s.close()
		return -1, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return s, nil
}

func (s socket) accept() (socket, syscall.Errno) {
	fd, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s), 0, 0, unix.SOCK_CLOEXEC, 0, 0)
	return socket(fd), errno
}

func (s socket) send(b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// receive gives 0 when the peer has closed.
func (s socket) receive(b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
	return int(n), errno
}

func (s socket) close() { unix.RawSyscall(unix.SYS_CLOSE, uintptr(s), 0, 0) }

// idle blocks until the socket can be read, in a call that the runtime does see, so that a server waiting
// between measurements leaves the machine alone.
func (s socket) idle() error {
	fds := []unix.PollFd{{Fd: int32(s), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if err != unix.EINTR {
			return err
		}
	}
}

// message is struct mmsghdr.
type message struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

// messages gives count datagrams of size bytes each, all in one vector for sendmmsg(2) and recvmmsg(2).
func messages(count, size int) []message {
	m := make([]message, count)
	for i := range m {
		buf := make([]byte, size)
		iov := &unix.Iovec{Base: &buf[0]}
		iov.SetLen(size)
		m[i].header.Iov = iov
		m[i].header.SetIovlen(1)
	}
	return m
}

func (s socket) sendMessages(m []message) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), 0, 0, 0)
	return int(n), errno
}

// receiveMessages waits for the first datagram and takes what has come by then.
func (s socket) receiveMessages(m []message) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.MSG_WAITFORONE, 0, 0)
	return int(n), errno
}
