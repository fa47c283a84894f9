// SPDX-License-Identifier: Apache-2.0

package conformance

// CyclonusParts are tags by which cyclonus' table is divided: a part is the cases that have its tag and none of those before it. The last, without a tag, is
// the rest.
var CyclonusParts = []string{"upstream-e2e", "conflict", "action", "port", "egress", ""}
