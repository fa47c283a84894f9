// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"strings"
	"testing"
)

func testSet() (*Set, *string) {
	s := New("prog", "CONTIV_PROG_")
	s.Log()
	url := s.String("external-address", "0.0.0.0:9999", "where to listen")
	s.Alias("external-address", "listen-url")
	s.Obsolete("mode", "every mode at once", "cluster-mode")
	return s, url
}

func TestFlagsAreTakenFromArgumentsThenEnvironment(t *testing.T) {
	t.Parallel()
	env := func(name string) string {
		if name == "CONTIV_PROG_EXTERNAL_ADDRESS" {
			return "env:1"
		}
		return ""
	}
	for _, row := range []struct {
		args []string
		want string
	}{
		{nil, "env:1"},
		{[]string{"--external-address", "a:1"}, "a:1"},
		{[]string{"-external-address=a:1"}, "a:1"},
		{[]string{"-listen-url", "a:1"}, "a:1"},
		{[]string{"--listen-url=a:1"}, "a:1"},
	} {
		s, url := testSet()
		if _, _, err := s.Parse(row.args, env); err != nil || *url != row.want {
			t.Errorf("%v: %q, %v; want %q", row.args, *url, err, row.want)
		}
	}
}

func TestBadFlagsAreNamed(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	for args, want := range map[string]string{"--nonsense": "nonsense", "word": "word", "-q": "q"} {
		s, _ := testSet()
		if _, _, err := s.Parse([]string{args}, none); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	s, _ := testSet()
	if notes, _, err := s.Parse([]string{"-cluster-mode=docker"}, none); err != nil || len(notes) != 1 {
		t.Errorf("an obsolete flag gives %v, %v", notes, err)
	}
	s, _ = testSet()
	if _, help, err := s.Parse([]string{"-h"}, none); err != nil || !help {
		t.Errorf("-h gives help=%v, %v", help, err)
	}
}
