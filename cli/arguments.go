// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// also is the annotation of a flag that lists its further spellings, as s6 for --subnetv6.
const also = "contiv_also"

// alias gives the flag further spellings.
func alias(flags *pflag.FlagSet, name string, spellings ...string) {
	f := flags.Lookup(name)
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[also] = spellings
	for _, s := range spellings {
		f.Usage += " (also -" + s + ")"
	}
}

// canonical is args with each flag as --name=value, whichever way the user spelt it: -x v, -x=v, --long v,
// -long=v. What it has made, it leaves as it is. The error says which flag or command there is not.
func canonical(root *cobra.Command, args []string) ([]string, error) {
	root.InitDefaultVersionFlag()
	if len(args) > 1 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		// The last argument is half written. What comes before it may be too: then the shell gets what cobra makes of it.
		last := len(args) - 1
		if strings.HasPrefix(args[last], "-") && strings.Contains(args[last], "=") { // the flag is whole, half written is its value
			if done, err := canonical(root, args[1:]); err == nil {
				return append([]string{args[0]}, done...), nil
			}
			return args, nil
		}
		done, err := canonical(root, args[1:last])
		if err != nil {
			return args, nil
		}
		return append(append([]string{args[0]}, done...), args[last]), nil
	}
	out := make([]string, 0, len(args)) // never nil: cobra takes nil for "read os.Args"
	cmd := root
	cmd.InitDefaultHelpFlag()
	given := map[string]bool{}
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(out, args[i:]...), nil
		case !strings.HasPrefix(arg, "-") || arg == "-":
			out = append(out, arg)
			if cmd.HasSubCommands() {
				next := subcommand(cmd, arg)
				if next == nil {
					return out, unknownCommand(cmd, arg)
				}
				cmd = next
				cmd.InitDefaultHelpFlag()
			}
			continue
		}
		spelt, value, valued := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		f := flagOf(cmd, spelt)
		if f == nil && belowHas(cmd, spelt) {
			return out, usage(cmd, "flag %s belongs to a command of %s: give it after that command's name, not before", strings.TrimSuffix(arg, "="+value), cmd.CommandPath())
		}
		if f == nil {
			return out, usage(cmd, "unknown flag %s", strings.TrimSuffix(arg, "="+value))
		}
		if _, isList := f.Value.(pflag.SliceValue); given[f.Name] && !isList {
			return out, usage(cmd, "flag --%s is given twice; give it once", f.Name)
		}
		given[f.Name] = true
		arg = "--" + f.Name
		switch {
		case valued:
			arg += "=" + value
		case f.NoOptDefVal != "":
			arg += "=" + f.NoOptDefVal
		case i+1 < len(args):
			i++
			arg += "=" + args[i]
		}
		out = append(out, arg)
	}
	return out, nil
}

// belowHas tells whether one of cmd's commands has such a flag.
func belowHas(cmd *cobra.Command, spelt string) bool {
	return slices.ContainsFunc(cmd.Commands(), func(c *cobra.Command) bool { return flagOf(c, spelt) != nil || belowHas(c, spelt) })
}

func subcommand(cmd *cobra.Command, name string) *cobra.Command {
	for _, c := range cmd.Commands() {
		if c.Name() == name || c.HasAlias(name) {
			return c
		}
	}
	return nil
}

// flagOf finds a flag of cmd or one that all commands have, by name, short or further spelling.
func flagOf(cmd *cobra.Command, spelt string) *pflag.Flag {
	if spelt == "" {
		return nil
	}
	var found *pflag.Flag
	match := func(f *pflag.Flag) {
		if found == nil && (f.Name == spelt || f.Shorthand == spelt || slices.Contains(f.Annotations[also], spelt)) {
			found = f
		}
	}
	cmd.Flags().VisitAll(match)
	cmd.PersistentFlags().VisitAll(match)
	cmd.InheritedFlags().VisitAll(match)
	return found
}
