// SPDX-License-Identifier: Apache-2.0

package model

import (
	"regexp"
	"strings"
)

// The v1 API's grammar of names: DNS labels joined by dots.
var nameGrammar = regexp.MustCompile(`^(([a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9\-]*[a-zA-Z0-9])\.)*([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9\-]*[A-Za-z0-9])$`)

// CheckName refuses what is not a name of at most max characters. field is its JSON name.
func CheckName(field, name string, max int) error {
	switch {
	case name == "":
		return Invalid(field, "%s is empty; give a name", field)
	case len(name) > max:
		return Invalid(field, "%s %q has %d characters; at most %d are allowed", field, name[:min(len(name), 80)], len(name), max)
	case !nameGrammar.MatchString(name):
		return Invalid(field, "%s %q is not a name; use letters, digits, '-' and '.', beginning and ending with a letter or digit", field, name)
	}
	return nil
}

// CheckPolicyName is CheckName for policies: '_' may be in one too, as in the tutorials' prod_web. No policy is ever a
// host's name, which is why other nouns may not have it.
func CheckPolicyName(field, name string, max int) error {
	err := CheckName(field, strings.ReplaceAll(name, "_", "-"), max)
	if err == nil || name == "" || len(name) > max {
		return err
	}
	return Invalid(field, "%s %q is not a name; use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", field, name[:min(len(name), 80)])
}
