// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// oursName is the contestant that is to reach the floors.
const oursName = "contiv"

// table lays rows out in Markdown, in columns of fixed width, so that it reads well in a terminal too.
func table(rows [][]string) string {
	var width []int
	for _, r := range rows {
		for i, cell := range r {
			if i == len(width) {
				width = append(width, 3)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	line := func(cell func(i int) string) {
		for i := range width {
			c := cell(i)
			fmt.Fprintf(&b, "| %s%s ", c, strings.Repeat(" ", width[i]-utf8.RuneCountInString(c)))
		}
		b.WriteString("|\n")
	}
	for n, r := range rows {
		line(func(i int) string {
			if i < len(r) {
				return r[i]
			}
			return ""
		})
		if n == 0 {
			line(func(i int) string { return strings.Repeat("-", width[i]) })
		}
	}
	return b.String()
}

// series picks one figure of all entries of a contestant in a trial.
func (o outcome) series(contestant, trial string, figure func(entry) float64) []float64 {
	var v []float64
	for _, e := range o.entries {
		if e.Contestant == contestant && e.Trial == trial {
			v = append(v, figure(e))
		}
	}
	return v
}

// undisturbed are the entries that no other work was in, as far as can be seen.
func (o outcome) undisturbed() outcome {
	o.entries = slices.DeleteFunc(slices.Clone(o.entries), entry.disturbed)
	return o
}

// missing is what a cell holds that nothing was measured for.
const missing = "-"

// figures formats the medians of some figures, all or nothing.
func (o outcome) figures(contestant, trial, format string, figures ...func(entry) float64) string {
	var values []any
	for _, f := range figures {
		v := o.series(contestant, trial, f)
		if len(v) == 0 {
			return missing
		}
		values = append(values, median(v))
	}
	return fmt.Sprintf(format, values...)
}

// report is the table of a race: ratios to the limit, ± half the distance between the quartiles.
func (o outcome) report(t topology) string {
	p50 := func(e entry) float64 { return e.Sample.P50 }
	p99 := func(e entry) float64 { return e.Sample.P99 }
	perGB := func(e entry) float64 { return e.Sample.CPUPerGB }
	clean := o.undisturbed() // the machine's CPU time says nothing about the path while others use it
	head := []string{"ratio to " + limitName}
	limit := []string{limitName + ", absolute"}
	for _, tr := range trials() {
		head = append(head, tr.title)
		limit = append(limit, o.figures(limitName, tr.name, "%.1f "+tr.unit, func(e entry) float64 { return e.Sample.Rate / tr.scale }))
	}
	head = append(head, "round trip p50 / p99", "connection p50 / p99", "CPU s/GB, 1 / 4 streams")
	tail := func(name string) []string {
		return []string{
			o.figures(name, "rr", "%.1f / %.1f µs", p50, p99),
			o.figures(name, "crr", "%.0f / %.0f µs", p50, p99),
			clean.figures(name, "tput1", "%.3f", perGB) + " / " + clean.figures(name, "tput4", "%.3f", perGB),
		}
	}
	rows := [][]string{head, append(limit, tail(limitName)...)}
	for _, name := range o.names {
		if name == limitName {
			continue
		}
		row := []string{name}
		for _, tr := range trials() {
			row = append(row, ratioCell(o.series(name, tr.name, entry.ratio)))
		}
		rows = append(rows, append(row, tail(name)...))
	}
	rows = append(rows, o.verdict(t)...)
	text := table(rows)
	if n := len(o.entries) - len(clean.entries); n > 0 {
		text += fmt.Sprintf("%d of %d measurements were disturbed: other work took over %g CPUs in every try.\n", n, len(o.entries), disturbance)
	}
	return text
}

// ratioRows are the heading and a row for each contestant but the limit, with what cell says of it in each of the policy trials.
func (o outcome) ratioRows(heading string, cell func(name string, t trial) string) [][]string {
	head := []string{heading}
	for _, t := range policyTrials() {
		head = append(head, t.title)
	}
	rows := [][]string{head}
	for _, name := range o.names {
		if name == limitName {
			continue
		}
		row := []string{name}
		for _, t := range policyTrials() {
			row = append(row, cell(name, t))
		}
		rows = append(rows, row)
	}
	return rows
}

// toLimit is a contestant's ratio to the limit in a trial.
func (o outcome) toLimit(name string, t trial) string {
	return ratioCell(o.series(name, t.name, entry.ratio))
}

func ratioCell(ratios []float64) string {
	if len(ratios) == 0 {
		return missing
	}
	return fmt.Sprintf("%.3f ±%.3f", median(ratios), spread(ratios))
}

// verdict is two rows: the floors, and whether our medians reach them.
func (o outcome) verdict(t topology) [][]string {
	wanted, reached := []string{"wanted, at least"}, []string{oursName}
	for _, tr := range trials() {
		floor := t.floor()[tr.name]
		wanted = append(wanted, fmt.Sprintf("%.2f", floor))
		r := o.series(oursName, tr.name, entry.ratio)
		switch {
		case len(r) == 0:
			reached = append(reached, missing)
		case median(r) >= floor:
			reached = append(reached, "met")
		default:
			reached = append(reached, "not met")
		}
	}
	return [][]string{wanted, reached}
}
