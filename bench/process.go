// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// daemon is a process that serves at a URL until end.
type daemon struct {
	url  string
	cmd  *exec.Cmd
	hold io.Closer // the process's standard input; when it closes, one of ours ends
}

// end stops the process and waits for it.
func (s *daemon) end() {
	_ = s.hold.Close()
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have gone
	_ = s.cmd.Wait()                          // it was told to end: how is of no interest
}

// startSelf starts this program in a role that prints its URL as its first line.
func startSelf(ctx context.Context, arguments ...string) (*daemon, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, arguments...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %v: %w", arguments, err)
	}
	return startDaemon(cmd, out, func(line string) (string, bool) { return strings.TrimSpace(line), true })
}

// startMaster starts netmaster with its embedded etcd, and reads from its log where it serves.
func startMaster(ctx context.Context, programs, dir string) (*daemon, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "netmaster"), "-listen-url", "127.0.0.1:0", "-data-dir", dir)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start netmaster: %w", err)
	}
	return startDaemon(cmd, log, func(line string) (string, bool) {
		_, rest, ok := strings.Cut(line, `msg="netmaster serves"`)
		if !ok {
			return "", false
		}
		_, rest, _ = strings.Cut(rest, " address=")
		addr, _, _ := strings.Cut(rest, " ")
		return "http://" + addr, true
	})
}

// startDaemon starts cmd and reads says until a line tells the URL. The rest is read and forgotten.
func startDaemon(cmd *exec.Cmd, says io.Reader, url func(line string) (string, bool)) (*daemon, error) {
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %v: %w", cmd.Args, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %v: %w", cmd.Args, err)
	}
	s := &daemon{cmd: cmd, hold: hold}
	var said strings.Builder
	lines := bufio.NewReader(says)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			s.end()
			return nil, fmt.Errorf("%v ended before it served: %s", cmd.Args, strings.TrimSpace(said.String()))
		}
		if found, ok := url(line); ok {
			s.url = found
			go func() { _, _ = io.Copy(io.Discard, lines) }() // ends with the process
			return s, nil
		}
		said.WriteString(line)
	}
}

// runSelf runs this program in a role that prints one JSON value.
func runSelf(ctx context.Context, result any, arguments ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, arguments...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		return fmt.Errorf("%s: %s", arguments[0], strings.TrimSpace(string(exit.Stderr)))
	case err != nil:
		return fmt.Errorf("run %v: %w", arguments, err)
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("read what %s measured: %w", arguments[0], err)
	}
	return nil
}
