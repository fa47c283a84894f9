// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDirectoryIsIdleUnlessAMasterRunsInIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if err := idle(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "netmaster") {
		t.Errorf("while it runs: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle(dir); err != nil {
		t.Errorf("after it has ended: %v", err)
	}
	if err := idle(t.TempDir()); err != nil {
		t.Errorf("where there was none: %v", err)
	}
}
