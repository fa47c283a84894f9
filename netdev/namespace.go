// SPDX-License-Identifier: Apache-2.0

package netdev

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nsfsMagic is the file system type of a namespace's file (linux/magic.h NSFS_MAGIC).
const nsfsMagic = 0x6e736673

// IsNamespace tells whether path is a namespace by now. Docker makes an empty file first and mounts the
// namespace over it later.
func IsNamespace(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

// IsNodes tells whether path is the node's own namespace, which is no container's.
func IsNodes(path string) bool { return SameNamespace(path, nodesNamespace) }

// SameNamespace tells whether two paths lead to one namespace.
func SameNamespace(path, other string) bool {
	var a, b unix.Stat_t
	return unix.Stat(path, &a) == nil && unix.Stat(other, &b) == nil && a.Ino == b.Ino && a.Dev == b.Dev
}

// nodesNamespace is that of the process's first thread, which stays there.
const nodesNamespace = "/proc/self/ns/net"

// nodeHere is the number that the calling thread's namespace has for the node's.
func nodeHere() (int, error) {
	fd, err := unix.Open(nodesNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open the node's network namespace: %w", err)
	}
	defer unix.Close(fd)
	id, err := netlink.GetNetNsIdByFd(fd)
	if err != nil {
		return 0, fmt.Errorf("find the number of the node's network namespace: %w", err)
	}
	return id, nil
}

// Do runs fn on an OS thread of its own that has entered the network namespace at path. Sockets that
// fn opens stay in that namespace. The thread ends with fn, so nothing else ever runs there.
func Do(path string, fn func() error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	defer unix.Close(fd)
	done := make(chan error, 1)
	go enter(fd, path, fn, done)
	return <-done
}

// enter is to be a goroutine's only work.
func enter(fd int, path string, fn func() error, done chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The process's first thread does not end with its goroutine: the runtime parks it, and it would hold the namespace
		// for ever. While it is locked here, another goroutine gets another thread.
		defer runtime.UnlockOSThread()
		other := make(chan error, 1)
		go enter(fd, path, fn, other)
		done <- <-other
		return
	}
	// Never unlocked: the runtime ends a locked thread together with its goroutine.
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		done <- fmt.Errorf("enter network namespace %s: %w", path, err)
		return
	}
	done <- fn()
}

// Gone tells whether err says that a namespace or device does not exist any more.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL)
}
