// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// path is a contestant that is up, with a server in one of its containers.
type path struct {
	contestant
	pair    pair
	program string // this one, to be started again as a worker
	cpu     int    // the one CPU
	page    *os.File
	server  *exec.Cmd
	hold    io.Closer // closing it ends the server
}

// lay brings the contestant up and waits until the server answers over it.
func lay(ctx context.Context, c contestant, t topology) (*path, error) {
	p := &path{contestant: c, cpu: runtime.NumCPU() - 1}
	err := p.start(ctx, t)
	if err != nil {
		p.remove()
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return p, nil
}

func (p *path) start(ctx context.Context, t topology) error {
	var err error
	if p.program, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if p.pair, err = p.Up(ctx, t); err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("bench-counters", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make a page for the counters: %w", err)
	}
	p.page = os.NewFile(uintptr(fd), "bench-counters")
	if err := p.page.Truncate(counterPage); err != nil {
		return fmt.Errorf("size the counters: %w", err)
	}
	if err := p.serve(ctx); err != nil {
		return err
	}
	_, err = p.worker(ctx, job{role: "probe", namespace: p.pair.client, to: p.pair.address, shift: int(p.pair.shift), secs: 10, cpu: -1})
	return err
}

func (p *path) command(ctx context.Context, j job) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.program, j.arguments()...)
	cmd.Env = append(os.Environ(), j.environment()...)
	cmd.ExtraFiles = []*os.File{p.page}
	return cmd
}

func (p *path) serve(ctx context.Context) error {
	p.server = p.command(ctx, job{role: "serve", namespace: p.pair.server, to: p.pair.address, cpu: p.cpu})
	var failure bytes.Buffer
	p.server.Stderr = &failure
	hold, err := p.server.StdinPipe()
	if err != nil {
		return fmt.Errorf("hold the server: %w", err)
	}
	out, err := p.server.StdoutPipe()
	if err != nil {
		return fmt.Errorf("hear the server: %w", err)
	}
	if err := p.server.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	p.hold = hold
	late := time.AfterFunc(10*time.Second, func() { p.server.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		p.stopServer()
		return fmt.Errorf("the server did not come up: %s", failure.Bytes())
	}
	return nil
}

func (p *path) stopServer() {
	if p.hold == nil {
		return
	}
	p.hold.Close()
	late := time.AfterFunc(5*time.Second, func() { p.server.Process.Kill() })
	p.server.Wait() // it was told to end: how does not matter
	late.Stop()
	p.hold = nil
}

// remove takes down what is up of the path.
func (p *path) remove() error {
	p.stopServer()
	if p.page != nil {
		p.page.Close()
	}
	if err := p.Down(); err != nil {
		return fmt.Errorf("take %s down: %w", p.Name(), err)
	}
	return nil
}

// worker runs a client to its end; used is the CPU time that it took, in seconds.
func (p *path) worker(ctx context.Context, j job) (run, error) {
	ctx, cancel := context.WithTimeout(ctx, seconds(j.warm+j.secs)+3*patience*time.Second)
	defer cancel()
	cmd := p.command(ctx, j)
	var out, failure bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failure
	if err := cmd.Run(); err != nil {
		return run{}, fmt.Errorf("%s: %w: %s", j.role, err, bytes.TrimSpace(failure.Bytes()))
	}
	return run{out.Bytes(), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()}, nil
}

type run struct {
	output []byte
	used   float64
}

// warmUp is what a client does before it measures, in seconds.
const warmUp = 0.15

// measure does one trial for secs seconds.
func (p *path) measure(ctx context.Context, t trial, secs float64) (sample, error) {
	j := job{role: t.name, namespace: p.pair.client, to: p.pair.address, shift: int(p.pair.shift), warm: warmUp, secs: secs, streams: t.streams, cpu: p.cpu}
	if t.free {
		j.cpu = -1
	}
	pids := append(softirqThreads(), os.Getpid(), p.server.Process.Pid)
	own, began := timeOf(pids), time.Now()
	before, err := machineTime()
	if err != nil {
		return sample{}, err
	}
	r, err := p.worker(ctx, j)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", p.Name(), err)
	}
	after, err := machineTime()
	if err != nil {
		return sample{}, err
	}
	var s sample
	if err := json.Unmarshal(r.output, &s); err != nil {
		return sample{}, fmt.Errorf("%s: read what %s measured: %w", p.Name(), t.name, err)
	}
	all := after.busy + after.stolen - before.busy - before.stolen
	s.Other = max(0, all-r.used-(timeOf(pids)-own)) / time.Since(began).Seconds()
	return s, nil
}
