// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"regexp"
	"strings"
)

// CyclonusParts are tags by which cyclonus' table is divided: a part is the cases that have its tag and none of those before it. The last, without a tag, is
// the rest.
var CyclonusParts = []string{"upstream-e2e", "conflict", "action", "port", "egress", ""}

var (
	listed   = regexp.MustCompile(`^test #([0-9]+): (.+)$`)
	begun    = regexp.MustCompile(`^starting test case #([0-9]+)$`)
	compared = regexp.MustCompile(`^(?:Discrepancy found:)?([0-9]+) wrong, [0-9]+ ignored, [0-9]+ correct$`)
	finished = regexp.MustCompile(`^finished policy #([0-9]+)$`)
)

// Cases reads what cyclonus prints: of all cases that it lists at its beginning. One that has not come to its end is skipped, without a reason. (The report
// that it can write, in JUnit's format, is there only when all have.)
func Cases(output string) []Result {
	var all []Result
	index := map[string]int{} // by number
	current, wrong := "", ""
	for line := range strings.Lines(output) {
		line = strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "")
		if m := listed.FindStringSubmatch(line); m != nil {
			if _, again := index[m[1]]; !again {
				index[m[1]] = len(all)
				all = append(all, Result{Name: m[2], Outcome: Skipped})
			}
		}
		if m := begun.FindStringSubmatch(line); m != nil {
			current, wrong = m[1], ""
		}
		if m := compared.FindStringSubmatch(line); m != nil && m[1] != "0" && wrong == "" {
			wrong = fmt.Sprintf("%s answers are others than its rules say", m[1])
		}
		if m := finished.FindStringSubmatch(line); m != nil && m[1] == current {
			if i, ok := index[current]; ok {
				all[i].Outcome, all[i].Reason = Passed, wrong
				if wrong != "" {
					all[i].Outcome = Failed
				}
			}
		}
	}
	return all
}
