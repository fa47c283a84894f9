// SPDX-License-Identifier: Apache-2.0

package conformance

import "time"

// Outcome is how a test ended.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is what one test of a suite said.
type Result struct {
	Name    string
	Outcome Outcome
	Reason  string // why it failed or was skipped
}

// Run is what came out of a suite.
type Run struct {
	Suite   string
	Version string // the suite's
	Contiv  string // git describe
	Date    time.Time
	Took    time.Duration
	Results []Result
}

// Count is how many tests ended so.
func (r Run) Count(o Outcome) int {
	n := 0
	for _, each := range r.Results {
		if each.Outcome == o {
			n++
		}
	}
	return n
}
