// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// JUnit reads the test cases of a report in JUnit's XML, however deep their suites are.
func JUnit(report io.Reader) ([]Result, error) {
	var all []Result
	for d := xml.NewDecoder(report); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read a JUnit report: %w", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "testcase" {
			continue
		}
		type said struct {
			Message string `xml:"message,attr"`
			Text    string `xml:",chardata"`
		}
		var c struct {
			Name    string `xml:"name,attr"`
			Failure *said  `xml:"failure"`
			Error   *said  `xml:"error"`
			Skipped *said  `xml:"skipped"`
		}
		if err := d.DecodeElement(&c, &start); err != nil {
			return nil, fmt.Errorf("read a JUnit report: %w", err)
		}
		r := Result{Name: firstLine(c.Name), Outcome: Passed}
		for outcome, s := range map[Outcome]*said{Failed: c.Failure, Skipped: c.Skipped} {
			if s == nil && outcome == Failed {
				s = c.Error
			}
			if s != nil {
				r.Outcome, r.Reason = outcome, firstLine(strings.TrimSpace(s.Message+"\n"+s.Text))
			}
		}
		all = append(all, r)
	}
}
