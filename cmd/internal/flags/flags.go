// SPDX-License-Identifier: Apache-2.0

// Package flags is what the daemons' command lines have in common: environment variables for every flag,
// old spellings, single-dash long flags as of old, and the log.
//
// What bites: a flag that is given on the command line wins over its variable, also when it is given its default.
package flags

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/pflag"
)

// Set is a daemon's flags. Define flags with the embedded FlagSet's methods, then call Parse.
type Set struct {
	*pflag.FlagSet
	prefix   string
	alias    map[string]string // old spelling → name
	variable map[string]string // name → variable, where it is not made from the name
	obsolete map[string]string // name → why it has no effect
}

// New is an empty set. prefix begins its environment variables, as CONTIV_NETPLUGIN_.
func New(program, prefix string) *Set {
	s := &Set{
		FlagSet: pflag.NewFlagSet(program, pflag.ContinueOnError), prefix: prefix,
		alias: map[string]string{}, variable: map[string]string{}, obsolete: map[string]string{},
	}
	s.SetOutput(io.Discard) // Parse's error says what is wrong; the caller prints it
	s.SortFlags = false
	return s
}

// Alias lets the flag be given under old spellings too.
func (s *Set) Alias(name string, old ...string) {
	for _, o := range old {
		s.alias[o] = name
	}
}

// Variable names the flag's environment variable without its prefix, where it is not the flag's name.
func (s *Set) Variable(name, variable string) { s.variable[name] = variable }

// Obsolete accepts a flag of older versions that means nothing any more.
func (s *Set) Obsolete(name, why string, old ...string) {
	s.String(name, "", "no effect: "+why)
	_ = s.MarkHidden(name) // fails only for a flag that is not there
	s.obsolete[name] = why
	s.Alias(name, old...)
}

// Parse reads the arguments, then the environment for what they left out. notes are for the log: flags
// that have no effect. help is true when help was asked for.
func (s *Set) Parse(args []string, getenv func(string) string) (notes []string, help bool, err error) {
	s.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if to, ok := s.alias[name]; ok {
			name = to
		}
		return pflag.NormalizedName(name)
	})
	if err := s.FlagSet.Parse(s.doubleDashes(args)); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, true, nil
		}
		return nil, false, fmt.Errorf("%w (--help lists the flags)", err)
	}
	if s.NArg() > 0 {
		return nil, false, fmt.Errorf("argument %q is not understood; flags begin with -- (--help lists them)", s.Arg(0))
	}
	s.VisitAll(func(f *pflag.Flag) {
		if v := getenv(s.Var(f.Name)); v != "" && !f.Changed && err == nil {
			if e := s.FlagSet.Set(f.Name, v); e != nil {
				err = fmt.Errorf("environment variable %s: %w", s.Var(f.Name), e)
			}
		}
	})
	s.Visit(func(f *pflag.Flag) {
		if why, ok := s.obsolete[f.Name]; ok {
			notes = append(notes, fmt.Sprintf("--%s has no effect: %s", f.Name, why))
		}
	})
	return notes, false, err
}

// Var is the environment variable of a flag.
func (s *Set) Var(name string) string {
	if v, ok := s.variable[name]; ok {
		return s.prefix + v
	}
	return s.prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Usage lists the flags with their variables.
func (s *Set) Usage(w io.Writer, summary string) {
	fmt.Fprintf(w, "%s\n\nUsage: %s [flags]\n\nEach flag can be given as an environment variable: --%s as %s.\n\n%s",
		summary, s.Name(), "log-level", s.Var("log-level"), s.FlagUsages())
}

// doubleDashes turns -listen-url, as older versions had it, into --listen-url.
func (s *Set) doubleDashes(args []string) []string {
	out := make([]string, 0, len(args))
	for i, a := range args {
		if a == "--" {
			return append(out, args[i:]...)
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		_, old := s.alias[name]
		if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && len(name) > 1 && (old || s.Lookup(name) != nil) {
			a = "-" + a
		}
		out = append(out, a)
	}
	return out
}

// Log adds the flags of the log. Call the result after Parse.
func (s *Set) Log() func(io.Writer) (*slog.Logger, error) {
	level := s.String("log-level", "INFO", "DEBUG, INFO, WARN or ERROR")
	asJSON := s.Bool("use-json-log", false, "log JSON objects instead of text")
	s.Alias("use-json-log", "json-log")
	return func(w io.Writer) (*slog.Logger, error) {
		var l slog.Level
		if err := l.UnmarshalText([]byte(*level)); err != nil {
			return nil, fmt.Errorf("--log-level %q is unknown: use DEBUG, INFO, WARN or ERROR", *level)
		}
		o := &slog.HandlerOptions{Level: l}
		if *asJSON {
			return slog.New(slog.NewJSONHandler(w, o)), nil
		}
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
}
