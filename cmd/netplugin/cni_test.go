// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/contivnet/contiv/deploy"
)

func TestProgramAndConfigurationAreInstalledWholeAndRemoved(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Beside this test's own program, as beside netplugin.
	program := filepath.Join(filepath.Dir(self), cniProgram)
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(program)
	dir := t.TempDir()
	o := cniOptions{dirs: cniDirs{conf: filepath.Join(dir, "net.d"), bin: filepath.Join(dir, "bin")}}
	text, err := o.text()
	if err != nil || !slices.Equal(text, deploy.Conflist) {
		t.Fatalf("the configuration is %s, %v", text, err)
	}
	if err := os.MkdirAll(o.dirs.conf, 0o755); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(o.dirs.conf, "99-loopback.conf")
	for path, was := range map[string]string{o.dirs.conflist(): "of an older version", unfinished(o.dirs.conflist()): "of one that was killed", other: "{}"} {
		if err := os.WriteFile(path, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var first os.FileInfo
	for range 2 {
		if err := o.put(text); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]os.FileMode{o.dirs.program(): 0o755, o.dirs.conflist(): 0o644} {
			info, err := os.Stat(path)
			if err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v; want mode %o", path, info, err, want)
			}
		}
		now, err := os.Stat(o.dirs.conflist())
		if err != nil || first != nil && !os.SameFile(first, now) {
			t.Errorf("the same configuration was written again: %v", err)
		}
		first = now
	}
	if got, err := os.ReadFile(o.dirs.conflist()); err != nil || !slices.Equal(got, text) {
		t.Errorf("the configuration is %s, %v", got, err)
	}
	for range 2 {
		if err := o.dirs.remove(); err != nil {
			t.Fatal(err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, "*", ".*"))
	if err != nil || !slices.Equal(slices.Concat(left, hidden), []string{other}) {
		t.Errorf("left are %v, %v, %v", left, hidden, err)
	}
}

func TestConfigurationWithoutOurProgramIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "own.conflist")
	for text, want := range map[string]string{
		`{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "contivk8s", "network": "web"}, {"type": "tuning"}]}`: "",
		`{"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "bridge"}]}`:                                          "does not name contivk8s",
		`{"cniVersion": "1.0.0", "name": "x"}`:                                                                           "does not name contivk8s",
		`{`:                                                                                                              "is not a list of CNI plugins",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := cniOptions{conflist: path}.text()
		if want == "" && (err != nil || string(got) != text) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	if _, err := (cniOptions{conflist: path + ".gone"}).text(); err == nil || !strings.Contains(err.Error(), "--cni-conflist") {
		t.Errorf("a file that is not there: %v", err)
	}
}
