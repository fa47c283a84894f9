// SPDX-License-Identifier: Apache-2.0

// Package tutorial runs the commands of docs/tutorials on hosts and compares what comes out with what the document
// shows. The demo shows them as they run; a test fails where they differ.
//
// In a block marked console, a line `host$ command` is run on that host, and the lines after it are its
// output; a command that ends in `<<EOF` goes on up to EOF. After `docker exec -it X /bin/sh`, or for a pod `kubectl exec -it X -- /bin/sh`,
// lines `/ # command` are run in that container, up to `/ # exit`. In expected
// output `...` stands for any text, alone on a line for any number of lines, and white space counts as one space.
// A command in a container whose output is `<awaiting connection>` is left running, and so is its shell.
//
// What bites: nothing presses ^C, so a ping without a count is sent two.
package tutorial

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one command of a tutorial.
type Step struct {
	Line      int    // of the document, from 1
	Host      string // where it is typed
	Container string // in whose shell; "" for the host's own
	Pod       bool   // the container is a pod of Kubernetes
	Command   string // as shown
	Expect    []string
}

// awaiting is what stands for the output of a command that is left running.
const awaiting = "<awaiting connection>"

// stays tells whether the command is left running.
func (s Step) stays() bool { return s.Container != "" && len(s.Expect) == 1 && s.Expect[0] == awaiting }

var (
	hostPrompt  = regexp.MustCompile(`^([a-z][a-z0-9-]*)\$ (.+)$`)
	shellPrompt = regexp.MustCompile(`^/ # (.+)$`)
	enterShell  = regexp.MustCompile(`^(?:docker exec -it (\S+)|kubectl exec -it (\S+) --) /bin/sh$`)
)

// Parse reads a document's console blocks.
func Parse(document string) ([]Step, error) {
	var steps []Step
	inBlock, container, pod, text := false, "", false, false
	for i, line := range strings.Split(document, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inBlock = line == "```console"
			if !inBlock && container != "" && steps[len(steps)-1].stays() {
				container = ""
			}
			if !inBlock && text {
				return nil, fmt.Errorf("line %d: the text up to EOF does not end", i+1)
			}
			if !inBlock && container != "" {
				return nil, fmt.Errorf("line %d: the shell of container %s is not left with `/ # exit`", i+1, container)
			}
			continue
		case !inBlock:
			continue
		case text:
			last := &steps[len(steps)-1]
			last.Command += "\n" + line
			text = line != "EOF"
			continue
		}
		if m := hostPrompt.FindStringSubmatch(line); m != nil && container == "" {
			if e := enterShell.FindStringSubmatch(m[2]); e != nil {
				container, pod = e[1]+e[2], e[2] != ""
			}
			text = strings.HasSuffix(m[2], "<<EOF")
			steps = append(steps, Step{Line: i + 1, Host: m[1], Command: m[2]})
			continue
		}
		if len(steps) == 0 {
			return nil, fmt.Errorf("line %d: output before any command", i+1)
		}
		last := &steps[len(steps)-1]
		if m := shellPrompt.FindStringSubmatch(line); m != nil && container != "" {
			step := Step{Line: i + 1, Host: last.Host, Container: container, Pod: pod, Command: m[1]}
			if step.Command == "exit" {
				container = ""
			}
			steps = append(steps, step)
			continue
		}
		last.Expect = append(last.Expect, line)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("no console block")
	}
	return steps, nil
}

// words is a line with its white space made one.
func words(line string) string { return strings.Join(strings.Fields(line), " ") }

// Matches tells whether output is what the document shows.
func Matches(expect []string, output string) bool {
	var want, got []string
	for _, l := range expect {
		if w := words(l); w != "" {
			want = append(want, w)
		}
	}
	for l := range strings.SplitSeq(output, "\n") {
		if w := words(l); w != "" {
			got = append(got, w)
		}
	}
	return matchLines(want, got)
}

func matchLines(want, got []string) bool {
	for i, w := range want {
		if w == "..." {
			for skip := 0; skip <= len(got); skip++ {
				if matchLines(want[i+1:], got[skip:]) {
					return true
				}
			}
			return false
		}
		if len(got) == 0 || !matchLine(w, got[0]) {
			return false
		}
		got = got[1:]
	}
	return len(got) == 0
}

func matchLine(want, got string) bool {
	parts := strings.Split(want, "...")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".+") + "$").MatchString(got)
}
