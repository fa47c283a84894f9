// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/contivnet/contiv/cli"
)

var update = flag.Bool("update", false, "record the stories and docs/reference/netctl.md anew")

// Each file of testdata is a story: commands, each with all that it prints, told to a master of its own. Lines that
// begin with "> " go to a command's standard input, those with "! " are of its standard error, and its exit code follows
// where it is not 0.
func TestStoriesGoAsTheyAreTold(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := told(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i, line := range gotLines {
				if i >= len(wantLines) || wantLines[i] != line {
					t.Fatalf("%s:%d: the story goes on with\n%s", file, i+1, strings.Join(gotLines[max(0, i-2):min(len(gotLines), i+12)], "\n"))
				}
			}
			if len(wantLines) > len(gotLines) {
				t.Fatalf("%s:%d: the story ends here", file, len(gotLines))
			}
		})
	}
}

// told is the story with what its commands print now.
func told(t *testing.T, story string) string {
	url := realMaster(t)
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(story, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		command, is := strings.CutPrefix(lines[i], "$ netctl ")
		if !is {
			if strings.HasPrefix(lines[i], "#") || lines[i] == "" && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "#") {
				fmt.Fprintln(&out, lines[i])
			}
			continue
		}
		fmt.Fprintln(&out, lines[i])
		var stdin strings.Builder
		for ; i+1 < len(lines) && strings.HasPrefix(lines[i+1], ">"); i++ {
			fmt.Fprintln(&out, lines[i+1])
			stdin.WriteString(strings.TrimPrefix(strings.TrimPrefix(lines[i+1], ">"), " ") + "\n")
		}
		in := stdin.String()
		for part := range strings.SplitSeq(command, " | netctl ") {
			var stdout, stderr bytes.Buffer
			exit := cli.Run(context.Background(), words(part), cli.Env{Stdin: strings.NewReader(in), Stdout: &stdout, Stderr: &stderr,
				Getenv: func(name string) string { return map[string]string{"NETMASTER": url}[name] }})
			in = stdout.String()
			for line := range strings.Lines(stderr.String()) {
				fmt.Fprint(&out, "! "+line)
			}
			if exit != 0 {
				fmt.Fprintf(&out, "[%d]\n", exit)
			}
		}
		out.WriteString(in)
	}
	return out.String()
}

// words splits a command as a shell does, of which it knows blanks and single quotes.
func words(command string) (out []string) {
	quoted, begun := false, false
	word := ""
	for _, r := range command + " " {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case r == ' ' && !quoted:
			if begun {
				out = append(out, word)
			}
			word, begun = "", false
		default:
			word, begun = word+string(r), true
		}
	}
	return out
}
