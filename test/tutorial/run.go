// SPDX-License-Identifier: Apache-2.0

package tutorial

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Host is where commands are typed.
type Host interface {
	// Shell runs a command line as a user would and gives all that it printed. An exit code is no error.
	Shell(ctx context.Context, command string) (output string, err error)
}

// Run types the steps on the hosts, by name, and writes what a user would see to w. It ends at the first step
// whose output is not what the document shows. Commands that look at what others do are
// repeated for settle before they count as wrong.
func Run(ctx context.Context, steps []Step, hosts map[string]Host, settle time.Duration, w io.Writer) error {
	for _, s := range steps {
		h, ok := hosts[s.Host]
		if !ok {
			return fmt.Errorf("line %d: there is no host %s", s.Line, s.Host)
		}
		prompt := s.Host + "$ "
		if s.Container != "" {
			prompt = "/ # "
		}
		fmt.Fprintf(w, "%s%s\n", prompt, s.Command)
		command := s.commandLine()
		if command == "" {
			continue
		}
		if s.stays() {
			fmt.Fprintln(w, awaiting)
		}
		output, err := s.try(ctx, h, command, settle)
		fmt.Fprint(w, output)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", s.Line, s.Command, err)
		}
	}
	return nil
}

func (s Step) try(ctx context.Context, h Host, command string, settle time.Duration) (string, error) {
	for deadline := time.Now().Add(settle); ; {
		output, err := h.Shell(ctx, command)
		if err != nil {
			return output, err
		}
		if Matches(s.Expect, output) || s.stays() && output == "" {
			return output, nil
		}
		if !s.looks() || time.Now().After(deadline) {
			return output, fmt.Errorf("the document shows\n%s\nand this came out:\n%s", strings.Join(s.Expect, "\n"), output)
		}
		select {
		case <-ctx.Done():
			return output, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// looks tells whether the command only looks and may be typed again.
func (s Step) looks() bool {
	for _, word := range []string{" ls", "-ls ", " inspect ", " ps", "kubectl get ", "ping ", "nslookup ", "ip addr show ", "ip route show "} {
		if strings.Contains(s.Command, word) || strings.HasPrefix(s.Command, word) {
			return true
		}
	}
	return false
}

var endlessPing = regexp.MustCompile(`^ping ([^-\s]\S*)$`)

// commandLine is what is really typed: "" for entering and leaving a container's shell.
func (s Step) commandLine() string {
	if s.Container == "" {
		if enterShell.MatchString(s.Command) {
			return ""
		}
		return s.Command
	}
	if s.Command == "exit" {
		return ""
	}
	inside := s.Command
	if m := endlessPing.FindStringSubmatch(inside); m != nil {
		inside = "ping -c 2 " + m[1]
	}
	exec := "docker exec " + s.Container
	switch {
	case s.Pod:
		exec = "kubectl exec " + s.Container + " --"
	case s.stays():
		exec = "docker exec -d " + s.Container
	}
	return fmt.Sprintf("%s /bin/sh -c '%s'", exec, strings.ReplaceAll(inside, "'", `'\''`))
}
