// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// marker is the environment variable by which a lab's processes are known after a crash; its value is the lab's name.
const marker = "NETLAB_LAB"

// machine is a set of namespaces with the process that holds them: a host that is on, or the fabric.
type machine struct {
	Init       processID         `json:"init"`       // pid 1 of the pid namespace
	Namespaces map[string]string `json:"namespaces"` // what /proc/<pid>/ns/* links to, by file name
}

// powerOn starts a pid 1 in namespaces of its own. An ephemeral machine dies with this program.
func powerOn(name string, which uintptr, ephemeral bool) (machine, error) {
	tini, err := lookPath("tini")
	if err != nil {
		return machine{}, fmt.Errorf("find a pid 1 for the host (install the package tini): %w", err)
	}
	sleep, err := lookPath("sleep")
	if err != nil {
		return machine{}, err
	}
	// The output is /dev/null and never ours: who reads this program's output would wait for the host to end.
	cmd := exec.Command(tini, "--", sleep, "infinity")
	cmd.Env = append(environment(), marker+"="+name)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: which, Setsid: true}
	if ephemeral {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	started := make(chan error, 1)
	// The death signal comes when the thread that started the process ends, so it stays until the process does.
	go onThread(func() {
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed in the end, which is no error
		}
	})
	if err := <-started; err != nil {
		return machine{}, fmt.Errorf("start %s in new namespaces (needs root, in a container --privileged): %w", tini, err)
	}
	id, err := identify(cmd.Process.Pid)
	m := machine{Init: id, Namespaces: map[string]string{}}
	for _, ns := range []string{"net", "mnt", "pid", "uts", "ipc"} {
		link, e := os.Readlink(filepath.Join(m.proc(), "ns", ns))
		own, _ := os.Readlink(filepath.Join("/proc/self/ns", ns))
		if err = errors.Join(err, e); link != own {
			m.Namespaces[ns] = link
		}
	}
	if err != nil {
		return machine{}, errors.Join(fmt.Errorf("find the host's namespaces: %w", err), cmd.Process.Kill())
	}
	return m, nil
}

// proc is the directory of pid 1 in /proc.
func (m machine) proc() string { return fmt.Sprintf("/proc/%d", m.Init.Pid) }

// on tells whether the machine runs.
func (m machine) on() bool { return m.Init.Pid != 0 && m.Init.alive() }

// powerOff kills everything in the machine at once and waits until it is gone; nothing to kill is fine.
func (m machine) powerOff(ctx context.Context) error {
	if m.Init.Pid == 0 {
		return nil
	}
	if err := m.Init.signal(unix.SIGKILL); err != nil {
		return err
	}
	if err := poll(ctx, 20*time.Second, m.dead); err != nil {
		return fmt.Errorf("wait for the end of process %d, pid 1 of a host: %w", m.Init.Pid, err)
	}
	return nil
}

// dead tells whether nothing runs in the machine any more. Its pid 1 lingers until the parent of each process in it
// has reaped it, and that may be a test that does so later; its namespaces are left by then, and that is enough.
func (m machine) dead() bool {
	if !m.on() {
		return true
	}
	if _, err := os.Readlink(filepath.Join(m.proc(), "ns/net")); err == nil {
		return false
	}
	for _, pid := range processes() {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		if err != nil || pid == m.Init.Pid || link != m.Namespaces["pid"] {
			continue
		}
		if state, _, err := stat(pid); err == nil && state != 'Z' && state != 'X' {
			return false
		}
	}
	return true
}

// marked lists the running processes with the lab's marker in the environment that they were started with.
func marked(name string) []int {
	var all []int
	for _, pid := range processes() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if strings.Contains("\x00"+string(env), "\x00"+marker+"="+name+"\x00") {
			all = append(all, pid)
		}
	}
	return all
}

// machinesOf finds the machines of a lab without its directory: the marked processes that are a pid 1.
func machinesOf(name string) []machine {
	var all []machine
	for _, pid := range marked(name) {
		if id, err := identify(pid); err == nil && isInit(pid) {
			link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
			all = append(all, machine{Init: id, Namespaces: map[string]string{"pid": link}})
		}
	}
	return all
}

// isInit tells whether the process is pid 1 of a pid namespace below ours.
func isInit(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "NSpid:" {
			return f[len(f)-1] == "1"
		}
	}
	return false
}
