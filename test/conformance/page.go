// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Page is docs/conformance.md with what came out of a suite. Of the other suites it says what it said before.
func Page(was string, r Run) string {
	var b strings.Builder
	b.WriteString(`# Conformance

What the suites that others wrote say of Contiv on a real Kubernetes cluster: nodes of ` + "`test/kubelab`" + `, without kube-proxy. This page is written by
` + "`make test-k8s-conformance`" + `, which builds the suites from their Go modules and runs them. Each suite's part is of the suite's last run.

| suite | version | passed | failed | skipped | Contiv | when | took |
|---|---|---|---|---|---|---|---|`)
	for _, suite := range Suites {
		if suite == r.Suite {
			b.WriteString(row(r))
		} else {
			b.WriteString(between(was, "\n| "+titles[suite]+" |", "\n"))
		}
	}
	b.WriteString("\n")
	for _, suite := range Suites {
		if suite == r.Suite {
			b.WriteString(section(r))
		} else {
			b.WriteString(between(was, "\n## "+titles[suite]+"\n", "\n## "))
		}
	}
	return b.String()
}

// between is the line or the lines of a page that begin with the one and end before the other; nothing where they are not there.
func between(page, begin, end string) string {
	at := strings.Index(page, begin)
	if at < 0 {
		return ""
	}
	part := page[at:]
	if to := strings.Index(part[1:], end); to >= 0 {
		part = part[:1+to]
	}
	return part
}

// The suites, by the names of their runs.
const (
	Kubernetes = "kubernetes"
	Cyclonus   = "cyclonus"
	Policies   = "cluster-policies"
)

// Suites are all, in the page's order.
var Suites = []string{Kubernetes, Cyclonus, Policies}

var titles = map[string]string{
	Kubernetes: "Kubernetes, `[sig-network]`",
	Cyclonus:   "cyclonus",
	Policies:   "network-policy-api",
}

// row is a suite's in the table, below the line before it.
func row(r Run) string {
	return fmt.Sprintf("\n| %s | %s | %d | %d | %d | %s | %s | %s |", titles[r.Suite], r.Version, r.Count(Passed), r.Count(Failed), r.Count(Skipped),
		r.Contiv, r.Date.UTC().Format(time.DateTime), r.Took.Round(time.Second))
}

// section is a suite's below the table.
func section(r Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n", titles[r.Suite])
	var failed []Result
	skipped := map[string][]string{}
	for _, each := range r.Results {
		switch each.Outcome {
		case Failed:
			failed = append(failed, each)
		case Skipped:
			skipped[each.Reason] = append(skipped[each.Reason], each.Name)
		}
	}
	if len(failed) > 0 {
		b.WriteString("\n**Failed**\n\n| test | what it said |\n|---|---|\n")
		for _, f := range failed {
			fmt.Fprintf(&b, "| %s | %s |\n", cell(f.Name), cell(f.Reason))
		}
	}
	if len(skipped) > 0 {
		b.WriteString("\n**Skipped**\n")
		for _, reason := range slices.Sorted(maps.Keys(skipped)) {
			fmt.Fprintf(&b, "\n%d: %s\n\n", len(skipped[reason]), cell(reason))
			for _, name := range skipped[reason] {
				fmt.Fprintf(&b, "- %s\n", cell(name))
			}
		}
	}
	if len(failed)+len(skipped) == 0 {
		b.WriteString("\nAll passed.\n")
	}
	return b.String()
}

// cell is a text that does not end a table's cell, nor is taken for HTML.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}
