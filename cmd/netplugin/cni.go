// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"

	"github.com/contivnet/contiv/cmd/internal/flags"
	"github.com/contivnet/contiv/deploy"
)

const (
	cniProgram  = "contivk8s"
	cniConflist = "10-contiv.conflist"
)

// cniOptions say what the node's runtimes find of us.
type cniOptions struct {
	install  bool
	conflist string // path of what is installed; "" for deploy.Conflist
	dirs     cniDirs
}

// cniDirs are where the node's runtimes look.
type cniDirs struct {
	conf, bin string
}

func (o *cniOptions) flags(f *flags.Set) {
	f.BoolVar(&o.install, "cni-install", false, "put the CNI program and its configuration onto this node once containers can be attached")
	f.StringVar(&o.conflist, "cni-conflist", "", "the CNI configuration that is put there (default: one by which pods go where their labels say)")
	o.dirs.flags(f)
}

func (d *cniDirs) flags(f *flags.Set) {
	f.StringVar(&d.conf, "cni-conf-dir", "/etc/cni/net.d", "where runtimes look for CNI configurations")
	f.StringVar(&d.bin, "cni-bin-dir", "/opt/cni/bin", "where runtimes look for CNI programs")
}

func (d cniDirs) program() string  { return filepath.Join(d.bin, cniProgram) }
func (d cniDirs) conflist() string { return filepath.Join(d.conf, cniConflist) }

// text is the CNI configuration to install.
func (o cniOptions) text() ([]byte, error) {
	if o.conflist == "" {
		return deploy.Conflist, nil
	}
	text, err := os.ReadFile(o.conflist)
	if err != nil {
		return nil, fmt.Errorf("--cni-conflist: %w", err)
	}
	list, err := libcni.NetworkConfFromBytes(text)
	if err != nil {
		return nil, fmt.Errorf("--cni-conflist %s is not a list of CNI plugins: %w", o.conflist, err)
	}
	for _, p := range list.Plugins {
		if p.Network.Type == cniProgram {
			return text, nil
		}
	}
	return nil, fmt.Errorf("--cni-conflist %s does not name %s among its plugins, so no pod would be in a network of Contiv", o.conflist, cniProgram)
}

// put installs text and the CNI program that lies beside this one. The program comes first: a runtime that sees the configuration calls it, and
// takes the node's network for ready.
func (o cniOptions) put(text []byte) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the CNI program: %w", err)
	}
	program, err := os.ReadFile(filepath.Join(filepath.Dir(self), cniProgram))
	if err != nil {
		return fmt.Errorf("find the CNI program, which has to lie beside netplugin: %w", err)
	}
	if err := replace(o.dirs.program(), program, 0o755); err != nil {
		return err
	}
	return replace(o.dirs.conflist(), text, 0o644)
}

// replace makes a file with the content, whole or not at all. One that has it stays, so that nobody who watches the directory wakes.
func replace(path string, content []byte, mode fs.FileMode) error {
	have, err := os.ReadFile(path)
	if err == nil && bytes.Equal(have, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	next := unfinished(path)
	if err := os.WriteFile(next, content, mode); err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	if err := errors.Join(os.Chmod(next, mode), os.Rename(next, path)); err != nil {
		return fmt.Errorf("install %s: %w", path, err)
	}
	return nil
}

// unfinished is what a file that is being installed is called: no runtime reads it, and the next run writes it anew.
func unfinished(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
}

// remove takes away what put has installed. What is not there is fine.
func (d cniDirs) remove() error {
	var failed error
	// The configuration first: with it and no program, a runtime would fail every pod.
	for _, path := range []string{d.conflist(), d.program()} {
		for _, p := range []string{path, unfinished(path)} {
			if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, fmt.Errorf("remove what runtimes find of us: %w", err))
			}
		}
	}
	return failed
}

// whenAll calls do once all the channels are closed.
func whenAll(do func() error, after ...<-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, c := range after {
			select {
			case <-ctx.Done():
				return nil
			case <-c:
			}
		}
		return do()
	}
}
