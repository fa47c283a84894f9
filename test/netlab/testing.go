// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// New starts a lab for a test and removes it when the test ends, also when the test is killed. It skips without root or without a needed
// program, and fails the test if anything of the lab is left at its end. The logs of a failed test's daemons are shown.
func New(t testing.TB, o Options) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces")
	}
	if err := Missing(); err != nil {
		t.Skip(err)
	}
	o.Ephemeral = true
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	lab, err := Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			lab.showLogs(t)
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
		// The kernel takes a namespace down a moment after its last process.
		var left []string
		if poll(context.Background(), 10*time.Second, func() bool { left = lab.Leftovers(); return len(left) == 0 }) != nil {
			t.Errorf("the lab left behind:\n%s", strings.Join(left, "\n"))
		}
	})
	return lab
}

// showLogs writes the end of every daemon's log to the test's.
func (l *Lab) showLogs(t testing.TB) {
	paths, _ := filepath.Glob(filepath.Join(l.state.Dir, "*", "log", "*.log")) // the pattern is well-formed
	for _, path := range paths {
		name, _ := strings.CutSuffix(filepath.Base(path), ".log")
		for _, h := range l.Hosts() {
			if filepath.Dir(path) == h.path("log") {
				p := Process{name: name, host: h}
				t.Logf("%s on %s, the end of its log:\n%s", name, h.Name(), p.logTail())
			}
		}
	}
}
