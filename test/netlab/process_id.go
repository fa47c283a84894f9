// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processID names a process of this machine for good: a pid alone is given again.
type processID struct {
	Pid   int    `json:"pid"`   // as seen from the program that uses the lab
	Start uint64 `json:"start"` // when it started, in clock ticks since the machine's boot
}

var errGone = errors.New("the process is gone")

// stat reads the state letter and the start time of a process (proc_pid_stat(5)).
func stat(pid int) (state byte, start uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name, in parentheses, may hold anything: count from its end.
	end := strings.LastIndexByte(string(text), ')')
	f := strings.Fields(string(text[end+1:]))
	if end < 0 || len(f) < 20 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: %q", pid, text)
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	return f[0][0], start, err
}

func identify(pid int) (processID, error) {
	_, start, err := stat(pid)
	return processID{pid, start}, err
}

// alive tells whether the process runs; a zombie does not.
func (p processID) alive() bool {
	state, start, err := stat(p.Pid)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// open gives a pidfd, for the caller to close, or errGone.
func (p processID) open() (int, error) {
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil || !p.alive() {
		if err == nil {
			unix.Close(fd)
		}
		return -1, fmt.Errorf("process %d: %w", p.Pid, errGone)
	}
	return fd, nil
}

// signal is fine with a process that is gone.
func (p processID) signal(sig unix.Signal) error {
	fd, err := p.open()
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.Pid, err)
	}
	return nil
}

// save writes v as JSON, whole or not at all.
func save(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path+".new", append(text, '\n'), 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

func load(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// processes lists the pids in /proc.
func processes() []int {
	entries, _ := os.ReadDir("/proc")
	var all []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// poll calls done until it says yes, for at most limit.
func poll(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for wait := time.Millisecond; !done(); wait = min(2*wait, 50*time.Millisecond) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return nil
}

// absent tells whether a removal failed only because there was nothing.
func absent(err error) bool { return err == nil || errors.Is(err, fs.ErrNotExist) }
