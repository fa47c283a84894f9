// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"regexp"
	"strings"
)

var (
	started = regexp.MustCompile(`^=== (RUN|NAME|CONT)\s+(\S+)$`)
	logged  = regexp.MustCompile(`^\s+\S+\.go:[0-9]+: (.+)$`)
	ended   = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
)

// Verbose reads what a test program of Go says with -test.v: of the tests that have none below them. One that has begun and not
// ended has failed. The last that a test logged is the reason.
func Verbose(output string) []Result {
	var order []string
	outcomes, reasons := map[string]Outcome{}, map[string]string{}
	current := ""
	parents := map[string]bool{}
	see := func(name string) {
		if _, ok := outcomes[name]; !ok {
			order = append(order, name)
			outcomes[name] = Failed
		}
		for at := strings.LastIndexByte(name, '/'); at >= 0; at = strings.LastIndexByte(name[:at], '/') {
			parents[name[:at]] = true
		}
	}
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if m := started.FindStringSubmatch(line); m != nil {
			current = m[2]
			see(current)
		}
		if m := logged.FindStringSubmatch(line); m != nil {
			reasons[current] = firstLine(m[1])
		}
		if m := ended.FindStringSubmatch(line); m != nil {
			see(m[2])
			outcomes[m[2]] = map[string]Outcome{"PASS": Passed, "FAIL": Failed, "SKIP": Skipped}[m[1]]
		}
	}
	var all []Result
	for _, name := range order {
		if parents[name] {
			continue
		}
		r := Result{Name: name, Outcome: outcomes[name]}
		if r.Outcome != Passed {
			r.Reason = reasons[name]
		}
		all = append(all, r)
	}
	return all
}
