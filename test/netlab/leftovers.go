// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// Leftovers lists what is left of the lab after Close. It also finds the lab's namespaces if anything holds them, with all links, mounts
// and pins in them: a thread, an open file, or a bind mount.
func (l *Lab) Leftovers() []string {
	left := Leftovers(l.state.Name, l.state.Dir)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, pattern := range []string{"/proc/[0-9]*/task/*/ns/*", "/proc/[0-9]*/fd/*"} {
		paths, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, path := range paths {
			if link, err := os.Readlink(path); err == nil && l.namespaces[link] && !exiting(path) {
				left = append(left, "namespace "+link+" held by "+path)
			}
		}
	}
	slices.Sort(left)
	return left
}

// exiting tells whether a path in /proc belongs to a process that has ended, but whose parent has not noticed.
func exiting(path string) bool {
	var pid int
	if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err != nil {
		return false
	}
	state, _, err := stat(pid)
	return err != nil || state == 'Z' || state == 'X'
}
