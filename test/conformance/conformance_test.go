// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const ginkgoReport = `[{"SuitePath": "e2e", "SpecReports": [
	{"ContainerHierarchyTexts": null, "LeafNodeType": "BeforeSuite", "LeafNodeText": "[sig-network] before", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-network] Services"], "LeafNodeType": "It", "LeafNodeText": "should work", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It", "LeafNodeText": "should answer", "State": "failed", "Failure": {"Message": "no answer\nat all"}},
	{"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It", "LeafNodeText": "should hang", "State": "timedout", "Failure": {"Message": "too late"}},
	{"ContainerHierarchyTexts": ["[sig-network] Netpol [Feature:SCTPConnectivity]"], "LeafNodeType": "It", "LeafNodeText": "should deny", "State": "skipped"},
	{"ContainerHierarchyTexts": ["[sig-network] Services"], "LeafNodeType": "It", "LeafNodeText": "should be in a cloud", "State": "skipped", "Failure": {"Message": "no cloud"}},
	{"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It", "LeafNodeText": "should go on", "State": "interrupted", "Failure": {"Message": "Interrupted by User"}},
	{"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should start", "State": "passed"}]}]`

func TestReportOfGinkgoIsReadWithReasonsForWhatWasNotRun(t *testing.T) {
	t.Parallel()
	got, err := Ginkgo([]byte(ginkgoReport), "[sig-network]")
	if err != nil {
		t.Fatal(err)
	}
	Explain(got, []Exclusion{{`\[Feature:SCTPConnectivity\]`, "needs SCTP"}}, "not selected")
	want := []Result{
		{"[sig-network] DNS should answer", Failed, "no answer"},
		{"[sig-network] DNS should go on", Skipped, "not selected"},
		{"[sig-network] DNS should hang", Failed, "too late"},
		{"[sig-network] Netpol [Feature:SCTPConnectivity] should deny", Skipped, "needs SCTP"},
		{"[sig-network] Services should be in a cloud", Skipped, "no cloud"},
		{"[sig-network] Services should work", Passed, ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if _, err := Ginkgo([]byte("{"), ""); err == nil {
		t.Error("half a report is read")
	}
}

func FuzzGinkgo(f *testing.F) {
	f.Add([]byte(ginkgoReport))
	f.Fuzz(func(t *testing.T, report []byte) {
		all, _ := Ginkgo(report, "[sig-network]")
		sound(t, all)
	})
}

const cyclonusOutput = `test cases to run by tag:
- egress: 4
testing 4 cases

test #1: deny all
 - tags: deny-all, ingress
test #2: allow some
test #3: change labels
test #4: never reached
starting test case #1
evaluating test case: deny all
step 1 on all available ports/protocols:
0 wrong, 9 ignored, 72 correct
finished policy #1
starting test case #2
step 1 on port 80, protocol TCP:
0 wrong, 9 ignored, 72 correct
step 2 on port 80, protocol TCP:
Discrepancy found:3 wrong, 9 ignored, 69 correct
finished policy #2
starting test case #3
0 wrong, 9 ignored, 72 correct
level=fatal msg="object has been modified"
`

func TestCasesAreReadAsFarAsTheyCame(t *testing.T) {
	t.Parallel()
	want := []Result{
		{"deny all", Passed, ""}, {"allow some", Failed, "3 answers are others than its rules say"}, {"change labels", Skipped, ""}, {"never reached", Skipped, ""},
	}
	if got := Cases(cyclonusOutput); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzCases(f *testing.F) {
	f.Add(cyclonusOutput)
	f.Fuzz(func(t *testing.T, output string) { sound(t, Cases(output)) })
}

const verboseOutput = `=== RUN   TestConformance
=== RUN   TestConformance/Standard
=== RUN   TestConformance/Standard/allows
    suite.go:10: Passing
=== RUN   TestConformance/Standard/denies
    helper.go:71: Expected connection to fail
--- FAIL: TestConformance (3.10s)
    --- FAIL: TestConformance/Standard (3.00s)
        --- PASS: TestConformance/Standard/allows (1.00s)
        --- FAIL: TestConformance/Standard/denies (2.00s)
=== RUN   TestOther
    suite.go:12: not supported
--- SKIP: TestOther (0.00s)
=== RUN   TestEndless
panic: test timed out
`

func TestOutputOfGoTestsIsReadByItsLeaves(t *testing.T) {
	t.Parallel()
	want := []Result{
		{"TestConformance/Standard/allows", Passed, ""}, {"TestConformance/Standard/denies", Failed, "Expected connection to fail"}, {"TestOther", Skipped, "not supported"}, {"TestEndless", Failed, ""},
	}
	if got := Verbose(verboseOutput); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzVerbose(f *testing.F) {
	f.Add(verboseOutput)
	f.Fuzz(func(t *testing.T, output string) { sound(t, Verbose(output)) })
}

// sound holds for results of whatever was read.
func sound(t *testing.T, all []Result) {
	t.Helper()
	for _, r := range all {
		if r.Outcome != Passed && r.Outcome != Failed && r.Outcome != Skipped || strings.Contains(r.Reason, "\n") {
			t.Errorf("a result is %+v", r)
		}
	}
}

func TestExclusionsAreExpressionsOfNames(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(Pattern(Excluded))
	for name, want := range map[string]bool{
		"[sig-network] Netpol [Feature:SCTPConnectivity] [LinuxOnly] should deny": true,
		"[sig-network] KubeProxy should set TCP CLOSE_WAIT timeout [Privileged]":  true,
		"[sig-network] Netpol should deny egress":                                 false,
		"[sig-network] Services should serve a basic endpoint from pods":          false,
	} {
		if pattern.MatchString(name) != want {
			t.Errorf("%s: excluded %v", name, !want)
		}
	}
}

func TestPageTellsOfASuiteAndKeepsWhatItSaysOfOthers(t *testing.T) {
	t.Parallel()
	results, err := Ginkgo([]byte(ginkgoReport), "[sig-network]")
	if err != nil {
		t.Fatal(err)
	}
	Explain(results, Excluded, "not selected")
	first := Run{Suite: Kubernetes, Version: "v1", Contiv: "abc", Date: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), Took: 90 * time.Second, Results: results}
	second := Run{Suite: Cyclonus, Version: "v2", Contiv: "def", Date: time.Date(2026, 11, 21, 23, 0, 0, 0, time.UTC), Results: []Result{{"a | b <c>", Passed, ""}}}
	third := Run{Suite: Policies, Version: "v3", Contiv: "abc", Results: []Result{{"d", Skipped, "no need"}}}
	page := Page(Page(Page("", third), second), first)
	for _, want := range []string{
		"|---|\n| Kubernetes, `[sig-network]` | v1 | 1 | 2 | 3 | abc | 2026-11-21 22:00:00 | 1m30s |\n| cyclonus | v2 | 1 | 0 | 0 | def | 2026-11-21 23:00:00 | 0s |\n| network-policy-api |",
		"| [sig-network] DNS should answer | no answer |", "1: no cloud\n\n- [sig-network] Services should be in a cloud\n",
		"\n\n## cyclonus\n\nAll passed.\n\n## network-policy-api\n\n**Skipped**\n\n1: no need\n\n- d\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	for _, r := range []Run{first, second, third} {
		if again := Page(page, r); again != page {
			t.Errorf("told twice, the page is another:\n%s\nwas:\n%s", again, page)
		}
	}
	second.Results[0].Outcome = Failed
	if again := Page(page, second); strings.Contains(again, "All passed") || !strings.Contains(again, "| a \\| b &lt;c> |") || strings.Count(again, "## cyclonus") != 1 {
		t.Errorf("a suite that is run again keeps what it said:\n%s", again)
	}
}

func TestTestsThatEndForWantOfSCTPAreSkipped(t *testing.T) {
	t.Parallel()
	got := []Result{
		{"a", Failed, "Expected connection to succeed from x to y, but instead it miserably failed. stderr: OTHER: protocol not supported"},
		{"b", Failed, "Expected connection to be dropped"}, {"c", Passed, ""},
	}
	WithoutSCTP(got)
	if got[0].Outcome != Skipped || got[1].Outcome != Failed || got[2].Outcome != Passed {
		t.Errorf("got %v", got)
	}
}
