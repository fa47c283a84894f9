// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"strings"
	"text/tabwriter"
	"unicode"
)

// table is what an ls prints: columns two spaces apart under a head and an underline. The underlines of
// the original are often not as long as what they underline, and scripts may know them by heart.
type table struct {
	head, underline []string
	rows            [][]string
}

// add appends columns, underlined as long as they are.
func (t *table) add(head []string) {
	for _, h := range head {
		t.head = append(t.head, h)
		t.underline = append(t.underline, strings.Repeat("-", len(h)))
	}
}

func (t table) String() string {
	under := t.underline
	if under == nil {
		for _, h := range t.head {
			under = append(under, strings.Repeat("-", len(h)))
		}
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 2, 2, ' ', 0)
	for _, row := range append([][]string{t.head, under}, t.rows...) {
		for i, c := range row {
			if i > 0 {
				w.Write([]byte{'\t'}) // a bytes.Buffer takes everything
			}
			w.Write([]byte(cell(c)))
		}
		w.Write([]byte{'\n'})
	}
	w.Flush()
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n") // of empty cells at a row's end
	}
	return out.String()
}

// cell is text that can neither break its column nor speak to the terminal.
func cell(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// short is how much of a long identifier a table shows: 12 characters, as Docker does.
func short(id string) string { return id[:min(len(id), 12)] }
