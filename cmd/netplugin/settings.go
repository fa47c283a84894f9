// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const settings = "/proc/sys"

// allowSettings makes the node's settings writable. In a container that is not privileged they are mounted read-only over themselves, and with
// CAP_SYS_ADMIN, which entering containers' namespaces needs anyway, that can be taken back for this process alone.
func allowSettings() error {
	var st unix.Statfs_t
	if err := unix.Statfs(settings, &st); err != nil {
		return fmt.Errorf("look at %s: %w", settings, err)
	}
	// The bits that statfs(2) tells are those that mount(2) takes.
	if st.Flags&unix.MS_RDONLY == 0 {
		return nil
	}
	// What else the mount forbids has to be said again, or it would be taken back too.
	kept := uintptr(st.Flags) & (unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	err := unix.Mount("", settings, "", unix.MS_REMOUNT|unix.MS_BIND|kept, "")
	if errors.Is(err, unix.EINVAL) {
		return nil // not a mount of its own, but of a machine whose whole /proc is read-only: what cannot be set says so
	}
	if err != nil {
		return fmt.Errorf("make %s writable: give the container CAP_SYS_ADMIN, and no AppArmor profile that forbids to mount: %w", settings, err)
	}
	return nil
}
