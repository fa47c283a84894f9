// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Ginkgo reads a report of Ginkgo 2 in JSON (ginkgo --json-report): those of its tests whose names have the word. A test that was not
// selected has no reason.
func Ginkgo(report []byte, word string) ([]Result, error) {
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(report, &suites); err != nil {
		return nil, fmt.Errorf("read Ginkgo's report: %w", err)
	}
	var all []Result
	for _, suite := range suites {
		for _, s := range suite.SpecReports {
			name := strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " ")
			if s.LeafNodeType != "It" || !strings.Contains(name, word) {
				continue
			}
			r := Result{Name: name, Outcome: Failed, Reason: firstLine(s.Failure.Message)}
			switch s.State {
			case "passed":
				r.Outcome, r.Reason = Passed, ""
			case "skipped", "pending":
				r.Outcome = Skipped
			case "interrupted": // it would have gone on
				r.Outcome, r.Reason = Skipped, ""
			}
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// firstLine is what of a text fits into a table.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.ToValidUTF8(line, "")
}
