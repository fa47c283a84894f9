// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ports of the server.
const (
	echoPort    = 7700 // round trips and connections, on one CPU
	sinkPort    = 7701 // a stream, on one CPU
	freePort    = 7702 // streams, placed freely
	packetsPort = 7703 // UDP, on one CPU
)

const (
	closing  = 'c' // echoed, then the server closes: TIME_WAIT stays with it, and the client's ports are free
	echoing  = 'r'
	readSize = 256 << 10
)

// serve answers all tests until standard input ends.
func serve(j job, received *counters) error {
	echo, err := listen(echoPort)
	if err != nil {
		return err
	}
	sink, err := listen(sinkPort)
	if err != nil {
		return err
	}
	free, err := listen(freePort)
	if err != nil {
		return err
	}
	packets, err := packetSink()
	if err != nil {
		return err
	}
	failed := make(chan error, 4)
	run := func(cpu int, role func() error) {
		go func() {
			runtime.LockOSThread()
			if err := pin(cpu); err != nil {
				failed <- err
				return
			}
			failed <- role()
		}()
	}
	run(j.cpu, func() error { return answer(echo) })
	run(j.cpu, func() error { return drain(sink, j.cpu, received) })
	run(-1, func() error { return drain(free, -1, received) })
	run(j.cpu, func() error { return count(packets, received) })
	fmt.Println("ready")
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		failed <- err
	}()
	return <-failed
}

// answer echoes, one connection after the other.
func answer(l socket) error {
	buf := make([]byte, 64)
	for {
		s, errno := l.accept()
		switch errno {
		case 0:
			echoAll(s, buf)
			s.close()
		case syscall.EAGAIN: // nobody came for a while
			if err := l.idle(); err != nil {
				return fmt.Errorf("wait for a connection: %w", err)
			}
		case syscall.EINTR, syscall.ECONNABORTED:
		default:
			return fmt.Errorf("accept: %w", errno)
		}
	}
}

// echoAll ends when the peer closes, asks to be closed or says nothing for long.
func echoAll(s socket, buf []byte) {
	for {
		n, errno := s.receive(buf)
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 || n == 0 {
			return
		}
		if _, errno := s.send(buf[:n]); errno != 0 || buf[0] == closing {
			return
		}
	}
}

// drain accepts streams and counts what each brings, on a thread of its own.
func drain(l socket, cpu int, received *counters) error {
	for {
		if err := l.idle(); err != nil {
			return fmt.Errorf("wait for a stream: %w", err)
		}
		s, errno := l.accept()
		if errno != 0 {
			continue // gone again, or the call was interrupted
		}
		go func() {
			runtime.LockOSThread()
			defer s.close()
			if pin(cpu) != nil {
				return // the client sees its stream closed
			}
			buf := make([]byte, readSize)
			for {
				n, errno := s.receive(buf)
				if errno == syscall.EINTR {
					continue
				}
				if errno != 0 || n == 0 {
					return
				}
				received.bytes.Add(uint64(n))
			}
		}()
	}
}

func packetSink() (socket, error) {
	s, err := open(unix.SOCK_DGRAM)
	if err != nil {
		return s, err
	}
	if err := s.number(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20); err != nil {
		return s, err
	}
	short := unix.Timeval{Usec: 200_000}
	if err := s.option(unix.SOL_SOCKET, unix.SO_RCVTIMEO, unsafe.Pointer(&short), unsafe.Sizeof(short)); err != nil {
		return s, err
	}
	return s, s.bind(packetsPort)
}

// count counts datagrams.
func count(s socket, received *counters) error {
	m := messages(64, 2048)
	for {
		n, errno := s.receiveMessages(m)
		switch errno {
		case 0:
			received.datagrams.Add(uint64(n))
		case syscall.EAGAIN:
			if err := s.idle(); err != nil {
				return fmt.Errorf("wait for datagrams: %w", err)
			}
		case syscall.EINTR, syscall.ECONNREFUSED:
		default:
			return fmt.Errorf("receive datagrams: %w", errno)
		}
	}
}
