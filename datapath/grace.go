// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"time"

	"golang.org/x/sys/unix"
)

// A program that runs while the epoch is raised may still read the bank of policy that was in force until then. So that bank is
// not written again before a grace period has passed, in which every program that was running has ended.

// startGrace begins one. It takes about 10 ms, for which nobody waits unless the rules change again at once.
func (d *Datapath) startGrace() {
	done := make(chan struct{})
	d.grace = done
	go func() {
		defer close(done)
		waitForPrograms()
	}()
}

// awaitGrace returns when nothing reads the bank that is not in force.
func (d *Datapath) awaitGrace() {
	if d.grace == nil { // what an earlier process did last is not known
		d.startGrace()
	}
	<-d.grace
}

// waitForPrograms returns after all programs that run now have ended. membarrier's global command is the kernel's
// synchronize_rcu, in whose read sections programs run.
func waitForPrograms() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	if _, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0); errno == 0 {
		return
	}
	// Kernels with nohz_full do not have it. A program takes microseconds.
	time.Sleep(100 * time.Millisecond)
}
