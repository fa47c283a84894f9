// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What netplugin keeps to in containers whose ports reflect questions for names (bpf/reflect.h).
const (
	NamesPort = uint16(contivNamesNAMES_PORT) // where it listens, TCP and UDP
	NamesMark = uint32(contivNamesNAMES_MARK) // on the questions that come there, and on nothing else that comes by a port
	NamesHops = int(contivNamesNAMES_HOPS)    // TTL or hop limit of all that it sends in a container
)

// Reflect has questions for names that leave the container by its port come back to NamesPort of the container, for as long, from now.
// They come from the address of the server and the port of the client. What is sent back there comes to the client from the server.
func (d *Datapath) Reflect(port string, life time.Duration) error {
	defer d.names.lock(port)()
	a, ok := d.attachment(port)
	if !ok {
		return fmt.Errorf("reflect questions at port %s: it is not attached", port)
	}
	until, err := clockAfter(life)
	if err != nil {
		return err
	}
	if err := d.objects.Reflected.Put(a.ifindex, until); err != nil {
		return fmt.Errorf("reflect questions at port %s: %w", port, err)
	}
	return nil
}

// Reflects tells whether all ports do what Reflect says. Until the first Apply those that an earlier process attached run its program,
// which may know nothing of that, or ask another map.
func (d *Datapath) Reflects() bool { return d.switched.Load() }

// Unreflect lets questions go where they are sent. That none are reflected there is fine.
func (d *Datapath) Unreflect(port string) error {
	defer d.names.lock(port)()
	a, ok := d.attachment(port)
	if !ok {
		return nil // Detach has seen to it
	}
	return d.unreflect(a.ifindex)
}

func (d *Datapath) unreflect(ifindex uint32) error {
	if err := d.objects.Reflected.Delete(ifindex); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("let questions go by port #%d: %w", ifindex, err)
	}
	return nil
}

// TakeReflected has a socket, and the connections that it accepts, take questions that were reflected and nothing else.
func TakeReflected(c syscall.RawConn) error {
	const markOfPacket = 0xfffff000 + 20 // SKF_AD_OFF and SKF_AD_MARK of linux/filter.h
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: markOfPacket},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: NamesMark, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff}, // take all of it
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("keep others than questions off a socket: %w", err)
	}
	return nil
}

// PortIndex is that of a port that is attached, in the namespace of the data path.
func (d *Datapath) PortIndex(port string) (index int, attached bool) {
	a, ok := d.attachment(port)
	return int(a.ifindex), ok
}

// clockAfter is what CLOCK_MONOTONIC will say after as long, in nanoseconds.
func clockAfter(d time.Duration) (uint64, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return uint64(now.Nano() + d.Nanoseconds()), nil
}
