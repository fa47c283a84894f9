// SPDX-License-Identifier: Apache-2.0

// Package contiv holds the tests of the house rules: who may import whom, and that every package says
// what it is for. The programs are in cmd/; ARCHITECTURE.md says where everything lives.
package contiv
