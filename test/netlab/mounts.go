// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// disk is what every host keeps through a power cycle; Options.Disk adds to it.
var disk = []string{"/var/lib/docker", "/var/lib/containerd", "/var/lib/contiv", "/etc/docker"}

// overlaid are the machine's directories that a host sees with its own changes over them. So a host has files and
// directories there that the machine lacks, and the machine never gets any.
var overlaid = []string{"/etc", "/var/lib"}

// furniture is what furnish makes of a copy of the machine's mounts.
type furniture struct {
	dir      string            // the host's directory, as the machine sees it
	hostname string            //
	disk     []string          // absolute paths on the host's disk
	files    map[string]string // path to text
}

// furnish mounts what a host has of its own. The calling thread is in the host's namespaces. The order matters: each
// step covers something that an earlier one needs.
func furnish(f furniture) (err error) {
	step := func(what string, e error) bool {
		if e != nil {
			err = fmt.Errorf("%s for host %s: %w", what, f.hostname, e)
		}
		return e == nil
	}
	unix.Umask(0o022) // the thread's own, since it shares nothing

	if !step("make the mounts private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")) {
		return err
	}
	// Held by descriptors from here on, because /sys and the directories above the disk are covered below.
	cgroups, e := cloneTree("/sys/fs/cgroup", unix.AT_RECURSIVE)
	if !step("copy the cgroup mounts", e) {
		return err
	}
	defer unix.Close(cgroups)
	disks := map[string]int{}
	for _, path := range f.disk {
		from := filepath.Join(f.dir, "disk", path)
		if !step("make the disk", os.MkdirAll(from, 0o755)) {
			return err
		}
		fd, e := cloneTree(from, 0)
		if !step("copy the mount of the disk", e) {
			return err
		}
		defer unix.Close(fd)
		disks[path] = fd
	}
	if !step("let go of the machine's mounts", detachBelow(append(overlaid, "/run"), f.dir)) ||
		!step("overlay the machine's files", overlay(filepath.Join(f.dir, "memory"))) {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		// Often a link to something below /run that the host does not have.
		if e := os.Remove(path); !absent(e) && !step("replace "+path, e) {
			return err
		}
		if !step("write "+path, os.WriteFile(path, []byte(f.files[path]), 0o644)) {
			return err
		}
	}
	if !step("mount /run", unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")) {
		return err
	}
	for _, dir := range []string{"/run/lock", "/run/netns", "/run/docker/plugins"} {
		if !step("make "+dir, os.MkdirAll(dir, 0o755)) {
			return err
		}
	}
	for _, path := range f.disk {
		if !step("make "+path, mountPoint(path)) || !step("mount "+path, moveTree(disks[path], path)) {
			return err
		}
	}
	// sysfs shows the devices of the network namespace in which it is mounted, /proc the processes of the pid namespace.
	if !step("mount /sys", unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, "")) ||
		!step("mount /sys/fs/cgroup", moveTree(cgroups, "/sys/fs/cgroup")) ||
		!step("mount /sys/fs/bpf", unix.Mount("bpf", "/sys/fs/bpf", "bpf", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, "mode=700")) ||
		!step("set the name", unix.Sethostname([]byte(f.hostname))) ||
		!step("mount /proc", mountProc()) {
		return err
	}
	return nil
}

// mountProc leaves it to a child: this thread starts processes in the host's pid namespace but is not in it, and
// /proc shows the namespace of who mounts it.
func mountProc() error {
	mount, err := lookPath("mount")
	if err != nil {
		return err
	}
	out, err := exec.Command(mount, "-t", "proc", "-o", "nosuid,noexec,nodev", "proc", "/proc").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func cloneTree(path string, flags uint) (int, error) {
	return unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
}

func moveTree(fd int, path string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// detachBelow unmounts what is mounted below the directories in the copy of the machine's mounts, so that a host does not keep
// the machine's own containers and namespaces in use. What holds the path keep stays.
func detachBelow(dirs []string, keep string) error {
	all, err := mounts()
	if err != nil {
		return err
	}
	slices.Reverse(all)
	for _, m := range all {
		under := slices.ContainsFunc(dirs, func(dir string) bool { return strings.HasPrefix(m.Point, dir+"/") })
		if !under || strings.HasPrefix(keep+"/", m.Point+"/") {
			continue
		}
		if err := unix.Unmount(m.Point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", m.Point, err)
		}
	}
	return nil
}

// overlay lays the host's changes over the machine's directories. They are in memory, because an overlay does not take
// every file system for its changes, and the one below a test may be such.
func overlay(at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, dir := range overlaid {
		layer := filepath.Join(at, filepath.Base(dir))
		upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
		if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
			return err
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
		if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount overlay on %s (the kernel needs overlayfs: modprobe overlay): %w", dir, err)
		}
	}
	return nil
}

// mountPoint makes a directory of the host's own to mount on; it makes none on the machine.
func mountPoint(path string) error {
	if slices.ContainsFunc(overlaid, func(dir string) bool { return strings.HasPrefix(path, dir+"/") }) {
		return os.MkdirAll(path, 0o755)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("a directory on a host's disk has to exist on the machine or be below one of %s: %w",
			strings.Join(overlaid, ", "), &fs.PathError{Op: "stat", Path: path, Err: err})
	}
	return nil
}
