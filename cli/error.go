// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/contivnet/contiv/api"
)

// usageError says that the arguments are wrong. Run writes the remedy after it.
type usageError struct {
	command *cobra.Command
	text    string
}

func (e *usageError) Error() string { return e.text }

// remedy is one line that shows how it is right. The whole help would push the error itself off the screen.
func (e *usageError) remedy() string {
	c := e.command
	if c.HasSubCommands() {
		return fmt.Sprintf("%s --help lists the commands", c.CommandPath())
	}
	how := "Usage: " + c.UseLine()
	if c.HasExample() {
		first, _, _ := strings.Cut(strings.TrimSpace(c.Example), "\n")
		how = "For example: " + first
	}
	return fmt.Sprintf("%s\n%s --help tells more", how, c.CommandPath())
}

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd, fmt.Sprintf(format, args...)}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q for %q", name, cmd.CommandPath())
	if cmd.SuggestionsMinimumDistance == 0 {
		cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets only on its own way here
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{cmd, text}
}

// wrongFlag turns the flag library's errors into ones that say what to write.
func wrongFlag(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		f := value.GetFlag()
		kind := "a value of type " + f.Value.Type()
		switch f.Value.Type() {
		case "bool":
			kind = "true or false"
		case "int", "uint16", "uint32":
			kind = "a number"
			if strings.HasSuffix(value.Error(), "value out of range") {
				kind = "in range" + map[string]string{"uint16": ", 0 to 65535", "uint32": ", 0 to 4294967295"}[f.Value.Type()]
			}
		case "format":
			kind = "json, yaml or table"
		}
		return usage(cmd, "--%s %q is not %s", f.Name, value.GetValue(), kind)
	}
	return usage(cmd, "%v", err)
}

// outputError is a failure to write the answer.
type outputError struct{ err error }

func (e *outputError) Error() string { return "write the output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func exitOf(err error) int {
	var (
		wrong       *usageError
		unwritten   *outputError
		unreachable *api.UnreachableError
		refused     *api.Error
	)
	switch {
	case errors.As(err, &wrong):
		return ExitUsage
	case errors.As(err, &unwritten):
		return ExitOutput
	case errors.As(err, &unreachable), errors.As(err, &refused) && refused.Retry():
		return ExitUnreachable
	}
	return ExitRefused
}
