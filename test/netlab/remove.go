// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Remove takes down the lab of that name and directory by what it finds of it: whole, in parts after a crash, or nothing at all.
func Remove(ctx context.Context, name, dir string) error {
	if err := ours(dir); err != nil {
		return err
	}
	var errs []error
	for _, m := range machinesOf(name) {
		errs = append(errs, m.powerOff(ctx))
	}
	errs = append(errs, removeCgroups(ctx, name))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take down lab %s: %w", name, err)
	}
	if err := detachAll(dir); err != nil {
		return err
	}
	// The file that makes the directory ours goes last, so that a removal that was cut short can be repeated.
	entries, err := os.ReadDir(dir)
	if !absent(err) {
		return fmt.Errorf("remove the lab's directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() != stateFile {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err = errors.Join(errs...); err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("remove the lab's directory: %w", err)
	}
	return nil
}

// ours refuses a directory with something in it that no lab put there: it would be deleted.
func ours(dir string) error {
	entries, err := os.ReadDir(dir)
	if absent(err) && len(entries) == 0 {
		return nil
	}
	if err == nil && entries[0].Name() != stateFile+".new" { // in which a start was cut short
		_, err = os.Stat(filepath.Join(dir, stateFile))
	}
	if err != nil {
		return fmt.Errorf("%s holds files but no lab; choose another directory or empty it: %w", dir, err)
	}
	return nil
}

// detachAll unmounts what somebody mounted in the lab's directory, so that deleting it does not delete elsewhere.
func detachAll(dir string) error {
	all, err := mounts()
	if err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		if !strings.HasPrefix(all[i].Point, dir+"/") {
			continue
		}
		if err := unix.Unmount(all[i].Point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", all[i].Point, err)
		}
	}
	return nil
}

// sweep removes what is left of ephemeral labs with a random name whose program was killed: their directories and empty cgroups.
func sweep(ctx context.Context) error {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), "netlab-*", stateFile))
	if err != nil {
		return err
	}
	for _, path := range found {
		var s state
		// Another sweep may have been faster, and a file that is no lab's is not ours to judge.
		if load(path, &s) != nil || !s.Ephemeral || s.Dir != filepath.Dir(path) || s.Owner.alive() {
			continue
		}
		if err := Remove(ctx, s.Name, s.Dir); err != nil {
			return fmt.Errorf("remove the lab of a program that was killed: %w", err)
		}
	}
	return nil
}
