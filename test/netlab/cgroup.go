// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// cgroupOf names the cgroup below which all containers of a lab are, in each hierarchy that the machine has.
func cgroupOf(lab string) string { return "netlab-" + lab }

// Cgroup is the path, in each hierarchy, of the cgroup below which the host's containers are. It goes with the lab.
func (h *Host) Cgroup() string { return "/" + cgroupOf(h.lab.state.Name) + "/" + h.Name() }

// mount is a line of mountinfo: what is mounted where.
type mount struct{ Point, Type string }

// mounts lists what the calling thread sees, in the order of mounting (proc_pid_mountinfo(5)).
func mounts() ([]mount, error) {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var all []mount
	for line := range strings.Lines(string(text)) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) > 4 && len(r) > 0 {
			all = append(all, mount{unescape.Replace(l[4]), r[0]})
		}
	}
	return all, nil
}

// cgroupsOf lists the lab's cgroups that exist, children before parents: v1, v2 or both, as mounted.
func cgroupsOf(lab string) ([]string, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range all {
		if m.Type != "cgroup" && m.Type != "cgroup2" {
			continue
		}
		// A directory that goes away while we look is what we want.
		_ = filepath.WalkDir(filepath.Join(m.Point, cgroupOf(lab)), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && !slices.Contains(found, path) {
				found = append(found, path)
			}
			return nil
		})
	}
	slices.Reverse(found)
	return found, nil
}

// removeCgroups waits until the lab's cgroups are empty and gone: the kernel needs a moment for those of killed processes.
func removeCgroups(ctx context.Context, lab string) error {
	var last error
	err := poll(ctx, 10*time.Second, func() bool {
		found, err := cgroupsOf(lab)
		last = err
		for _, path := range found {
			if err := os.Remove(path); !absent(err) {
				last = errors.Join(last, err)
			}
		}
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("remove cgroups: %w", errors.Join(err, last))
	}
	return nil
}
