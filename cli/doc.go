// SPDX-License-Identifier: Apache-2.0

// Package cli is netctl, the command line over netmaster's REST API. A command is a file, named as the noun that
// it is about; Run is the whole program with its edges as fields, so that tests run all of it. What all nouns have (ls,
// inspect, rm, completion of names) is noun.go; a file of intent goes through document.go to the shapes of package api. testdata
// has a story for each noun, with every word that its commands print; go test -update records them and docs/reference/netctl.md.
//
// What bites: the original netctl took -subnet as well as --subnet, and shorts of two characters as -s6. The flag library
// reads both as bundles of one-letter flags, so Run rewrites all arguments into --name=value first (arguments.go),
// and a command's flags are read from its definition there too: a flag that is added while a command runs is not seen.
// A message about a change ("Creating network …") is printed after the master has made it, never before.
package cli
