// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

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
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // why it failed or was skipped
}

// Run is what came out of a suite.
type Run struct {
	Suite   string        `json:"suite"`
	Version string        `json:"version"` // the suite's
	Contiv  string        `json:"contiv"`  // git describe
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took"`
	Results []Result      `json:"results"`
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

// Save writes a run into a directory, where it replaces the suite's last.
func (r Run) Save(dir string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.Suite+".json"), b, 0o644)
}

// Load reads the last run of a suite.
func Load(dir, suite string) (Run, error) {
	path := filepath.Join(dir, suite+".json")
	b, err := os.ReadFile(path)
	if err != nil {
		return Run{}, err
	}
	var r Run
	if err := json.Unmarshal(b, &r); err != nil {
		return Run{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
