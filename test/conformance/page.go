// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Page is docs/conformance.md: what came out of the suites' last runs.
func Page(runs []Run) string {
	var b strings.Builder
	b.WriteString(`# Conformance

What the suites that others wrote say of Contiv on a real Kubernetes cluster: two nodes of ` + "`test/kubelab`" + `, without kube-proxy. This page is written by
` + "`make test-k8s-conformance`" + `, which builds the suites from their Go modules and runs them.

| suite | version | passed | failed | skipped | Contiv | when | took |
|---|---|---|---|---|---|---|---|
`)
	for _, r := range runs {
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %s | %s | %s |\n", titles[r.Suite], r.Version, r.Count(Passed), r.Count(Failed), r.Count(Skipped),
			r.Contiv, r.Date.UTC().Format(time.DateTime), r.Took.Round(time.Second))
	}
	for _, r := range runs {
		section(&b, r)
	}
	return b.String()
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

func section(b *strings.Builder, r Run) {
	fmt.Fprintf(b, "\n## %s\n", titles[r.Suite])
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
			fmt.Fprintf(b, "| %s | %s |\n", cell(f.Name), cell(f.Reason))
		}
	}
	if len(skipped) > 0 {
		b.WriteString("\n**Skipped**\n")
		for _, reason := range slices.Sorted(maps.Keys(skipped)) {
			fmt.Fprintf(b, "\n%d: %s\n\n", len(skipped[reason]), cell(reason))
			for _, name := range skipped[reason] {
				fmt.Fprintf(b, "- %s\n", cell(name))
			}
		}
	}
	if len(failed)+len(skipped) == 0 {
		b.WriteString("\nAll passed.\n")
	}
}

// cell is a text that does not end a table's cell, nor is taken for HTML.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}
