// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Leftovers lists what is there of a lab by its name and directory: processes, mounts, cgroups, pinned eBPF objects, named namespaces, links
// and files of the machine. After Close it is empty.
func Leftovers(name, dir string) []string {
	var left []string
	for _, pid := range marked(name) {
		// A zombie has no environment, so what is listed runs.
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		left = append(left, fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(comm))))
	}
	all, err := mounts()
	if err != nil {
		left = append(left, err.Error())
	}
	tag := "netlab-" + name
	for _, m := range all {
		if m.Point == dir || strings.HasPrefix(m.Point, dir+"/") || strings.Contains(m.Point, tag) {
			left = append(left, "mount "+m.Point)
		}
	}
	cgroups, err := cgroupsOf(name)
	if err != nil {
		left = append(left, err.Error())
	}
	for _, path := range cgroups {
		left = append(left, "cgroup "+path)
	}
	for what, at := range map[string]string{"pin": "/sys/fs/bpf", "network namespace": "/run/netns", "link": "/sys/class/net"} {
		// Where the directory is absent there is nothing.
		_ = filepath.WalkDir(at, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.Contains(filepath.Base(path), tag) {
				left = append(left, what+" "+path)
			}
			return nil
		})
	}
	if _, err := os.Lstat(dir); err == nil {
		left = append(left, "directory "+dir)
	}
	return left
}

// Leftovers lists what is left of the lab after Close. It also finds the lab's namespaces if a thread or an open file outside the lab holds
// them, with all links, mounts and pins in them.
func (l *Lab) Leftovers() []string {
	left := Leftovers(l.state.Name, l.state.Dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.checked == 0 {
		l.checked = ticks()
	}
	for _, pid := range processes() {
		// The kernel gives a namespace's number again, and another lab may have it now: a process that is younger, or
		// that is in a host, does not hold ours, which died with its own pid 1.
		state, start, err := stat(pid)
		if err != nil || state == 'Z' || state == 'X' || start > l.checked || !outside(pid) {
			continue
		}
		for _, pattern := range []string{"task/*/ns/*", "fd/*"} {
			paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", pid, pattern)) // the pattern is well-formed
			for _, path := range paths {
				if link, err := os.Readlink(path); err == nil && l.namespaces[link] {
					left = append(left, "namespace "+link+" held by "+path)
				}
			}
		}
	}
	slices.Sort(left)
	return left
}

// outside tells whether a process is in this program's own pid namespace.
func outside(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	own, ownErr := os.Readlink("/proc/self/ns/pid")
	return err == nil && ownErr == nil && theirs == own
}

// ticks is the time since the machine's boot in the unit of processID.Start, which is 10 ms on every machine.
func ticks() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return uint64(ts.Nano()) / uint64(10*time.Millisecond)
}
