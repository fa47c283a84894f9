// SPDX-License-Identifier: Apache-2.0

package netlab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Cmd is an exec.Cmd whose process runs in all namespaces of a host. It is a direct child of this program: signals
// reach the process itself and Process.Pid is its pid as seen from here. Its directory is / unless Dir is set.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command prepares a command in the host. The program is killed when ctx ends.
func (h *Host) Command(ctx context.Context, program string, args ...string) *Cmd {
	path, err := lookPath(program)
	if err != nil {
		path = program // Start says that it does not exist
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = program
	cmd.Env = append(environment(), marker+"="+h.lab.state.Name)
	cmd.Dir = "/"
	// Bounds the wait for children of a killed command that hold its output open.
	cmd.WaitDelay = 2 * time.Second
	return &Cmd{Cmd: cmd, host: h}
}

// Start is as exec.Cmd's.
func (c *Cmd) Start() error {
	if err := c.host.enter(namespaces, c.Cmd.Start); err != nil {
		return fmt.Errorf("host %s: start %s: %w", c.host.Name(), c.Path, err)
	}
	return nil
}

// Run is as exec.Cmd's.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output is as exec.Cmd's, with what the command said on stderr in the error.
func (c *Cmd) Output() ([]byte, error) {
	var out, say bytes.Buffer
	c.Stdout = &out
	if c.Stderr == nil {
		c.Stderr = &say
	}
	err := c.explain(c.Run(), &out, &say)
	return out.Bytes(), err
}

// CombinedOutput is as exec.Cmd's, with the output in the error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.explain(c.Run(), &out)
	return out.Bytes(), err
}

func (c *Cmd) explain(err error, said ...*bytes.Buffer) error {
	if err == nil {
		return nil
	}
	var text []string
	for _, b := range said {
		if s := strings.TrimSpace(b.String()); s != "" {
			text = append(text, s)
		}
	}
	return fmt.Errorf("host %s: %s: %w: %s", c.host.Name(), strings.Join(c.Args, " "), err, strings.Join(text, "\n"))
}

// Run runs a command in the host; an error holds all that it said.
func (h *Host) Run(ctx context.Context, program string, args ...string) error {
	_, err := h.Command(ctx, program, args...).CombinedOutput()
	return err
}

// Output runs a command in the host and gives what it wrote to stdout, without surrounding space.
func (h *Host) Output(ctx context.Context, program string, args ...string) (string, error) {
	out, err := h.Command(ctx, program, args...).Output()
	return strings.TrimSpace(string(out)), err
}

// Shell runs an interactive program, such as bash, on this program's terminal.
func (h *Host) Shell(ctx context.Context, program string, args ...string) error {
	cmd := h.Command(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(cmd.Env, "NETLAB_HOST="+h.Name())
	if isTerminal(os.Stdin) {
		// A shell takes part in job control only if its process group exists in its own pid namespace.
		cmd.SysProcAttr = &syscall.SysProcAttr{Foreground: true, Ctty: int(os.Stdin.Fd())}
	}
	return cmd.Run()
}
