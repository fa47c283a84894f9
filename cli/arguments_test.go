// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"testing"
)

// FuzzCanonicalArguments: whatever is typed, what comes out is made of long flags that exist and of words that
// were typed, in their order; and it comes out the same when it goes in again.
func FuzzCanonicalArguments(f *testing.F) {
	for _, seed := range []string{
		"net create -s 10.1.2.0/24 contiv-net", "-netmaster=a net ls -a -t", "net create web -s6=1::/64 -g6 1::1 -- -x",
		"help net", "net create --subnet= -", "tenant rm -h --h=false =", "__complete net ls -t x", "---", "-=", "net -- create",
	} {
		f.Add(seed)
	}
	// One for all: cobra keeps the completions of every flag that was ever made.
	root := (&program{Env: Env{Getenv: func(string) string { return "" }}}).root()
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		once, err := canonical(root, args)
		if err != nil {
			return
		}
		if args[0] == "__complete" || args[0] == "__completeNoDesc" {
			typed, made := args[len(args)-1], once[len(once)-1]
			_, value, isFlag := strings.Cut(typed, "=")
			if made != typed && !(isFlag && strings.HasPrefix(made, "--") && strings.HasSuffix(made, "="+value)) {
				t.Fatalf("%q: the half-written word became %q", args, once)
			}
			return
		}
		twice, err := canonical(root, once)
		if err != nil || !slices.Equal(once, twice) {
			t.Fatalf("%q became %q, and then %q (%v)", args, once, twice, err)
		}
		flags, rest := once, []string(nil)
		if end := slices.Index(once, "--"); end >= 0 {
			flags, rest = once[:end], once[end:]
			if !slices.Equal(rest, args[len(args)-len(rest):]) {
				t.Fatalf("%q: what follows -- became %q", args, rest)
			}
		}
		at := 0
		for _, word := range flags {
			if strings.HasPrefix(word, "-") && word != "-" {
				if !strings.HasPrefix(word, "--") || len(word) < 4 {
					t.Fatalf("%q: flag %q in %q", args, word, once)
				}
				continue
			}
			next := slices.Index(args[at:], word)
			if next < 0 {
				t.Fatalf("%q: word %q in %q was not typed there", args, word, once)
			}
			at += next + 1
		}
	})
}
