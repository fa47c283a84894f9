// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// namespaces are those of its own that a host has.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// onThread runs fn on an OS thread that ends with it, so that fn may leave the thread in whatever state.
func onThread(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The runtime parks the main thread instead of ending it, and the namespaces that fn enters would stay
		// in use for ever. While it is locked here, another goroutine gets another thread.
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		go func() { defer close(done); onThread(fn) }()
		<-done
		return
	}
	// Never unlocked: the runtime ends a locked thread together with its goroutine.
	fn()
}

// enter runs fn in the given namespaces (CLONE_NEW... bits) of a process. A process that fn starts is in its pid
// namespace too, and still a child of this one, with its pid as seen here.
func enter(p processID, which int, fn func() error) error {
	pidfd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	done := make(chan error, 1)
	go onThread(func() {
		// A thread that shares its working directory with others may not change its mounts.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			done <- fmt.Errorf("unshare the thread's working directory: %w", err)
			return
		}
		if err := unix.Setns(pidfd, which); err != nil {
			done <- fmt.Errorf("enter the namespaces of process %d (needs root and Linux 5.8): %w", p.Pid, err)
			return
		}
		done <- fn()
	})
	return <-done
}
