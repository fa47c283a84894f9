// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// every visits the commands in the order in which help lists them; those that only tell about others are left out.
func every(cmd *cobra.Command, visit func(*cobra.Command)) {
	cmd.InitDefaultHelpFlag()
	visit(cmd)
	for _, c := range cmd.Commands() {
		if c.Name() != "help" {
			every(c, visit)
		}
	}
}

func tree() *cobra.Command {
	return (&program{Env: Env{Getenv: func(string) string { return "" }}}).root()
}

const referenceFile = "../docs/reference/netctl.md"

// reference is the page of all commands.
func reference() string {
	var b strings.Builder
	root := tree()
	fmt.Fprintf(&b, "# netctl\n\n<!-- Made from the commands' own help: go test ./cli -update -->\n\n%s\n", prose(root.Long))
	fmt.Fprintf(&b, "\nThese flags stand at every command:\n\n%s", flagTable(root.PersistentFlags()))
	b.WriteString("\n| command | |\n|---|---|\n")
	every(root, func(c *cobra.Command) {
		if c.HasParent() {
			fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), cellText(c.Short))
		}
	})
	every(root, func(c *cobra.Command) {
		if !c.HasParent() {
			return
		}
		level := "##"
		if !c.HasSubCommands() {
			level = "###"
		}
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(&b, "\n%s %s\n\n%s\n", level, c.CommandPath(), prose(text))
		if len(c.Aliases) > 0 {
			fmt.Fprintf(&b, "\nAlso: `%s`\n", strings.Join(c.Aliases, "`, `"))
		}
		if c.HasSubCommands() {
			return
		}
		fmt.Fprintf(&b, "\n    %s\n", strings.TrimSuffix(c.UseLine(), " [flags]"))
		if table := flagTable(c.NonInheritedFlags()); table != "" {
			b.WriteString("\n" + table)
		}
		fmt.Fprintf(&b, "\nFor example:\n\n    %s\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n    "))
	})
	return b.String()
}

// prose is a help text with what is indented in it as it is.
func prose(text string) string {
	var out []string
	quoted := false
	for line := range strings.SplitSeq(text, "\n") {
		if is := strings.HasPrefix(line, "  "); is != quoted {
			quoted = is
			out = append(out, "```")
		}
		out = append(out, line)
	}
	if quoted {
		out = append(out, "```")
	}
	return strings.Join(out, "\n")
}

func cellText(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		if b.Len() == 0 {
			b.WriteString("| flag | |\n|---|---|\n")
		}
		value, text := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if value != "" {
			name += " " + value
		}
		name += "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, cellText(text))
	})
	return b.String()
}

func TestReferenceIsWhatTheCommandsSay(t *testing.T) {
	t.Parallel()
	want := reference()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.MkdirAll("../docs/reference", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(referenceFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test ./cli -update", referenceFile)
	}
}

func TestHelpOfEveryCommandShowsAnExample(t *testing.T) {
	t.Parallel()
	every(tree(), func(c *cobra.Command) {
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "netctl"), " ")
		got := netctl(t, "http://127.0.0.1:1", path+" -h")
		if got.exit != ExitDone || got.stderr != "" || !strings.Contains(got.stdout, "Examples:\n  netctl ") && !strings.Contains(got.stdout, "Examples:\n  source <(netctl ") {
			t.Errorf("netctl %s -h: exit %d, stderr %q, stdout:\n%s", path, got.exit, got.stderr, got.stdout)
		}
		for line := range strings.Lines(c.Example) {
			words := strings.Fields(line[strings.LastIndex(line, " | ")+1:])
			if words[0] == "|" { // what comes before is another command
				words = words[1:]
			}
			if words[0] != "netctl" || c.HasSubCommands() {
				continue
			}
			root := tree()
			args, err := canonical(root, words[1:])
			if err != nil {
				t.Errorf("the example %s: %v", line, err)
			} else if shown, _, err := root.Find(args); err != nil || shown.CommandPath() != c.CommandPath() {
				t.Errorf("the help of %s shows %s (%v)", c.CommandPath(), line, err)
			}
		}
	})
}
