// SPDX-License-Identifier: Apache-2.0

package tutorial

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOutputIsComparedAsTheDocumentShowsIt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		expect, output string
		want           bool
	}{
		{"a  b", "a b\n", true},
		{"a b", "a c", false},
		{"a", "a\nb", false},
		{"...", "", true},
		{"...", "a\nb", true},
		{"a\n...\nc", "a\nb\nb\nc", true},
		{"a\n...\nc", "a\nb", false},
		{"time=... ms", "time=1.2 ms", true},
		{"time=... ms", "time= ms", false},
		{"x (y)", "x (y)", true},
		{"", "something", false},
	} {
		if got := Matches(strings.Split(row.expect, "\n"), row.output); got != row.want {
			t.Errorf("%q against %q: %v", row.expect, row.output, got)
		}
	}
}

// script answers commands and notes them.
type script struct {
	typed   []string
	answers map[string]string
}

func (s *script) Shell(_ context.Context, command string) (string, error) {
	s.typed = append(s.typed, command)
	return s.answers[command], nil
}

const document = "# T\n\n```console\nn1$ echo hi\nhi\nn1$ docker exec -it c1 /bin/sh\n/ # ping c2\nPING c2\n/ # exit\n```\n\n    not$ run\n\n```\nnot$ run\n```\n"

func TestStepsAreTypedWhereTheDocumentShowsThem(t *testing.T) {
	t.Parallel()
	steps, err := Parse(document)
	if err != nil {
		t.Fatal(err)
	}
	n1 := &script{answers: map[string]string{"echo hi": "hi\n", "docker exec c1 /bin/sh -c 'ping -c 2 c2'": "PING c2\n"}}
	if err := Run(context.Background(), steps, map[string]Host{"n1": n1}, 0, io.Discard); err != nil {
		t.Fatal(err)
	}
	if len(n1.typed) != 2 {
		t.Errorf("typed %q", n1.typed)
	}
	n1.answers["echo hi"] = "ho\n"
	err = Run(context.Background(), steps, map[string]Host{"n1": n1}, time.Millisecond, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("other output gives %v", err)
	}
}

func TestCommandThatAwaitsAConnectionIsLeftRunning(t *testing.T) {
	t.Parallel()
	steps, err := Parse("```console\nn1$ docker exec -it db /bin/sh\n/ # nc -l 8888\n<awaiting connection>\n```\n\n```console\nn1$ echo hi\nhi\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	n1 := &script{answers: map[string]string{"echo hi": "hi\n"}}
	if err := Run(context.Background(), steps, map[string]Host{"n1": n1}, 0, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(n1.typed, ", "); got != "docker exec -d db /bin/sh -c 'nc -l 8888', echo hi" {
		t.Errorf("typed %s", got)
	}
	if _, err := Parse("```console\nn1$ docker exec -it db /bin/sh\n/ # nc -l 8888\n```\n"); err == nil {
		t.Error("a shell that is never left is taken")
	}
}

func TestPodsAreMadeOfTextAndHaveShells(t *testing.T) {
	t.Parallel()
	steps, err := Parse("```console\nn1$ kubectl create -f - <<EOF\nkind: Pod\nEOF\npod/c1 created\nn1$ kubectl exec -it c1 -- /bin/sh\n/ # ip route\n...\n/ # exit\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	n1 := &script{answers: map[string]string{"kubectl create -f - <<EOF\nkind: Pod\nEOF": "pod/c1 created\n"}}
	if err := Run(context.Background(), steps, map[string]Host{"n1": n1}, 0, io.Discard); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(n1.typed[1:], ", "); got != "kubectl exec c1 -- /bin/sh -c 'ip route'" {
		t.Errorf("typed %s", got)
	}
	if _, err := Parse("```console\nn1$ kubectl create -f - <<EOF\nkind: Pod\n```\n"); err == nil {
		t.Error("a text without an end is taken")
	}
}

func TestEveryTutorialCanBeRead(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/tutorials/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tutorials: %v", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(string(b)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document)
	f.Add("```console\nn1$ kubectl create -f - <<EOF\nkind: Pod\nEOF\npod/c1 created\nn1$ kubectl exec -it c1 -- /bin/sh\n/ # exit\n```\n")
	f.Fuzz(func(t *testing.T, doc string) {
		steps, err := Parse(doc)
		if err == nil && len(steps) == 0 {
			t.Fatal("no steps and no error")
		}
	})
}
