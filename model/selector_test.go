// SPDX-License-Identifier: Apache-2.0

package model

import "testing"

func TestSelectorsMatchAsThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	needs := func(key, operator string, values ...string) Selector {
		return Selector{Requirements: []Requirement{{Key: key, Operator: operator, Values: values}}}
	}
	web := map[string]string{"app": "web", "tier": "front", "empty": ""}
	for _, c := range []struct {
		what   string
		s      Selector
		labels map[string]string
		want   bool
	}{
		{"nothing said", Selector{}, web, true},
		{"nothing said, no labels", Selector{}, nil, true},
		{"the label is the same", Selector{Labels: map[string]string{"app": "web"}}, web, true},
		{"another value", Selector{Labels: map[string]string{"app": "db"}}, web, false},
		{"one of two is missing", Selector{Labels: map[string]string{"app": "web", "x": "y"}}, web, false},
		{"an empty value is not a missing label", Selector{Labels: map[string]string{"x": ""}}, web, false},
		{"an empty value", Selector{Labels: map[string]string{"empty": ""}}, web, true},
		{"in", needs("app", SelectIn, "db", "web"), web, true},
		{"in, another", needs("app", SelectIn, "db"), web, false},
		{"in, missing", needs("x", SelectIn, "db", ""), web, false},
		{"not in", needs("app", SelectNotIn, "db"), web, true},
		{"not in, but it is", needs("app", SelectNotIn, "web"), web, false},
		{"not in, missing", needs("x", SelectNotIn, "web"), web, true},
		{"exists", needs("empty", SelectExists), web, true},
		{"exists, missing", needs("x", SelectExists), web, false},
		{"does not exist", needs("x", SelectMissing), web, true},
		{"does not exist, but it does", needs("app", SelectMissing), web, false},
		{"an operator of another time", needs("app", "Gt", "1"), web, false},
		{"labels and requirements", Selector{map[string]string{"app": "web"}, []Requirement{{"tier", SelectIn, []string{"back"}}}}, web, false},
	} {
		if got := c.s.Matches(c.labels); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
