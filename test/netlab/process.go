// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a daemon in a host. It runs until it is stopped or the host is killed, whatever becomes of the program that started it.
type Process struct {
	name string
	host *Host
	id   processID
	done chan struct{} // closed after err is set; nil if another program started it
	err  error
}

// Start runs a daemon in the host, in a session of its own, under a name that is free. What it writes is appended to a log file.
func (h *Host) Start(name, program string, args ...string) (*Process, error) {
	return h.start(name, nil, program, args...)
}

func (h *Host) start(name string, env []string, program string, args ...string) (*Process, error) {
	if !labName.MatchString(name) {
		return nil, fmt.Errorf("daemon name %q: use up to 32 lower-case letters, digits and '-'", name)
	}
	if p, err := h.Process(name); err == nil && p.Running() {
		return nil, fmt.Errorf("host %s: %s runs already, as process %d", h.Name(), name, p.Pid())
	}
	if err := os.MkdirAll(h.path("log"), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(h.path("log", name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The daemon's life has nothing to do with that of the caller.
	cmd := h.Command(context.Background(), program, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{name: name, host: h, done: make(chan struct{})}
	p.id, err = identify(cmd.Process.Pid)
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err == nil {
		err = save(h.path("process", name+".json"), p.id)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("host %s: note process %s: %w", h.Name(), name, err), p.Kill())
	}
	return p, nil
}

// Process finds a daemon that was started under that name, by this program or another.
func (h *Host) Process(name string) (*Process, error) {
	p := &Process{name: name, host: h}
	if err := load(h.path("process", name+".json"), &p.id); err != nil {
		return nil, fmt.Errorf("host %s: no %s was started: %w", h.Name(), name, err)
	}
	return p, nil
}

// Name is the daemon's.
func (p *Process) Name() string { return p.name }

// Pid is the process's as seen from outside the host.
func (p *Process) Pid() int { return p.id.Pid }

// Running tells whether the process is there.
func (p *Process) Running() bool { return p.id.alive() }

// Signal sends a signal to the process alone. One that is gone is no error.
func (p *Process) Signal(sig syscall.Signal) error { return p.id.signal(sig) }

// Kill sends SIGKILL and waits until the process is gone.
func (p *Process) Kill() error {
	return p.Stop(context.Background(), syscall.SIGKILL)
}

// Stop sends a signal and waits until the process is gone, for a minute at most. How it ended is no error.
func (p *Process) Stop(ctx context.Context, sig syscall.Signal) error {
	if err := p.Signal(sig); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.ended(ctx); err != nil {
		return fmt.Errorf("host %s: wait for the end of %s after signal %s: %w", p.host.Name(), p.name, unix.SignalName(sig), err)
	}
	return nil
}

// Wait waits until the process is gone. The error says how it ended, as exec.Cmd's Wait does, if this program started it.
func (p *Process) Wait(ctx context.Context) error {
	if err := p.ended(ctx); err != nil {
		return err
	}
	return p.err
}

func (p *Process) ended(ctx context.Context) error {
	if p.done == nil {
		return poll(ctx, 365*24*time.Hour, func() bool { return !p.Running() })
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LogPath is the file with what the daemon wrote, in all its lives.
func (p *Process) LogPath() string { return p.host.path("log", p.name+".log") }

// Log is what the daemon wrote, in all its lives; empty if it cannot be read.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.LogPath())
	return string(text)
}

// logTail is the end of the log, for messages.
func (p *Process) logTail() string {
	const most = 2000
	text := p.Log()
	return text[max(0, len(text)-most):]
}
